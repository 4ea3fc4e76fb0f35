"""Turnover of head roles on tables whose answer is plain to see, and against a naive loop over
random ones.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from circuitwatch.summary.cells import CellData
from circuitwatch.summary.heads.histories import RoleHistory, role_histories
from circuitwatch.summary.heads.holders import roles_table, turnover_table
from circuitwatch.summary.heads.turnover import (
    HYSTERESIS,
    LEAD,
    compensation,
    events,
    handovers,
    holding,
    rank_correlations,
    strongest,
    tenure,
)


def table(**heads: list[float]) -> pd.DataFrame:
    """Scores at steps 1, 2, 4, … with ten tokens a step: equal distances in log tokens."""
    steps = [2**k for k in range(len(next(iter(heads.values()))))]
    index = pd.MultiIndex.from_tuples(
        [(step, 10 * step) for step in steps], names=["step", "tokens"]
    )
    return pd.DataFrame(heads, index=index, dtype=float)


HANDED_OVER = table(
    a=[0.1, 0.9, 0.9, 0.7, 0.1], b=[0.1, 0.1, 0.1, 0.6, 0.9], c=[0.0, 0.0, 0.2, 0.0, 0.0]
)


def test_who_is_born_and_lost() -> None:
    found = events(HANDED_OVER, 0.5)
    assert found.to_numpy().tolist() == [
        ["born", 2, 20, "a", 0.1, 0.9],
        ["born", 8, 80, "b", 0.1, 0.6],
        ["lost", 16, 160, "a", 0.7, 0.1],
    ]


def test_a_head_there_from_the_start_is_not_born_and_one_that_returns_is_regained() -> None:
    found = events(table(a=[0.8, 0.2, 0.8]), 0.5)
    assert found["event"].tolist() == ["already", "lost", "regained"] and np.isnan(
        found["before"].iloc[0]
    )


def test_wandering_about_the_threshold_is_no_turnover() -> None:
    around = table(a=[0.51, 0.45, 0.52, 0.41, 0.39, 0.45, 0.5])
    assert holding(around, 0.5)["a"].tolist() == [True, True, True, True, False, False, True]
    assert events(around, 0.5)["event"].tolist() == ["already", "lost", "regained"]


def test_tenure() -> None:
    """The role lives for four checkpoints, three equal steps in log tokens: a holds at three of
    them, b at two; half a step is shared at each end.
    """
    found = tenure(HANDED_OVER, 0.5).set_index("head")
    assert found.index.tolist() == ["a", "b"]
    assert found["first_tokens"].tolist() == [20, 80] and found["last_tokens"].tolist() == [80, 160]
    assert found["share_checkpoints"].tolist() == [0.75, 0.5]
    assert found["share_log_tokens"].tolist() == pytest.approx([2.5 / 3, 1.5 / 3])
    assert found["at_end"].tolist() == [False, True] and found["spells"].tolist() == [1, 1]
    assert tenure(table(a=[0.1, 0.2]), 0.5).empty
    alone = tenure(table(a=[0.1, 0.9]), 0.5).iloc[0]
    assert alone["share_checkpoints"] == 1 and np.isnan(alone["share_log_tokens"])


def test_a_handover_says_from_whom_to_whom_and_whether_the_old_one_still_holds() -> None:
    (found,) = handovers(HANDED_OVER, 0.5).to_dict("records")
    expected = {
        "from": "a",
        "to": "b",
        "step_before": 8,
        "tokens_before": 80,
        "step_after": 16,
        "tokens_after": 160,
        "from_before": 0.7,
        "from_after": 0.1,
        "to_before": 0.6,
        "to_after": 0.9,
        "old_still_holds": False,
    }
    assert found == expected
    overtaken = handovers(table(a=[0.7, 0.7], b=[0.6, 0.9]), 0.5)
    assert overtaken["to"].tolist() == ["b"] and overtaken["old_still_holds"].tolist() == [True]


def test_two_equally_strong_heads_do_not_take_turns_and_a_gap_hides_no_handover() -> None:
    assert handovers(table(a=[0.90, 0.91, 0.90, 0.92], b=[0.89, 0.92, 0.93, 0.90]), 0.5).empty
    after_a_gap = handovers(table(a=[0.9, 0.1, 0.1], b=[0.0, 0.1, 0.9]), 0.5)
    assert after_a_gap[["step_before", "step_after"]].to_numpy().tolist() == [[1, 4]]


def test_the_strongest_heads_share() -> None:
    found = strongest(HANDED_OVER, 0.5)
    assert found["share"].tolist() == pytest.approx([0.5, 0.9, 0.9 / 1.2, 0.7 / 1.3, 0.9])
    assert found["head"].fillna("-").tolist() == ["-", "a", "a", "a", "b"]
    assert np.isnan(strongest(table(a=[0.0], b=[0.0]), 0.5)["share"].iloc[0])


def test_compensation_of_perfect_replacement_of_a_common_rise_and_of_nothing() -> None:
    swap = table(a=[0.9, 0.6, 0.3, 0.0], b=[0.0, 0.3, 0.6, 0.9])
    kept, chance, moved = compensation(swap, 0.5)
    assert kept == pytest.approx(1) and moved == pytest.approx(1.8)
    assert chance == pytest.approx(0.5)  # two equal moves: of four combinations of signs two cancel
    together = compensation(table(a=[0.6, 0.7, 0.8], b=[0.6, 0.7, 0.9]), 0.5)
    assert together[0] == pytest.approx(0)
    for nothing in (
        table(a=[0.9, 0.1], b=[0.1, 0.1]),
        table(a=[0.9, 0.9], b=[0.8, 0.8]),
        table(a=[0.1, 0.2]),
    ):
        assert compensation(nothing, 0.5)[:2] == (None, None)


def test_compensation_of_many_heads_that_move_at_random_is_that_by_chance() -> None:
    """Heads that take independent steps: what a sample of signs gives, within the spread of 200
    checkpoints (0.05 is more than three of it).
    """
    rng = np.random.default_rng(0)
    steps = rng.choice([-0.01, 0.01], size=(200, 14))
    walk = pd.DataFrame(
        0.9 + np.cumsum(steps, axis=0),
        index=pd.MultiIndex.from_tuples([(i, i) for i in range(200)]),
    )
    walk.index.names = ["step", "tokens"]
    kept, chance, _ = compensation(walk, 0.5)
    assert (
        kept is not None
        and chance is not None
        and kept == pytest.approx(chance, abs=0.05)
        and chance > 0.7
    )


def test_rank_correlations_equal_scipys_and_are_missing_where_all_heads_are_alike() -> None:
    scores = table(a=[0.1, 0.9, 0.9], b=[0.1, 0.1, 0.5], c=[0.1, 0.3, 0.2], d=[0.1, 0.2, 0.7])
    found = rank_correlations(scores)
    expected = scipy.stats.spearmanr(scores.iloc[1], scores.iloc[2]).statistic
    assert (
        found["to_previous"].iloc[2]
        == pytest.approx(expected)
        == pytest.approx(found["to_last"].iloc[1])
    )
    assert found["to_previous"].isna().tolist() == [True, True, False] and found[
        "to_last"
    ].isna().tolist() == [
        True,
        False,
        True,
    ]


def naive(values: list[list[float]], threshold: float) -> tuple[set, list, float | None]:
    """Events (kind, checkpoint, head), handovers (checkpoint before, after, from, to) and
    compensation, one number at a time.
    """
    n, heads = len(values), len(values[0])
    holds = [[False] * heads for _ in range(n)]
    found: set[tuple[str, int, int]] = set()
    for h in range(heads):
        had = False
        for t in range(n):
            was = t > 0 and holds[t - 1][h]
            holds[t][h] = values[t][h] >= (HYSTERESIS * threshold if was else threshold)
            if holds[t][h] and not was:
                found.add(("already" if t == 0 else "regained" if had else "born", t, h))
            if was and not holds[t][h]:
                found.add(("lost", t, h))
            had = had or holds[t][h]
    changes, best, best_at = [], None, None
    for t in range(n):
        holders = [h for h in range(heads) if holds[t][h]]
        if not holders:
            continue
        top = max(holders, key=lambda h: values[t][h])
        if best in holders and values[t][top] - values[t][best] < LEAD:
            top = best
        if best is not None and top != best:
            changes.append((best_at, t, best, top))
        best, best_at = top, t
    ever = [h for h in range(heads) if any(holds[t][h] for t in range(n))]
    first = min((t for t in range(n) if any(holds[t])), default=n)
    total = moved = 0.0
    for t in range(first + 1, n):
        total += abs(sum(values[t][h] - values[t - 1][h] for h in ever))
        moved += sum(abs(values[t][h] - values[t - 1][h]) for h in ever)
    return found, changes, 1 - total / moved if len(ever) > 1 and moved > 1e-12 else None


def test_ranks_in_the_roles_table_are_those_of_the_roles_lifetime() -> None:
    """It is held from the third checkpoint to the fifth of six; the last one ranks all heads, held
    or not.
    """
    scores = table(
        a=[0.1, 0.4, 0.9, 0.5, 0.8, 0.3],
        b=[0.4, 0.45, 0.2, 0.9, 0.3, 0.2],
        c=[0.3, 0.2, 0.1, 0.3, 0.4, 0.1],
        d=[0.2, 0.3, 0.4, 0.1, 0.0, 0.35],
    )
    row = roles_table([RoleHistory("m", 0, "r", 0.5, scores)], pd.DataFrame()).iloc[0]
    values = scores.to_numpy()

    def ranks(i: int, j: int) -> float:
        return float(scipy.stats.spearmanr(values[i], values[j]).statistic)

    assert (row["held_from"], row["held_to"]) == (40, 160)
    assert row["rank_first_last"] == pytest.approx(ranks(2, 5)) == pytest.approx(0.8)
    assert row["rank_neighbours"] == pytest.approx(np.median([ranks(2, 3), ranks(3, 4)]))
    others = [ranks(i, 5) for i in (0, 1, 3, 4)] + [ranks(2, 3), ranks(1, 2)]
    assert all(abs(other - 0.8) > 0.1 for other in others)


@pytest.mark.parametrize("seed", range(20))
def test_a_naive_loop_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.clip(0.45 + np.cumsum(rng.normal(0, 0.15, (12, 4)), axis=0), 0, 1)
    scores = table(**{f"h{k}": list(values[:, k]) for k in range(4)})
    expected, changes, kept = naive(values.tolist(), 0.5)
    step = {index: 2**index for index in range(12)}
    found = events(scores, 0.5)
    assert set(zip(found["event"], found["step"], found["head"], strict=True)) == {
        (kind, step[t], f"h{h}") for kind, t, h in expected
    }
    rows = handovers(scores, 0.5)[["step_before", "step_after", "from", "to"]].to_numpy().tolist()
    assert rows == [[step[a], step[b], f"h{old}", f"h{new}"] for a, b, old, new in changes]
    value, chance, _ = compensation(scores, 0.5)
    assert value == (None if kept is None else pytest.approx(kept))
    if kept is not None:
        held = [name for name in scores if holding(scores, 0.5)[name].any()]
        start = int(np.flatnonzero(holding(scores, 0.5).any(axis=1))[0])
        change = np.diff(scores[held].to_numpy()[start:], axis=0)
        every = [
            np.abs((np.abs(change) * signs).sum(axis=1)).sum()
            for signs in product([-1, 1], repeat=len(held))
        ]
        assert chance == pytest.approx(1 - np.mean(every) / np.abs(change).sum())


def test_checks_are_kept_by_task_and_never_united() -> None:
    def rows(role: str, **columns: object) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "step": [8],
                "tokens": [80],
                "role": [role],
                "layer": [1],
                "head": [0],
                "score": [0.7],
                **columns,
            }
        )

    checked = {"in_circuit": [True], "effect": [-0.2], "effect_on": ["logits"]}
    probe = {
        "effect": [-0.3],
        "effect_on": ["induction keys"],
        "confirmed": [True],
        "sign": ["helps"],
    }
    of_task = {
        "agreement": [rows("induction"), rows("previous_token", **probe)],
        "greater_than": [
            rows("induction", **checked, confirmed=[False]),
            rows("year_push").assign(head=-1, score=0.8),
        ],
        "ioi": [
            rows("induction", **checked, confirmed=[True], sign=["hurts"]),
            rows("copy_suppression"),
        ],
    }

    def cell(task: str, tables: list[pd.DataFrame]) -> CellData:
        header = {"model": {"name": "m", "params_total": 5}, "task": task, "seed": 0}
        curves = pd.DataFrame({"step": [8], "tokens": [80]})
        return CellData(
            Path(), header, True, curves, pd.DataFrame(), roles=pd.concat(tables, ignore_index=True)
        )

    found = {
        h.role: h for h in role_histories([cell(task, tables) for task, tables in of_task.items()])
    }
    assert set(found) == {
        "induction",
        "previous_token",
        "year_push",
    }  # copy suppression is held in no layer before the third
    induction = found["induction"]
    assert induction.checked_at_end() == ["ioi", "greater_than"] and list(induction.scores) == [
        "a1.h0"
    ]
    assert (
        induction.confirmed_at_end("ioi") == {"a1.h0": "hurts"}
        and induction.confirmed_at_end("greater_than") == {}
    )
    assert found["previous_token"].confirmed_at_end("repeated") == {"a1.h0": "helps"}
    assert found["year_push"].checks == {} and list(found["year_push"].scores) == ["m1"]
    table = roles_table(list(found.values()), pd.DataFrame()).set_index("role")
    assert table.loc["induction", "confirmed_at_end"] == "ioi: a1.h0 hurts"
    assert table.loc["induction", "checked_at_end"] == "ioi greater_than"
    tenures = turnover_table(list(found.values())).set_index("role")
    assert (
        tenures.loc["induction", "confirmed_greater_than"] == 0
        and tenures.loc["induction", "hurts_ioi"] == 1
    )
    assert (
        tenures.loc["induction", "sign_ioi"] == "hurts"
        and tenures.loc["induction", "effect_ioi"] == -0.2
    )
    assert pd.isna(
        tenures.loc["year_push", "confirmed_ioi"]
    )  # it can't be confirmed there, so it is not refuted
