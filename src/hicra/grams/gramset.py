"""Strategic Grams and sets of them.

A `GramSet` is immutable, ordered by text and identified by its content hash: two sets with the same grams, positions,
clusters, functions and text rules have the same hash whatever they are called. Files are JSON with one gram a line,
so that a version-control diff reads like a change list.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from hicra.errors import DataError
from hicra.grams.pattern import is_pattern, normalise_any
from hicra.grams.slots import SLOTS_VERSION
from hicra.grams.text import ENGLISH, TEXT_VERSION, VERSIONS, text_rules

if TYPE_CHECKING:
    import numpy as np

At = Literal["any", "clause", "sentence"]
"""Where a gram may begin: anywhere, where a clause begins, or where a sentence begins."""

Function = Literal["deduction", "branching", "backtracing"]
"""What a gram does to the flow of a solution (arXiv 2509.03646, section on Strategic Grams)."""

FORMAT = "hicra-grams"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Gram:
    """A phrase that steers.

    Attributes:
        text: the phrase; a set keeps it normalised (lower case, single spaces). Or a pattern, with slots and options
            (``let's [<adv>] <verb>``), see `hicra.grams.pattern`.
        at: where it counts: ``"any"``, ``"clause"`` or ``"sentence"`` (start of one).
        cluster: name of the group of wordings of one move that it belongs to, or None.
        function: ``"deduction"``, ``"branching"``, ``"backtracing"`` or None where unknown.
    """

    text: str
    at: At = "any"
    cluster: str | None = None
    function: Function | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise DataError("a gram's text is no string", expected="a phrase", got=repr(self.text))
        if self.at not in get_args(At):
            raise DataError(
                f"gram {self.text!r}: unknown position", expected=" | ".join(get_args(At)), got=repr(self.at)
            )
        if self.cluster is not None and not isinstance(self.cluster, str):
            raise DataError(f"gram {self.text!r}: cluster is no name", expected="a string", got=repr(self.cluster))
        if self.function is not None and self.function not in get_args(Function):
            raise DataError(
                f"gram {self.text!r}: unknown function",
                expected=" | ".join(get_args(Function)),
                got=repr(self.function),
            )


@dataclass(frozen=True)
class Difference:
    """What has to change to turn one set into another: grams to add, to remove, and pairs (before, after) to alter."""

    added: tuple[Gram, ...]
    removed: tuple[Gram, ...]
    changed: tuple[tuple[Gram, Gram], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class GramSet:
    """An ordered, immutable set of grams. Make one with `from_grams`, `load` or `drop`.

    Attributes:
        grams: the grams, sorted by text; a gram's index in here is its id in labels and counts.
        name: what people call the set.
        text_version: the version of the text rules that the set was made for.
        rules: the name of these rules, ``"english-maths"`` or ``"code-agent"``.
        provenance: where it comes from (free JSON: source, corpus, settings, parent set).
        remarks: what had to be changed to read it (not part of the hash).
    """

    grams: tuple[Gram, ...]
    name: str = "unnamed"
    text_version: int = TEXT_VERSION
    provenance: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = field(default=(), compare=False)
    rules: str = ENGLISH

    # --- making ------------------------------------------------------------------------------------------------------
    @classmethod
    def from_grams(
        cls,
        grams: Iterable[str | Gram | Mapping[str, Any]],
        *,
        name: str = "custom",
        text_version: int | None = None,
        rules: str = ENGLISH,
        provenance: Mapping[str, Any] | None = None,
    ) -> GramSet:
        """Build a set from phrases, patterns, `Gram` objects or mappings with their fields.

        Texts are normalised; what was taken off (a trailing ``?``, a leading ``##``) and repeats are in `remarks`.

        Raises:
            DataError: no gram at all, a gram that no text can match, an unknown field or value, one text given with two
                different positions, clusters or functions, or text rules that this package does not know.
        """
        chosen = text_rules(text_version, name=rules)
        found: dict[str, Gram] = {}
        remarks: list[str] = []
        if isinstance(grams, str | bytes):
            raise DataError("grams is one string", expected="a list of phrases", got=repr(grams)[:80])
        for item in grams:
            gram = _as_gram(item)
            text, remark = normalise_any(gram.text, None if rules == ENGLISH else chosen)
            if remark:
                remarks.append(remark)
            gram = replace(gram, text=text)
            before = found.setdefault(text, gram)
            if before is not gram:
                if before != gram:
                    raise DataError(
                        f"the gram {text!r} is given twice with different fields", got=f"{before} and {gram}"
                    )
                remarks.append(f"{text!r} is given more than once")
        if not found:
            raise DataError("a gram set needs at least one gram", expected="a list of phrases", got="none")
        ordered = tuple(found[text] for text in sorted(found))
        return cls(ordered, name, chosen.version, dict(provenance or {}), tuple(remarks), rules)

    @classmethod
    def load(cls, name_or_path: str | Path) -> GramSet:
        """Load a shipped set by its name (``"paper"``) or any set by its path.

        Reads what `save` writes, and also a plain JSON list of phrases or an object with a list under ``"grams"``.

        Raises:
            DataError: there is no such set or file, it is no gram set, it was made for other text rules, or it was
                edited after it was saved (its hash does not fit).
        """
        path = Path(name_or_path)
        if path.suffix == "" and not path.exists():
            shipped = shipped_sets()
            if str(name_or_path) not in shipped:
                raise DataError(
                    f"there is no gram set {str(name_or_path)!r}",
                    expected=f"a shipped set ({', '.join(shipped)}) or the path of a .json file",
                )
            content = (files("hicra.grams") / "data" / f"{name_or_path}.json").read_text("utf-8")
            return _parse(content, f"shipped set {name_or_path}", str(name_or_path))
        try:
            content = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read the gram set {path}", got=str(error)) from error
        return _parse(content, str(path), path.stem)

    # --- looking -----------------------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self.grams)

    def __iter__(self) -> Iterator[Gram]:
        return iter(self.grams)

    def __getitem__(self, gram_id: int) -> Gram:
        return self.grams[gram_id]

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and text in self._index

    def index(self, text: str) -> int:
        """The id of a gram by its text (normalised or not).

        Raises:
            DataError: the set does not hold it.
        """
        normal, _ = normalise_any(text)
        if normal not in self._index:
            raise DataError(f"the set {self.name!r} does not hold {text!r}")
        return self._index[normal]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {gram.text: i for i, gram in enumerate(self.grams)}

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the grams with all their fields, of the text rules and, with patterns, of the word lists."""
        rules = self.text_version if self.rules == ENGLISH else [self.rules, self.text_version]
        content: list[Any] = [rules, *([g.text, g.at, g.cluster, g.function] for g in self.grams)]
        if self.patterns:
            content.append({"slots": SLOTS_VERSION})
        return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def patterns(self) -> int:
        """How many of the grams are patterns."""
        return sum(is_pattern(g.text) for g in self.grams)

    @cached_property
    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters, sorted; empty where the set has none."""
        return tuple(sorted({g.cluster for g in self.grams if g.cluster is not None}))

    @cached_property
    def cluster_id(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Index into `clusters` of each gram, (K,), -1 for none."""
        import numpy as np

        position = {name: i for i, name in enumerate(self.clusters)}
        return np.array([-1 if g.cluster is None else position[g.cluster] for g in self.grams], np.int32)

    # --- changing ----------------------------------------------------------------------------------------------------
    def drop(self, fraction: float, seed: int) -> GramSet:
        """The set without a random share of its grams: the sensitivity test of the paper (30 %).

        Args:
            fraction: share to drop, in [0, 1); the count is rounded to the nearest integer and at least one gram stays.
            seed: of the draw; the same seed drops the same grams.
        """
        if not 0 <= fraction < 1:
            raise DataError("the fraction to drop is out of range", expected="0 <= fraction < 1", got=repr(fraction))
        dropped = min(round(fraction * len(self)), len(self) - 1)
        gone = set(random.Random(seed).sample(range(len(self)), dropped))
        kept = tuple(g for i, g in enumerate(self.grams) if i not in gone)
        made = {"parent": self.name, "parent_hash": self.hash, "dropped_fraction": fraction, "seed": seed}
        return GramSet(kept, f"{self.name}-drop{fraction:g}-seed{seed}", self.text_version, made, rules=self.rules)

    def merge(self, *others: GramSet, name: str | None = None) -> GramSet:
        """This set and others as one; where they disagree, the earlier one decides (see `hicra.grams.merge`)."""
        from hicra.grams.merge import merge

        return merge([self, *others], name=name)

    def diff(self, other: GramSet) -> Difference:
        """What has to change in this set to become `other`."""
        mine, theirs = {g.text: g for g in self}, {g.text: g for g in other}
        return Difference(
            added=tuple(theirs[t] for t in sorted(theirs.keys() - mine.keys())),
            removed=tuple(mine[t] for t in sorted(mine.keys() - theirs.keys())),
            changed=tuple((mine[t], theirs[t]) for t in sorted(mine.keys() & theirs.keys()) if mine[t] != theirs[t]),
        )

    # --- storing -----------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """The set as plain JSON values, hash included."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            **({} if self.rules == ENGLISH else {"text_rules": self.rules}),
            "text_version": self.text_version,
            **({"slots": SLOTS_VERSION} if self.patterns else {}),
            "hash": self.hash,
            "provenance": dict(self.provenance),
            "grams": [asdict(g) for g in self.grams],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> GramSet:
        """The set that `to_dict` wrote, e.g. into a run directory."""
        return _from_mapping(content, "gram set", str(content.get("name", "unnamed")))

    def save(self, path: str | Path) -> Path:
        """Write the set as JSON, one gram a line; the file appears whole or not at all."""
        head = {k: v for k, v in self.to_dict().items() if k != "grams"}
        lines = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
        grams = ",\n".join("  " + json.dumps(_sparse(g), ensure_ascii=False) for g in self.grams)
        path = Path(path)
        part = path.with_name(path.name + ".part")
        try:
            part.write_text(f'{lines},\n "grams": [\n{grams}\n ]\n}}\n', "utf-8")
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DataError(f"cannot write the gram set {path}", got=str(error)) from error
        return path

    # --- sharing -----------------------------------------------------------------------------------------------------
    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish the set with a card as a data set of the Hugging Face hub; see `hicra.grams.hub.push`."""
        from hicra.grams.hub import push

        return push(self, repo_id, **options)

    @classmethod
    def from_hub(cls, repo_id: str, **options: Any) -> GramSet:
        """Load a set that `push_to_hub` published; see `hicra.grams.hub.pull`."""
        from hicra.grams.hub import pull

        return pull(repo_id, **options)


def shipped_sets() -> Sequence[str]:
    """Names of the sets that come with the package."""
    folder = files("hicra.grams") / "data"
    return sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


def _sparse(gram: Gram) -> dict[str, Any]:
    default = Gram("")
    return {k: v for k, v in asdict(gram).items() if k == "text" or v != getattr(default, k)}


def _as_gram(item: str | Gram | Mapping[str, Any]) -> Gram:
    if isinstance(item, Gram):
        return item
    if isinstance(item, str):
        return Gram(item)
    if not isinstance(item, Mapping) or "text" not in item:
        raise DataError("this is no gram", expected="a phrase, a Gram or a mapping with 'text'", got=repr(item)[:120])
    known = Gram.__dataclass_fields__.keys()
    unknown = item.keys() - known
    if unknown:
        raise DataError(
            f"gram {item['text']!r} has unknown fields", expected=", ".join(known), got=", ".join(sorted(unknown))
        )
    return Gram(**cast(dict[str, Any], dict(item)))


def _parse(content: str, where: str, name: str) -> GramSet:
    try:
        parsed = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, line {error.lineno}: broken JSON",
            got=error.msg,
            mend="the file was cut off or edited; see that line",
        ) from error
    if isinstance(parsed, list):
        parsed = {"grams": parsed}
    if not isinstance(parsed, dict) or not isinstance(parsed.get("grams"), list):
        raise DataError(
            f"{where} holds no gram set", expected='an object with a list under "grams", or a list of phrases'
        )
    return _from_mapping(parsed, where, name)


def _from_mapping(content: Mapping[str, Any], where: str, name: str) -> GramSet:
    written = content.get("format_version", FORMAT_VERSION)
    if content.get("format", FORMAT) != FORMAT or written != FORMAT_VERSION:
        raise DataError(
            f"{where} is of another format",
            expected=f"{FORMAT} {FORMAT_VERSION}",
            got=f"{content.get('format')} {written}",
        )
    slots = content.get("slots", SLOTS_VERSION)
    if slots != SLOTS_VERSION:
        raise DataError(
            f"{where} has patterns that were made for other word lists of slots",
            expected=f"version {SLOTS_VERSION}",
            got=repr(slots),
            mend='look at what its patterns match now, then delete the lines with "slots" and "hash"',
        )
    rules = str(content.get("text_rules", ENGLISH))
    grams = GramSet.from_grams(
        content["grams"],
        name=str(content.get("name", name)),
        text_version=content.get("text_version", VERSIONS.get(rules)),
        rules=rules,
        provenance=content.get("provenance"),
    )
    if "hash" in content and content["hash"] != grams.hash:
        raise DataError(
            f"{where} was edited after it was saved: its hash does not fit its grams",
            expected=str(content["hash"]),
            got=grams.hash,
            mend='if the edit was meant, delete the line with "hash" (and say in "provenance" what you changed)',
        )
    return grams
