"""Which checkpoints are watched, and what is found in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from circuitwatch.checkpoints.folder import list_checkpoints
from circuitwatch.checkpoints.schedule import (
    Bound,
    Checkpoint,
    is_over,
    merged,
    parse_bound,
    select,
)
from circuitwatch.errors import UserError

PYTHIA = [0, *(2**k for k in range(10)), *range(1000, 143001, 1000)]
AVAILABLE = [Checkpoint(step, step * 2097152, f"step{step}") for step in PYTHIA]


def steps(**options: object) -> list[int]:
    return [checkpoint.step for checkpoint in select(AVAILABLE[::-1], **options)]  # type: ignore[arg-type]


def test_all_is_every_checkpoint_once_and_ascending() -> None:
    assert steps() == PYTHIA
    assert [c.step for c in select(AVAILABLE + AVAILABLE)] == PYTHIA


def test_listed_steps_and_the_ends() -> None:
    assert steps(kind="steps", steps=[512, 4000, 512]) == [0, 512, 4000, 143000]


def test_an_unknown_step_names_the_nearest() -> None:
    with pytest.raises(
        UserError, match="no checkpoint at step 1500; the nearest are 512, 1000, 2000"
    ):
        steps(kind="steps", steps=[1500])


def test_every_nth_and_a_range() -> None:
    assert steps(kind="every", every=50) == [0, 40000, 90000, 140000, 143000]
    assert (
        steps(start="512", stop="2000")
        == steps(start="1B", stop="4.2e9tokens")
        == [512, 1000, 2000]
    )


def test_log_doubles() -> None:
    chosen = steps(kind="log")
    assert chosen[:11] == PYTHIA[:11] and chosen[11:] == [
        1000,
        2000,
        4000,
        8000,
        16000,
        33000,
        66000,
        131000,
        143000,
    ]


def test_sparse_is_about_a_dozen() -> None:
    chosen = steps(kind="sparse")
    assert 8 <= len(chosen) <= 13 and chosen[0] == 0 and chosen[-1] == 143000


KINDS = (
    {"kind": "all"},
    {"kind": "log"},
    {"kind": "every", "every": 7},
    {"kind": "steps", "steps": [4, 512, 9000]},
)


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options["kind"])
@pytest.mark.parametrize("ends", [{}, {"start": "8", "stop": "20000"}], ids=["whole", "range"])
def test_what_is_chosen_while_a_run_grows_stays_chosen(
    options: dict[str, Any], ends: dict[str, str]
) -> None:
    """And is in the end, but for the last checkpoint, what is chosen of the finished run."""
    before: set[int] = set()
    for there in range(len(AVAILABLE) + 1):
        chosen = {c.step for c in select(AVAILABLE[:there], **options, **ends, growing=True)}
        assert before <= chosen
        before = chosen
    finished = steps(**options, **ends)
    assert sorted({*before, finished[-1]}) == finished


def test_a_growing_run_chooses_the_first_at_once_and_not_the_last() -> None:
    def chosen(n: int, **options: Any) -> list[int]:
        return [c.step for c in select(AVAILABLE[:n], **options, growing=True)]

    assert chosen(0, kind="log") == [] and chosen(3, start="500") == []
    assert chosen(4, kind="every", every=3) == [0, 4]
    assert chosen(5, kind="every", every=3) == [0, 4]
    assert chosen(4, kind="steps", steps=[2, 512]) == [0, 2]


def test_when_a_growing_run_has_no_more_to_give() -> None:
    listed = {"kind": "steps", "steps": [2, 8], "every": None, "start": None, "stop": None}
    assert not is_over(AVAILABLE[:4], **listed) and is_over(AVAILABLE[:5], **listed)
    assert not is_over(AVAILABLE)
    assert not is_over(AVAILABLE[:4], stop="8") and is_over(AVAILABLE[:5], stop="8")
    assert is_over(AVAILABLE[:6], stop="9") and not is_over([], stop="9")


def test_lists_of_checkpoints_are_merged_by_step() -> None:
    one, other = Checkpoint(8, 80, "step8"), Checkpoint(8, 81, "checkpoint-8")
    first = Checkpoint(1, 10, "step1")
    assert merged([one], [other, first]) == [first, one]
    assert merged([other], [one]) == [other] and merged() == []


def test_no_checkpoint_in_range() -> None:
    with pytest.raises(
        UserError, match="no checkpoint from step 600 to step 700; the model has steps 0 to 143000"
    ):
        steps(start="600", stop="700steps")


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1000", 1000, "steps"),
        ("143k steps", 143e3, "steps"),
        ("2.1B", 2.1e9, "tokens"),
        ("2e9tokens", 2e9, "tokens"),
        ("500 tokens", 500, "tokens"),
    ],
)
def test_bounds(text: str, value: float, unit: str) -> None:
    assert parse_bound(text, "schedule.from") == Bound(value, unit)


@pytest.mark.parametrize("text", ["", "late", "-5", "3 epochs", "1G"])
def test_a_bound_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match=r"schedule\.to=.*: give steps such as 1000, or tokens"):
        parse_bound(text, "schedule.to")


def test_the_papers_schedule_is_pythias() -> None:
    paper = yaml.safe_load((Path(__file__).parents[2] / "conf/schedule/paper.yaml").read_text())[
        "steps"
    ]
    assert steps(kind="steps", steps=paper) == paper and len(paper) == 45 and paper[-1] == 143000


def test_a_folder_of_checkpoints(tmp_path: Path) -> None:
    for name in ("checkpoint-500", "step1000", "step_20", "logs", "step5.building"):
        (tmp_path / name).mkdir()
    found = list_checkpoints(tmp_path, tokens_per_step=7)
    assert [(c.step, c.tokens, c.revision) for c in found] == [
        (20, 140, "step_20"),
        (500, 3500, "checkpoint-500"),
        (1000, 7000, "step1000"),
    ]
    with pytest.raises(UserError, match=r"model\.tokens_per_step is missing"):
        list_checkpoints(tmp_path)
    (tmp_path / "suite.json").write_text(json.dumps({"tokens_per_step": 3}))
    assert list_checkpoints(tmp_path)[-1].tokens == 3000


def test_a_folder_without_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        list_checkpoints(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no step<N> or checkpoint-<N> folder"):
        list_checkpoints(tmp_path)


def test_folders_of_steps_that_no_training_has_are_no_checkpoints(tmp_path: Path) -> None:
    for name in ("step5", f"step{2**64}", "checkpoint-99999999999999999999", f"step{'9' * 200}"):
        (tmp_path / name).mkdir()
    assert [c.step for c in list_checkpoints(tmp_path, tokens_per_step=1)] == [5]
    (tmp_path / "step5").rmdir()
    with pytest.raises(UserError, match="no step<N> or checkpoint-<N> folder in it, N at most"):
        list_checkpoints(tmp_path, tokens_per_step=1)
