"""Completions of another tool + gram set + tokenizer -> rows of a run directory (columns: `hicra.traces.schema`).

Tokens are the sampled ones where the tool kept their ids or their texts; else the text is tokenised again; without a
tokenizer, words and signs stand in for tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hicra.dynamics.summary import NO_ENTROPIES, NO_LOGPROBS, occurrences, sums_by_kind
from hicra.errors import ConfigError, DataError
from hicra.grams.gramset import GramSet
from hicra.labels.labeller import Labeller
from hicra.labels.pieces import PieceLabeller, words_and_signs
from hicra.labels.token_text import TokenText
from hicra.traces.adapters import Sampled, Step
from hicra.traces.prompts import prompt_name

NO_ID = -1
"""Token id of a token that is known as text only."""


class Join:
    """Makes rows of steps.

    Args:
        grams: the gram set.
        tokenizer: the model's, or None.

    Attributes:
        steps: how many were looked at.
        seen: what the tool kept in any of them.
        tokenizer_name: for run.json.
    """

    def __init__(self, grams: GramSet, tokenizer: Any) -> None:
        self._grams = grams
        self._pieces = PieceLabeller(grams)
        self._tokenizer = tokenizer
        self._labeller = None if tokenizer is None else Labeller(grams, tokenizer)
        self._text = None if self._labeller is None else TokenText(tokenizer, self._labeller.vocab)
        self.tokenizer_name = None if self._labeller is None else self._labeller.tokenizer_name
        self.seen = dict.fromkeys(
            ("reward", "advantage", "logprobs", "entropies", "truncated", "words", "retokenised", "unplaced", "group"),
            False,
        )
        self.steps = 0

    def look(self, step: Step) -> None:
        """Take note of what a step holds without making rows of it."""
        self.steps += 1
        self.seen["group"] |= len(set(self._groups(step.rows))) < len(step.rows)
        for sample in step.rows:
            self.seen["reward"] |= not math.isnan(sample.reward)
            for name in ("advantage", "logprobs", "entropies", "truncated"):
                self.seen[name] |= getattr(sample, name) is not None

    def rows(self, step: Step, keep: int | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Completion rows of a step, and rollout rows of the groups that are kept."""
        self.look(step)
        samples = step.rows
        tokens = self._tokens(samples)
        labels = self._labels(samples, tokens)
        names, groups = [self._name(sample) for sample in samples], self._groups(samples)
        sizes = np.bincount(groups)
        means = _group_means(samples, groups, len(sizes))
        kept = _kept(sizes, keep)
        completions, rollouts = [], []
        prompts: dict[str, str] = {}
        for i, sample in enumerate(samples):
            ids, pieces = tokens[i]
            planning, gram_id, begin = labels[0][i], labels[1][i], labels[2][i]
            own = None if sample.mask is None else np.asarray(sample.mask, np.bool_)
            logprob, entropy = (self._column(sample, n, len(ids), own) for n in ("logprobs", "entropies"))
            advantage, each = _advantage(sample, means[groups[i]], len(ids), own)
            key = {"prompt_id": names[i], "group_id": groups[i], "reward": sample.reward}
            completions.append(
                key
                | sums_by_kind(planning, own, logprob, entropy)
                | occurrences(gram_id, begin)
                | {
                    "advantage": advantage,
                    "length": len(ids),
                    "truncated": self._cut_off(sample, ids) if sample.truncated is None else sample.truncated,
                }
            )
            if groups[i] in kept:
                rollouts.append(
                    key
                    | {
                        "prompt": prompts.setdefault(names[i], self._prompt(sample)),
                        "completion": "".join(pieces) if sample.completion is None else sample.completion,
                        "token_ids": ids,
                        "token_text": pieces,
                        "logprob": _listed(logprob),
                        "entropy": _listed(entropy),
                        "advantage": each,
                        "planning": planning,
                        "gram_id": gram_id,
                        "begin": begin,
                    }
                )
        return completions, rollouts

    def notes(self) -> list[str]:
        """What is switched off, and what was made up."""
        seen, out = self.seen, []
        if not seen["reward"]:
            out.append("no rewards: accuracy, advantages and failures are switched off")
        elif not seen["group"]:
            out.append("one completion a prompt: group-relative advantages and Pass@k are switched off")
        elif not seen["advantage"]:
            out.append("no advantages: they are each reward less its group's mean (the tool may also divide)")
        if not seen["logprobs"]:
            out.append(NO_LOGPROBS)
        if not seen["entropies"]:
            out.append(NO_ENTROPIES)
        if not seen["truncated"]:
            out.append(
                "unknown which completions were truncated: their share is the tool's own figure, or switched off"
            )
        if seen["words"]:
            out.append("no tokenizer: tokens are words and signs, lengths count these (--tokenizer MODEL mends it)")
        if seen["retokenised"]:
            out.append(
                "texts were tokenised again: token borders may differ from the sampled ones, end tokens are gone"
            )
        if seen["unplaced"]:
            out.append("log-probs or entropies that do not match the number of tokens were left out")
        return out

    def _tokens(self, samples: Sequence[Sampled]) -> list[tuple[list[int], list[str]]]:
        """(ids, pieces) of each completion: as sampled where they were kept, else by the tokenizer, else words."""
        texts = [s.completion or "" for s in samples if s.token_ids is None and s.pieces is None]
        encoded = iter(self._encode(texts) if texts and self._tokenizer is not None else [])
        out = []
        for sample in samples:
            if sample.token_ids is not None:
                if self._text is None and sample.pieces is None:
                    if sample.completion is None:
                        raise ConfigError(
                            f"{sample.where}: token ids without their text",
                            expected="the tokenizer of the model that sampled them",
                            mend="add --tokenizer NAME_OR_PATH",
                        )
                    out.append(self._words(sample.completion))
                    continue
                pieces = sample.pieces if self._text is None else self._text.pieces(sample.token_ids)
                if pieces is None or len(pieces) != len(sample.token_ids):
                    raise DataError(f"{sample.where}: token ids and token texts differ in length")
                out.append((sample.token_ids, pieces))
            elif sample.pieces is not None:
                out.append((self._ids(sample.pieces), sample.pieces))
            elif self._text is not None:
                ids = next(encoded)
                self.seen["retokenised"] = True
                out.append((ids, self._text.pieces(ids)))
            else:
                out.append(self._words(sample.completion or ""))
        return out

    def _words(self, text: str) -> tuple[list[int], list[str]]:
        self.seen["words"] = True
        pieces = words_and_signs(text)
        return [NO_ID] * len(pieces), pieces

    def _encode(self, texts: list[str]) -> list[list[int]]:
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return list(self._tokenizer(clean, add_special_tokens=False)["input_ids"])

    def _ids(self, pieces: list[str]) -> list[int]:
        """Ids of kept pieces, if the tokenizer cuts their text just so."""
        if self._text is not None:
            ids = self._encode(["".join(pieces)])[0]
            if self._text.pieces(ids) == pieces:
                return ids
        return [NO_ID] * len(pieces)

    def _labels(self, samples: Sequence[Sampled], tokens: list[tuple[list[int], list[str]]]) -> tuple[list[Any], ...]:
        """(planning, gram_id, begin), each a list of (T,) arrays."""
        for sample, (ids, _) in zip(samples, tokens, strict=True):
            if sample.mask is not None and len(sample.mask) != len(ids):
                raise DataError(
                    f"{sample.where}: the mask is of another length than the tokens",
                    expected=f"{len(ids)} flags",
                    got=f"{len(sample.mask)}",
                    mend="add the token ids, or --tokenizer of the model",
                )
        masks = [None if s.mask is None else np.asarray(s.mask, np.bool_) for s in samples]
        by_id = [i for i, (ids, _) in enumerate(tokens) if self._labeller is not None and NO_ID not in ids]
        by_text = sorted(set(range(len(tokens))) - set(by_id))
        out: list[tuple[Any, Any, Any]] = [(None, None, None)] * len(tokens)
        if by_id and self._labeller is not None:
            rows = [np.asarray(tokens[i][0], np.int64) for i in by_id]
            own = [
                m if (m := masks[i]) is not None else np.ones(len(r), np.bool_)
                for i, r in zip(by_id, rows, strict=True)
            ]
            try:
                found = self._labeller.label(rows, own)
            except DataError as error:
                raise DataError(
                    f"{samples[by_id[0]].where} and on: {error.problem}",
                    expected=error.expected,
                    got=error.got,
                    mend="give the tokenizer of the model that sampled these tokens",
                ) from error
            for i, *parts in zip(by_id, found.mask, found.gram_id, found.begin, strict=True):
                out[i] = (parts[0], parts[1], parts[2])
        if by_text:
            found = self._pieces.label([tokens[i][1] for i in by_text], [masks[i] for i in by_text])
            for i, *parts in zip(by_text, found.mask, found.gram_id, found.begin, strict=True):
                out[i] = (parts[0], parts[1], parts[2])
        return [o[0] for o in out], [o[1] for o in out], [o[2] for o in out]

    def _column(
        self, sample: Sampled, name: str, length: int, own: np.ndarray[Any, Any] | None
    ) -> np.ndarray[Any, Any] | None:
        """(T,) values, NaN where unknown or not the policy's; None where there are none that fit."""
        values = getattr(sample, name)
        if values is None:
            return None
        if len(values) != length:
            self.seen["unplaced"] = True
            return None
        found = np.array([math.nan if v is None else v for v in values], np.float32)
        return found if own is None else np.where(own, found, np.float32(math.nan))

    def _groups(self, samples: Sequence[Sampled]) -> list[int]:
        """Number of each sample's group, from 0 in the order of appearance."""
        numbers: dict[Any, int] = {}
        keys = [(False, self._name(s)) if s.group is None else (True, s.group) for s in samples]
        return [numbers.setdefault(key, len(numbers)) for key in keys]

    def _name(self, sample: Sampled) -> str:
        if sample.prompt_id is not None:
            return sample.prompt_id
        return prompt_name(sample.prompt_token_ids if sample.prompt_token_ids is not None else sample.prompt, {})

    def _prompt(self, sample: Sampled) -> str:
        """The prompt as the model saw it, as well as we can tell."""
        if sample.prompt_token_ids is not None:
            return "" if self._text is None else self._text.prompt(sample.prompt_token_ids)
        if isinstance(sample.prompt, str):
            return sample.prompt
        if getattr(self._tokenizer, "chat_template", None):
            return str(self._tokenizer.apply_chat_template(sample.prompt, add_generation_prompt=True, tokenize=False))
        return "\n\n".join(f"{m['role']}: {m['content']}" for m in sample.prompt)

    def _cut_off(self, sample: Sampled, ids: list[int]) -> bool | None:
        """Whether sampled tokens do not end with a special token; None where this is not known."""
        if sample.token_ids is None or self._labeller is None or not ids or (sample.mask and not sample.mask[-1]):
            return None
        vocab = self._labeller.vocab
        self.seen["truncated"] = True
        return not 0 <= ids[-1] < len(vocab) or bool(vocab[ids[-1]])


