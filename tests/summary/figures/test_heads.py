"""Figures of heads: roles beside behaviours, who holds a role when, the algorithm's shares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.algorithm import EMERGES, algorithm_chart
from circuitwatch.summary.charts.looks import INK
from circuitwatch.summary.charts.roles import roles_choice
from circuitwatch.summary.charts.timeline import states, timelines
from circuitwatch.summary.figures.algorithm import algorithm_figure
from circuitwatch.summary.figures.roles import roles_figure
from circuitwatch.summary.figures.timeline import timeline_figure
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.panels import Specification, specification
from support.own_cells import RISE, TOKENS, curves_of, own_cell, own_facts

NO_EMERGENCE = pd.DataFrame(columns=["model", "seed", "task", "quantity", "status"])


@pytest.fixture(scope="module")
def own_cells() -> list[CellData]:
    return [own_cell("small", 100_000), own_cell("large", 900_000)]


@pytest.fixture(scope="module")
def own(own_cells: list[CellData]) -> Specification:
    return specification(curves_of(own_cells), own_cells)


def roles_of(*given: Any) -> Figure:
    """The figure of what `roles_choice` is given."""
    choice = roles_choice(*given)
    assert choice is not None
    return roles_figure(choice)


def algorithm_of(*given: Any) -> Figure:
    """The figure of what `algorithm_chart` is given."""
    chart = algorithm_chart(*given)
    assert chart is not None
    return algorithm_figure(chart)


def history(model: str = "small") -> RoleHistory:
    """Two heads and an MLP: a0.h0 holds the role from the third checkpoint and is confirmed from
    the fourth, a0.h1 from the fifth and hurts, m0 never.
    """
    index = pd.MultiIndex.from_arrays([range(7), TOKENS.astype(int)], names=["step", "tokens"])
    scores = pd.DataFrame(
        {
            "a0.h0": [0, 0.1, 0.5, 0.6, 0.7, 0.8, 0.9],
            "a0.h1": [0, 0, 0, 0.1, 0.4, 0.5, 0.6],
            "m0": [0.1] * 7,
        },
        index=index,
    )
    rows = []
    for (step, tokens), values in scores.iterrows():  # type: ignore[misc]
        for node in values.index:
            sure = (node == "a0.h0" and step >= 3) or (node == "a0.h1" and step >= 5)
            rows.append(
                {"step": step, "tokens": tokens, "node": node, "confirmed": sure,
                 "sign": "hurts" if node == "a0.h1" else "helps"}
            )  # fmt: skip
    return RoleHistory(model, 0, "sink", 0.3, scores, {"capitals": pd.DataFrame(rows)})


def test_a_role_has_its_own_colour_and_line(own: Specification, own_cells: list[CellData]) -> None:
    figure = roles_of(own, own_cells, [history()])
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "small, capital cities",
        "large, capital cities",
    ]
    for axis, params in zip(figure.axes, (100_000, 900_000), strict=True):
        (role,) = [line for line in axis.lines if line.get_color() == "#123456"]
        assert role.get_linestyle() != "-"  # dotted, as its facts say
        np.testing.assert_allclose(role.get_ydata(), 0.5 * RISE * (1 + params / 1e6))
        (behaviour,) = [line for line in axis.lines if line.get_color() == "#222222"]
        values = -4 + 3 * RISE * (1 + params / 1e6)
        least, most = values.min(), values.max()
        np.testing.assert_allclose(behaviour.get_ydata(), (values - least) / (most - least))
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["attention sink (helps)", "behaviour, from least to most"]


def test_a_behaviour_with_a_chance_is_a_share_of_its_maximum(cells: list[CellData]) -> None:
    own = [c for c in cells if (c.model, c.task) == ("nano-400k", "ioi")]
    (axis, *_) = roles_of(specification(curves_of(own), own), own).axes
    (behaviour,) = [line for line in axis.lines if line.get_color() == "#222222"]
    values = own[0].curves["behaviour/value"]
    np.testing.assert_allclose(behaviour.get_ydata(), values / values.max())


def test_roles_that_serve_no_task_have_a_panel(own_cells: list[CellData]) -> None:
    facts = own_facts()
    facts["tasks"]["capitals"]["roles"] = []
    bare = [replace(cell, header={**cell.header, "facts": facts}) for cell in own_cells]
    figure = roles_of(specification(curves_of(bare), bare), bare)
    assert [len(axis.lines) for axis in figure.axes] == [1, 1]
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["small", "large"]


def test_the_states_of_a_head() -> None:
    """0 no holder, 1 by its score alone, 2 confirmed and helps, 3 and hurts."""
    known = history()
    held = known.scores >= 0.3
    found = states(known, held, "capitals")
    assert found["a0.h0"].tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert found["a0.h1"].tolist() == [0, 0, 0, 0, 1, 3, 3]
    assert found["m0"].tolist() == [0] * 7
    assert states(known, held, None)["a0.h0"].tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_the_timeline_says_when_and_how_strongly(own_cells: list[CellData]) -> None:
    facts = Facts.of_headers([own_cells[0].header])
    emergence = pd.DataFrame(
        [{"model": "small", "seed": 0, "task": "capitals", "quantity": "behaviour/value",
          "status": "emerged", "tokens": 5e5}]
    )  # fmt: skip
    figure = timeline_figure(timelines([history()], own_cells[:1], emergence, facts))
    (axis,) = figure.axes
    (bars,) = [made for made in axis.collections if isinstance(made, PolyCollection)]
    boxes = [path.vertices for path in bars.get_paths()]
    heights = np.array([box[:, 1].max() - box[:, 1].min() for box in boxes]).reshape(2, 7)
    np.testing.assert_allclose(heights[0], [0.14, 0.14, 0.5, 0.94, 0.94, 0.94, 0.94])
    np.testing.assert_allclose(heights[1], [0.14] * 4 + [0.5, 0.94, 0.94])
    inside = [box[:, 0].min() < tokens < box[:, 0].max() for box, tokens in
              zip(boxes[1:7], TOKENS[1:7], strict=True)]  # fmt: skip
    assert all(inside)
    (through,) = [made for made in axis.collections if isinstance(made, LineCollection)]
    assert len(through.get_segments()) == 2  # a0.h1 hurts at two checkpoints
    strength = [1 - np.array(bars.get_facecolor())[k, 0] for k in (2, 6)]
    full = 1 - matplotlib.colors.to_rgb("#123456")[0]
    np.testing.assert_allclose(strength, [full * (0.12 + 0.88 * s) for s in (0.5, 0.9)])
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a0.h0", "a0.h1"]
    assert "attention sink (capital cities)" in [text.get_text() for text in axis.texts]
    (moment,) = [line for line in axis.lines if line.get_color() == INK and line.get_lw() == 1.0]
    assert set(moment.get_xdata()) == {5e5}
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "capital cities emerges" in words


def test_the_algorithm_of_a_users_task_is_drawn(
    own: Specification, own_cells: list[CellData]
) -> None:
    emergence = pd.DataFrame(
        [{"model": "large", "seed": 0, "task": "capitals", "quantity": "behaviour/value",
          "status": "emerged", "tokens": 5e5, "tokens_low": 4e5, "tokens_high": 7e5}]
    )  # fmt: skip
    figure = algorithm_of(own, own_cells, emergence)
    steps, small, large = figure.axes
    assert [text.get_text() for text in steps.texts] == ["country", "logits", "", "look up"]
    there = RISE > 0.3
    for axis in (small, large):
        (line, *_) = axis.lines[-1:]
        np.testing.assert_allclose(line.get_xdata(), TOKENS[there])
        np.testing.assert_allclose(line.get_ydata(), 0.2 + 0.5 * RISE[there])
        band = [made for made in axis.collections if isinstance(made, PolyCollection)][-1]
        edges = band.get_paths()[0].vertices
        assert edges[:, 1].min() == pytest.approx(0.1 + 0.5 * 0.4)
        assert edges[:, 1].max() == pytest.approx(0.4 + 0.5 * 1.0)
    assert [set(line.get_xdata()) for line in large.lines if line.get_linestyle() == "--"] == [
        {5e5}
    ]
    assert small.get_ylim()[1] > 1 and small.get_ylabel() == "share"
    words = [t.get_text().replace("\n", " ") for one in figure.legends for t in one.get_texts()]
    assert words == ["look-up by MLPs", "95 % interval", EMERGES]


def test_shares_over_cutoffs_have_band_and_bars(own_cells: list[CellData]) -> None:
    cell = own_cells[0]
    there = TOKENS[RISE > 0.3]
    rows = [
        {"tokens": t, "cutoff": c, "value": v, "low": v - 0.05, "high": v + 0.15}
        for t in there
        for c, v in ((np.nan, 0.5), (0.1, 0.7), (0.5, 0.2), (0.9, 0.4))
    ]
    about = {"model": "small", "seed": 0, "task": "capitals", "quantity": "lookup"}
    spec = specification(curves_of([cell]), [cell], pd.DataFrame(rows).assign(**about))
    figure = algorithm_of(spec, [cell], NO_EMERGENCE)
    axis = figure.axes[1]
    (band,) = [made for made in axis.collections if isinstance(made, PolyCollection)]
    (bars,) = [made for made in axis.collections if isinstance(made, LineCollection)]
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((0.2, 0.7))
    for segment in bars.get_segments():
        assert sorted(segment[:, 1]) == pytest.approx([0.45, 0.65])


def test_a_share_far_beyond_the_others_is_cut_off_and_said(own_cells: list[CellData]) -> None:
    cell = own_cells[0]
    share = np.where(RISE > 0.3, 0.5, np.nan)
    share[-1] = 40.0
    cell = replace(cell, curves=cell.curves.assign(**{"algorithm/lookup": share}))
    spec = specification(curves_of([cell]), [cell])
    low, high = algorithm_of(spec, [cell], NO_EMERGENCE).axes[1].get_ylim()
    assert -0.1 < low < 0 and 1.6 < high < 1.8
    (choice,) = spec.sections["algorithm"].choices
    assert "Values beyond −0.5 and 1.6 are cut off." in choice.notes
