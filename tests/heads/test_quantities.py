"""Quantities that are measured on every checkpoint: one object is one, its scalars with an interval
or the reason why there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from circuitwatch import catalogue
from circuitwatch.catalogue import Quantity
from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.intervals import bootstrap_interval
from circuitwatch.heads.measuring import Inputs, Measuring, NotMeasurable
from circuitwatch.heads.quantities import make_inputs, quantity_scalars
from support.built import induction_model
from support.tokenizers import tokenizer_named

VALUES = [3.0, 4.0, 8.0]
SMALL = induction_model(20, 8)
"""Its context is too short for text: our own quantities are left out."""


def refuse(what: Any) -> torch.Tensor:
    raise NotMeasurable("no such words")


@pytest.fixture
def scalars_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def scalars(measure: Any, interval: Any = ("own/low", "own/high"), **options: Any) -> dict:
        monkeypatch.setitem(catalogue.ADDED, Quantity, {})
        catalogue.add(Quantity("own/value", "own", interval=interval, measure=measure, **options))
        inputs = Inputs(tokenizer_named("nano"), HeadsConfig(), seed=4, n_bootstrap=50)
        make_inputs(inputs)
        found = quantity_scalars(Measuring(SMALL, inputs))
        return {name: value for name, value in found.items() if name.startswith("own")}

    return scalars


def test_a_mean_over_units_with_its_bootstrap_interval(scalars_of: Any) -> None:
    low, high = bootstrap_interval(VALUES, n_bootstrap=50, seed=4)
    expected = {"own/value": 5.0, "own/low": float(low), "own/high": float(high)}
    assert scalars_of(lambda measuring: torch.tensor(VALUES)) == pytest.approx(expected)
    assert scalars_of(lambda measuring: torch.tensor(VALUES), None) == {"own/value": 5.0}


def test_one_number_and_one_unit_have_no_interval(scalars_of: Any) -> None:
    for value in (2.5, torch.tensor(2.5), torch.tensor([2.5])):
        assert scalars_of(lambda measuring, value=value: value) == {"own/value": 2.5}


def test_why_there_is_none(scalars_of: Any) -> None:
    assert scalars_of(refuse) == {"own/value_left_out": "no such words"}
    reads = scalars_of(lambda measuring: measuring.inputs.of(refuse), probe=refuse)
    assert reads == {"own/value_left_out": "no such words"}
    infinite = scalars_of(lambda measuring: torch.tensor([1.0, float("inf")]))
    assert infinite == {"own/value_left_out": "its value is not finite"}


def test_values_of_another_shape(scalars_of: Any) -> None:
    with pytest.raises(UserError, match=r"quantity own/value: it gives \[3, 2\]; it must give one"):
        scalars_of(lambda measuring: torch.zeros(3, 2))
    with pytest.raises(UserError, match=r"quantity own/value: it gives NoneType, which holds no n"):
        scalars_of(lambda measuring: None)


def test_what_a_quantity_raises_names_it(scalars_of: Any) -> None:
    def boom(of: Any) -> None:
        raise KeyError("words")

    for functions in ({"measure": boom}, {"measure": lambda measuring: 1.0, "probe": boom}):
        with pytest.raises(UserError, match=r"^quantity own/value: KeyError: 'words'$"):
            scalars_of(**functions)


def test_inputs_are_made_before_any_checkpoint_and_once(scalars_of: Any) -> None:
    made = []

    def probe(inputs: Inputs) -> int:
        made.append(inputs.seed)
        return 7

    assert scalars_of(lambda measuring: len(made) + measuring.inputs.of(probe), probe=probe) == {
        "own/value": 8.0
    }
    assert made == [4]


def test_what_has_no_measure_is_not_measured() -> None:
    inputs = Inputs(tokenizer_named("nano"), HeadsConfig(), seed=0)
    found = quantity_scalars(Measuring(SMALL, inputs))
    assert set(found) == {"text/loss_left_out", "text/in_context_learning_left_out"}