def _group_means(samples: Sequence[Sampled], groups: Sequence[int], n: int) -> list[float]:
    rewards = np.array([s.reward for s in samples], np.float64)
    known = np.isfinite(rewards)
    count = np.bincount(groups, known, n)
    total = np.bincount(groups, np.where(known, rewards, 0.0), n)
    return [float(t / c) if c else math.nan for t, c in zip(total, count, strict=True)]


def _kept(sizes: np.ndarray[Any, Any], keep: int | None) -> set[int]:
    """Numbers of the groups whose text is kept: the first ones, at least one unless `keep` is 0."""
    if keep is None:
        return set(range(len(sizes)))
    within = np.cumsum(sizes) <= keep
    return set(np.flatnonzero(within).tolist()) or ({0} if keep > 0 and len(sizes) else set())


def _advantage(
    sample: Sampled, mean: float, length: int, own: np.ndarray[Any, Any] | None
) -> tuple[float | None, list[float]]:
    """The completion's advantage, and one for each token."""
    given = sample.advantage
    if isinstance(given, list):
        if len(given) == length:
            carries = np.asarray(given)[own] if own is not None else np.asarray(given)
            return (float(carries.mean()) if len(carries) else None), given
        given = None
    if given is None:
        given = sample.reward - mean
    if not math.isfinite(given):
        return None, [0.0] * length
    each = [given] * length if own is None else np.where(own, given, 0.0).tolist()
    return given, each


def _listed(values: np.ndarray[Any, Any] | None) -> list[float | None] | None:
    return None if values is None else [v if math.isfinite(v) else None for v in values.tolist()]
