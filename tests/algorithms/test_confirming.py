"""What confirms a role: the size and the sign of the effect, the layer, the circuit and the score,
each by itself, on made-up effects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from circuitwatch import catalogue
from circuitwatch.algorithms.confirming import check, holders, with_causes
from circuitwatch.algorithms.effects import Effects
from circuitwatch.catalogue import Role
from circuitwatch.config import HeadsConfig

N_PROMPTS = 20
ROLE = Role("mine", "mine", "", threshold=0.5, source="", confirmed_on={"ioi": "logits"})


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue with the role, which tests may replace, and without it afterwards."""
    monkeypatch.setitem(catalogue.ADDED, Role, {})
    catalogue.add(ROLE)


def checked(
    effects: list[float],
    *,
    layers: list[int] | None = None,
    scores: list[float] | None = None,
    outside: frozenset[str] = frozenset(),
    **heads: object,
) -> pd.DataFrame:
    """Heads with the same effect on every prompt, so that no effect but 0 is uncertain."""
    n = len(effects)
    layers, names = layers or [0] * n, list(range(n))
    roles = with_causes(
        pd.DataFrame({"role": "mine", "layer": layers, "head": names, "score": scores or 1.0}), None
    )
    senders = [f"a{layer}.h{head}" for layer, head in zip(layers, names, strict=True)]
    each = np.repeat(np.array(effects)[:, None], N_PROMPTS, 1)
    found = Effects("logits", senders, each, np.ones(N_PROMPTS))
    check(roles, "mine", found, HeadsConfig(**heads), set(senders) - outside)  # type: ignore[arg-type]
    return roles


@pytest.mark.parametrize(
    ("sign", "confirmed"),
    [("either", [True, True]), ("helps", [True, False]), ("hurts", [False, True])],
)
def test_a_role_is_confirmed_by_effects_of_its_sign_alone(
    sign: Literal["either", "helps", "hurts"], confirmed: list[bool]
) -> None:
    catalogue.add(replace(ROLE, sign=sign))
    roles = checked([-0.3, 0.3, -0.01, 0.01])
    assert roles["confirmed"].tolist() == [*confirmed, False, False]
    assert roles["sign"].fillna("").tolist() == ["helps", "hurts", "", ""]  # whichever is asked for


@pytest.mark.parametrize("first_layer", [0, 1, 2])
def test_heads_below_the_first_layer_hold_nothing(first_layer: int) -> None:
    catalogue.add(replace(ROLE, first_layer=first_layer))
    roles = checked([-0.3, -0.3, -0.3], layers=[0, 1, 2])
    assert roles["confirmed"].tolist() == [layer >= first_layer for layer in range(3)]
    held = holders(roles, HeadsConfig(), ["mine"])
    assert held == [f"a{layer}.h{layer}" for layer in range(first_layer, 3)]


def test_the_least_effect_that_counts() -> None:
    roles = checked([-0.1, -0.2, 0.1, 0.2], min_effect=0.15)
    assert roles["confirmed"].tolist() == [False, True, False, True]
    assert checked([-0.1, 0.1], min_effect=0.05)["confirmed"].all()


def test_the_threshold_of_the_configuration_or_of_the_roles_file() -> None:
    scores = [0.39, 0.4, 0.5, 0.6]
    own = checked([-0.3] * 4, scores=scores)
    assert own["confirmed"].tolist() == [False, False, True, True]
    given = checked([-0.3] * 4, scores=scores, thresholds={"mine": 0.4})
    assert given["confirmed"].tolist() == [False, True, True, True]
    assert holders(given, HeadsConfig(thresholds={"mine": 0.4}), ["mine"]) == [
        "a0.h1",
        "a0.h2",
        "a0.h3",
    ]
    assert holders(given, HeadsConfig(), ["mine"], cutoff=0.55) == ["a0.h3"]


def test_heads_outside_the_circuit_are_not_confirmed() -> None:
    roles = checked([-0.3, -0.3], outside=frozenset({"a0.h1"}))
    assert roles["confirmed"].tolist() == [True, False]
