"""The lab's tokenizer, phrases, settings, rewards and comparisons."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from hicra.errors import ConfigError, RunDirError
from hicra.lab.compare import outcome, paired_difference
from hicra.lab.layout import Layout
from hicra.lab.phrases import CLUSTERS, clusters, gram_set
from hicra.lab.rewards import faithful_answer, soft_overlong
from hicra.lab.settings import LabSettings, Training
from hicra.lab.tokenizer import build_tokenizer, vocabulary
from hicra.lab.world import World
from hicra.lab.writer import Habits, write_drill, write_solution

WORLD = World()


def test_no_phrase_hides_in_another() -> None:
    phrases = [phrase for wordings in CLUSTERS.values() for phrase in wordings]
    assert len(phrases) == len(set(phrases))
    for phrase in phrases:
        assert not any(f" {phrase} " in f" {other} " for other in phrases if other != phrase)
        assert 3 <= len(phrase.replace(" '", "'").split()) <= 5, "the paper's n-grams"


def test_a_world_has_the_phrases_of_its_approaches_only() -> None:
    small = clusters(World(approaches=2))
    assert {"product plus", "sum times", "backtracking"} < set(small)
    assert "gap times" not in small
    assert len(vocabulary(World(approaches=2))) < len(vocabulary(World(approaches=8)))


def test_tokenizer_is_a_real_one_and_loses_nothing(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = build_tokenizer(WORLD)
    tokenizer.save_pretrained(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rng = random.Random(0)
    for _ in range(200):
        problem = WORLD.draw(rng, "train")
        for text in (problem.prompt, write_solution(rng, WORLD, problem, Habits()), write_drill(rng, WORLD, problem)):
            ids = loaded(text)["input_ids"]
            assert len(ids) == len(text.split())
            assert loaded.unk_token_id not in ids
            assert loaded.decode(ids) == text
    batch = loaded(["a", "use 8 6 2"], padding=True)
    assert batch["attention_mask"][0][0] == 0, "prompts are padded on the left"


def test_labeller_finds_the_phrases_on_words() -> None:
    pytest.importorskip("transformers")
    from hicra.labels.labeller import Labeller

    grams = gram_set(WORLD)
    assert len(grams) == sum(map(len, clusters(WORLD).values()))
    assert set(grams.clusters) == set(clusters(WORLD))
    assert all(gram.function is not None for gram in grams)
    tokenizer = build_tokenizer(WORLD)
    labeller = Labeller(grams, tokenizer)
    phrases = {phrase: name for name, wordings in clusters(WORLD).items() for phrase in wordings}
    rng = random.Random(1)
    seen = set()
    for _ in range(600):
        text = write_solution(rng, WORLD, WORLD.draw(rng, "train"), Habits(wording=0.3, opening=0.5, concluding=0.5))
        labels = labeller.label(tokenizer(text)["input_ids"])
        words = text.split()
        for at in labels.begin.nonzero()[0].tolist():
            gram = grams[int(labels.gram_id[at])]
            phrase = gram.text.replace("'", " '")
            assert words[at : at + len(phrase.split())] == phrase.split()
            assert gram.cluster == phrases[phrase]
            seen.add(phrase)
        letters = [word.isalpha() or word == "'s" for word in words]
        spoken = {"neg", "huge", "vs", "yes", "miss", "so", "answer", "i", "stop", "here"}
        expected = [is_word and word not in spoken for is_word, word in zip(letters, words, strict=True)]
        assert labels.mask.tolist() == expected, text
    assert seen == set(phrases)


def test_settings_survive_json() -> None:
    import json

    settings = LabSettings(world=World(largest=7), habits=Habits(noise=0.1), seed=3)
    assert LabSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(ConfigError, match=r"settings\.world has no 'colour'"):
        LabSettings.from_dict({"world": {"colour": 1}})


def test_warm_start_hash_follows_what_the_warm_start_is_made_of() -> None:
    base = LabSettings().warm_start_hash
    assert LabSettings(seed=7, training=Training(steps=3)).warm_start_hash == base
    assert LabSettings(habits=Habits(noise=0.1)).warm_start_hash != base
    assert LabSettings(world=World(approaches=4)).warm_start_hash != base


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"group_size": 1}, {"soft_tokens": 999}])
def test_training_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Training(**wrong)  # type: ignore[arg-type]


def test_rewards() -> None:
    right = "let 's multiply then subtract , 8 * 6 = 4 8 - 2 = 4 6 vs 4 6 yes . so answer : 8 * 6 - 2"
    completions = [right, right.replace("4 8", "4 9")]
    assert faithful_answer(completions=completions, problem=["8-6-2=46"] * 2, prompts=[]) == [1.0, 0.0]
    overlong = soft_overlong(max_tokens=10, soft_tokens=4, price=0.5, eos_token_id=1)
    lengths = (1, 6, 7, 8, 10)
    ended = overlong(completion_ids=[[5] * (n - 1) + [1] for n in lengths])
    assert ended == [0.0, 0.0, -0.125, -0.25, -0.5]
    assert overlong(completion_ids=[[5] * 10]) == [-0.5], "cut"


def test_paired_difference_by_hand() -> None:
    before = {"a": 0.0, "b": 0.5, "c": 1.0, "only here": 1.0}
    found = paired_difference({"a": 0.5, "b": 1.0, "c": 0.5}, before)
    # differences .5, .5, -.5: mean 1/6, variance 1/3, standard error 1/3
    assert found.n == 3
    assert found.mean == pytest.approx(1 / 6)
    assert found.high - found.mean == pytest.approx(1.96 / 3)
    assert not found.clear
    alone = paired_difference({"a": 1.0}, {"a": 0.0})
    assert (alone.mean, alone.low, alone.clear) == (1.0, -math.inf, False)


@pytest.mark.parametrize(
    ("hicra", "grpo", "says"),
    [
        ([1, 0, 1, 0] * 20, [0, 1, 0, 1] * 20, "cannot be told apart"),
        ([1] * 40 + [0] * 40, [0] * 80, "HICRA's model is the better one"),
        ([0] * 80, [1] * 40 + [0] * 40, "GRPO's model is the better one"),
    ],
)
def test_the_words_say_what_the_curves_show(tmp_path: Path, hicra: list[int], grpo: list[int], says: str) -> None:
    settings = LabSettings(training=Training(steps=2))
    layout = Layout(tmp_path)
    for arm, last in (("hicra", hicra), ("grpo", grpo)):
        write_arm(layout, arm, {0: [0] * 80, 2: last})
    found = outcome(layout, settings)
    assert sum(says in sentence for sentence in found.words) == 1
    assert not any("better one" in sentence for sentence in found.words if says == "cannot be told apart")
    assert "takes several seeds to say" in found.words[-1]
    learned = sum(hicra) > 0 and found.gain["hicra"].clear
    assert any(sentence.startswith("HICRA learned") for sentence in found.words) == learned


def test_an_outcome_is_plain_json(tmp_path: Path) -> None:
    import json

    layout = Layout(tmp_path)
    for arm in ("grpo", "hicra"):
        write_arm(layout, arm, {0: [0], 2: [1]})  # one problem: no interval
    document = outcome(layout, LabSettings(training=Training(steps=2))).to_dict()
    json.dumps(document, allow_nan=False)
    assert document["hicra_minus_grpo"] == {"mean": 0.0, "low": None, "high": None, "n": 1}


def test_intervals_of_a_mean_by_hand() -> None:
    from hicra.lab.intervals import mean_interval

    # sd of 0, 0, 1, 1 is sqrt(1/3); over sqrt(4): .28868, times 1.96: .56580
    assert mean_interval([0, 0, 1, 1]) == pytest.approx((0.5, -0.06580, 1.06580), abs=1e-5)
    assert mean_interval([0.25]) == (0.25, -math.inf, math.inf)
    assert math.isnan(mean_interval([])[0])


def test_an_unfinished_experiment_has_no_outcome(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_arm(layout, "grpo", {0: [0, 1]})
    with pytest.raises(RunDirError, match="has not ended"):
        outcome(layout, LabSettings(training=Training(steps=2)))


def write_arm(layout: Layout, arm: str, evaluations: dict[int, list[int]]) -> None:
    from hicra.lab.evaluate import Evaluation
    from hicra.traces.rundir import RunWriter

    writer = RunWriter.create(layout.run(arm), config={}, seeds={})
    for step in range(max(evaluations) + 1):
        if step:
            writer.commit(step, {"reward": 0.0})
        if step in evaluations:
            rows = [
                {"item": f"{i}", "sample": 0, "correct": bool(right), "length": 5}
                for i, right in enumerate(evaluations[step])
            ]
            found = Evaluation({"accuracy": sum(evaluations[step]) / len(rows), "length": 5.0}, rows)
            found.save_items(layout.items(arm, step))
            writer.eval(step, found.metrics)
