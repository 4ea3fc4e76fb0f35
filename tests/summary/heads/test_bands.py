"""What is said of the algorithm does not hang on a cut-off: bands, hysteresis in B, and verdicts,
on made-up cells whose answers are known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.algorithms import confirm_roles
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import HeadsConfig
from circuitwatch.facts import Facts
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.algorithm import algorithm_chart
from circuitwatch.summary.figures.algorithm import algorithm_figure
from circuitwatch.summary.heads.algorithm import algorithm_table, over_cutoffs, said_by_cutoff
from circuitwatch.summary.heads.bands import band_of, bands_table, by_cutoff
from circuitwatch.summary.heads.histories import role_histories
from circuitwatch.summary.panels import specification
from circuitwatch.summary.report.algorithm_words import algorithm_sentences
from support.built_ioi import ioi_model, ioi_prompts
from support.own_cells import curves_of

N = 12
STEPS = range(1, N + 1)
CUTOFFS = [tenths / 10 for tenths in range(1, 10)]
HEADS = ("a0.h0", "a0.h1", "a2.h0", "a2.h1")
ROLES = ("name_mover", "negative_name_mover", "copy_suppression")


def ioi_cell(
    scores: dict[tuple[str, str], list[float]],
    effects: dict[str, float],
    thresholds: dict[str, float] | None = None,
    *,
    bands: dict[str, dict[float, list[float]]] | None = None,
    **curves: list[float],
) -> CellData:
    """A cell as a monitor would record it: B at each checkpoint from its own scores alone, without
    hysteresis, at the thresholds and at every cut-off.

    scores: (role, head) → score at each checkpoint; other heads score 0. effects: of each head on
    the logits. bands: of other measures.
    """
    thresholds = dict.fromkeys(ROLES, 0.5) | (thresholds or {})
    every = sum(abs(effect) for effect in effects.values())

    def b(place: int, cutoffs: dict[str, float]) -> float:
        held = {head for (role, head), values in scores.items() if values[place] >= cutoffs[role]}
        return sum(abs(effects[head]) for head in held) / every

    default = [b(k, thresholds) for k in range(N)]
    rows = [(k + 1, "B", c, b(k, dict.fromkeys(ROLES, c))) for c in CUTOFFS for k in range(N)]
    rows += [
        (k + 1, m, c, v)
        for m, of in (bands or {}).items()
        for c, values in of.items()
        for k, v in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["step", "measure", "cutoff", "value"])
    table = table.assign(
        tokens=table["step"].map(lambda s: 1000 * 2**s),
        low=table["value"] - 0.05,
        high=table["value"] + 0.05,
    )
    roles = pd.DataFrame(
        [
            {
                "step": k + 1,
                "tokens": 1000 * 2 ** (k + 1),
                "role": role,
                "layer": int(head[1]),
                "head": int(head[-1]),
                "score": scores.get((role, head), [0.0] * N)[k],
            }
            for role in ROLES
            for head in HEADS
            for k in range(N)
        ]
    )
    direct = pd.DataFrame(
        [
            {"step": s, "sender": head, "effect": effect}
            for s in STEPS
            for head, effect in effects.items()
        ]
    )
    columns: dict[str, list] = {
        "step": list(STEPS),
        "tokens": [1000 * 2**s for s in STEPS],
        "behaviour/above_chance": [True] * N,
        "algorithm/B": default,
        "algorithm/B_low": [v - 0.05 for v in default],
        "algorithm/B_high": [v + 0.05 for v in default],
        **{f"algorithm/{name}": values for name, values in curves.items()},
    }
    header = {
        "model": {"name": "m", "params_total": 5},
        "task": "ioi",
        "seed": 0,
        "config": {"heads": {"thresholds": thresholds}},
    }
    return CellData(
        Path(),
        header,
        True,
        pd.DataFrame(columns),
        pd.DataFrame(),
        roles=roles,
        direct=direct,
        bands=table,
    )


def found(cell: CellData) -> tuple[pd.DataFrame, pd.DataFrame]:
    bands = bands_table([cell], role_histories([cell]))
    return algorithm_table([cell], bands).set_index("quantity"), bands


EFFECTS = {"a0.h0": 0.2, "a0.h1": -0.1, "a2.h0": -0.5, "a2.h1": 0.2}
STEADY = {("name_mover", "a2.h0"): [0.95] * N}


def test_a_head_that_wanders_about_the_default_cutoff_does_not_move_b() -> None:
    """The null: nothing changes but one score, between 0.45 and 0.55.

    The record's B jumps; with hysteresis the head stays a holder.
    """
    wandering = STEADY | {("negative_name_mover", "a2.h1"): [0.55, 0.45] * (N // 2)}
    cell = ioi_cell(wandering, EFFECTS)
    assert np.ptp(cell.curves["algorithm/B"]) == pytest.approx(0.2)
    rows, bands = found(cell)
    default = band_of(bands, cell, "B")
    assert default["value"].to_numpy() == pytest.approx(np.full(N, 0.7))
    # Its interval is that of the recorded share, and is known only where that is the same.
    assert default["low"].notna().tolist() == [True, False] * (N // 2)
    assert rows.loc["B", "verdict"] == "stays" and rows.loc["B", "verdicts"] == "stays at 0.1–0.9"
    assert rows.loc["B", "band_min"] == pytest.approx(0.5) and rows.loc[
        "B", "band_max"
    ] == pytest.approx(0.7)
    # A head that falls below the hysteresis too is lost, and what is said of B then hangs on the
    # cut-off.
    wide = STEADY | {("negative_name_mover", "a2.h1"): [0.55, 0.2] * (N // 2)}
    effects = EFFECTS | {"a2.h1": 0.6}
    assert found(ioi_cell(wide, effects))[0].loc["B", "verdict"] == "depends on the cut-off"


def test_a_verdict_that_flips_with_the_cutoff_is_not_given() -> None:
    rising = STEADY | {("negative_name_mover", "a2.h1"): list(np.linspace(0.3, 0.72, N))}
    effects = EFFECTS | {"a2.h1": 0.8}
    cell = ioi_cell(rising, effects, {"negative_name_mover": 0.5})
    rows, bands = found(cell)
    assert rows.loc["B", "verdict"] == "depends on the cut-off"
    assert (
        rows.loc["B", "verdicts"]
        == "stays at 0.1–0.3, varies without a trend at 0.4–0.7, stays at 0.8–0.9"
    )
    each = by_cutoff(bands, cell, "B")
    assert list(each) == CUTOFFS and each[0.2].to_numpy() == pytest.approx(np.full(N, 1.3 / 1.6))
    assert each[0.9].to_numpy() == pytest.approx(np.full(N, 0.5 / 1.6))
    (said,) = algorithm_sentences(rows.reset_index(), Facts.of_installation())
    assert (
        "does depends on the cut-off: stays at 0.1–0.3, varies without a trend at 0.4–0.7" in said
        and "(0.31 to 0.81" in said
    )


def test_a_verdict_that_every_cutoff_gives_is_given() -> None:
    """C rises from below 0 and D falls from above 1 at every cut-off; both are as recorded."""
    up, down = np.linspace(-0.2, 0.6, N), np.linspace(1.3, 0.4, N)
    over = {
        "C": {c: list(up + 0.1 * c) for c in CUTOFFS},
        "D": {c: list(down - 0.1 * c) for c in CUTOFFS},
    }
    cell = ioi_cell(STEADY, EFFECTS, bands=over, C=list(up), D=list(down))
    rows, bands = found(cell)
    assert rows["verdict"].to_dict() == {"B": "stays", "C": "rises", "D": "falls"}
    assert rows.loc["D", "band_max"] == pytest.approx(1.29) and rows.loc[
        "C", "min"
    ] == pytest.approx(-0.2)
    over["D"][0.7] = [0.5] * N
    changed = ioi_cell(STEADY, EFFECTS, bands=over, C=list(up), D=list(down))
    assert (
        found(changed)[0].loc["D", "verdicts"] == "falls at 0.1–0.6, stays at 0.7, falls at 0.8–0.9"
    )
    spec = specification(curves_of([cell]), [cell], bands)
    chart = algorithm_chart(spec, [cell], pd.DataFrame())
    assert chart is not None
    figure = algorithm_figure(chart)
    assert figure is not None
    low, high = figure.axes[-1].get_ylim()
    assert low < -0.19 and high > 1.3


def test_without_direct_effects_b_stays_as_recorded() -> None:
    cell = ioi_cell(STEADY | {("negative_name_mover", "a2.h1"): [0.55, 0.45] * (N // 2)}, EFFECTS)
    bare = CellData(
        Path(), cell.header, True, cell.curves, pd.DataFrame(), roles=cell.roles, bands=cell.bands
    )
    bands = bands_table([bare], role_histories([bare]))
    np.testing.assert_allclose(band_of(bands, bare, "B")["value"], bare.curves["algorithm/B"])


def test_what_can_hold_no_role_counts_nowhere() -> None:
    """Copy suppression is held in no layer before the third, whatever its score there."""
    cell = ioi_cell(STEADY | {("copy_suppression", "a0.h0"): [0.9] * N}, EFFECTS)
    _, bands = found(cell)
    assert band_of(bands, cell, "B")["value"].to_numpy() == pytest.approx(np.full(N, 0.5))


def test_a_naive_loop_agrees() -> None:
    rng = np.random.default_rng(3)
    scores = {
        (role, head): list(np.clip(0.5 + np.cumsum(rng.normal(0, 0.15, N)), 0, 1))
        for role in ROLES
        for head in HEADS[2:]
    }
    effects = dict(zip(HEADS, rng.normal(0, 0.3, 4), strict=True))
    cell = ioi_cell(scores, effects)
    for cutoff, values in by_cutoff(found(cell)[1], cell, "B").items():
        holding = dict.fromkeys(scores, False)
        for k, step in enumerate(STEPS):
            for key, course in scores.items():
                holding[key] = course[k] >= (0.8 * cutoff if holding[key] else cutoff)
            held = {head for (_, head), now in holding.items() if now}
            expected = sum(abs(effects[head]) for head in held) / sum(map(abs, effects.values()))
            assert values[step] == pytest.approx(expected)


def test_words() -> None:
    assert over_cutoffs("rises", {0.1: "rises", 0.9: "rises"}) == "rises"
    assert over_cutoffs("rises", {0.1: "rises", 0.9: "stays"}) == "depends on the cut-off"
    assert (
        over_cutoffs("stays", {0.1: "rises", 0.9: "rises"}) == "depends on the cut-off"
    )  # the default lies elsewhere
    assert over_cutoffs("stays", {}) == "not checked over cut-offs"
    assert (
        over_cutoffs("too few checkpoints", {0.1: "too few checkpoints"}) == "too few checkpoints"
    )
    assert said_by_cutoff({0.3: "a", 0.1: "a", 0.2: "b"}) == "a at 0.1, b at 0.2, a at 0.3"


def test_what_a_record_says_of_one_checkpoint_is_counted_alike() -> None:
    """On a model made by hand: with no checkpoint before, hysteresis changes nothing, and B counted
    anew is B as measured, at every cut-off.
    """
    prompts, rng = ioi_prompts(), np.random.default_rng(0)
    places = [
        (role, layer, head, rng.uniform())
        for role in ROLES
        for layer in range(3)
        for head in range(3)
    ]
    table = pd.DataFrame(places, columns=["role", "layer", "head", "score"])
    config = HeadsConfig()
    prepared = Prepared(ioi_model(), prompts, batch_size=13)
    measured = confirm_roles(prepared, prompts, table, ["input"], config, n_bootstrap=20, seed=0)
    patching = pd.concat(measured.patching)
    header = {
        "model": {"name": "m", "params_total": 5},
        "task": "ioi",
        "seed": 0,
        "config": {"heads": {"thresholds": config.thresholds}},
    }
    cell = CellData(
        Path(),
        header,
        True,
        pd.DataFrame([{"step": 8, "tokens": 80, **measured.scalars}]),
        pd.DataFrame(),
        roles=measured.roles.assign(step=8, tokens=80),
        direct=patching[patching["receivers"] == "logits"].assign(step=8),
        bands=pd.concat(measured.bands).assign(step=8, tokens=80),
    )
    bands = bands_table([cell], role_histories([cell]))
    own = bands[bands["quantity"] == "B"]
    assert len(own) == 10 and own["low"].notna().all() and own["value"].nunique() > 2
    recorded = cell.bands[cell.bands["measure"] == "B"].set_index("cutoff")["value"]
    np.testing.assert_allclose(
        own.dropna(subset=["cutoff"]).set_index("cutoff")["value"], recorded, atol=1e-12
    )
    assert own.loc[own["cutoff"].isna(), "value"].item() == pytest.approx(
        measured.scalars["algorithm/B"], abs=1e-12
    )


def test_intervals_are_the_recorded_ones() -> None:
    """Of D, which no counting anew touches: at the roles' thresholds and at each cut-off."""
    course = [0.5 + 0.01 * k for k in range(N)]
    of_d = {"D": course, "D_low": [v - 0.2 for v in course], "D_high": [v + 0.1 for v in course]}
    own = ioi_cell({}, {"a2.h0": -0.5}, bands={"D": {0.3: course}}, **of_d)
    table = bands_table([own], role_histories([own])).query("quantity == 'D'")
    default, banded = table[table["cutoff"].isna()], table[table["cutoff"].notna()]
    assert default["low"].tolist() == of_d["D_low"] and default["high"].tolist() == of_d["D_high"]
    assert (banded["high"] - banded["low"]).tolist() == pytest.approx([0.1] * N)
    band = band_of(table, own, "D")
    assert band["low"].tolist() == of_d["D_low"] and band["high"].tolist() == of_d["D_high"]
    assert band["least"].tolist() == band["most"].tolist() == course
