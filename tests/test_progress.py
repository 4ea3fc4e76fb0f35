"""What the tables of a cell show."""

from __future__ import annotations

import pytest

from circuitwatch import catalogue
from circuitwatch.catalogue import Role
from circuitwatch.facts import Facts
from circuitwatch.progress import ROLES_SHOWN, roles_shown


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
