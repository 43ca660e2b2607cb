"""The report in a real browser: hostile text does nothing, tokens can be read by mouse, finger and keys, phones fit."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from hicra.report import write_report
from tests.browsing import BAD, HOSTILE, HUGE, NEEDS_BROWSER, embedded, requests_of, show
from tests.run_dirs import gram_dict, make_run

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    runs = [make_run(root / "grpo", estimator="grpo", steps=8), make_run(root / "hicra", seed=1, steps=8)]
    return write_report(runs, root / "report.html")


@pytest.fixture(scope="module")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    grams = gram_dict()
    grams["grams"] = [{**g, "text": BAD, "cluster": BAD} for g in grams["grams"]]
    grams["name"] = BAD
    run = make_run(root / "run", steps=2, prompt=BAD + HUGE, completion=[*HOSTILE, HUGE], grams=grams)
    return write_report([run, run], root / "report.html", title=BAD, names=[BAD, HUGE])


def facts(driver: Any) -> dict[str, str]:
    script = """return [...document.querySelectorAll('.facts dt')].map((dt) => [dt.textContent,
      dt.nextElementSibling.textContent])"""
    return dict(driver.execute_script(script))


def first_planning_token(driver: Any) -> Any:
    token = driver.find_element("css selector", "#browser .t.m")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", token)
    return token


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_text_does_nothing_and_is_shown(driver: Any, hostile_report: Path, width: int) -> None:
    show(driver, hostile_report, width=width)
    for mode in ("entropy", "advantage", "planning"):
        driver.execute_script(f"document.querySelector('input[value={mode}]').click()")
    for details in driver.find_elements("css selector", "details"):
        driver.execute_script("arguments[0].open = true", details)
    driver.execute_script("document.querySelectorAll('#browser .t').forEach((t) => t.click())")
    driver.execute_script("document.querySelectorAll('.plot').forEach((p) => p.focus())")
    driver.execute_script("document.querySelectorAll('#browser .t')[1].click()")
    assert driver.execute_script("return window.pwned") is None
    assert driver.execute_script("return document.querySelectorAll('img, iframe, object, embed, link').length") == 0
    assert [u for u in requests_of(driver) if u != hostile_report.as_uri()] == []
    assert driver.get_log("browser") == []
    completion = driver.find_element("css selector", "#browser .text").get_property("textContent")
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[6], HOSTILE[12], "U+202Eesrever", "nulU+0000bellU+0007"):
        assert text in completion
    assert HOSTILE[0] in driver.find_element("css selector", "#browser .prompt").text
    assert HOSTILE[0] in driver.find_element("css selector", "h1").text
    assert HOSTILE[0] in facts(driver)["Gram"]
    labels = driver.execute_script("return [...document.querySelectorAll('.plot text')].map((t) => t.textContent)")
    assert any(text.startswith("<script>window") for text in labels)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_hostile_prompt_cannot_turn_the_page_around(driver: Any, hostile_report: Path) -> None:
    """Everything after an override is still laid out left to right."""
    show(driver, hostile_report)
    assert driver.execute_script("return document.body.innerText.includes('\\u202e')") is False


def test_pointing_at_a_token_shows_its_credit(driver: Any, report: Path) -> None:
    from selenium.webdriver import ActionChains

    show(driver, report)
    data = embedded(driver)
    driver.execute_script("document.querySelector('input[name=run][value=\"1\"]').click()")
    token = first_planning_token(driver)
    ActionChains(driver).move_to_element(token).perform()
    shown = facts(driver)
    group = int(
        driver.find_element("id", "control-prompt").get_property("value")
    )  # the prompt stays, its place may not
    item = data["runs"][1]["steps"][-1]["groups"][group]["items"][0]
    start, _, gram = item["p"][:3]
    advantage = item["a"][item["i"][start]] if item["i"] else item["a"][0]
    assert float(shown["Advantage"].replace("−", "-")) == pytest.approx(advantage, rel=5e-3)
    assert float(shown["Entropy"].split()[0]) == pytest.approx(item["e"][start] / 1000, rel=5e-3)
    assert float(shown["Log-prob"].split()[0].replace("−", "-")) == pytest.approx(item["l"][start] / 1000, rel=5e-3)
    assert shown["Kind"] == "planning"
    assert shown["Gram"] == data["runs"][1]["grams"][gram]["t"]
    assert shown["Cluster"] == data["runs"][1]["grams"][gram]["c"]
    assert shown["Function"] == data["runs"][1]["grams"][gram]["f"]
    assert driver.get_log("browser") == []


def test_tapping_a_token_on_a_phone_shows_its_advantage(driver: Any, report: Path) -> None:
    show(driver, report, width=390, height=844)
    token = first_planning_token(driver)
    box = driver.execute_script("const r = arguments[0].getBoundingClientRect(); return [r.x + 4, r.y + 8]", token)
    point = [{"x": box[0], "y": box[1]}]
    driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": point})
    driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    driver.execute_async_script("setTimeout(arguments[0], 400)")
    assert "Advantage" in facts(driver)
    card = driver.execute_script("return document.querySelector('.facts').getBoundingClientRect().toJSON()")
    place = driver.execute_script("return arguments[0].getBoundingClientRect().toJSON()", token)
    assert card["bottom"] <= 844
    assert place["bottom"] <= card["top"]  # the card does not cover its token


def test_no_sideways_scrolling_on_a_phone(driver: Any, report: Path) -> None:
    show(driver, report, width=390, height=844)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    script = """return [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll') && !e.closest('svg')
      && !e.classList.contains('away') && e.getBoundingClientRect().right > 391).map((e) => e.outerHTML.slice(0, 99))"""
    assert driver.execute_script(script) == []


def test_keyboard_walks_tokens_and_phrases(driver: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(driver, report)
    text = driver.find_element("css selector", "#browser .text")
    text.send_keys(Keys.ARROW_RIGHT)
    assert facts(driver)["Position"].startswith("1 of")
    text.send_keys(Keys.ARROW_RIGHT)
    assert facts(driver)["Position"].startswith("2 of")
    item = embedded(driver)["runs"][0]["steps"][-1]["groups"][0]["items"][0]
    starts = item["p"][::3]
    text.send_keys("n")
    ahead = [s for s in starts if s > 1]
    if ahead:
        assert facts(driver)["Position"].startswith(f"{ahead[0] + 1} of")
    text.send_keys("p")
    assert facts(driver)["Position"].startswith(f"{starts[0] + 1} of")
    text.send_keys(Keys.ESCAPE)
    assert facts(driver) == {}


def test_browsing_by_run_step_and_completion(driver: Any, report: Path) -> None:
    from selenium.webdriver.support.select import Select

    show(driver, report)
    data = embedded(driver)
    driver.execute_script("document.querySelector('input[name=run][value=\"1\"]').click()")
    Select(driver.find_element("id", "control-step")).select_by_index(0)
    Select(driver.find_element("id", "control-prompt")).select_by_index(1)
    driver.find_elements("css selector", ".pick")[2].click()
    step = data["runs"][1]["steps"][0]
    item = step["groups"][1]["items"][2]
    expected = "".join(data["strings"][i] for i in item["t"])
    assert driver.find_element("css selector", "#browser .text").get_property("textContent") == expected
    assert driver.find_element("css selector", "#browser .prompt").text == step["groups"][1]["prompt"].strip()
    marked = driver.execute_script("return [...document.querySelectorAll('#browser .t.m.s')].length")
    assert marked == len(item["p"]) // 3


def test_colour_by_entropy_and_by_advantage(driver: Any, report: Path) -> None:
    show(driver, report)
    colours = {}
    script = """return [...document.querySelectorAll('#browser .t')].map((t) => getComputedStyle(t).backgroundColor)"""
    for mode in ("planning", "entropy", "advantage"):
        driver.execute_script(f"document.querySelector('input[value={mode}]').click()")
        colours[mode] = driver.execute_script(script)
    assert len(set(colours["entropy"])) > 5
    assert colours["planning"] != colours["entropy"] != colours["advantage"]
    item = embedded(driver)["runs"][0]["steps"][-1]["groups"][0]["items"][0]
    assert len(set(colours["advantage"])) == len(item["a"])


def test_curves_read_out_under_pointer_and_keys(driver: Any, report: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    show(driver, report)
    plot = driver.find_element("css selector", "[data-panel=length]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    ActionChains(driver).move_to_element(plot).perform()
    assert "step" in driver.find_element("css selector", "[data-panel=length] .tip").text
    plot.send_keys(Keys.HOME)
    tip = driver.find_element("css selector", "[data-panel=length] .tip").text
    panel = embedded(driver)["panels"]["length"]
    assert "step 1" in tip
    assert "grpo" in tip
    assert f"{panel['curves'][0]['y'][0]:.1f} tokens" in tip
    script = """const c = document.querySelector('[data-panel=length] .cursor circle');
      return [+c.getAttribute('cx'), +c.getAttribute('cy')]"""
    dot = driver.execute_script(script)
    assert dot[0] == pytest.approx(panel["box"][0])
    assert panel["box"][2] <= dot[1] <= panel["box"][3]
    plot.send_keys(Keys.ESCAPE)
    assert driver.find_elements("css selector", ".tip") == []


def test_numbers_as_a_table(driver: Any, report: Path) -> None:
    show(driver, report)
    driver.execute_script("document.querySelector('details.numbers').open = true")
    driver.execute_async_script("setTimeout(arguments[0], 100)")
    rows = driver.find_elements("css selector", "details.numbers tbody tr")
    assert len(rows) == 9  # evaluation at 0, steps 1 to 8


def test_dark_and_light(driver: Any, report: Path) -> None:
    seen = []
    for dark in (False, True):
        show(driver, report, dark=dark)
        seen.append(
            driver.execute_script("""return [getComputedStyle(document.body).backgroundColor,
          getComputedStyle(document.querySelector('.plot svg path[stroke="var(--run0)"]')).stroke]""")
        )
    (light, light_line), (night, dark_line) = seen
    assert light == "rgb(254, 254, 253)"
    assert night == "rgb(17, 19, 23)"
    assert light_line != dark_line


def test_print_has_all_figures_some_completions_and_no_controls(driver: Any, report: Path) -> None:
    show(driver, report, media="print", dark=True)
    visible = """return [...document.querySelectorAll(arguments[0])]
      .filter((e) => e.getBoundingClientRect().height > 0).length"""
    for gone in ("#browser", ".bar", ".numbers", ".config"):
        assert driver.execute_script(visible, gone) == 0, gone
    assert driver.execute_script(visible, ".plot svg") == len(embedded(driver)["panels"])
    assert driver.execute_script(visible, ".sample mark") > 3
    assert driver.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 253)"
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert pdf[:5] == b"%PDF-"


def test_names_of_controls_for_assistive_technology(driver: Any, report: Path) -> None:
    show(driver, report)
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nameless = [
        n["role"]["value"]
        for n in nodes
        if not n.get("ignored")
        and n["role"]["value"] in ("button", "radio", "combobox", "link", "region", "status")
        and not n.get("name", {}).get("value")
    ]
    assert nameless == []
