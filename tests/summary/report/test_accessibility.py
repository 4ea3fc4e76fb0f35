"""The report for people who see little, have no pointer, or hold a phone: what axe-core finds, and
how large what can be pressed is, at two widths, light and dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from circuitwatch.summary import SummaryResult
from support.browsers import ARGUMENTS, CHROMIUM

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = {"desk": (1400, 900), "phone": (390, 844)}
LEAST = 24  # CSS px each way: WCAG 2.2, target size (minimum)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the report with"),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: tests/web/web.sh install"),
]

# What axe calls serious or critical, a line each: the rule, what it asks, how often and where.
VIOLATIONS = """async options => {
  const found = await axe.run(document, { resultTypes: ["violations"], ...options });
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) =>
      `${id} (${help}), ${nodes.length} times: ` +
      nodes.slice(0, 5).map(({ html }) => html.slice(0, 120)).join(" · "));
}"""

# What can be pressed and is smaller than it should be. A label is part of what it labels, and a
# link within a sentence may be as high as its line.
SMALL = """least => {
  const within = "p, li, dd, dt, td, figcaption, .quiet";
  const pressed = "a[href], button, input, select, textarea, summary, [role=button], " +
    "[role=slider], [role=switch], [role=tab], [tabindex]:not([tabindex='-1'])";
  const small = [];
  for (const one of document.querySelectorAll(pressed)) {
    if (!one.checkVisibility({ visibilityProperty: true })) continue;
    const text = one.closest(within);
    if (one.tagName === "A" && text && text.textContent.trim() !== one.textContent.trim()) continue;
    const boxes = [one, ...(one.labels ?? [])].map(part => part.getBoundingClientRect());
    const enough = side => boxes.some(box => box[side] >= least - 0.5);
    if (!enough("width") || !enough("height"))
      small.push(`${Math.round(boxes[0].width)}×${Math.round(boxes[0].height)} ` +
        one.outerHTML.slice(0, 120));
  }
  return small;
}"""

SCROLLS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module", params=WIDTHS)
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of one width, with axe in it whatever it opens."""
    width, height = WIDTHS[request.param]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="light", reduced_motion="reduce"
    )
    context.add_init_script(path=AXE)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def report(page: Any, result: SummaryResult) -> Any:
    """The report with everything in it disclosed."""
    page.goto((result.folder / "report.html").as_uri())
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    return page


def test_axe_finds_nothing_serious(report: Any) -> None:
    found = report.evaluate(VIOLATIONS, {})
    assert not found, "\n".join(found)


def test_axe_finds_no_colours_that_are_hard_to_read_in_the_dark(report: Any) -> None:
    report.emulate_media(color_scheme="dark")
    found = report.evaluate(VIOLATIONS, {"runOnly": ["color-contrast", "link-in-text-block"]})
    report.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def test_what_can_be_pressed_is_large_enough(report: Any) -> None:
    small = report.evaluate(SMALL, LEAST)
    assert not small, "\n".join(small)


def test_the_page_is_no_wider_than_the_screen(report: Any) -> None:
    assert report.evaluate(SCROLLS) <= 0


def test_faults_are_found(page: Any) -> None:
    page.set_content(
        "<html lang=en><title>t</title><main><h1>t</h1>"
        "<style>p { color: #ccc; background: #fff } div { width: 2000px }</style>"
        "<p>pale</p><input><button style='padding:0;border:0;font-size:10px'>go</button>"
        "<label style='display:inline-block;padding:6px'><input type=checkbox> large</label>"
        "<p>A sentence with <a href='#a'>a link</a>.</p><div>wide</div></main></html>"
    )
    rules = {line.split()[0] for line in page.evaluate(VIOLATIONS, {})}
    assert {"color-contrast", "label"} <= rules
    small = page.evaluate(SMALL, LEAST)
    assert [line.split()[1] for line in small] == ["<input>", "<button"]
    assert page.evaluate(SCROLLS) > 0
