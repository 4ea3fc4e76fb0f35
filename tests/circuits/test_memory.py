"""The plan for a budget, and going on with half the batch when memory runs out."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

import pytest
import torch

from circuitwatch.circuits.memory import bytes_per_prompt, plan, with_smaller_batches
from circuitwatch.circuits.prompts import Prepared, first_difference
from circuitwatch.errors import UserError
from circuitwatch.units import parse_size
from support.models import Case, Pairs


def test_a_smaller_budget_means_smaller_batches(case: Case) -> None:
    large, small, none = (
        plan(case.model, case.prompts, steps=5, budget=budget) for budget in (2**30, 2**20, 1)
    )
    assert large.batch_size == len(case.prompts.lengths) and large.reuse
    assert none.batch_size == 1 and not none.reuse
    assert none.estimate < small.estimate <= large.estimate and small.estimate <= 2**20
    assert plan(case.model, case.prompts, steps=5, budget=1, batch_size=3).batch_size == 3
    assert plan(case.model, case.prompts, steps=5).batch_size == len(case.prompts.lengths)


def bytes_of(tree: Any, counted: set[int]) -> int:
    """Bytes of the tensors in an object, each storage once."""
    if isinstance(tree, torch.Tensor):
        storage = tree.untyped_storage()
        fresh = storage.data_ptr() not in counted
        counted.add(storage.data_ptr())
        return storage.nbytes() if fresh else 0
    if is_dataclass(tree):
        tree = list(vars(tree).values())
    return sum(bytes_of(part, counted) for part in tree) if isinstance(tree, list | tuple) else 0


def test_the_plan_has_room_for_what_is_kept(case: Case) -> None:
    """All prompts' corrupted runs stay while one prompt at a time is scored: at least what they
    take, counted tensor by tensor, and at most four times that. Then less is left for batches.
    """
    kept = bytes_of(Prepared(case.model, case.prompts, batch_size=1).batches, set())
    fewer = Pairs(case.prompts.clean[:1], case.prompts.corrupted[:1], case.prompts.lengths[:1])
    n_pos = int((case.prompts.lengths - first_difference(case.prompts)).max())
    n_past = int(case.prompts.lengths.max()) - n_pos
    alone, outputs, each = bytes_per_prompt(case.model, n_pos=n_pos, n_past=n_past, steps=5)
    n = len(case.prompts.lengths)
    one_at_a_time = plan(case.model, case.prompts, steps=5, budget=1)
    assert kept <= one_at_a_time.estimate - each <= 4 * kept
    assert plan(case.model, fewer, steps=5, budget=1).estimate < one_at_a_time.estimate
    room = n * alone + 3 * each
    assert plan(case.model, case.prompts, steps=5, budget=room).batch_size == 3
    both = n * (alone + outputs)  # which may take half of the budget
    reused = plan(case.model, case.prompts, steps=5, budget=2 * both)
    assert reused.reuse and reused.batch_size == min(n, both // each)
    assert not plan(case.model, case.prompts, steps=5, budget=2 * both - 2).reuse


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
