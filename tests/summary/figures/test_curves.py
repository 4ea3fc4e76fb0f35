"""Panels of curves draw the numbers that they are given: lines, bands, levels, marks, words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.together import charts
from circuitwatch.summary.figures.curves import (
    behaviour_figure,
    circuits_figure,
    curves_figure,
    overlaps_figure,
)
from circuitwatch.summary.figures.drawing import draw_figures
from circuitwatch.summary.figures.roles import role_sizes_figure
from circuitwatch.summary.heads.tables import head_tables
from circuitwatch.summary.lines import DUPLICATES
from circuitwatch.summary.panels import Specification, specification
from support.own_cells import RISE, TOKENS, curves_of, own_cell

SHOWN = np.array([TOKENS[1] / 2, *TOKENS[1:]])
"""Where the checkpoints stand: 0 tokens at half of the first positive count."""


@pytest.fixture(scope="module")
def own_cells() -> list[CellData]:
    return [own_cell("small", 100_000), own_cell("large", 900_000)]


@pytest.fixture(scope="module")
def own(own_cells: list[CellData]) -> Specification:
    return specification(curves_of(own_cells), own_cells)


@pytest.fixture(scope="module")
def demo(cells: list[CellData]) -> Specification:
    return specification(curves_of(cells), cells)


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def coloured(axis: Axes, colour: str) -> list[Line2D]:
    return [line for line in axis.lines if line.get_color() == colour]


def legend_words(figure: Figure) -> list[str]:
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [text.replace("\n", " ") for text in texts]


def band(axis: Axes, place: int) -> np.ndarray:
    """Lower and upper edge of a panel's band, [checkpoint, end]."""
    bands = [made for made in axis.collections if isinstance(made, PolyCollection)]
    points = bands[place].get_paths()[0].vertices
    xs = np.unique(points[:, 0])
    ends = [points[points[:, 0] == x, 1] for x in xs]
    return np.array([[end.min(), end.max()] for end in ends])


def test_a_curve_is_drawn_where_its_numbers_are(own: Specification) -> None:
    (axis,) = drawn(behaviour_figure(own)).axes
    for model, params in (("small", 100_000), ("large", 900_000)):
        (line,) = coloured(axis, own.colours[model])
        np.testing.assert_allclose(line.get_xdata(), SHOWN)
        np.testing.assert_allclose(line.get_ydata(), -4 + 3 * RISE * (1 + params / 1e6))
    assert axis.get_xscale() == "log"
    assert axis.get_xlim()[0] < SHOWN[0] and axis.get_xlim()[1] > SHOWN[-1]


def test_a_band_is_the_interval(own: Specification) -> None:
    """Not the value, nor the lower end twice."""
    (axis,) = drawn(behaviour_figure(own)).axes
    for place, params in enumerate((100_000, 900_000)):
        values = -4 + 3 * RISE * (1 + params / 1e6)
        expected = np.column_stack([values - 0.2, values + 0.5])
        np.testing.assert_allclose(band(axis, place), expected)


def test_words_and_units_are_those_of_the_facts(own: Specification) -> None:
    (axis,) = drawn(behaviour_figure(own)).axes
    assert axis.get_title(loc="left") == "capital cities"
    assert " ".join(axis.get_ylabel().split()) == "log-probability of the answer"
    (depth,) = drawn(curves_figure(own.sections["depth of circuits"].panels)).axes
    assert depth.get_title(loc="left") == "mean depth"
    assert " ".join(depth.get_ylabel().split()) == "layers, capital cities"
    assert legend_words(drawn(behaviour_figure(own))) == ["small", "large", "95 % interval"]


def test_every_panel_has_the_unit_of_its_task(demo: Specification) -> None:
    figure = drawn(behaviour_figure(demo))
    units = {axis.get_title(loc="left"): axis.get_ylabel() for axis in figure.axes}
    assert units == {
        "IOI": "logit difference",
        "greater-than": "probability difference",
        "gendered pronoun": "logit difference",
        "agreement": "probability difference",
    }


