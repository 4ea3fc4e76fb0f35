"""What the tables of a cell show, and what is said off a terminal while a stage lasts."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from circuitwatch import catalogue, progress
from circuitwatch.catalogue import Role
from circuitwatch.ending import ROLES_SHOWN, roles_shown
from circuitwatch.facts import Facts
from circuitwatch.progress import QUIET, CellProgress


def curves(*roles: str) -> list[str]:
    return ["behaviour/value", *(f"roles/{role}/max" for role in roles)]


def test_the_roles_that_serve_the_task_and_have_a_curve() -> None:
    facts = Facts.of_installation()
    every = curves(*facts.roles)
    assert roles_shown(facts, "greater_than", every) == [
        "successor",
        "induction",
        "year_attention",
        "year_push",
    ]
    assert roles_shown(facts, "ioi", every) == list(facts.tasks["ioi"].roles)[:ROLES_SHOWN]
    assert roles_shown(facts, "ioi", curves("induction", "successor")) == ["induction"]


def test_the_first_of_all_roles_where_none_serves_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.ADDED, Role, {})
    catalogue.add(Role("mine", "mine", "", 0.5, "", place=1))
    facts = Facts.of_installation()
    for task in ("agreement", "a task of someone else"):
        assert roles_shown(facts, task, curves("induction", "mine")) == ["mine", "induction"]
        assert len(roles_shown(facts, task, curves(*facts.roles))) == ROLES_SHOWN


class Clock:
    """A clock that goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_long_stage_says_every_half_minute_what_it_is_at() -> None:
    clock, out = Clock(), io.StringIO()
    bar = CellProgress("tiny ioi", 12, done=2, console=Console(file=out), clock=clock)
    bar.at("step128: circuit")
    assert bar.say_if_quiet() == QUIET and out.getvalue() == ""
    clock.now += QUIET - 1
    assert bar.say_if_quiet() == 1 and out.getvalue() == ""
    for _ in range(2):
        clock.now += QUIET
        bar.say_if_quiet()
    assert out.getvalue().splitlines() == [
        "tiny ioi 2/12 step128: circuit (0:00:59 so far)",
        "tiny ioi 2/12 step128: circuit (0:01:29 so far)",
    ]
    clock.now += QUIET - 1
    bar.advance("step 128: done")  # a line of its own, after which there is quiet again
    clock.now += 2
    assert bar.say_if_quiet() == QUIET - 2
    assert out.getvalue().endswith("tiny ioi 3/12 step 128: done\n")


def test_a_wait_says_so_once() -> None:
    clock, out = Clock(), io.StringIO()
    bar = CellProgress("tiny ioi", 0, console=Console(file=out), clock=clock)
    bar.wait("waiting for checkpoints")
    clock.now += 10 * QUIET
    bar.say_if_quiet()
    assert out.getvalue() == "tiny ioi waiting for checkpoints\n"


class Page(io.StringIO):
    """Tells when it is written on."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_it_is_said_while_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a thread, which ends with the bar; on a terminal there is the bar alone."""
    monkeypatch.setattr(progress, "QUIET", 0.001)
    page = Page()
    before = threading.active_count()
    with CellProgress("tiny ioi", 1, console=Console(file=page)) as bar:
        assert page.written.wait(60)
        assert threading.active_count() == before + 1
    assert "tiny ioi 0/1 (0:00:00 so far)" in page.getvalue()
    assert threading.active_count() == before
    terminal = CellProgress("t", 1, console=Console(file=io.StringIO(), force_terminal=True))
    with terminal:
        assert terminal._pulse is None
    assert bar._pulse is not None and not bar._pulse.is_alive()
