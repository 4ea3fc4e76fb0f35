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
from matplotlib.colors import to_rgb

from circuitwatch.facts import Facts
from circuitwatch.records import find_cells
from circuitwatch.summary import SummaryResult
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.together import charts
from circuitwatch.summary.comparison import ComparisonRows
from circuitwatch.summary.curve_tables import emergence_rows
from circuitwatch.summary.figures.curves import behaviour_figure
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


def top_of(opened: Opened, selector: str) -> float:
    """Pixels from the top of the page."""
    return float(opened.page.locator(selector).first.evaluate(
        "one => one.getBoundingClientRect().top + scrollY"
    ))  # fmt: skip


def test_everything_is_drawn(opened: Opened, result: SummaryResult) -> None:
    panels_of = {"behaviour": 4, "circuits": 4, "overlaps": 4, "roles": 9, "algorithm": 4}
    for section, panels in panels_of.items():
        assert opened.count(f"#panels-{section} .panel") == panels, section
    for section in ("behaviour", "circuits", "overlaps", "roles"):
        host = f"#panels-{section}"
        assert opened.count(f"{host} .panel svg") == panels_of[section]
        assert opened.count(f"{host} .curve") >= panels_of[section]
    points = opened.page.locator("#panels-behaviour .curve").first.get_attribute("points")
    assert len(points.split()) == 27
    drawn = opened.page.locator("svg").evaluate_all("all => all.map(svg => svg.outerHTML).join()")
    assert "NaN" not in drawn and "undefined" not in drawn and "Infinity" not in drawn
    for host in ("#emergence-0", "#panels-sizes"):  # of two models and four tasks
        assert opened.count(f"{host} .observed") + opened.count(f"{host} .censored") == 8
    assert opened.count("#timeline .held") > 10
    assert (
        opened.count("#panels-behaviour .effect") == opened.count("#panels-behaviour .curve") == 8
    )
    opened.page.locator("#choose-algorithm").select_option("by model size")
    cutoffs = [opened.count(f"#panels-algorithm .{kind}") for kind in ("cutoffs", "interval")]
    assert cutoffs == [3, 3]  # B, C and D of one model
    assert opened.count("#transfer .square") > 500
    assert opened.count("tbody tr") > len(result.emergence)


@pytest.mark.parametrize(("width", "height", "emergence"), [(1400, 900, 200), (390, 844, 330)])
def test_the_answer_is_on_the_first_screen(
    opened: Opened, width: int, height: int, emergence: int
) -> None:
    """Emergence first, answers below it, behaviours soon after, circuits on the second screen."""
    opened.page.set_viewport_size({"width": width, "height": height})
    opened.page.wait_for_function(f"Math.abs(innerWidth - {width}) < 2")
    opened.page.wait_for_timeout(200)
    assert top_of(opened, "#emergence-0 svg") < emergence
    assert top_of(opened, ".answers") < height
    if width > 1000:
        assert top_of(opened, "#panels-behaviour svg") < height
        assert top_of(opened, "#circuits svg") < 2 * height
    bar = opened.page.locator(".bar").bounding_box()
    assert bar["height"] < 45 and bar["width"] <= width  # one line
    sentences = opened.page.locator(".answers > li").all_text_contents()
    assert len(sentences) == 4 and sentences[0].startswith("IOI emerged in 1 of 2 models")
    text = opened.text("main")
    assert text.count("A trend with model size needs") == 1  # not once a task


def test_what_has_no_known_end_is_drawn_open(opened: Opened) -> None:
    """nano-100k never learns IOI: a hollow triangle at the last checkpoint, and on from there."""
    limits = opened.page.locator("#emergence-0 .censored")
    titles = limits.locator("title").all_text_contents()
    assert "IOI, nano-100k: not by 1.01M tokens" in titles
    for part in ("open", "limit"):
        assert limits.locator(f".{part}").count() == len(titles), titles
    ends = limits.first.evaluate(
        "one => ['limit', 'open'].map(name => one.querySelector(`.${name}`).getBBox())"
        ".map(box => [box.x, box.x + box.width])"
    )
    (begin, _), (_, tip) = ends
    assert tip > begin + 10  # on to later checkpoints
    words = [text for text in opened.page.locator("#emergence-0 .legend").all_text_contents()]
    assert words == [" nano-100k nano-400k"]


