"""The report in a real browser, from disk and without a network."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.request import url2pathname

import pytest
from materials import courses, material, record, sweep

from faeval.report.html import report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

pytestmark = pytest.mark.slow

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
MARKS = "g.mark-symbol path, g.mark-line path, g.mark-rect path, g.mark-rule line"


@pytest.fixture(scope="module")
def study():
    return material(sweep())


@pytest.fixture(scope="module")
def file(study, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(study), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as tools:
        chromium = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Page:
    """The open report, and all that it asked for or complained of."""

    def __init__(self, browser, file: Path, **options) -> None:
        self.context = browser.new_context(offline=True, accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # the machine may be busy with other tests
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_function("window.faeval && window.faeval.done")

    def marks(self, figure: str) -> int:
        return self.page.locator(f"[id='{figure}'] .canvas svg").locator(MARKS).count()


@pytest.fixture(scope="module")
def opened(browser, file) -> Page:
    return Page(browser, file, viewport={"width": 1200, "height": 900})


def specs(file: Path) -> dict:
    text = file.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="specs">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_every_figure_is_drawn_and_nothing_is_fetched(opened, file):
    figures = specs(file)["figures"]
    assert len(figures) >= 15
    assert opened.page.evaluate("[...window.faeval.drawn.keys()].sort()") == sorted(figures)
    assert opened.said == []
    assert [url2pathname(url) for url in opened.asked] == [url2pathname(file.as_uri())]
    for figure in figures:
        assert opened.marks(figure) > 0, figure


def test_no_figure_draws_outside_of_its_place(opened):
    for figure in opened.page.locator("figure.chart").all():
        outer, svg = figure.bounding_box(), figure.locator(".canvas svg").bounding_box()
        assert svg["width"] <= outer["width"] + 1
        assert svg["width"] >= 0.9 * outer["width"]


def test_hovering_a_point_shows_its_numbers(opened, study):
    page = opened.page
    point = page.locator("#norms-dfa .canvas g.mark-symbol path").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    shown = tip.inner_text()
    figure_rows = page.locator("#norms-dfa details table").inner_text
    page.locator("#norms-dfa details summary").click()
    assert re.search(r"h\d", shown)
    assert shown.split()[-1] in figure_rows()
    page.mouse.move(0, 0)


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_legends_filter(opened, how):
    page = opened.page
    button = page.locator("#norms-dfa .legend button").nth(1)
    before = opened.marks("norms-dfa")

    def press() -> None:
        if how == "mouse":
            button.click()
        else:
            button.focus()
            page.keyboard.press("Space")

    press()
    page.wait_for_function("document.getElementById('status').textContent.includes('hidden')")
    assert button.get_attribute("aria-pressed") == "false"
    assert opened.marks("norms-dfa") < before
    press()
    page.wait_for_function("document.getElementById('status').textContent.includes('shown')")
    assert opened.marks("norms-dfa") == before


def test_a_figure_saves_as_svg_with_a_legend_and_plain_colours(opened):
    page = opened.page
    save = page.locator("#norms-dfa .save")
    save.focus()
    with page.expect_download() as caught:
        page.keyboard.press("Enter")
    assert caught.value.suggested_filename == "norms-dfa.svg"
    svg = Path(caught.value.path()).read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "var(--" not in svg
    assert "state ‖h‖" in svg


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_automated_accessibility_check_passes(browser, file, scheme):
    page = Page(browser, file, color_scheme=scheme, viewport={"width": 1200, "height": 900})
    page.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    found = axe.Axe().run(page.page).response["violations"]
    assert [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found] == []
    page.context.close()


def test_a_phone_scrolls_in_one_direction_and_the_keyboard_starts_at_the_verdicts(browser, file):
    phone = Page(browser, file, viewport={"width": 360, "height": 700})
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    phone.page.keyboard.press("Tab")
    focused = phone.page.evaluate("[document.activeElement.className, document.activeElement.hash]")
    assert focused == ["skip", "#verdicts"]
    assert phone.said == []
    phone.context.close()


def test_fifty_trials_that_were_read_in_training_stay_under_four_megabytes():
    grid = [(r, p) for r in ("bp", "dfa") for p in (0.0, 0.01)]
    records = [record(s, rule=r, penalty=p) for r, p in grid for s in range(10)]
    records += [record(s, rule="bp", trainable=0) for s in range(10)]
    assert len(records) == 50
    page = report(material(records, courses=courses(records)))
    assert "course-dfa-0.01" in page
    assert len(page.encode()) < 4e6