def test_the_effect_stands_beside_the_metric(demo: Specification, cells: list[CellData]) -> None:
    figure = drawn(behaviour_figure(demo))
    (cell,) = [c for c in cells if (c.model, c.task) == ("nano-400k", "greater_than")]
    lines = coloured(figure.axes[1], demo.colours["nano-400k"])
    by_dashes = {line.get_linestyle(): line.get_ydata() for line in lines}
    np.testing.assert_array_equal(by_dashes["-"], cell.curves["behaviour/value"])
    np.testing.assert_array_equal(by_dashes["--"], cell.curves["behaviour/effect"])
    assert "effect of the deciding word (clean − corrupted)" in legend_words(figure)


def test_a_role_is_held_from_the_dotted_line_on(own: Specification) -> None:
    (axis,) = drawn(role_sizes_figure(own)).axes
    (level,) = coloured(axis, "#999999")
    assert set(level.get_ydata()) == {0.3} and level.get_linestyle() == ":"
    (line,) = coloured(axis, own.colours["large"])
    np.testing.assert_allclose(line.get_ydata(), 0.5 * RISE * 1.9)


def test_chance_of_a_behaviour_is_dotted(demo: Specification) -> None:
    for axis in drawn(behaviour_figure(demo)).axes:
        (level,) = coloured(axis, "#999999")
        assert set(level.get_ydata()) == {0.0}


def with_scalars(cell: CellData, **scalars: Sequence[object] | np.ndarray) -> CellData:
    named = {name.replace("__", "/"): values for name, values in scalars.items()}
    return replace(cell, curves=cell.curves.assign(**named))


def test_doubtful_circuits_are_ringed_and_copies_crossed_out() -> None:
    sizes = np.linspace(0.1, 0.7, RISE.size)
    cell = with_scalars(
        own_cell("small", 100_000),
        circuit__edges_share=sizes,
        circuit__out_of_range=[False, True, False, True, False, False, False],
        weights__duplicate_of=[None, None, None, None, None, "step9", None],
    )
    figure = drawn(circuits_figure(specification(curves_of([cell]), [cell])))
    axis = figure.axes[0]
    (rings,) = [line for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(rings.get_xdata(), TOKENS[[1, 3]])
    np.testing.assert_allclose(rings.get_ydata(), sizes[[1, 3]])
    (crosses,) = axis.collections
    np.testing.assert_allclose(crosses.get_offsets(), [[TOKENS[5], sizes[5]]])
    assert {DUPLICATES, "faithfulness above 1.2 or below −0.2"} <= set(legend_words(figure))


def test_overlaps_are_drawn_with_what_they_are_compared_with() -> None:
    rng = np.random.default_rng(1)
    kinds = ("", "_resampled", "_resampled_ceiling", "_resampled_chance", "_chance")
    values = {f"overlap__node_jaccard{kind}": rng.uniform(0.2, 0.9, RISE.size) for kind in kinds}
    cell = with_scalars(own_cell("small", 100_000), **values)
    figure = drawn(overlaps_figure(specification(curves_of([cell]), [cell])))
    axis = figure.axes[0]
    ceiling, chance, own = (line.get_ydata() for line in axis.lines)
    np.testing.assert_allclose(own, values["overlap__node_jaccard_resampled"])
    for smooth, kind in ((ceiling, "ceiling"), (chance, "chance")):
        recorded = values[f"overlap__node_jaccard_resampled_{kind}"]
        assert smooth[0] == pytest.approx(recorded[:3].mean())
        assert smooth[3] == pytest.approx(recorded[1:6].mean())
    words = " ".join(legend_words(figure))
    assert "noise ceiling" in words and "by chance" in words
    assert not figure.axes[1].axison  # nothing to the last circuit


def test_there_is_a_figure_for_what_a_user_invents(
    own: Specification, own_cells: list[CellData]
) -> None:
    nothing = pd.DataFrame()
    heads = head_tables(own_cells, nothing)
    figures = draw_figures(charts(own, own_cells, nothing, nothing, heads), own_cells)
    assert {"behaviour", "text", "depth_of_circuits", "roles_by_size", "algorithm"} <= set(figures)
    (loss,) = figures["text"].axes
    assert loss.get_title(loc="left") == "loss on text" and loss.get_ylabel() == "nats per token"
    np.testing.assert_allclose(coloured(loss, own.colours["large"])[0].get_ydata(), 5 - 3.8 * RISE)