def test_every_axis_has_a_title_and_powers_of_ten(opened: Opened) -> None:
    titles = opened.page.locator(".panels .panel svg").evaluate_all(
        "all => all.map(svg => [...svg.querySelectorAll('.axis-title')].map(t => t.textContent))"
    )
    assert len(titles) > 20 and all(len(own) == 2 and all(own) for own in titles)
    across = {own[1] for own in titles} | {own[0] for own in titles}
    assert {"training tokens (log)", "parameters (log)", "tokens of emergence (log)"} <= across
    ticks = opened.page.locator("#panels-behaviour .panel svg").first.locator(".tick")
    assert {"1k", "10k", "100k", "1M"} <= set(ticks.all_text_contents())


def test_the_circuit_is_that_of_the_record_at_every_checkpoint(
    opened: Opened, sweep_folder: Path
) -> None:
    (cell,) = [
        c
        for c in find_cells(sweep_folder)
        if c.header["task"] == "ioi" and c.header["model"]["name"] == "nano-400k"
    ]
    host = ".task[data-name=ioi] .circuit[data-name=nano-400k]"
    last = max(record.step for record in cell.records() if record.mask is not None)
    assert f"(step {last})" in opened.text(f"{host} .readout")  # any checkpoint: the last circuit
    seen = 0
    for place, record in enumerate(cell.records()):
        set_range(opened, "#step-circuit", place + 1)
        assert f"(step {record.step})" in opened.text(f"{host} .readout")
        edges = opened.page.locator(f"{host} .edges").evaluate_all(
            "all => all.reduce((sum, one) => sum + +one.dataset.edges, 0)"
        )
        titles = opened.page.locator(f"{host} .node.on").all_text_contents()
        if record.mask is None:
            assert edges == 0 and titles == []
            assert "no circuit, behaviour not above chance" in opened.text(f"{host} .readout")
            continue
        senders, receivers = record.mask.nonzero()
        nodes = {GRAPH.senders[i] for i in senders} | {
            GRAPH.receivers[i].split("<")[0] for i in receivers
        }
        assert edges == record.mask.sum() and set(titles) == nodes
        seen += 1
    assert seen > 10


