"""The report as a person meets it: opened from disk in a browser without a network, with the
pointer, with the keyboard, on a phone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.facts import Facts
from circuitwatch.records import find_cells
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.curve_tables import emergence_rows
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.data import as_json
from circuitwatch.summary.report.page import Findings, write_report
from circuitwatch.summary.report.tables import table
from circuitwatch.summary.together import Comparisons
from support.browsers import ARGUMENTS, CHROMIUM
from support.own_cells import curves_of, own_cell
from support.sweeps import GRAPH

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here to open the report with"
)


class Opened:
    """A report in a browser's page, and what went wrong or was asked for since it was opened."""

    def __init__(self, page: Any, report: Path) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console",
            lambda said: (
                self.errors.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready=yes]", state="attached")

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).text_content())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            accept_downloads=True,
        )
        yield context
        context.close()


@pytest.fixture
def opened(browser: Any, result: SummaryResult) -> Iterator[Opened]:
    page = browser.new_page()
    page.set_viewport_size({"width": 1200, "height": 900})
    found = Opened(page, result.folder / "report.html")
    yield found
    page.close()
    assert found.errors == []
    away = [url for url in found.requests if not url.startswith(("file://", "blob:", "data:"))]
    assert away == [] and len({url for url in found.requests if url.startswith("file://")}) == 1


def set_range(opened: Opened, selector: str, place: int) -> None:
    opened.page.locator(selector).evaluate(
        "(range, place) => { range.value = place; range.dispatchEvent(new Event('input', { "
        "bubbles: true })); }",
        place,
    )


def test_everything_is_drawn(opened: Opened, result: SummaryResult) -> None:
    panels_of = {"behaviour": 4, "circuits": 4, "overlaps": 4, "roles": 9, "algorithm": 9}
    for section, panels in panels_of.items():
        host = f"#panels-{section}"
        assert opened.count(f"{host} .panel svg") == panels, section
        assert opened.count(f"{host} .curve") >= panels
    points = opened.page.locator("#panels-behaviour .curve").first.get_attribute("points")
    assert len(points.split()) == 27
    drawn = opened.page.locator("svg").evaluate_all("all => all.map(svg => svg.outerHTML).join()")
    assert "NaN" not in drawn and "undefined" not in drawn and "Infinity" not in drawn
    assert (
        opened.count("#panels-sizes .observed") + opened.count("#panels-sizes .censored") == 8
    )  # of two models and four tasks; some were never there
    assert opened.count("#timeline .held") > 10
    assert (
        opened.count("#panels-behaviour .effect") == opened.count("#panels-behaviour .curve") == 8
    )
    assert (
        opened.count("#panels-algorithm .cutoffs")
        == opened.count("#panels-algorithm .interval")
        == 3
    )  # B, C and D of one model
    assert opened.count("#transfer .square") > 500
    rows = opened.count("tbody tr")
    assert rows > len(result.emergence)


def test_the_circuit_is_that_of_the_record_at_every_checkpoint(
    opened: Opened, sweep_folder: Path
) -> None:
    (cell,) = [
        c
        for c in find_cells(sweep_folder)
        if c.header["task"] == "ioi" and c.header["model"]["name"] == "nano-400k"
    ]
    assert "nano-400k, IOI" in opened.text("#choose-circuit option:checked")
    seen = 0
    for place, record in enumerate(cell.records()):
        set_range(opened, "#step-circuit", place)
        edges = opened.page.locator("#circuit .edges").evaluate_all(
            "all => all.reduce((sum, one) => sum + +one.dataset.edges, 0)"
        )
        titles = opened.page.locator("#circuit .node.on").all_text_contents()
        if record.mask is None:
            assert edges == 0 and titles == [] and "not above chance" in opened.text("#say-circuit")
            continue
        senders, receivers = record.mask.nonzero()
        nodes = {GRAPH.senders[i] for i in senders} | {
            GRAPH.receivers[i].split("<")[0] for i in receivers
        }
        assert edges == record.mask.sum() and set(titles) == nodes
        assert f"step {record.step}" in opened.text("#at-circuit")
        seen += 1
    assert seen > 10


def test_the_slider_answers_to_the_keyboard(opened: Opened) -> None:
    before = opened.text("#at-circuit")
    opened.page.locator("#step-circuit").focus()
    opened.page.keyboard.press("ArrowLeft")
    assert opened.text("#at-circuit") != before
    assert (
        opened.text("#at-checkpoint").split()[0] == opened.text("#at-circuit").split()[0]
    )  # one checkpoint everywhere


def test_filters_by_size_and_task(opened: Opened) -> None:
    small = '#panels-behaviour .curve[data-model="nano-100k"]'
    assert opened.count(small) == 4
    opened.page.get_by_label("nano-100k", exact=True).uncheck()
    assert opened.count(small) == 0 and opened.count("#panels-behaviour .curve") == 4
    opened.page.get_by_label("agreement", exact=True).focus()
    opened.page.keyboard.press("Space")
    assert (
        opened.count("#panels-behaviour .panel") == 3 and opened.count("#panels-roles .panel") == 9
    )
    opened.page.get_by_label("nano-100k", exact=True).check()
    opened.page.get_by_label("agreement", exact=True).check()
    assert opened.count(small) == 4


