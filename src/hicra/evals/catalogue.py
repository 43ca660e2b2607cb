"""The benchmarks of the paper: what they are, how many items they have, under which licence, and where they lie.

No texts and no pictures: see `hicra.evals.benchmarks`, which loads them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a benchmark lies on the Hugging Face hub; several `configs` are its parts."""

    repository: str
    split: str
    config: str | None = None
    configs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is known of a benchmark.

    Attributes:
        name: how hicra calls it.
        title: how people call it.
        items: number of items; `other_items` are the numbers of other copies in circulation.
        samples: answers per item in the paper's tables.
        license: of the texts.
        hub: where to get them.
        problems_sha256: of the problems' letters and digits, whatever their order, see `problems_digest`; None where
            we do not have them, and only their number is checked.
        answers_sha256: of the answers, each with its problem, see `answers_digest`.
        grader: how its answers are graded and its problems are asked, one of `GRADERS`.
    """

    name: str
    title: str
    items: int
    samples: int
    license: str
    hub: Hub
    problems_sha256: str | None = None
    answers_sha256: str | None = None
    other_items: tuple[int, ...] = ()
    grader: str = "boxed"


_MAA = "problems (c) Mathematical Association of America, no open licence: evaluation and research only"

BENCHMARKS: dict[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark(
            "aime24",
            "AIME 2024",
            30,
            32,
            _MAA,
            Hub("HuggingFaceH4/aime_2024", "train"),
            "ace8cbe81670eacfd40706c5d5fe59e5fc2ef7e30643673cca4aed3e9b79d3d9",
            "2e0b865b7e3509e60dbcf81ea30223c7b31bb1ba1638186dcf81e267ac90678f",
        ),
        Benchmark(
            "aime25",
            "AIME 2025",
            30,
            32,
            _MAA,
            Hub("math-ai/aime25", "test"),
            "6a9f023596a32b00f5a19b24490c69e775ba0f4de3a4dc360e9381682a343531",
            "5871f833bd2db83676a36e9372cdec53006038b3c0a171fdaa5a5aa97c331567",
        ),
        Benchmark(
            "math500",
            "MATH-500",
            500,
            1,
            "MIT (hendrycks/math; split openai/prm800k)",
            Hub("HuggingFaceH4/MATH-500", "test"),
            "a46e75825b1a30a281d19bae06c4de553f30fd1ce879a76a603ff8f50038b460",
            "853b5d466c0ac113668b0e8dbb7b0c0003777b8a35fd632d846997a7e74eac67",
        ),
        Benchmark(
            "amc23",
            "AMC 2023, 40 items",
            40,
            4,
            _MAA,
            Hub("math-ai/amc23", "test"),
            "3cd04b74a4efa8b252d7396ca031cd8736d02b70a2802bce6215a118138b7a9a",
            "0c4039a2b693b0e047c8aa7437c8c72622e609beb5c64f7f9285c40bd721e4dc",
        ),
        Benchmark(
            "amc83",
            "AMC 2022 and 2023, 83 items",
            83,
            4,
            _MAA,
            Hub("AI-MO/aimo-validation-amc", "train"),
            "070af8417000028ff26cd630df36f6d8d13742b26577da55d01968bb2383e83d",
            "1a88fd70f9dc9a2992e3d08e3c94e896defed234ace0b1ae54aeebdc078bf310",
        ),
        Benchmark(
            "minerva",
            "Minerva Math (OCWCourses)",
            272,
            1,
            "CC BY-NC-SA 4.0 (MIT OpenCourseWare): non-commercial",
            Hub("math-ai/minervamath", "test"),
            "c95b6b23fee0f9fc1131279fee52c1645004fa58dc83024523f258d9b8de7312",
            "4120550bae0d95c568fbee96f859964b82a9dec8208cf67086eec03c578848e8",
        ),
        Benchmark(
            "olympiadbench",
            "OlympiadBench, English text-only mathematics with answers",
            675,
            1,
            "MIT (OpenBMB/OlympiadBench)",
            Hub("Hothan/OlympiadBench", "train", "OE_TO_maths_en_COMP"),
            "3abf09e4a90543e9c6e6d6655de78b1ca1023a4282f94a5613465968c0f7cc34",
            "868d0a67f038db5b0dd9c75d7c00cc3bf92ab7390588b23d3d0b2e82085cb4a5",
            other_items=(674,),
        ),
    )
}

GRADERS = ("boxed", "mathvista", "mathvision", "mathverse", "emma")
"""Ways to ask and to grade: the last box by `hicra.evals.answers`, or as the authors of a vision benchmark do it."""

VISION: dict[str, Benchmark] = {
    b.name: b
    for b in (
        Benchmark(
            "mathvista",
            "MathVista, testmini",
            1000,
            1,
            "CC BY-SA 4.0 (annotations; pictures under their sources' licences): test use only",
            Hub("AI4Math/MathVista", "testmini"),
            "4d381b290b3db9758c38d2d94ae1b38867b46b4c48c9535647e3bd59326134c1",
            "96ecd881e3c4d4c7cd3f12feb622abc395f272baa8983c443e4bbc2f7a62db12",
            grader="mathvista",
        ),
        Benchmark(
            "mathvision",
            "MathVision, test (304 items: testmini)",
            3040,
            1,
            "MIT (mathllm/MATH-V)",
            Hub("MathLLMs/MathVision", "test"),
            other_items=(304,),
            grader="mathvision",
        ),
        Benchmark(
            "mathverse",
            "MathVerse, testmini: 788 problems in 5 versions",
            3940,
            1,
            "MIT (ZrrSkywalker/MathVerse)",
            Hub("AI4Math/MathVerse", "testmini", "testmini"),
            grader="mathverse",
        ),
        Benchmark(
            "mathverse_textonly",
            "MathVerse, text only",
            788,
            1,
            "MIT (ZrrSkywalker/MathVerse)",
            Hub("AI4Math/MathVerse", "testmini_text_only", "testmini_text_only"),
            "cffcd4f0df8cf6f2f0db7365d70df28305a6baad02ebba3a5aff110d9371cdc9",
            "c90b78694774ac34ef30d77546bb3f87da99c5678bea3966e56d2d26b1869e49",
            grader="mathverse",
        ),
        Benchmark(
            "emma",
            "EMMA (400 items: EMMA-mini)",
            2788,
            1,
            "no licence stated (EMMA-Bench/EMMA)",
            Hub("luckychao/EMMA", "test", configs=("Math", "Physics", "Chemistry", "Coding")),
            other_items=(400,),
            grader="emma",
        ),
    )
}
"""Benchmarks with pictures."""

PRESETS: dict[str, dict[str, int]] = {
    "paper": {n: BENCHMARKS[n].samples for n in ("aime24", "aime25", "math500", "amc23", "minerva", "olympiadbench")},
    "vision": {n: VISION[n].samples for n in ("mathvista", "mathvision", "mathverse", "emma")},
}
"""Benchmarks of a table and the answers to sample per item. ``paper``: table 1 of arXiv 2509.03646. ``vision``: the
benchmarks of its table 2; it does not say how many answers it takes, one is usual."""
