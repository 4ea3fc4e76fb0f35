"""What can be watched is found by entry points, and what a cell says of it can be read back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from circuitwatch import catalogue
from circuitwatch.catalogue import Quantity, Role, Task
from circuitwatch.errors import UserError
from circuitwatch.facts import Facts, TaskFacts, with_thresholds


@pytest.fixture
def fresh() -> Iterator[None]:
    """A catalogue that is searched anew, and again afterwards."""
    catalogue._announced.cache_clear()
    yield
    catalogue._announced.cache_clear()


def announced(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Pretend that packages announce roles."""
    group = "circuitwatch.roles"
    entries = EntryPoints(EntryPoint(name, value, group) for name, value in values.items())
    monkeypatch.setattr(catalogue, "entry_points", lambda group: entries)


def test_ours_are_found_in_order_without_torch() -> None:
    script = (
        "import sys; from circuitwatch import catalogue as c; from circuitwatch.facts import Facts;"
        "print(*c.tasks()); print(*c.roles());"
        "Facts.of_installation(); assert 'torch' not in sys.modules"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    tasks, roles = out.stdout.splitlines()
    assert tasks.split()[:4] == ["ioi", "greater_than", "gendered_pronoun", "agreement"]
    assert roles.split()[:3] == ["previous_token", "duplicate_token", "induction"]


def test_facts_come_back_from_json_as_they_were() -> None:
    facts = Facts.of_installation()
    for task in facts.tasks:
        header = {"facts": json.loads(json.dumps(facts.of_cell(task)))}
        read = Facts.of_headers([header])
        assert read.tasks == facts.tasks
        assert {k: with_out(r) for k, r in read.roles.items()} == {
            k: with_out(r) for k, r in facts.roles.items()
        }
        assert list(read.quantities) == list(facts.quantities)


def with_out(role: Role) -> dict[str, object]:
    """What can be written down of a role."""
    return {k: v for k, v in vars(role).items() if k not in ("probe", "score")}


def test_a_cell_is_believed_before_the_installation_and_a_stranger_has_its_name() -> None:
    said = {"facts": {"tasks": {"mine": {"name": "mine", "words": "My task", "unit": "nats"}}}}
    facts = Facts.of_headers([said, {"facts": {"tasks": {"mine": {"name": "mine", "words": "x"}}}}])
    assert facts.words("mine") == "My task" and facts.words("a_stranger") == "a stranger"
    assert (
        facts.words("ioi") == "IOI" and facts.unit("behaviour/value", "ioi") == "logit difference"
    )
    assert facts.unit("behaviour/value", "agreement") == "probability difference"
    assert facts.quantity("val_loss").falls and not facts.quantity("flossing").falls


def test_thresholds_of_a_configuration_move_a_roles_curve() -> None:
    facts = with_thresholds(Facts.of_installation(), {"induction": 0.3})
    assert facts.quantity("roles/induction/max").rise == facts.role("induction").threshold == 0.3
    old = Facts.of_headers([{"config": {"heads": {"thresholds": {"successor": 0.4}}}}])
    assert old.role("successor").threshold == 0.4 and old.role("induction").threshold == 0.5


def test_an_added_quantity_is_known_until_it_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.ADDED, Quantity, {})
    catalogue.add(Quantity("text/mine", "mine", place=1))
    assert next(iter(catalogue.quantities())) == "text/mine"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": "no.such.module:ROLE"}, r"no.such.module:ROLE can't be loaded \(ModuleNotFound"),
        ({"a": "circuitwatch.tasks.ioi:TASK"}, "circuitwatch.tasks.ioi:TASK is no Role but Task"),
        (
            {"a": "circuitwatch.roles", "b": "circuitwatch.roles.induction:ROLE"},
            "induction comes from circuitwatch.roles and from circuitwatch.roles.induction:ROLE",
        ),
    ],
)
@pytest.mark.usefixtures("fresh")
def test_what_cannot_be_used_is_said(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], message: str
) -> None:
    announced(monkeypatch, **values)
    with pytest.raises(UserError, match=f"^circuitwatch.roles: .*{message}"):
        catalogue.roles()


def nothing(*_: object) -> None:
    """A function that is never called."""


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            Task("x", "x", "zzz", nothing),
            "task x: metric='zzz'; choose one of logit_diff, prob_diff",
        ),  # type: ignore[arg-type]
        (Task("x", "x", "logit_diff", None), "task x: make_prompts=None is no function"),  # type: ignore[arg-type]
        (Role("my role/x", "x", "", 0.5, ""), "role my role/x: a name must be letters, digits"),
        (Role("x", "x", "", 7, ""), r"role x: threshold=7; it must be in \(0, 1\]"),
        (Role("x", "x", "", 0.5, "", sign="up"), "role x: sign='up'; choose one of helps, hurts"),  # type: ignore[arg-type]
        (Quantity("entropy", "x"), "quantity entropy: its key must be like text/entropy"),
        (Quantity("text/x", "x", rise="half"), "quantity text/x: rise='half' is no level"),  # type: ignore[arg-type]
        ("junk", "'junk' is no Task, Role or Quantity"),
    ],
)
def test_an_item_that_cannot_be_used_is_refused(item: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        catalogue.add(item)


def test_a_task_that_names_a_role_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(catalogue.ADDED, Task, {})
    catalogue.add(Task("x", "x", "logit_diff", nothing, roles=("nosuch",)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="task x: roles='nosuch'; choose one of previous_token"):
        catalogue.tasks()


def test_a_log_probability_has_no_chance_to_clear_whoever_made_the_task() -> None:
    """It is below 0 from the first checkpoint to the last: against 0 it would never have risen."""
    assert TaskFacts.of(Task("x", "x", "log_prob", nothing)).chance is None  # type: ignore[arg-type]
    assert TaskFacts.of(Task("x", "x", "logit_diff", nothing)).chance == 0  # type: ignore[arg-type]
