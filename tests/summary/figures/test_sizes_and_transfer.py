"""Figures against model size, of circuits on other checkpoints, of the circuit; and the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.emergence import circuit_sizes, emergence_charts, sizes_panels
from circuitwatch.summary.charts.looks import log_ticks
from circuitwatch.summary.charts.matrices import matrices
from circuitwatch.summary.figures.circuits import INPUTS, circuit_figure
from circuitwatch.summary.figures.curves import behaviour_figure
from circuitwatch.summary.figures.emergence import emergence_figure, sizes_figure
from circuitwatch.summary.figures.shared import MinorTicks, save_figures
from circuitwatch.summary.figures.transfer import transfer_figure
from circuitwatch.summary.panels import Specification, specification
from support.own_cells import curves_of, own_cell
from support.sweeps import GRAPH


@pytest.fixture(scope="module")
def own_cells() -> list[CellData]:
    return [own_cell("small", 100_000), own_cell("large", 900_000)]


@pytest.fixture(scope="module")
def own(own_cells: list[CellData]) -> Specification:
    return specification(curves_of(own_cells), own_cells)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def emergence_row(model: str, params: float, status: str, **numbers: float) -> dict[str, object]:
    about = {"model": model, "params_total": params, "task": "capitals", "seed": 0}
    ends = {"first_tokens": 1e5, "last_tokens": 32e5, "tokens": np.nan}
    ends |= {"tokens_low": np.nan, "tokens_high": np.nan} | numbers
    return about | {"quantity": "behaviour/value", "status": status} | ends


def test_emergence_points_and_limits(own: Specification) -> None:
    """A dot with its interval, and a hollow triangle upwards for what never emerged."""
    emergence = pd.DataFrame(
        [
            emergence_row("small", 1e5, "never"),
            emergence_row("large", 9e5, "emerged", tokens=4e5, tokens_low=3e5, tokens_high=6e5),
        ]
    )
    scaling = pd.DataFrame(
        [{"task": "capitals", "quantity": "behaviour/value", "of": "tokens of emergence",
          "status": "fitted", "slope": -0.5, "slope_low": -0.7, "slope_high": -0.2,
          "intercept": np.log(4e5) + 0.5 * np.log(9e5)}]
    )  # fmt: skip
    panels = sizes_panels(emergence, scaling, own)["behaviour/value"]
    (axis,) = drawn(sizes_figure(panels, own.colours)).axes
    by_marker = {line.get_marker(): line for line in axis.lines if line.get_marker() != "None"}
    assert by_marker["^"].get_xydata().tolist() == [[1e5, 32e5]]
    assert by_marker["^"].get_markerfacecolor() == "#ffffff"
    assert by_marker["o"].get_xydata().tolist() == [[9e5, 4e5]]
    (interval,) = [line for line in axis.lines if line.get_linestyle() == "-" and
                   line.get_marker() == "None"]  # fmt: skip
    (trend,) = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert interval.get_xydata().tolist() == [[9e5, 3e5], [9e5, 6e5]]
    np.testing.assert_allclose(trend.get_ydata(), [4e5 * 3, 4e5])
    assert axis.get_title(loc="left") == "capital cities"
    words = [text.get_text() for text in axis.texts]
    assert "slope −0.50 [−0.70, −0.20]" in words
    assert axis.get_ylabel().replace("\n", " ") == "tokens of emergence (log)"
    arrows = [text for text in axis.texts if text.get_text() == ""]
    assert len(arrows) == 1 and arrows[0].xy[1] > arrows[0].xyann[1] == 32e5  # upwards


def test_sizes_stand_beside_each_other_with_open_ends(own: Specification) -> None:
    """An interval whose end is not known ends in an arrow; a limit is hollow and has one too."""
    rows = [
        emergence_row("small", 1e5, "never"),
        emergence_row("large", 9e5, "emerged", tokens=4e5, tokens_low=3e5),
    ]
    charts = emergence_charts(pd.DataFrame(rows), own)
    assert [chart.title for chart in charts] == ["Behaviours"]
    (axis,) = drawn(emergence_figure(charts, own.colours)).axes
    by_marker = {line.get_marker(): line for line in axis.lines if line.get_marker() != "None"}
    assert by_marker["o"].get_xydata().tolist() == [[4e5, 1.0]]
    assert by_marker[">"].get_xydata().tolist() == [[32e5, 0.0]]
    assert by_marker[">"].get_markerfacecolor() == "#ffffff"
    interval = [line for line in axis.lines if len(line.get_xdata()) == 2 and
                line.get_color() == own.colours["large"]]  # fmt: skip
    assert [line.get_xydata().tolist() for line in interval] == [[[3e5, 1.0], [32e5, 1.0]]]
    arrows = [text for text in axis.texts if text.get_text() == ""]
    assert [text.xyann[0] for text in arrows] == [32e5, 32e5]  # both begin at the last checkpoint
    assert all(text.xy[0] > 32e5 for text in arrows)  # and lead on to later ones
    assert [text.get_text() for text in axis.get_yticklabels()] == ["capital cities"]


def test_mean_sizes_of_circuits(own_cells: list[CellData]) -> None:
    for place, cell in enumerate(own_cells):
        cell.curves["circuit/nodes"] = [np.nan, np.nan, 4.0, 6.0, 8.0 + place, 6.0, 6.0]
    spec = specification(curves_of(own_cells), own_cells)
    panels = circuit_sizes(pd.DataFrame(), "circuit/nodes", spec)
    (axis,) = drawn(sizes_figure(panels, spec.colours)).axes
    dots = [line.get_xydata()[0] for line in axis.lines]
    np.testing.assert_allclose(dots, [[1e5, 6.0], [9e5, 6.2]])
    assert axis.get_ylabel() == "mean nodes (log)"


def test_transfer_goes_up_with_the_circuit_and_right_with_the_model(
    own_cells: list[CellData],
) -> None:
    """An early circuit (bottom row) on later models (to the right)."""
    circuit, model = [1e5, 2e5, 4e5], [1e5, 4e5]
    faith = np.array([[1.0, 0.1], [0.8, 0.5], [0.6, 0.9]])
    rows = [
        {"model": "small", "seed": 0, "task": "capitals", "circuit_task": "capitals",
         "circuit_tokens": c, "model_tokens": m, "faithfulness": faith[i, j]}
        for i, c in enumerate(circuit)
        for j, m in enumerate(model)
    ]  # fmt: skip
    facts = Facts.of_headers([own_cells[0].header])
    specific = pd.DataFrame(
        [{"model": "small", "circuit_task": c, "task": t, "last": v, "mean": v, "last_tokens": 4e5}
         for c, t, v in (("capitals", "capitals", 0.9), ("capitals", "ioi", 0.2),
                         ("ioi", "capitals", -0.3), ("ioi", "ioi", 1.0))]
    )  # fmt: skip
    figure = drawn(transfer_figure(matrices(pd.DataFrame(rows), specific, ["small"], facts)))
    axis, tasks = figure.axes[:2]
    picture = axis.images[0]
    np.testing.assert_allclose(picture.get_array(), faith)
    assert picture.origin == "lower" and picture.get_clim() == (-1, 1)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("model at (tokens)", "circuit of (tokens)")
    assert [text.get_text() for text in axis.get_xticklabels()] == ["100k", "400k"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["100k", "200k", "400k"]
    dots = axis.collections[0].get_offsets()
    assert dots.tolist() == [[0, 0], [1, 2]]  # circuits on their own checkpoint
    assert [text.get_text() for text in tasks.get_yticklabels()] == ["IOI", "capital cities"]
    np.testing.assert_allclose(tasks.images[0].get_array(), [[1.0, -0.3], [0.2, 0.9]])
    assert (tasks.get_xlabel(), tasks.get_ylabel()) == ("prompts of", "circuit of")
    assert tasks.images[0].origin == "upper"


def test_the_circuit_has_the_edges_of_the_mask(cells: list[CellData]) -> None:
    (cell,) = [c for c in cells if (c.model, c.task) == ("nano-400k", "ioi")]
    step = max(cell.circuits)
    (axis,) = drawn(circuit_figure([cell])).axes
    kinds = dict(zip("qkv", INPUTS.values(), strict=False))
    wanted: dict[str, list[tuple[float, float]]] = {colour: [] for colour in INPUTS.values()}
    x = {name: int(name.split("h")[-1]) if "h" in name else 4 for name in GRAPH.senders[1:]}
    for place in cell.circuits[step]:
        sender, receiver = divmod(int(place), len(GRAPH.receivers))
        name, into = GRAPH.senders[sender], GRAPH.receivers[receiver]
        start = (2.0, -1.0) if name == "input" else (x[name], int(name[1:].split(".")[0]))
        wanted[kinds.get(into[-2], "#777777") if "<" in into else "#777777"].append(start)
    edges = [made for made in axis.collections if isinstance(made, PathCollection)]
    for made, (colour, starts) in zip(edges, wanted.items(), strict=True):
        assert [to_hex(one) for one in made.get_edgecolors()] == [colour]
        assert [tuple(path.vertices[0]) for path in made.get_paths()] == starts
    assert axis.get_title(loc="left") == "IOI"


def test_a_doubtful_circuit_says_so(cells: list[CellData]) -> None:
    (cell,) = [c for c in cells if (c.model, c.task) == ("nano-400k", "gendered_pronoun")]
    (axis,) = drawn(circuit_figure([cell], 300)).axes
    assert any("faithfulness above 1.2" in text.get_text() for text in axis.texts)
    (axis,) = drawn(circuit_figure([cell], 900)).axes
    assert any("edge scores not converged" in text.get_text() for text in axis.texts)


def test_a_figure_is_written_in_three_formats_and_always_the_same(
    own: Specification, tmp_path: Path
) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        save_figures({"behaviour": drawn(behaviour_figure(own))}, folder)
    for name in ("behaviour.png", "behaviour.svg", "behaviour.pdf"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a/behaviour.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "a/behaviour.svg").read_text()


def test_minor_ticks_are_those_between_the_powers_of_ten(own: Specification) -> None:
    figure = drawn(behaviour_figure(own))
    (axis,) = figure.axes
    axis.set_xlim(5e4, 3e6)
    figure.draw_without_rendering()
    (ticks,) = [artist for artist in axis.artists if isinstance(artist, MinorTicks)]
    labelled, between = log_ticks(5e4, 3e6, 5)
    every = [*np.arange(5, 11) * 1e4, *np.arange(2, 11) * 1e5, 2e6, 3e6]
    np.testing.assert_allclose(ticks.line.get_xdata(), between)
    np.testing.assert_allclose(sorted([*labelled, *between]), every)
