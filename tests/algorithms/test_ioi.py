"""The IOI algorithm on a model made by hand, whose parts and effects are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch

from circuitwatch.algorithms import Findings, confirm_roles, unconfirmed
from circuitwatch.algorithms.confirming import check, with_causes
from circuitwatch.algorithms.effects import Effects
from circuitwatch.algorithms.ioi import inhibiting
from circuitwatch.behaviour import TaskMetric, metric_per_prompt
from circuitwatch.circuits.patching import Patched, PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import HeadsConfig
from circuitwatch.transformer import Transformer
from support.built_ioi import ioi_model, ioi_prompts

HOLDERS = {
    "name_mover": ["a2.h0", "a2.h1"],
    "duplicate_token": ["a0.h0"],
    "induction": [],
    "negative_name_mover": [],
}
CIRCUIT = ["input", "a0.h0", "a1.h0", "a2.h0", "a2.h1"]


def role_table(holders: dict[str, list[str]]) -> pd.DataFrame:
    rows = [
        (role, layer, head, float(f"a{layer}.h{head}" in names))
        for role, names in holders.items()
        for layer in range(3)
        for head in range(3)
    ]
    return pd.DataFrame(rows, columns=["role", "layer", "head", "score"])


def inspect(
    holders: dict[str, list[str]] | pd.DataFrame,
    nodes: list[str] | None = CIRCUIT,
    model: Transformer | None = None,
    **options: str,
) -> Findings:
    prompts = ioi_prompts()
    return confirm_roles(
        Prepared(model or ioi_model(), prompts, batch_size=13),
        prompts,
        role_table(holders) if isinstance(holders, dict) else holders,
        nodes,
        HeadsConfig(**options),
        n_bootstrap=200,
        seed=0,
    )


def row(findings: Findings, role: str, layer: int, head: int) -> pd.Series:
    roles = findings.roles
    return roles[
        (roles["role"] == role) & (roles["layer"] == layer) & (roles["head"] == head)
    ].iloc[0]


@pytest.fixture(scope="module")
def findings() -> Findings:
    return inspect(HOLDERS)


def test_the_model_does_the_task() -> None:
    model, prompts = ioi_model(), ioi_prompts()
    for tokens, sign in ((prompts.clean, 1), (prompts.corrupted, -1)):
        logits = model.unembed(model.run(model.embed(tokens)).final[:, -1])
        assert (sign * metric_per_prompt(logits, prompts)).min() > 1


def test_the_s_inhibition_head_scores_1_and_random_heads_0(findings: Findings) -> None:
    scores = findings.roles[findings.roles["role"] == "s_inhibition"].set_index(["layer", "head"])[
        "score"
    ]
    assert scores[1, 0] >= 0.9
    # The duplicate-token head acts on the mover's query through the S-inhibition head alone, which
    # is frozen: no score for it either.
    assert scores.drop((1, 0)).max() <= 0.1


def test_every_part_is_confirmed_and_the_look_alike_is_not(findings: Findings) -> None:
    mover, look_alike = row(findings, "name_mover", 2, 0), row(findings, "name_mover", 2, 1)
    assert mover["confirmed"] and mover["effect"] < -0.9 and mover["effect_on"] == "logits"
    assert look_alike["score"] == 1 and look_alike["in_circuit"] and not look_alike["confirmed"]
    assert abs(look_alike["effect"]) < 0.01
    inhibition, duplicate = (
        row(findings, "s_inhibition", 1, 0),
        row(findings, "duplicate_token", 0, 0),
    )
    assert (
        inhibition["confirmed"]
        and inhibition["effect_on"] == "name-mover queries"
        and inhibition["effect"] < -0.9
    )
    assert duplicate["confirmed"] and duplicate["effect_on"] == "S-inhibition keys and values"
    assert duplicate["effect"] < -0.9


def test_the_shares_are_nearly_1_and_0_for_roles_that_others_play(findings: Findings) -> None:
    """Heads without a part have effects of 1e-2 at most, through the scale of the norms alone."""
    for name in "BCD":
        value, low, high = (
            findings.scalars[f"algorithm/{name}{end}"] for end in ("", "_low", "_high")
        )
        assert 0.95 < low <= value <= high < 1.05
    without = inspect({**HOLDERS, "duplicate_token": ["a0.h1"]})
    assert without.scalars["algorithm/D"] < 0.05


def test_shares_of_joint_effects_equal_patching_by_hand(findings: Findings) -> None:
    """C and D are ratios of two effects, each of several heads patched as one."""
    prompts = ioi_prompts()
    patcher = PathPatcher(Prepared(ioi_model(), prompts), TaskMetric(prompts))
    heads = [f"a{layer}.h{head}" for layer in (0, 1) for head in range(3)]
    for name, some, every, receivers, where in (
        ("C", ["a1.h0"], heads, ["a2.h0<q>"], "end"),
        ("D", ["a0.h0"], heads[:3], ["a1.h0<k>", "a1.h0<v>"], "s2"),
    ):
        effects = patcher.patch(
            [some, every], receivers, positions=prompts.positions[where][:, None]
        ).effects
        assert findings.scalars[f"algorithm/{name}"] == pytest.approx(
            float(effects[0] / effects[1]), abs=1e-5
        )


def test_effects_are_recorded_with_intervals(findings: Findings) -> None:
    table = pd.concat(findings.patching)
    assert set(table["receivers"]) == {
        "logits",
        "name-mover queries",
        "S-inhibition keys and values",
    }
    assert (table["low"] <= table["effect"]).all() and (table["effect"] <= table["high"]).all()
    into_queries = table[table["receivers"] == "name-mover queries"]
    assert list(into_queries["sender"]) == [
        f"a{layer}.h{head}" for layer in (0, 1) for head in range(3)
    ]


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
    assert (
        row(found, "name_mover", 2, 0)["confirmed"]
        and not row(found, "s_inhibition", 1, 0)["confirmed"]
    )


def test_before_there_is_behaviour() -> None:
    prompts = ioi_prompts()
    found = unconfirmed(
        Prepared(ioi_model(), prompts),
        prompts,
        role_table(HOLDERS),
        HeadsConfig(),
        n_bootstrap=10,
        seed=0,
    )
    assert (found.roles[found.roles["role"] == "s_inhibition"]["score"] == 0).all() and found.roles[
        "effect"
    ].isna().all()
    assert found.scalars == {} and found.patching == []


def test_scores_equal_a_loop_over_heads_and_prompts() -> None:
    """The definition spelt out, for effects and attention drawn at random."""
    rng = torch.Generator().manual_seed(0)
    values, unpatched, attention, before = (
        torch.randn(*shape, generator=rng, dtype=torch.float64)
        for shape in ((4, 9), (9,), (4, 2, 9, 2), (2, 9, 2))
    )
    patched = Patched(values, unpatched, unpatched + 1, unpatched - 1, attention, before)
    expected = []
    for head in range(4):
        counted = 0
        for prompt in range(9):
            io, s1 = (
                float(np.mean([attention[head, mover, prompt, i] for mover in range(2)]))
                for i in (0, 1)
            )
            io_before, s1_before = (
                float(np.mean([before[mover, prompt, i] for mover in range(2)])) for i in (0, 1)
            )
            falls = float(unpatched[prompt] - values[head, prompt]) >= 0.1 * 2
            counted += falls and io < io_before and s1 > s1_before
        expected.append(counted / 9)
    assert inhibiting(patched, min_effect=0.1).double().mean(1).tolist() == pytest.approx(expected)


def test_direct_effects_are_path_patching_one_head_at_a_time(findings: Findings) -> None:
    """The recorded table against a patch of each head by itself."""
    prompts = ioi_prompts()
    patcher = PathPatcher(Prepared(ioi_model(), prompts), TaskMetric(prompts))
    table = findings.patching[0].set_index("sender")["effect"]
    for head in ("a0.h1", "a1.h0", "a2.h0"):
        assert table[head] == pytest.approx(
            float(patcher.patch([[head]], ["logits"]).effects[0]), abs=1e-5
        )


@pytest.mark.parametrize(("against", "sign"), [("io", "hurts"), ("s", "helps")])
def test_a_negative_copier_is_confirmed_whichever_way_it_acts(
    against: Literal["io", "s"], sign: str
) -> None:
    """Against IO it lowers the answer, so that patching it raises it; against S it raises it, as
    a23.h3 of SmolLM2-135M does.
    """
    holders = {**HOLDERS, "negative_name_mover": ["a2.h2"], "copy_suppression": ["a2.h2"]}
    found = inspect(holders, [*CIRCUIT, "a2.h2"], ioi_model(against))
    for role in ("negative_name_mover", "copy_suppression"):
        head = row(found, role, 2, 2)
        assert head["confirmed"] and head["sign"] == sign
        assert (head["effect"] > 0.1) if sign == "hurts" else (head["effect"] < -0.1)
        assert head["effect_low"] <= head["effect"] <= head["effect_high"]
        assert head["effect_low"] > 0 or head["effect_high"] < 0
    assert row(found, "name_mover", 2, 0)["sign"] == "helps"
    outside = inspect(holders, CIRCUIT, ioi_model(against))
    assert row(outside, "negative_name_mover", 2, 2)["sign"] == sign
    assert not row(outside, "negative_name_mover", 2, 2)["confirmed"]


def test_a_head_that_hurts_is_no_receiver_of_c() -> None:
    """A head that copies against IO may look like a name mover by its score, but S-inhibition is
    measured at the queries of those that help.
    """
    holders = {**HOLDERS, "name_mover": ["a2.h0", "a2.h2"]}
    found = inspect(holders, [*CIRCUIT, "a2.h2"], ioi_model("io"))
    patcher = PathPatcher(Prepared(ioi_model("io"), ioi_prompts()), TaskMetric(ioi_prompts()))
    ends = ioi_prompts().positions["end"][:, None]
    expected = patcher.patch([["a1.h0"]], ["a2.h0<q>"], positions=ends).effects
    table = pd.concat(found.patching).set_index(["receivers", "sender"])["effect"]
    assert table["name-mover queries", "a1.h0"] == pytest.approx(float(expected[0]), abs=1e-5)


def test_an_effect_that_is_not_sure_has_no_sign() -> None:
    """The same mean effect on every prompt, and from a few of them alone."""
    n = 40
    few = np.zeros(n)
    few[:2] = -0.1 * n / 2
    table = Effects("logits", ["a0.h0", "a0.h1"], np.stack([np.full(n, -0.1), few]), np.ones(n))
    roles = with_causes(
        pd.DataFrame({"role": "name_mover", "layer": 0, "head": [0, 1], "score": 1.0}), None
    )
    check(roles, "name_mover", table, HeadsConfig(), ["a0.h0", "a0.h1"])
    assert roles["effect"].tolist() == pytest.approx([-0.1, -0.1])
    assert roles["sign"].fillna("").tolist() == ["helps", ""] and roles["confirmed"].tolist() == [
        True,
        False,
    ]
    small = Effects("logits", ["a0.h0", "a0.h1"], table.each / 10, table.unit)
    check(roles, "name_mover", small, HeadsConfig(), ["a0.h0", "a0.h1"])
    assert roles["sign"].isna().all() and not roles["confirmed"].any()


def test_roles_of_other_tasks_are_neither_confirmed_nor_refuted() -> None:
    found = inspect({**HOLDERS, "successor": ["a2.h0"], "previous_token": ["a0.h1"]}).roles
    other = found[found["role"].isin(["successor", "previous_token"])]
    assert (
        other["confirmed"].isna().all()
        and other["effect"].isna().all()
        and other["sign"].isna().all()
    )
    prompts = replace(ioi_prompts(), task="agreement")  # the same prompts under another name
    movers = confirm_roles(
        Prepared(ioi_model(), prompts),
        prompts,
        role_table(HOLDERS),
        CIRCUIT,
        HeadsConfig(),
        n_bootstrap=20,
        seed=0,
    )
    assert movers.roles["confirmed"].isna().all() and movers.roles["effect"].isna().all()
    assert movers.patching[0].set_index("sender").loc["a2.h0", "effect"] < -0.9


def test_nothing_is_unexplained_where_known_heads_do_it_all() -> None:
    """Only a2.h0 writes what is unembedded; the others act through the final norm's scale alone:
    effects of 1e-3 at most, of either sign.
    """
    found = inspect(HOLDERS).scalars
    assert 0 <= found["algorithm/unexplained_low"] <= found["algorithm/unexplained"] < 0.01
    assert found["algorithm/unexplained_sure"] < 0.01
    every = [f"a{layer}.h{head}" for layer in range(3) for head in range(3)]
    for name in ("unexplained", "unexplained_sure"):
        assert inspect({**HOLDERS, "induction": every}).scalars[f"algorithm/{name}"] == 0
    assert "algorithm/unexplained_heads" not in inspect({**HOLDERS, "induction": every}).scalars


def test_all_is_unexplained_where_a_head_without_a_role_does_it() -> None:
    found = inspect({role: [] for role in HOLDERS}).scalars
    for name in ("unexplained", "unexplained_sure"):
        assert [found[f"algorithm/{name}{end}"] for end in ("_low", "", "_high")] == pytest.approx(
            [1, 1, 1]
        )
    named = str(found["algorithm/unexplained_heads"]).split(", ")
    assert named[0].startswith("a2.h0 -0.9") or named[0].startswith("a2.h0 -1.0")
    assert len(named) <= 3


def test_a_role_that_nothing_confirms_explains_nothing() -> None:
    """An attention sink may be the head that does it all."""
    nobody = {role: [] for role in HOLDERS}
    named = inspect({**nobody, "attention_sink": ["a2.h0"]}).scalars
    assert named["algorithm/unexplained"] == pytest.approx(1)
    assert inspect({**nobody, "induction": ["a2.h0"]}).scalars["algorithm/unexplained"] < 0.05


def test_the_strongest_without_a_role_are_named_with_their_effects() -> None:
    found = inspect({**HOLDERS, "negative_name_mover": []}, model=ioi_model("io"))
    direct = found.patching[0].set_index("sender")["effect"]
    assert (
        str(found.scalars["algorithm/unexplained_heads"]).split(", ")[0]
        == f"a2.h2 {direct['a2.h2']:+.2f}"
    )
    sizes = direct.abs()
    nameless = sizes.drop(["a0.h0", "a1.h0", "a2.h0", "a2.h1"]).sum()
    assert found.scalars["algorithm/unexplained"] == pytest.approx(nameless / sizes.sum())


def scored(**scores: float) -> pd.DataFrame:
    """The table of `HOLDERS` with some scores between 0 and 1: role__layer_head → score."""
    table = role_table(HOLDERS)
    for key, score in scores.items():
        role, _, place = key.partition("__")
        layer, head = (int(n) for n in place.split("_"))
        table.loc[
            (table["role"] == role) & (table["layer"] == layer) & (table["head"] == head), "score"
        ] = score
    return table


def test_bands_equal_shares_of_the_heads_above_each_cutoff() -> None:
    """B from the recorded effects; D by patching the heads above each cut-off by hand.

    Receivers and denominators don't move.
    """
    table = scored(
        name_mover__2_0=0.55,
        negative_name_mover__2_2=0.35,
        duplicate_token__0_0=0.65,
        induction__0_1=0.25,
    )
    model, prompts = ioi_model("io"), ioi_prompts()
    found = inspect(table, model=model)
    bands = pd.concat(found.bands).set_index(["measure", "cutoff"])
    sizes = found.patching[0].set_index("sender")["effect"].abs()
    patcher = PathPatcher(Prepared(model, prompts), TaskMetric(prompts))
    first, at_s2 = ["a0.h0", "a0.h1", "a0.h2"], prompts.positions["s2"][:, None]
    for tenths in range(1, 10):
        cutoff = tenths / 10
        above = {"a2.h1": 1, "a2.h0": 0.55, "a2.h2": 0.35}
        movers = [head for head, score in above.items() if score >= cutoff]
        assert bands.loc[("B", cutoff), "value"] == pytest.approx(
            sizes[movers].sum() / sizes.sum(), abs=1e-6
        )
        sources = [
            head for head, score in {"a0.h0": 0.65, "a0.h1": 0.25}.items() if score >= cutoff
        ]
        effects = patcher.patch([sources, first], ["a1.h0<k>", "a1.h0<v>"], positions=at_s2).effects
        assert bands.loc[("D", cutoff), "value"] == pytest.approx(
            float(effects[0] / effects[1]), abs=1e-5
        )
        low, value, high = bands.loc[("C", cutoff), ["low", "value", "high"]]
        assert low <= value <= high
    assert bands.loc["B", "value"].is_monotonic_decreasing
    assert [str(bands.loc[("D", 0.9), name]) for name in ("low", "value", "high")] == ["0.0"] * 3
    # The mover's own score is below 0.6, yet C is measured at its queries throughout: the
    # S-inhibition head scores 1.
    assert bands.loc["C", "value"].nunique() == 1 and bands.loc[("C", 0.9), "value"] > 0.95


def test_each_distinct_set_of_senders_is_patched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[list[str]]] = []
    patch = PathPatcher.patch

    def counted(
        self: PathPatcher, senders: list[list[str]], *args: object, **kwargs: object
    ) -> Patched:
        asked.append([list(names) for names in senders])
        return patch(self, senders, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(PathPatcher, "patch", counted)
    inspect(scored(duplicate_token__0_0=0.65))
    joint = [sets for sets in asked if any(len(names) > 1 for names in sets)]
    assert joint == [
        [["a1.h0"], [f"a{layer}.h{h}" for layer in (0, 1) for h in range(3)]],
        [["a0.h0"], [], ["a0.h0", "a0.h1", "a0.h2"]],
    ]


def test_bands_are_left_out_where_there_is_no_measure() -> None:
    found = inspect({**HOLDERS, "name_mover": ["a2.h1"]})
    assert {measure for table in found.bands for measure in table["measure"]} == {"B"}


def test_head_by_head_sizes_of_effects_are_added() -> None:
    """As the code of Tigges et al.

    counts: Σ |effect| of the holders ÷ Σ |effect| of all earlier heads, each patched by itself.
    """
    found = inspect(HOLDERS, patch="each")
    table = pd.concat(found.patching).set_index(["receivers", "sender"])["effect"].abs()
    into_queries, into_inputs = table["name-mover queries"], table["S-inhibition keys and values"]
    assert list(into_inputs.index) == ["a0.h0", "a0.h1", "a0.h2"]
    assert found.scalars["algorithm/C"] == pytest.approx(into_queries["a1.h0"] / into_queries.sum())
    assert found.scalars["algorithm/D"] == pytest.approx(into_inputs["a0.h0"] / into_inputs.sum())
    assert (
        found.roles[found.roles["role"] == "duplicate_token"]["effect"].notna().sum() == 1
    )  # holders alone, as ever
    assert set(pd.concat(found.bands)["measure"]) == {"B", "C", "D"}


@pytest.mark.parametrize("patch", ["together", "each"])
def test_d_by_values_leaves_keys_alone(patch: str) -> None:
    """The S-inhibition head reads the place from its values; its keys tell S2 from the rest,
    whatever the duplicate-token head writes.
    """
    found = inspect(HOLDERS, patch=patch, d_inputs="values")
    prompts = ioi_prompts()
    patcher = PathPatcher(Prepared(ioi_model(), prompts), TaskMetric(prompts))
    effects = patcher.patch(
        [["a0.h0"]], ["a1.h0<v>"], positions=prompts.positions["s2"][:, None]
    ).effects
    table = pd.concat(found.patching).set_index(["receivers", "sender"])["effect"]
    assert table["S-inhibition values", "a0.h0"] == pytest.approx(float(effects[0]), abs=1e-5)
    assert row(found, "duplicate_token", 0, 0)["effect_on"] == "S-inhibition values"


def test_s_inhibition_scores_have_intervals_over_prompts(findings: Findings) -> None:
    rows = findings.roles[findings.roles["role"] == "s_inhibition"]
    assert ((rows["low"] <= rows["score"]) & (rows["score"] <= rows["high"])).all()
    none = inspect({**HOLDERS, "name_mover": []}).roles
    assert none[none["role"] == "s_inhibition"]["low"].isna().all()
