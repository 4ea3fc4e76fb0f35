"""The plan for a budget, and going on with half the batch when memory runs out."""

from __future__ import annotations

import pytest
import torch

from circuitwatch.circuits.memory import plan, with_smaller_batches
from circuitwatch.errors import UserError
from circuitwatch.units import parse_size
from support.models import Case


def test_a_smaller_budget_means_smaller_batches(case: Case) -> None:
    large, small, none = (
        plan(case.model, case.prompts, steps=5, budget=budget) for budget in (2**30, 2**20, 1)
    )
    assert large.batch_size == len(case.prompts.lengths) and large.reuse
    assert none.batch_size == 1 and not none.reuse
    assert none.estimate < small.estimate <= large.estimate and small.estimate <= 2**20
    assert plan(case.model, case.prompts, steps=5, budget=1, batch_size=3).batch_size == 3
    assert plan(case.model, case.prompts, steps=5).batch_size == len(case.prompts.lengths)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch(error: Exception) -> None:
    tried, told = [], []

    def action(size: int) -> str:
        tried.append(size)
        if size > 2:
            raise error
        return "done"

    assert with_smaller_batches(action, 20, told.append) == "done"
    assert tried == [20, 10, 5, 2] and told == [10, 5, 2]
    with pytest.raises(UserError, match="one prompt at a time"):
        with_smaller_batches(lambda size: (_ for _ in ()).throw(error), 4)


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        with_smaller_batches(lambda size: (_ for _ in ()).throw(RuntimeError("shapes")), 4)


def test_sizes() -> None:
    assert (
        parse_size("4GiB", "circuit.memory") == 2**32
        and parse_size("1.5 MB", "circuit.memory") == 1_500_000
    )
    for wrong in ("4", "GiB", "-1GiB", "0GiB", "4 gigabytes"):
        with pytest.raises(UserError, match=r"circuit\.memory="):
            parse_size(wrong, "circuit.memory")
