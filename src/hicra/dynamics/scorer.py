"""A causal language model that says how likely given tokens were: one teacher-forced forward pass a batch.

Hidden states come from the model without its last layer, which is then applied in chunks (`hicra.dynamics._chunked`),
to completion tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hicra.errors import ConfigError, DataError, require


class Scores(NamedTuple):
    """What a model says of one completion: (T,) float32 each, nats."""

    logprob: np.ndarray[Any, np.dtype[np.float32]]
    entropy: np.ndarray[Any, np.dtype[np.float32]]


class Scorer:
    """Scores completions under a model.

    Args:
        model: a transformers causal language model.
        temperature: what the sampler divided the logits by.
        batch_tokens: tokens of a batch, padding included.
        rows, columns: tokens and vocabulary entries for which logits exist at a time.

    Raises:
        ConfigError: the model does something to its logits that is not known here: its own log-probs and ours differ.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float = 1.0,
        batch_tokens: int = 16_384,
        rows: int = 1024,
        columns: int = 8192,
    ) -> None:
        from hicra.dynamics._chunked import Head

        if not temperature > 0:
            raise ConfigError("the temperature has to be above 0", got=str(temperature))
        self.model = model.eval()
        self.temperature, self.batch_tokens = temperature, batch_tokens
        self._tile = {"rows": rows, "columns": columns}
        config = model.config.get_text_config()
        last = model.get_output_embeddings()
        if last is None or model.base_model is model:
            raise ConfigError(
                f"{type(model).__name__} has no last layer of its own", expected="a causal language model"
            )
        scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        cap = getattr(config, "final_logit_softcapping", None)
        self.head = Head(last.weight, getattr(last, "bias", None), scale, None if cap is None else float(cap))
        self.size = int(last.weight.shape[0])
        self._check()

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Indices of rows that are scored together: of like lengths, at most `batch_tokens` with their padding.

        Args:
            lengths: tokens of each row, prompt and completion.
        """
        out: list[list[int]] = []
        for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
            if out and (len(out[-1]) + 1) * lengths[i] <= self.batch_tokens:
                out[-1].append(i)
            else:
                out.append([i])
        return out

    def score(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[Scores]:
        """Scores of completions, in the order given, whatever the order they are computed in.

        Args:
            prompts: B lists of token ids, none empty.
            completions: B lists of token ids.

        Raises:
            DataError: an empty prompt, or an id that the model does not know.
        """
        out: list[Scores | None] = [None] * len(prompts)
        for rows in self.batches([len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]):
            scored = self.score_batch([prompts[i] for i in rows], [completions[i] for i in rows])
            for i, scores in zip(rows, scored, strict=True):
                out[i] = scores
        return [scores for scores in out if scores is not None]

    def score_batch(self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[Scores]:
        """As `score`, in one forward pass."""
        import torch

        from hicra.dynamics._chunked import token_stats

        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            ids = [*prompt, *completion]
            if not len(prompt):
                raise DataError(f"row {i}: an empty prompt", expected="at least one token to predict the first from")
            if min(ids) < 0 or max(ids) >= self.size:
                raise DataError(
                    f"row {i}: a token id that the model does not know",
                    expected=f"0 <= id < {self.size}",
                    got=str(min(ids) if min(ids) < 0 else max(ids)),
                    mend="score with the model (or one of its family) that sampled the tokens",
                )
        longest = max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True))
        ids_BT = torch.zeros((len(prompts), longest), dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        from_BT = torch.zeros_like(ids_BT, dtype=torch.bool)  # states that predict a completion token
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            n = len(prompt) + len(completion)
            ids_BT[i, :n] = torch.tensor([*prompt, *completion])
            mask_BT[i, :n] = 1
            from_BT[i, len(prompt) - 1 : n - 1] = True
        device = self.head.weight.device
        with torch.inference_mode():
            states = self._hidden(ids_BT.to(device), mask_BT.to(device))[from_BT.to(device)]
            target = torch.roll(ids_BT, -1, 1)[from_BT].to(device)
            logprob, entropy = token_stats(states, target, self.head, temperature=self.temperature, **self._tile)
        return list(_split(logprob.cpu().numpy(), entropy.cpu().numpy(), [len(c) for c in completions]))

    def _hidden(self, ids: Any, mask: Any) -> Any:
        return self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state

    def _check(self) -> None:
        """Compare with the model's own logits on a few tokens: families differ in what they do to them."""
        import torch

        from hicra.dynamics._chunked import token_stats

        n = min(8, self.size)
        ids = torch.arange(n, device=self.head.weight.device)[None] * (self.size // n)
        with torch.inference_mode():
            own = torch.log_softmax(self.model(input_ids=ids).logits[0, :-1].float() / self.temperature, -1)
            states = self._hidden(ids, torch.ones_like(ids))[0, :-1]
            logprob, entropy = token_stats(states, ids[0, 1:], self.head, temperature=self.temperature, **self._tile)
        wanted = own.gather(1, ids[0, 1:, None]).squeeze(1), -(own.exp() * own).sum(1)
        tolerance = 1e-3 if self.head.weight.dtype == torch.float32 else 0.2
        worst = max(float((a - b).abs().max()) for a, b in zip((logprob, entropy), wanted, strict=True))
        if not worst <= tolerance:
            raise ConfigError(
                f"{type(self.model).__name__} treats its logits in a way that is not known here",
                expected=f"log-probs within {tolerance} of the model's own",
                got=f"a difference of {worst:.3g} nats",
                mend="fill in log-probs yourself: plain rows may hold logprobs and entropies (docs/other_tools.md)",
            )


def load_scorer(model: str, *, device: str = "auto", dtype: str = "auto", **settings: Any) -> Scorer:
    """A scorer for a model by hub name or path.

    Args:
        model: hub name or path.
        device: a torch device; auto takes a GPU where there is one.
        dtype: a torch dtype by name; auto is what the model was saved in.
        settings: of `Scorer`.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: no such model, device or dtype.
    """
    torch = require("torch", "train")
    transformers = require("transformers", "train")
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise ConfigError(f"no such dtype {dtype!r}", expected="auto, float32, bfloat16 or float16")
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        loaded = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=dtype).to(place)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(
            f"cannot load the model {model!r} on {place!r}",
            expected="a folder with config.json and weights, or the name of a model on the hub",
            got=str(error).splitlines()[0][:200],
        ) from error
    return Scorer(loaded, **settings)


def _split(logprob: Any, entropy: Any, lengths: Sequence[int]) -> Iterator[Scores]:
    at = 0
    for length in lengths:
        yield Scores(logprob[at : at + length], entropy[at : at + length])
        at += length