def test_another_quantity_is_chosen(opened: Opened) -> None:
    opened.page.locator("#choose-behaviour").select_option("accuracy")
    assert "accuracy" in opened.text("#panels-behaviour .panel h4 >> nth=0")


def test_hovering_marks_the_same_checkpoint_in_all_panels(opened: Opened) -> None:
    box = opened.page.locator("#panels-behaviour svg").first.bounding_box()
    opened.page.locator("#panels-behaviour svg").first.hover(
        position={"x": box["width"] * 0.93, "y": box["height"] * 0.5}
    )
    said = opened.text("#at-checkpoint")
    assert re.fullmatch(r"[\d.]+[kM] tokens", said)
    for section in ("behaviour", "roles", "circuits", "overlaps"):
        marks = opened.page.locator(f"#panels-{section} .mark line").evaluate_all(
            "all => all.map(one => +one.getAttribute('x1'))"
        )
        assert len(marks) == opened.count(f"#panels-{section} .panel") and min(marks) > 0, section
    behaviour = opened.page.locator("#panels-behaviour .mark line").evaluate_all(
        "all => all.map(one => one.getAttribute('x1'))"
    )
    assert len(set(behaviour)) == 1  # the panels have the same axis
    assert opened.text("#at-circuit").split()[0] == said.split()[0]


def test_the_readouts_say_effect_band_and_sign(opened: Opened) -> None:
    set_range(opened, "#checkpoint", 26)
    assert re.search(
        r"\(effect [\d.]+\)", opened.text("#panels-behaviour .panel >> nth=0 >> .readout")
    )
    assert re.search(
        r"[\d.]+ \([\d.]+ to [\d.]+ over cut-offs\)",
        opened.text("#panels-algorithm .panel >> nth=0 >> .readout"),
    )
    opened.page.locator("#choose-timeline").select_option("nano-400k")
    names = opened.page.locator("#timeline svg text").all_text_contents()
    assert {
        "negative name mover (IOI)",
        "induction (IOI)",
        "induction (greater-than)",
        "previous token (repeated)",
    } <= set(names)
    opened.page.locator(
        "#timeline svg text", has_text="negative name mover (IOI)"
    ).scroll_into_view_if_needed()
    box = opened.page.locator("#timeline svg").bounding_box()
    at = opened.page.locator(
        "#timeline svg text", has_text="negative name mover (IOI)"
    ).bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] - 14, at["y"] + at["height"] + 10)
    assert "negative name mover (IOI) a1.h2: " in opened.text("#timeline .readout")
    assert "holds the role, confirmed: hurts" in opened.text("#timeline .readout")


def test_the_data_can_be_had(opened: Opened, result: SummaryResult, tmp_path: Path) -> None:
    for name in ("emergence", "curves"):
        with opened.page.expect_download() as download:
            opened.page.locator(f'a[data-file="{name}"]').click()
        download.value.save_as(tmp_path / f"{name}.csv")
    assert pd.read_csv(tmp_path / "emergence.csv").equals(
        pd.read_csv(result.folder / "emergence.csv")
    )
    curves = pd.read_csv(tmp_path / "curves.csv")
    ioi = curves.query("model == 'nano-400k' and task == 'ioi' and quantity == 'behaviour/value'")
    final = result.emergence.query(
        "model == 'nano-400k' and task == 'ioi' and quantity == 'behaviour/value'"
    )["final"]
    assert len(ioi) == 27 and ioi["value"].iloc[-1] == pytest.approx(final.iloc[0], rel=1e-3)


def test_tables_are_sorted_by_their_heads(opened: Opened) -> None:
    table = opened.page.locator("h3:text('Every curve') ~ .scroll table").first
    table.locator("th button", has_text="tokens").first.focus()
    opened.page.keyboard.press("Enter")
    shown = table.locator("td:nth-child(5)").evaluate_all(
        "all => all.map(cell => cell.dataset.value)"
    )
    numbers = [float(text) for text in shown if text]
    assert numbers == sorted(numbers) and len(numbers) > 3 and "" not in shown[: len(numbers)]