def test_circuits_stand_beside_each_other_in_the_colours_of_the_legend(opened: Opened) -> None:
    assert opened.count(".task") == 4
    pairs = opened.page.locator(".task[data-name=agreement] .circuit").evaluate_all(
        "all => all.map(one => [one.dataset.name, one.getBoundingClientRect().top])"
    )
    assert [name for name, _ in pairs] == ["nano-100k", "nano-400k"]
    assert pairs[0][1] == pairs[1][1]
    looks = opened.page.locator("#circuits .edges").evaluate_all(
        "all => all.map(one => [getComputedStyle(one).stroke, getComputedStyle(one).opacity])"
    )
    legend = opened.page.locator("section:has(#circuits) .legend .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert {colour for colour, _ in looks} <= set(legend) and len(set(legend)) == 4
    assert {opacity for _, opacity in looks} == {"1"}  # over each other they don't mix


def test_the_slider_answers_to_the_keyboard_and_returns_to_any_checkpoint(opened: Opened) -> None:
    slider, said = opened.page.locator("#step-circuit"), "output[for=step-circuit]"
    assert slider.get_attribute("aria-valuetext") == opened.text(said) == "any checkpoint"
    slider.focus()
    opened.page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == opened.text(said) == "1.01M tokens"
    assert opened.text("output[for=checkpoint]") == "1.01M tokens"  # one checkpoint everywhere
    assert opened.count("#panels-behaviour .checkpoint") == 4
    opened.page.keyboard.press("ArrowLeft")
    assert opened.text(said) == "958k tokens"
    opened.page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == opened.text(said) == "any checkpoint"
    assert opened.count("#panels-behaviour .checkpoint") == 0


def choose(opened: Opened, menu: str, *names: str) -> None:
    """Press some boxes in a menu of the bar."""
    opened.page.locator(".bar summary", has_text=menu).click()
    for name in names:
        opened.page.get_by_label(name, exact=True).click()
    opened.page.keyboard.press("Escape")
    assert opened.count(".bar details[open]") == 0


def test_filters_apply_to_everything(opened: Opened) -> None:
    small = '#panels-behaviour .curve[data-model="nano-100k"]'
    visible = "all => all.filter(one => one.checkVisibility()).length"
    rows = opened.page.locator("tr[data-of-model=nano-100k]")
    opened.page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
    assert opened.count(small) == 4 and rows.evaluate_all(visible) > 10
    choose(opened, "Sizes", "nano-100k")
    assert opened.count(small) == 0 and opened.count("#panels-behaviour .curve") == 4
    assert opened.text("#shown-models").strip() == "1 of 2"
    assert rows.evaluate_all(visible) == 0  # of every table
    assert opened.page.locator("[data-of-model=nano-100k]").evaluate_all(visible) == 0
    assert opened.count(".circuit[data-name=nano-100k]") == 0
    assert "nano-100k" not in opened.text("#emergence-0") + opened.text("#panels-sizes")
    choose(opened, "Tasks", "agreement")
    assert opened.count("#panels-behaviour .panel") == 3
    assert opened.count("#panels-roles .panel") == 9  # of the model, whatever the task
    assert opened.page.locator("[data-t=agreement]").evaluate_all(visible) == 0
    assert "always whole, whatever the filters hide" in opened.text("main")
    choose(opened, "Sizes", "nano-400k")
    for panel in opened.page.locator("#panels-behaviour .panel").all():
        assert "hidden by the filter" in panel.text_content()
    table = opened.page.locator(".table:has([data-of-model])").first
    assert "hidden by the filters" in table.locator(".empty").text_content()
    choose(opened, "Sizes", "nano-100k", "nano-400k")
    choose(opened, "Tasks", "agreement")
    assert opened.count(small) == 4 and opened.text("#shown-models") == ""


def test_another_quantity_is_chosen(opened: Opened) -> None:
    opened.page.locator("#choose-behaviour").select_option("accuracy")
    assert "accuracy" in opened.text("#panels-behaviour .panel svg .axis-title >> nth=0")


def test_hovering_marks_the_same_checkpoint_in_all_panels(opened: Opened) -> None:
    panel = opened.page.locator("#panels-behaviour svg:not(.key)").first
    box = panel.bounding_box()
    panel.hover(position={"x": box["width"] * 0.93, "y": box["height"] * 0.5})
    said = opened.text("output[for=checkpoint]")
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
    readouts = opened.page.locator("#circuits .readout").all_text_contents()
    same = [f"At {said.split()[0]} tokens" in one for one in readouts]
    assert len(readouts) == 7 and same.count(True) >= 6  # one cell is unfinished


def test_the_readouts_say_effect_band_and_sign(opened: Opened) -> None:
    opened.page.locator("#choose-algorithm").select_option("by model size")
    set_range(opened, "#checkpoint", 27)
    assert re.search(
        r"\(effect [\d.]+\)", opened.text("#panels-behaviour .panel >> nth=0 >> .readout")
    )
    assert re.search(
        r"[\d.]+ \([\d.]+ to [\d.]+ over cut-offs\)",
        opened.text("#panels-algorithm .panel >> nth=0 >> .readout"),
    )
    opened.page.locator("#choose-timeline").select_option("nano-400k")
    names = opened.page.locator("#timeline svg .name").all_text_contents()
    assert {
        "negative name mover (IOI)",
        "induction (IOI)",
        "induction (greater-than)",
        "previous token (repeated)",
    } <= set(names)
    row = opened.page.locator("#timeline svg .name", has_text="negative name mover (IOI)")
    row.scroll_into_view_if_needed()
    box = opened.page.locator("#timeline > svg").bounding_box()
    at = row.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] - 14, at["y"] + at["height"] + 10)
    assert "negative name mover (IOI) a1.h2: " in opened.text("#timeline .readout")
    assert "holds it, confirmed by cause: hurts" in opened.text("#timeline .readout")


