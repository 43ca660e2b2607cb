"""``hicra grams why``: why a phrase is in a gram set, or why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hicra import DEFAULT_GRAMS
from hicra.cli.console import err, out, print_json, visible
from hicra.cli.grams import Json
from hicra.errors import ConfigError, DataError, MissingExtraError
from hicra.grams.gramset import GramSet

if TYPE_CHECKING:
    from hicra.grams.evidence import Evidence
    from hicra.grams.why import Answer

_STYLES = {"in": "bold green", "out": "bold red", "unknown": "bold yellow"}
_WORDS = {"in": "in", "out": "out", "unknown": "not there"}


def why(
    phrase: Annotated[str, typer.Argument(help="A phrase, in quotes.")],
    grams: Annotated[str, typer.Option(help="Gram set, by name or path.")] = DEFAULT_GRAMS,
    nearest: Annotated[int, typer.Option(min=0, help="Name so many grams that are near.")] = 5,
    as_json: Json = False,
) -> None:
    """Say why a phrase is in a gram set, or why not, and what the set has that is near."""
    from hicra.grams.why import why

    chosen = GramSet.load(grams)
    evidence = _evidence(grams, chosen)
    answer = why(phrase, chosen, evidence, nearest=nearest)
    if nearest and answer.verdict == "unknown":
        answer = _by_meaning(phrase, chosen, evidence, nearest) or answer
    if as_json:
        print_json(_plain(answer, chosen))
    else:
        _print(answer)


def _evidence(given: str, grams: GramSet) -> Evidence | None:
    """The evidence that lies beside a set, if it is of this set."""
    from hicra.grams.evidence import Evidence, evidence_path

    path = evidence_path(given)
    if not Path(given).suffix or not path.exists():
        return None
    found = Evidence.load(path)
    if found.facts.get("grams_hash") != grams.hash:
        err.print(
            Text(visible(f"{path} is of another set ({found.facts.get('grams')}); it is not looked at")), style="dim"
        )
        return None
    return found


def _by_meaning(phrase: str, grams: GramSet, evidence: Evidence | None, nearest: int) -> Answer | None:
    """The answer with neighbours in meaning, if an encoder is installed; the one of the mining where that is known."""
    from hicra.grams.embed import DEFAULT_ENCODER, Encoder
    from hicra.grams.why import why

    known = (evidence.facts if evidence else grams.provenance).get("encoder")
    name = known.get("name", DEFAULT_ENCODER) if isinstance(known, dict) else DEFAULT_ENCODER
    for candidate in dict.fromkeys((name, DEFAULT_ENCODER)):
        try:
            return why(phrase, grams, evidence, encoder=Encoder(candidate), nearest=nearest)
        except MissingExtraError:
            return None
        except (ConfigError, DataError):
            continue
    return None


def _plain(answer: Answer, grams: GramSet) -> dict[str, Any]:
    numbers = {
        key: None if value is None or value != value else value.item() if hasattr(value, "item") else value
        for key, value in (answer.numbers or {}).items()
    }
    return {
        "phrase": answer.text,
        "set": grams.name,
        "verdict": answer.verdict,
        "reasons": list(answer.reasons),
        "cluster": list(answer.cluster),
        "inside": list(answer.inside),
        "pattern": answer.pattern,
        "slots": [{"slot": slot, "words": words} for slot, words in answer.slots],
        "nearest": [{"gram": text, "likeness": round(likeness, 4)} for text, likeness in answer.nearest],
        "numbers": numbers,
    }


def _print(answer: Answer) -> None:
    out.print(Text.assemble((_WORDS[answer.verdict], _STYLES[answer.verdict]), f"  {visible(answer.text)}"))
    for reason in answer.reasons:
        out.print(Text(visible(f"  {reason}")), soft_wrap=True)
    if answer.cluster:
        out.print(Text(visible(f"  other wordings: {', '.join(answer.cluster[:20])}")), soft_wrap=True)
    if answer.inside:
        out.print(Text(visible(f"  it holds grams of the set: {', '.join(answer.inside)}")), soft_wrap=True)
    if answer.nearest:
        near = ", ".join(f"{text} ({likeness:.2f})" for text, likeness in answer.nearest)
        out.print(Text(visible(f"  near: {near}")), soft_wrap=True)
