"""The IOI algorithm on a model made by hand, whose parts and effects are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from circuitwatch.algorithms import Findings, confirm_roles, unconfirmed
from circuitwatch.algorithms.ioi import s_inhibition_scores
from circuitwatch.circuits.patching import Patched, PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import HeadsConfig
from circuitwatch.tasks.behaviour import TaskMetric, metric_per_prompt
from support.built_ioi import ioi_model, ioi_prompts

HOLDERS = {"name_mover": ["a2.h0", "a2.h1"], "duplicate_token": ["a0.h0"], "induction": [], "negative_name_mover": []}
CIRCUIT = ["input", "a0.h0", "a1.h0", "a2.h0", "a2.h1"]


def role_table(holders: dict[str, list[str]]) -> pd.DataFrame:
    rows = [
        (role, layer, head, float(f"a{layer}.h{head}" in names))
        for role, names in holders.items()
        for layer in range(3)
        for head in range(3)
    ]
    return pd.DataFrame(rows, columns=["role", "layer", "head", "score"])


def inspect(holders: dict[str, list[str]], nodes: list[str] | None = CIRCUIT) -> Findings:
    prompts = ioi_prompts()
    return confirm_roles(
        Prepared(ioi_model(), prompts, batch_size=13),
        prompts,
        role_table(holders),
        nodes,
        HeadsConfig(),
        n_bootstrap=100,
        seed=0,
    )


def row(findings: Findings, role: str, layer: int, head: int) -> pd.Series:
    roles = findings.roles
    return roles[(roles["role"] == role) & (roles["layer"] == layer) & (roles["head"] == head)].iloc[0]


@pytest.fixture(scope="module")
def findings() -> Findings:
    return inspect(HOLDERS)


def test_the_model_does_the_task() -> None:
    model, prompts = ioi_model(), ioi_prompts()
    for tokens, sign in ((prompts.clean, 1), (prompts.corrupted, -1)):
        logits = model.unembed(model.run(model.embed(tokens)).final[:, -1])
        assert (sign * metric_per_prompt(logits, prompts)).min() > 1


def test_the_s_inhibition_head_scores_1_and_random_heads_0(findings: Findings) -> None:
    scores = findings.roles[findings.roles["role"] == "s_inhibition"].set_index(["layer", "head"])["score"]
    assert scores[1, 0] >= 0.9
    # The duplicate-token head acts on the mover's query through the S-inhibition head alone, which is frozen: no score for it either.
    assert scores.drop((1, 0)).max() <= 0.1


def test_every_part_is_confirmed_and_the_look_alike_is_not(findings: Findings) -> None:
    mover, look_alike = row(findings, "name_mover", 2, 0), row(findings, "name_mover", 2, 1)
    assert mover["confirmed"] and mover["effect"] < -0.9 and mover["effect_on"] == "logits"
    assert look_alike["score"] == 1 and look_alike["in_circuit"] and not look_alike["confirmed"]
    assert abs(look_alike["effect"]) < 0.01
    inhibition, duplicate = row(findings, "s_inhibition", 1, 0), row(findings, "duplicate_token", 0, 0)
    assert inhibition["confirmed"] and inhibition["effect_on"] == "name-mover queries" and inhibition["effect"] < -0.9
    assert duplicate["confirmed"] and duplicate["effect_on"] == "S-inhibition keys and values"
    assert duplicate["effect"] < -0.9


def test_the_shares_are_nearly_1_and_0_for_roles_that_others_play(findings: Findings) -> None:
    """Heads without a part have effects of 1e-2 at most, through the scale of the norms alone."""
    for name in "BCD":
        value, low, high = (findings.scalars[f"algorithm/{name}{end}"] for end in ("", "_low", "_high"))
        assert 0.95 < low <= value <= high <= 1
    without = inspect({**HOLDERS, "duplicate_token": ["a0.h1"]})
    assert without.scalars["algorithm/D"] < 0.05


def test_effects_are_recorded_with_intervals(findings: Findings) -> None:
    table = pd.concat(findings.patching)
    assert set(table["receivers"]) == {"logits", "name-mover queries", "S-inhibition keys and values"}
    assert (table["low"] <= table["effect"]).all() and (table["effect"] <= table["high"]).all()
    into_queries = table[table["receivers"] == "name-mover queries"]
    assert list(into_queries["sender"]) == [f"a{layer}.h{head}" for layer in (0, 1) for head in range(3)]


def test_without_name_movers_nothing_is_inhibited() -> None:
    found = inspect({**HOLDERS, "name_mover": ["a2.h1"]})
    scores = found.roles[found.roles["role"] == "s_inhibition"]["score"]
    assert len(scores) == 9 and (scores == 0).all()
    assert found.scalars["algorithm/C_left_out"] == "no head copies names and raises the answer"
    assert "algorithm/C" not in found.scalars and "algorithm/D" not in found.scalars
    assert found.scalars["algorithm/B"] < 0.05


def test_a_model_without_names_has_no_b() -> None:
    found = inspect({"induction": [], "duplicate_token": ["a0.h0"]})
    assert "lacks the names" in found.scalars["algorithm/B_left_out"]
    assert not any(name in found.scalars for name in ("algorithm/B", "algorithm/C", "algorithm/D"))


def test_without_a_circuit_effects_are_known_but_nothing_is_confirmed() -> None:
    found = inspect(HOLDERS, nodes=None)
    assert found.roles["in_circuit"].isna().all() and found.roles["confirmed"].isna().all()
    assert row(found, "name_mover", 2, 0)["effect"] < -0.9 and found.scalars["algorithm/C"] > 0.9


def test_a_head_outside_the_circuit_is_not_confirmed() -> None:
    found = inspect(HOLDERS, nodes=["input", "a2.h0"])
    assert row(found, "name_mover", 2, 0)["confirmed"] and not row(found, "s_inhibition", 1, 0)["confirmed"]


def test_before_there_is_behaviour() -> None:
    found = unconfirmed(role_table(HOLDERS), "ioi", 3, 3)
    assert (found.roles[found.roles["role"] == "s_inhibition"]["score"] == 0).all() and found.roles[
        "effect"
    ].isna().all()
    assert found.scalars == {} and found.patching == []


def test_scores_equal_a_loop_over_heads_and_prompts() -> None:
    """The definition spelt out, for effects and attention drawn at random."""
    rng = torch.Generator().manual_seed(0)
    values, unpatched, attention, before = (
        torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((4, 9), (9,), (4, 2, 9, 2), (2, 9, 2))
    )
    patched = Patched(values, unpatched, unpatched + 1, unpatched - 1, attention, before)
    expected = []
    for head in range(4):
        counted = 0
        for prompt in range(9):
            io, s1 = (float(np.mean([attention[head, mover, prompt, i] for mover in range(2)])) for i in (0, 1))
            io_before, s1_before = (float(np.mean([before[mover, prompt, i] for mover in range(2)])) for i in (0, 1))
            falls = float(unpatched[prompt] - values[head, prompt]) >= 0.1 * 2
            counted += falls and io < io_before and s1 > s1_before
        expected.append(counted / 9)
    assert s_inhibition_scores(patched, min_effect=0.1).tolist() == pytest.approx(expected)


def test_direct_effects_are_path_patching_one_head_at_a_time(findings: Findings) -> None:
    """The recorded table against a patch of each head by itself."""
    prompts = ioi_prompts()
    patcher = PathPatcher(Prepared(ioi_model(), prompts), TaskMetric(prompts))
    table = findings.patching[0].set_index("sender")["effect"]
    for head in ("a0.h1", "a1.h0", "a2.h0"):
        assert table[head] == pytest.approx(float(patcher.patch([[head]], ["logits"]).effects[0]), abs=1e-5)