def test_the_data_can_be_had(opened: Opened, result: SummaryResult, tmp_path: Path) -> None:
    for name in ("emergence", "curves", "comparison"):
        with opened.page.expect_download() as download:
            opened.page.locator(f'.files a[data-file="{name}"]').click()
        download.value.save_as(tmp_path / f"{name}.csv")
    for name in ("emergence", "comparison"):
        assert pd.read_csv(tmp_path / f"{name}.csv").equals(
            pd.read_csv(result.folder / f"{name}.csv")
        )
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert not curves.duplicated(["model", "seed", "task", "quantity", "tokens"]).any()
    ioi = curves.query("model == 'nano-400k' and task == 'ioi' and quantity == 'behaviour/value'")
    final = result.emergence.query(
        "model == 'nano-400k' and task == 'ioi' and quantity == 'behaviour/value'"
    )["final"]
    assert len(ioi) == 27 and ioi["value"].iloc[-1] == pytest.approx(final.iloc[0], rel=1e-3)


def test_sizes_are_compared_in_one_table_that_can_be_sorted(opened: Opened) -> None:
    table = opened.page.locator("section:has(#panels-sizes) table").first
    heads = table.locator("th").all_text_contents()
    assert heads[:3] == ["task or role", "nano-100k (98.4k)", "nano-400k (432k)"]
    rows = table.locator("tbody tr td:first-child").all_text_contents()
    assert rows[0] == "IOI" and {"induction", "name mover", "agreement"} <= set(rows)
    assert table.locator("tbody tr").first.locator("td").nth(1).text_content() == "never"
    head = table.locator("th").nth(2)
    head.locator("button").focus()
    opened.page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    shown = table.locator("td:nth-child(3)").evaluate_all(
        "all => all.map(cell => cell.dataset.value)"
    )
    numbers = [float(text) for text in shown if text]
    assert numbers == sorted(numbers) and len(numbers) > 3 and "" not in shown[: len(numbers)]
    opened.page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"