def test_on_a_phone_nothing_is_wider_than_the_screen(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_function(
        "document.querySelector('#panels-behaviour svg').clientWidth < 390"
    )
    for summary in opened.page.locator("summary").all():
        summary.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    smallest = opened.page.locator("#panels-behaviour svg text").first.evaluate(
        "t => t.getBoundingClientRect().height"
    )
    assert smallest >= 10


def test_the_page_draws_what_the_figures_draw(opened: Opened, result: SummaryResult) -> None:
    """Bands, levels and doubtful circuits too."""
    assert opened.count("#panels-behaviour .level") == 4  # chance
    assert opened.count("#panels-roles .level") == 9  # thresholds
    assert opened.count("#panels-behaviour .band") == 16  # of metric and effect
    rings = opened.page.locator("#panels-circuits .doubt title").all_text_contents()
    assert rings.count("faithfulness above 1.2 or below −0.2") == 1
    assert rings.count("edge scores not converged") == 3
    opened.page.locator("#choose-overlaps").select_option(
        "edge Jaccard of other prompts to the checkpoint before"
    )
    lines = opened.count("#panels-overlaps .curve")
    assert opened.count("#panels-overlaps .ceiling") == opened.count("#panels-overlaps .chance")
    assert opened.count("#panels-overlaps .ceiling") == lines > 0


def test_a_band_lies_about_its_curve(opened: Opened) -> None:
    points = opened.page.locator("#panels-behaviour .panel >> nth=0 >> .band").nth(2)
    corners = [
        tuple(map(float, pair.split(","))) for pair in points.get_attribute("points").split()
    ]
    curve = opened.page.locator("#panels-behaviour .panel >> nth=0 >> .curve").nth(0)
    n = len(curve.get_attribute("points").split())
    assert len(corners) == 2 * n
    lower, upper = corners[:n], corners[: n - 1 : -1]
    for (x, y), low, high in zip(
        (map(float, pair.split(",")) for pair in curve.get_attribute("points").split()),
        lower,
        upper,
        strict=True,
    ):
        assert low[0] == high[0] == x and low[1] >= y >= high[1]  # downwards on the screen
    assert any(low[1] - high[1] > 2 for low, high in zip(lower, upper, strict=True))


HOSTILE = "</script><script>document.title = 'broken'</script>"


@pytest.fixture
def hostile(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """The report of cells whose model, task, role and quantity have that name."""
    names = {f"{what}_words": f"{what} {HOSTILE}" for what in ("task", "role", "quantity")}
    own = [own_cell(f"small {HOSTILE}", 100_000, HOSTILE, **names),
           own_cell("large", 900_000, HOSTILE, **names)]  # fmt: skip
    curves = curves_of(own)
    emergence = emergence_rows(Fits(curves, n_bootstrap=0)).frame()
    spec, nothing = specification(curves, own), pd.DataFrame()
    ends = pd.DataFrame([{"model": f"small {HOSTILE}", "task": HOSTILE, "out_of_range": 0,
                          "not_converged": 0}])  # fmt: skip
    found = Findings(
        HOSTILE, spec, curves, own, emergence, nothing, ends, nothing,
        head_tables(own, emergence), Comparisons(*[nothing] * 6), [f"a note on {HOSTILE}"],
        {"emergence": emergence},
    )  # fmt: skip
    write_report(tmp_path / "report.html", found)
    page = browser.new_page()
    opened = Opened(page, tmp_path / "report.html")
    yield opened
    page.close()
    assert opened.errors == []


def test_names_are_shown_and_never_obeyed(hostile: Opened) -> None:
    assert hostile.page.title() == f"{HOSTILE} · circuitwatch"
    assert hostile.count("script") == 3  # data, circuits, the page's own
    for selector in (
        "h1",
        "#panels-behaviour h4",
        "#panels-roles h4",
        "#panels-text h4",
        ".controls",
        "td",
        "li",
    ):
        texts = " ".join(hostile.page.locator(selector).all_text_contents())
        assert HOSTILE in texts, selector


def test_a_users_task_role_and_quantities_are_in_the_page(hostile: Opened) -> None:
    assert "log-probability of the answer" in hostile.text("#panels-behaviour h4")
    assert "nats per token" in hostile.text("#panels-text h4")
    depth = hostile.text("[id='panels-depth of circuits'] h4")
    assert "mean depth · layers, task" in depth
    for section in ("behaviour", "roles", "algorithm", "text"):
        assert hostile.count(f"#panels-{section} .curve") == 2, section


def test_a_tables_headings_and_numbers() -> None:
    frame = pd.DataFrame(
        {"model": ["m", "m"], "seed": [0, 0], "tokens": [1_500_000, None], "share": [0.25, 0.5],
         "quantity": ["behaviour/value", "-"], "note": ["", ""]}
    )  # fmt: skip
    columns = {"model": None, "seed": None, "tokens": "emerges", "quantity": None, "share": None}
    made = table(frame, columns | {"note": None}, Facts.of_installation())
    assert made is not None and made.headings == ["model", "emerges", "quantity", "share"]
    assert [[cell.text for cell in row] for row in made.rows] == [
        ["m", "1.5M", "behaviour", "25.0 %"],
        ["m", "", "-", "50.0 %"],
    ]
    assert [row[1].sort for row in made.rows] == ["1500000.0", ""]
    assert table(frame.iloc[:0], columns, Facts.of_installation()) is None


def test_what_names_hold_cannot_end_the_script() -> None:
    name = "</script><script>alert(1)</script>"
    assert "<" not in as_json({"name": name}) and json.loads(as_json({"name": name})) == {
        "name": name
    }
