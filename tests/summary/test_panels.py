"""What stands in which panel: words, units, ranges and references come from the facts alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.panel import Panel
from circuitwatch.summary.curves import COLUMNS, Curves, combine
from circuitwatch.summary.lines import Lines
from circuitwatch.summary.panels import Specification, specification
from support.own_cells import RISE, TOKENS, curves_of, own_cell


@pytest.fixture(scope="module")
def own() -> Specification:
    cells = [own_cell("small", 100_000), own_cell("large", 900_000)]
    return specification(curves_of(cells), cells)


def only(spec: Specification, quantity: str) -> Panel:
    (panel,) = spec.panels(quantity).values()
    return panel


def test_a_users_task_has_its_own_words_and_unit(own: Specification) -> None:
    panel = only(own, "behaviour/value")
    assert (panel.title, panel.axis) == ("capital cities", "log-probability of the answer")
    assert [line.model for line in panel.curves] == ["small", "large"]
    assert panel.levels == ()  # a log-probability has no chance


def test_a_users_quantities_make_sections_of_their_own(own: Specification) -> None:
    assert list(own.sections) == ["behaviour", "roles", "algorithm", "text", "depth of circuits"]
    assert own.sections["depth of circuits"].title == "Depth of circuits"
    depth, loss = only(own, "mine/depth"), only(own, "text/loss")
    assert (depth.title, depth.axis) == ("mean depth", "layers, capital cities")
    assert (loss.title, loss.axis, loss.task) == ("loss on text", "nats per token", "-")


def test_a_role_has_its_threshold_and_the_whole_range(own: Specification) -> None:
    panel = only(own, "roles/sink/max")
    assert panel.title == "attention sink" and panel.levels == ((0.3, "threshold of the role"),)
    assert panel.limits == pytest.approx((-0.04, 1.04))


def test_an_interval_is_the_one_that_the_quantity_names(own: Specification) -> None:
    """Also one that doesn't lie evenly about the value; of no other quantity."""
    for quantity, below, above in (("behaviour/value", 0.2, 0.5), ("text/loss", 0.1, 0.3)):
        for line in only(own, quantity).curves:
            assert line.low is not None and line.high is not None
            np.testing.assert_allclose(line.values - line.low, below)
            np.testing.assert_allclose(line.high - line.values, above)
    assert only(own, "mine/depth").curves[0].low is None


def test_an_algorithm_is_shown_where_its_behaviour_is_above_chance(own: Specification) -> None:
    (line, _) = only(own, "algorithm/lookup").curves
    np.testing.assert_array_equal(line.tokens, TOKENS[RISE > 0.3])
    np.testing.assert_allclose(line.values, 0.2 + 0.5 * RISE[RISE > 0.3])


def test_what_says_how_a_record_was_made_is_no_curve(own: Specification) -> None:
    assert not own.panels("timing/seconds") and "curves" not in own.sections


def test_an_end_of_the_range_is_shown_if_it_is_near(own: Specification) -> None:
    """Depth runs from 1 to 4.8, so that 0 is no further away than it reaches; a share of edges of
    0.9 to 1 doesn't ask for 0.
    """
    low, high = only(own, "mine/depth").limits
    assert low < 0 < 4.8 < high < 5.5
    cell = own_cell("small", 100_000)
    cell = replace(cell, curves=cell.curves.assign(**{"circuit/edges_share": 0.9 + 0.1 * RISE}))
    low, high = only(specification(curves_of([cell]), [cell]), "circuit/edges_share").limits
    assert 0.85 < low < 0.9 and high > 1


def test_overlaps_stand_beside_chance_and_ceiling() -> None:
    """Smoothed over five neighbours; only that of other prompts has a ceiling."""
    cell = own_cell("small", 100_000)
    rng = np.random.default_rng(0)
    names = [
        f"overlap/edge_jaccard{kind}"
        for kind in ("", "_chance", "_resampled", "_resampled_ceiling", "_resampled_chance")
    ]
    values = {name: rng.uniform(0.2, 0.9, RISE.size) for name in names}
    cell = replace(cell, curves=cell.curves.assign(**values))
    spec = specification(curves_of([cell]), [cell])
    plain, other = only(spec, names[0]), only(spec, names[2])
    assert not plain.of_kind("ceiling")
    kinds = plain.of_kind("chance"), other.of_kind("chance"), other.of_kind("ceiling")
    assert [len(lines) for lines in kinds] == [1, 1, 1]
    ceiling = values[names[3]]
    expected = [ceiling[max(i - 2, 0) : i + 3].mean() for i in range(RISE.size)]
    np.testing.assert_allclose(other.of_kind("ceiling")[0].values, expected)
    np.testing.assert_allclose(other.curves[0].values, values[names[2]])
    assert "other prompts" in other.axis and "other prompts" not in plain.axis