def test_on_a_phone_what_matters_is_in_view(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_function(
        "document.querySelector('#panels-behaviour .panel svg').clientWidth < 390"
    )
    for summary in opened.page.locator("main summary").all():
        summary.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    smallest = opened.page.locator("#panels-behaviour .panel svg text").first.evaluate(
        "t => t.getBoundingClientRect().height"
    )
    assert smallest >= 10
    table = opened.page.locator(".table:has(a[data-file=emergence])")
    heads = table.locator("th").evaluate_all(
        "all => all.map(one => [one.textContent, one.getBoundingClientRect().right])"
    )
    seen = [name for name, right in heads if right <= 390]
    assert {"task", "status", "tokens"} <= set(seen), heads
    scroll = table.locator(".scroll")
    assert table.locator(".hint").is_visible()  # it says that there is more
    scroll.evaluate("one => { one.scrollLeft = 200; }")
    first = table.locator("tbody td:first-child").first.bounding_box()
    assert first["x"] >= 0  # the task stays


def test_the_dark_page_is_dark(browser: Any, result: SummaryResult) -> None:
    page = browser.new_page()
    page.emulate_media(color_scheme="dark")
    opened = Opened(page, result.folder / "report.html")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(22, 25, 29)"
    stroke = "one => getComputedStyle(one).stroke"
    dark = page.locator("#panels-behaviour .curve").first.evaluate(stroke)
    page.emulate_media(color_scheme="light")
    light = page.locator("#panels-behaviour .curve").first.evaluate(stroke)
    assert dark != light
    page.close()
    assert opened.errors == []


def test_the_page_and_the_figures_draw_one_specification(
    opened: Opened, result: SummaryResult, cells: list[CellData]
) -> None:
    """Titles, units, limits, colours and legends of the page are those of the figure."""
    spec = specification(curves_of(cells), cells)
    (section,) = [
        one for one in opened.page.evaluate("JSON.parse(document.getElementById('data').text)")[
            "sections"
        ] if one["id"] == "behaviour"
    ]  # fmt: skip
    (choice,) = [one for one in section["choices"] if one["label"] == "behaviour"]
    figure = behaviour_figure(spec)
    assert figure is not None
    for axis, panel, title in zip(
        figure.axes,
        choice["panels"],
        opened.page.locator("#panels-behaviour h4").all_text_contents(),
        strict=True,
    ):
        assert axis.get_title(loc="left") == panel["title"] == title
        assert " ".join(axis.get_ylabel().split()) == panel["axis"]
        assert axis.get_ylim() == pytest.approx(panel["limits"], rel=1e-4)
    words = [t.get_text().replace("\n", " ") for one in figure.legends for t in one.get_texts()]
    shown = opened.page.locator("#panels-behaviour .legend > span").all_text_contents()
    assert sorted(words) == sorted(text.strip() for text in shown)
    strokes = opened.page.locator("#panels-behaviour .curve").evaluate_all(
        "all => all.map(one => getComputedStyle(one).stroke)"
    )
    of_figure = {to_rgb(line.get_color()) for axis in figure.axes for line in axis.lines
                 if line.get_color() in spec.colours.values()}  # fmt: skip
    of_page = {tuple(int(part) / 255 for part in re.findall(r"\d+", one)) for one in strokes}
    assert sorted(of_page) == [pytest.approx(colour, abs=1e-6) for colour in sorted(of_figure)]


def test_every_term_is_explained_once_with_a_link(opened: Opened) -> None:
    names = opened.page.locator("dl.terms dt").all_text_contents()
    assert len(names) == len(set(names)) > 15
    assert {"emergence point", "noise ceiling", "stability"} <= set(names)
    links = opened.page.locator("a.term").evaluate_all("all => all.map(one => one.href)")
    assert links and all("reading-a-report/#term-" in link for link in links)


def test_the_page_draws_what_the_figures_draw(opened: Opened, result: SummaryResult) -> None:
    """Bands, levels and doubtful circuits too."""
    assert opened.count("#panels-behaviour .level") == 4  # chance
    assert opened.count("#panels-roles .level") == 9  # thresholds
    assert opened.count("#panels-behaviour .band") == 16  # of metric and effect
    rings = opened.page.locator("#panels-circuits .doubt title").all_text_contents()
    assert rings.count("faithfulness above 1.2 or below −0.2") == 1
    assert rings.count("edge scores not converged") == 3
    options = opened.page.locator("#choose-overlaps option").all_text_contents()
    other = next(o for o in options if "other prompts" in o and "checkpoint before" in o and
                 "edge" in o and "weighted" not in o)  # fmt: skip
    opened.page.locator("#choose-overlaps").select_option(other)
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
    heads = head_tables(own, emergence)
    found = Findings(
        HOSTILE, charts(spec, own, emergence, nothing, heads), curves, own, emergence, nothing,
        ends, nothing, heads, Comparisons(*[nothing] * 6), [f"a note on {HOSTILE}"],
        {"emergence": emergence}, ComparisonRows(()),
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
        ".bar",
        "td",
        "li",
    ):
        texts = " ".join(hostile.page.locator(selector).all_text_contents())
        assert HOSTILE in texts, selector


def test_a_users_task_role_and_quantities_are_in_the_page(hostile: Opened) -> None:
    assert "log-probability of the answer" in hostile.text("#panels-behaviour .panel")
    assert "nats per token" in hostile.text("#panels-text .panel")
    depth = hostile.text("[id='panels-depth of circuits'] .panel")
    assert depth.startswith("mean depth") and "layers, task" in depth
    hostile.page.locator("#choose-algorithm").select_option("by model size")
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
