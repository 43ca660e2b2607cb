"""``hicra score``: log-probs and entropies for a run that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory whose text was kept.")],
    model: Annotated[
        str, typer.Option(help="The model that sampled, by hub name or path; {step} in it stands for the step.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run directory to write (default: RUN-scored).")
    ] = None,
    tokenizer: Annotated[str, typer.Option(help="Its tokenizer (default: the model's).")] = "",
    temperature: Annotated[float, typer.Option(help="What the sampler divided the logits by.")] = 1.0,
    device: Annotated[str, typer.Option(help="A torch device (default: a GPU where there is one).")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 (default: as the model was saved).")] = "auto",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a batch, padding included.")] = 16_384,
    again: Annotated[bool, typer.Option("--again", help="Score what has log-probs already, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document: what was done.")] = False,
) -> None:
    """Fill in log-probs and entropies by a forward pass; killed, it goes on where it stopped."""
    from hicra.cli.console import err, out, print_json, visible
    from hicra.cli.label import load_tokenizer
    from hicra.dynamics.score import score_run
    from hicra.traces.rundir import RunReader

    steps = RunReader(run).steps
    name = tokenizer or model.replace("{step}", str(steps[0] if steps else 0))
    with err.status("loading the model") as status:
        done = score_run(
            run,
            model,
            load_tokenizer(name),
            output,
            again=again,
            device=device,
            dtype=dtype,
            temperature=temperature,
            batch_tokens=batch_tokens,
            progress=lambda step, n, of: status.update(f"step {step}: {n:,} of {of:,} completions"),
        )
    for note in done.notes:
        err.print(visible(f"note: {note}"), highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(
            {
                "run": str(done.path),
                "steps": list(done.steps),
                "completions": done.completions,
                "tokens": done.tokens,
                "notes": list(done.notes),
            }
        )
        return
    text = f"{done.path}: {len(done.steps)} steps, {done.completions:,} completions, {done.tokens:,} tokens scored"
    out.print(text, highlight=False, markup=False, soft_wrap=True)
