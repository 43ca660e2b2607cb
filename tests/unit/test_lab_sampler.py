"""The fast sampler draws from the model's own distribution: its log-probs are those of a teacher-forced forward."""

from __future__ import annotations

from typing import Any

import pytest

from hicra.errors import ConfigError, DataError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

EOS, PAD, VOCAB = 1, 0, 40


def tiny(seed: int = 0, **changes: Any) -> Any:
    """A Llama whose distribution is far from uniform, so that a wrong logit shows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    options: dict[str, Any] = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128,
        "initializer_range": 0.15,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**options, **changes})).eval()
    with torch.no_grad():  # norms of a fresh model are all ones: folding them in wrongly would not show
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
    return model


def prompts(n: int, *, ragged: bool) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, VOCAB, (3 + i % 4 * ragged,), generator=generator).tolist() for i in range(n)]


def draw(model: Any, asked: list[list[int]], steps: int = 24, seed: int = 2, **options: Any) -> Any:
    from hicra.lab.sampler import Sampler

    generator = torch.Generator().manual_seed(seed)
    return Sampler(model).sample(asked, steps, eos_token_id=EOS, pad_token_id=PAD, generator=generator, **options)


@pytest.mark.parametrize("ragged", [False, True], ids=["equal prompts", "ragged prompts"])
@pytest.mark.parametrize("kv_heads", [4, 2], ids=["multi-head", "grouped-query"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropies_are_those_of_a_teacher_forced_forward(
    ragged: bool, kv_heads: int, temperature: float
) -> None:
    model = tiny(num_key_value_heads=kv_heads)
    asked = prompts(12, ragged=ragged)
    drawn = draw(model, asked, temperature=temperature)
    for row, (prompt, ids) in enumerate(zip(asked, drawn.ids(), strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / temperature
        logp = logits.log_softmax(-1)
        chosen = logp.gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        entropy = -(logp.exp() * logp).sum(-1)
        torch.testing.assert_close(drawn.logprobs_BT[row, : len(ids)], chosen, atol=1e-5, rtol=0)
        torch.testing.assert_close(drawn.entropies_BT[row, : len(ids)], entropy, atol=1e-5, rtol=0)


def test_draws_follow_the_distribution() -> None:
    model = tiny(seed=3)
    with torch.no_grad():
        expected = model(torch.tensor([[5, 6, 7]])).logits[0, -1].softmax(-1)
    n = 20_000
    first = draw(model, [[5, 6, 7]] * n, steps=1).tokens_BT[:, 0]
    observed = torch.bincount(first, minlength=VOCAB) / n
    spread = (expected * (1 - expected) / n).sqrt()
    assert ((observed - expected).abs() <= 5 * spread + 1e-4).all()


def test_rows_end_at_eos_and_are_blank_after_it() -> None:
    drawn = draw(tiny(seed=4), prompts(200, ragged=False), steps=40)
    lengths = [len(row) for row in drawn.ids()]
    assert min(lengths) < 15, "some rows end early, so that rows were dropped"
    for row, ids in enumerate(drawn.ids()):
        assert EOS not in ids[:-1]
        assert ids[-1] == EOS or len(ids) == 40
        rest = slice(len(ids), None)
        assert (drawn.tokens_BT[row, rest] == PAD).all()
        assert not drawn.logprobs_BT[row, rest].any()
        assert not drawn.mask_BT[row, rest].any()


def test_dropping_finished_rows_changes_no_logprob() -> None:
    """The draws differ (they come from one stream), what is said about them must hold either way."""
    model, asked = tiny(seed=4), prompts(64, ragged=True)
    for drop in (True, False):
        drawn = draw(model, asked, drop_finished=drop)
        row = max(range(64), key=lambda i: len(drawn.ids()[i]))
        ids, prompt = drawn.ids()[row], asked[row]
        with torch.no_grad():
            logp = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        chosen = logp.gather(1, torch.tensor(ids)[:, None]).squeeze(1)
        torch.testing.assert_close(drawn.logprobs_BT[row, : len(ids)], chosen, atol=1e-5, rtol=0)


def test_same_seed_same_draws_and_live_weights() -> None:
    model, asked = tiny(), prompts(8, ragged=False)
    once, again = draw(model, asked), draw(model, asked)
    assert torch.equal(once.tokens_BT, again.tokens_BT)
    with torch.no_grad():
        model.lm_head.weight.mul_(3)
    assert not torch.equal(once.logprobs_BT[:, 0], draw(model, asked).logprobs_BT[:, 0])


def test_global_generator_is_the_default() -> None:
    from hicra.lab.sampler import Sampler

    sampler, asked = Sampler(tiny()), prompts(4, ragged=False)
    options = {"eos_token_id": EOS, "pad_token_id": PAD}
    torch.manual_seed(9)
    once = sampler.sample(asked, 8, **options).tokens_BT
    torch.manual_seed(9)
    assert torch.equal(once, sampler.sample(asked, 8, **options).tokens_BT)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know this model"):
        draw(tiny(attention_bias=True), [[2, 3]])
    with pytest.raises(DataError, match="nothing to complete"):
        draw(tiny(), [[2], []])
    with pytest.raises(ConfigError, match="temperature"):
        draw(tiny(), [[2]], temperature=0.0)
