"""docs/engines.md: each engine's function on stand-ins of the shapes that the engine has, against values by hand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.tiny_trl import make_tiny

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the page's blocks define, with a tiny tokenizer in place of the user's."""
    tokenizer = make_tiny().make_tokenizer()
    ids = torch.tensor(tokenizer(["so wait so now so so"] * 4)["input_ids"])
    names: dict[str, Any] = {
        "tokenizer": tokenizer,
        "completion_ids": ids,
        "completion_mask": torch.ones_like(ids),
        "group_advantages": torch.tensor([0.5, -0.5, 0.25, -0.25]),
        "step": 0,
    }
    for block in BLOCKS:
        exec(compile(block, "<docs>", "exec"), names)
    names["text"] = lambda text: tokenizer(text)["input_ids"]
    return names


# "wait" is a gram of the set `paper`
PROMPT, RIGHT, WRONG = "1 + 1 =", "2 wait 2 <eos>", "wait 3 <eos> <pad>"
EXPECTED = torch.tensor([[0.5, 0.6, 0.5, 0.5], [-0.4, -0.5, -0.5, 0.0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
BEFORE = torch.tensor([[0.5] * 4, [-0.5, -0.5, -0.5, 0.0]])


@pytest.fixture
def batch(page: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences (2, 8): four tokens of prompt, four of response; and the responses."""
    rows = torch.tensor([page["text"](f"{PROMPT} {response}") for response in (RIGHT, WRONG)])
    return rows, rows[:, 4:]


def test_openrlhf(page: dict[str, Any], batch: Any) -> None:
    e = SimpleNamespace(sequences=batch[0], action_mask=MASK.bool(), advantages=BEFORE.clone())
    (out,) = page["openrlhf"]([e])
    torch.testing.assert_close(out.advantages, EXPECTED)
    # as of later versions: one value for each token but the first
    wide = torch.cat([torch.zeros(2, 3), BEFORE], 1)
    mask = torch.cat([torch.zeros(2, 3, dtype=torch.long), MASK], 1)
    e = SimpleNamespace(sequences=batch[0], action_mask=mask.bool(), advantages=wide)
    torch.testing.assert_close(page["openrlhf"]([e])[0].advantages[:, 3:], EXPECTED)


def test_slime(page: dict[str, Any], batch: Any) -> None:
    data = {
        "tokens": [batch[0][0], batch[0][1][:7]],
        "response_lengths": [4, 3],
        "loss_masks": [MASK[0], MASK[1][:3]],
        "advantages": [BEFORE[0].clone(), BEFORE[1][:3].clone()],
    }
    page["slime"](None, 0, data)
    torch.testing.assert_close(data["advantages"][0], EXPECTED[0])
    torch.testing.assert_close(data["advantages"][1], EXPECTED[1][:3])
    page["slime"](None, 0, {"tokens": []})


def test_skyrl(page: dict[str, Any], batch: Any) -> None:
    data = page["skyrl"]({"sequences": batch[0], "loss_mask": MASK, "advantages": BEFORE.clone()})
    torch.testing.assert_close(data["advantages"], EXPECTED)


def test_nemo_rl(page: dict[str, Any], batch: Any) -> None:
    token_mask = torch.cat([torch.zeros(2, 4, dtype=torch.long), MASK], 1)
    data = {
        "input_ids": batch[0],
        "token_mask": token_mask,
        "sample_mask": torch.tensor([1, 0]),
        "advantages": torch.cat([torch.zeros(2, 4), BEFORE], 1),
    }
    page["nemo_rl"](data)
    torch.testing.assert_close(data["advantages"][0, 4:], EXPECTED[0])
    torch.testing.assert_close(data["advantages"][1, 4:], BEFORE[1])  # the sample is masked out


def test_prime_rl(page: dict[str, Any], batch: Any) -> None:
    ids = [batch[1][0].tolist(), batch[1][1][:3].tolist()]
    rollouts = [
        {"reward": r, "trajectory": [{"tokens": {"completion_ids": i}}]} for r, i in zip((1.0, 0.0), ids, strict=True)
    ]
    found = page["prime_rl"](SimpleNamespace(rollouts=rollouts, completion_lengths=[4, 3]))
    assert found[0] == pytest.approx(EXPECTED[0].tolist())
    assert found[1] == pytest.approx(EXPECTED[1][:3].tolist())


def test_tinker(page: dict[str, Any], batch: Any) -> None:
    class TensorData:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        @classmethod
        def from_torch(cls, tensor: torch.Tensor) -> TensorData:
            return cls(tensor)

        def to_torch(self) -> torch.Tensor:
            return self.tensor

    inputs = {
        "target_tokens": batch[0][0][1:],
        "mask": torch.tensor([0.0] * 3 + [1.0] * 4),
        "advantages": torch.tensor([0.0] * 3 + [0.5] * 4),
    }
    datum = SimpleNamespace(loss_fn_inputs={k: TensorData(v) for k, v in inputs.items()})
    page["tinker"](datum)
    torch.testing.assert_close(datum.loss_fn_inputs["advantages"].tensor[3:], EXPECTED[0])
    assert datum.loss_fn_inputs["advantages"].tensor[:3].tolist() == [0.0] * 3


def test_every_engine_of_the_page_is_tried() -> None:
    defined = set(re.findall(r"^def (\w+)\(", "\n".join(BLOCKS), re.M))
    assert defined == {name.removeprefix("test_") for name in globals() if name.startswith("test_")} - {
        "every_engine_of_the_page_is_tried"
    }
