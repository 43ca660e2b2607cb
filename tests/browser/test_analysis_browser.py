"""The analysis page in a real browser: pictures answer to pointer and keys, hostile text does nothing, phones fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hicra.dynamics.judge import PROMPT_VERSION
from hicra.report import write_analysis
from tests.browsing import BAD, HOSTILE, HUGE, NEEDS_BROWSER, embedded, requests_of, show
from tests.run_dirs import gram_dict, make_run

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("analysis")
    runs = [make_run(root / "grpo", estimator="grpo", steps=14), make_run(root / "hicra", seed=1, steps=14)]
    return write_analysis(runs, root / "report.html")


@pytest.fixture(scope="module")
def hostile_analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile-analysis")
    grams = gram_dict()
    grams["grams"] = [{**g, "text": f"{i}{BAD}", "cluster": f"{HOSTILE[i]}{BAD}"} for i, g in enumerate(grams["grams"])]
    run = make_run(root / "run", steps=3, prompt=BAD + HUGE, grams=grams)
    said = {"step": 1, "prompt_id": BAD, "category": "plan", "why": BAD, "prompt_version": PROMPT_VERSION}
    rows = [{**said, "key": BAD, "judge": judge} for judge in (BAD, HUGE)]
    (run / "judgements.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return write_analysis([run, run], root / "report.html", title=BAD, names=[BAD, HUGE])


def lines(text: str) -> list[str]:
    return text.replace("\u00a0", " ").split("\n")


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_does_nothing_in_pictures(driver: Any, hostile_analysis: Path, width: int) -> None:
    from selenium.webdriver.common.keys import Keys

    show(driver, hostile_analysis, width=width)
    for details in driver.find_elements("css selector", "details"):
        driver.execute_script("arguments[0].open = true", details)
    told = []
    for picture in driver.find_elements("css selector", "[data-picture]"):
        for key in (Keys.HOME, Keys.ARROW_DOWN, Keys.END):
            picture.send_keys(key)
            told += [tip.get_property("textContent") for tip in picture.find_elements("css selector", ".tip")]
    driver.execute_script("document.querySelector('input[value=both]').click()")
    driver.execute_script("document.querySelectorAll('#browser .t').forEach((t) => t.click())")
    assert driver.execute_script("return window.pwned") is None
    assert driver.execute_script("return document.querySelectorAll('img, iframe, object, embed, link').length") == 0
    assert [u for u in requests_of(driver) if u != hostile_analysis.as_uri()] == []
    assert driver.get_log("browser") == []
    assert any("<script>window.pwned" in text for text in told)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script("return document.body.innerText.includes('\\u202e')") is False


def test_a_grid_reads_out_under_pointer_and_keys(driver: Any, analysis: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(driver, analysis)
    plot = driver.find_element("css selector", "[data-picture=flow-0-late]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    data = embedded(driver)["pictures"]["flow-0-late"]
    x, y, width, height, says = data["spots"][3]
    box = driver.execute_script("const r = arguments[0].getBoundingClientRect(); return [r.width, r.height]", plot)
    at = [(x + width / 2) / data["size"][0] * box[0], (y + height / 2) / data["size"][1] * box[1]]
    move = ActionChains(driver).move_to_element_with_offset(plot, round(at[0] - box[0] / 2), round(at[1] - box[1] / 2))
    move.perform()
    tip = driver.find_element("css selector", "[data-picture=flow-0-late] .tip")
    assert lines(tip.text) == lines(says)
    assert driver.find_elements("css selector", "[data-picture=flow-0-late] rect.spot")
    plot.send_keys(Keys.HOME)
    assert lines(tip.text) == lines(data["spots"][0][4])
    plot.send_keys(Keys.ESCAPE)
    assert driver.find_elements("css selector", ".tip") == []


def test_two_colours_mark_planning_and_high_entropy(driver: Any, analysis: Path) -> None:
    show(driver, analysis)
    driver.execute_script("document.querySelector('input[value=both]').click()")
    data = embedded(driver)
    step = data["runs"][0]["steps"][-1]
    item = step["groups"][0]["items"][0]
    high = [e is not None and e >= step["h"] for e in item["e"]]
    shown = driver.execute_script(
        "return [...document.querySelectorAll('#browser .text .t')].map((t) => t.classList.contains('h'))"
    )
    assert shown == high
    styles = driver.execute_script("""return [...document.querySelectorAll('#browser .text .t')].map((t) =>
      [getComputedStyle(t).backgroundColor, getComputedStyle(t).borderBottomWidth])""")
    planning = [False] * len(high)
    for start, end in zip(item["p"][::3], item["p"][1::3], strict=True):
        planning[start:end] = [True] * (end - start)
    assert len({styles[i][0] for i in range(len(high)) if planning[i]}) == 1
    assert {styles[i][0] for i in range(len(high)) if planning[i]}.isdisjoint(
        {styles[i][0] for i in range(len(high)) if not planning[i]}
    )
    assert {styles[i][1] for i in range(len(high)) if high[i]} == {"3px"}
    legend = driver.find_element("css selector", "#browser .legend").text
    assert "top 30 % of its step" in legend
    assert "both" in legend


def test_numbers_part_by_what_is_on_the_axis(driver: Any, analysis: Path) -> None:
    show(driver, analysis)
    driver.execute_script("document.querySelector('#figure-overlap details.numbers').open = true")
    driver.execute_async_script("setTimeout(arguments[0], 100)")
    tables = driver.find_elements("css selector", "#figure-overlap details.numbers table")
    assert [t.find_element("css selector", "th").text for t in tables] == ["share of tokens that counts as top", "step"]
    assert len(tables[0].find_elements("css selector", "tbody tr")) == 7


def test_the_page_fits_a_phone(driver: Any, analysis: Path) -> None:
    show(driver, analysis, width=390, height=844)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    script = """return [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll') && !e.closest('svg')
      && !e.classList.contains('away') && e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 99))"""
    assert driver.execute_script(script) == []


def test_pictures_follow_the_theme(driver: Any, analysis: Path) -> None:
    seen = []
    for dark in (False, True):
        show(driver, analysis, dark=dark)
        script = (
            "return getComputedStyle(document.querySelector('#panel-flow-1-late svg path[fill=\"var(--run0)\"]')).fill"
        )
        seen.append(driver.execute_script(script))
    assert seen[0] != seen[1]


def test_every_plot_has_a_name(driver: Any, analysis: Path) -> None:
    show(driver, analysis)
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nameless = [
        n["role"]["value"]
        for n in nodes
        if not n.get("ignored")
        and n["role"]["value"] in ("button", "radio", "combobox", "link", "region", "status")
        and not n.get("name", {}).get("value")
    ]
    assert nameless == []
    script = """return [...document.querySelectorAll('.plot')].filter((p) =>
      !document.getElementById(p.getAttribute('aria-labelledby'))).length"""
    assert driver.execute_script(script) == 0