def test_cutoffs_give_a_band_of_least_and_most() -> None:
    cell = own_cell("small", 100_000)
    there = TOKENS[RISE > 0.3]
    rows = [
        {"tokens": t, "cutoff": c, "value": v, "low": v - 0.05, "high": v + 0.15}
        for t in there
        for c, v in ((np.nan, 0.5), (0.1, 0.7), (0.5, 0.2), (0.9, 0.4))
    ]
    about = {"model": "small", "seed": 0, "task": "capitals", "quantity": "lookup"}
    bands = pd.DataFrame(rows).assign(**about)
    (line,) = Lines(curves_of([cell]), [cell], bands).of("algorithm/lookup", "capitals")
    for name, expected in {
        "values": 0.5,
        "low": 0.45,
        "high": 0.65,
        "least": 0.2,
        "most": 0.7,
    }.items():
        np.testing.assert_allclose(getattr(line, name), expected, err_msg=name)


def test_doubtful_circuits_and_copies_are_marked() -> None:
    cell = own_cell("small", 100_000)
    n = RISE.size
    curves = cell.curves.assign(
        **{
            "circuit/edges_share": np.linspace(0.1, 0.7, n),
            "circuit/out_of_range": [False, True, False, True, False, False, False],
            "circuit/score_converged": [True] * (n - 1) + [False],
            "weights/duplicate_of": [None] * 3 + ["step7"] + [None] * 3,
        }
    )
    cell = replace(cell, curves=curves)
    (line,) = only(specification(curves_of([cell]), [cell]), "circuit/edges_share").curves
    assert line.tokens.tolist() == [t for t in TOKENS if t != TOKENS[3]]
    assert line.copies[0].tolist() == [TOKENS[3]] and line.copies[1] == pytest.approx([0.4])
    out, unsure = line.doubts.values()
    assert out.tolist() == [1] and unsure.tolist() == [n - 2]


def test_curves_from_elsewhere_have_their_standard_errors() -> None:
    table = pd.DataFrame(
        {"model": "m", "params": 1e6, "tokens": TOKENS, "step": TOKENS, "task": "lambada",
         "quantity": "acc_norm", "value": RISE, "stderr": 0.1, "seed": 0, "source": "x"}
    )[list(COLUMNS)]  # fmt: skip
    spec = specification(combine([Curves(table)]))
    panel = only(spec, "acc_norm")
    assert list(spec.sections) == ["curves"] and panel.title == "lambada"
    (line,) = panel.curves
    assert line.high is not None and line.low is not None
    np.testing.assert_allclose(line.high - line.values, 0.196, rtol=1e-4)
    np.testing.assert_allclose(line.values - line.low, 0.196, rtol=1e-4)


def test_a_few_checkpoints_of_a_curve_keep_their_ends_and_marks() -> None:
    cell = own_cell("small", 100_000)
    out = {"circuit/edges": RISE + 1, "circuit/out_of_range": [False] * 5 + [True, False]}
    cell = replace(cell, curves=cell.curves.assign(**out))
    spec = specification(curves_of([cell]), [cell])
    (edges,), (behaviour,) = (
        only(spec, "circuit/edges").curves,
        only(spec, "behaviour/value").curves,
    )
    few = edges.at(np.array([0, 2, 5]))
    assert few.tokens.tolist() == TOKENS[[0, 2, 5]].tolist()
    assert [places.tolist() for places in few.doubts.values()] == [[2]]
    few = behaviour.at(np.array([1, 4]))
    assert few.low is not None and few.low.tolist() == behaviour.low[[1, 4]].tolist()  # type: ignore[index]


def test_tasks_come_in_the_order_of_the_facts(cells: list[CellData]) -> None:
    mixed = [*cells, own_cell("nano-100k", 98_432)]
    spec = specification(curves_of(mixed), mixed)
    assert list(spec.panels("behaviour/value")) == [
        "ioi", "greater_than", "gendered_pronoun", "agreement", "capitals",
    ]  # fmt: skip
    axes = {task: panel.axis for task, panel in spec.panels("behaviour/value").items()}
    assert axes["ioi"] == axes["gendered_pronoun"] == "logit difference"
    assert axes["greater_than"] == axes["agreement"] == "probability difference"
    assert axes["capitals"] == "log-probability of the answer"
