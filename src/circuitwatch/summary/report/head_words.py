"""Who holds which head role at the end, and how often that changed, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from circuitwatch.facts import Facts
from circuitwatch.heads.checks import REPEATED
from circuitwatch.summary.heads.histories import RoleHistory
from circuitwatch.summary.heads.holders import confirmed_holders, holders_at_end
from circuitwatch.summary.report.emergence_words import listed, times, together

CONFIRMED = "✓"
KEY = (
    f"{CONFIRMED} confirmed: the head is in that task's circuit, and patching it lowers the "
    f"behaviour (it helps) or raises it (it hurts)"
)


def holder_sentences(
    roles: pd.DataFrame,
    histories: Mapping[str, RoleHistory],
    facts: Facts,
    *,
    explained: bool = False,
) -> list[str]:
    """Who holds what at the last checkpoint, which roles nobody holds, and which were not measured.

    What a causal check says stands for each task by itself, as a head may do its work in one and
    not in another.

    Args:
        roles: rows of `holders.roles_table` of one model and seed.
        histories: by role.
        facts: what is known of roles and tasks.
        explained: whether the mark of a confirmed head was explained before.
    """
    held, empty, missing = [], [], []
    for _, row in roles.iterrows():
        role = facts.role(str(row["role"])).words
        if not row["checkpoints"]:
            missing.append(f"{role} ({row['note']})")
        elif row["holders_at_end"]:
            held += _by_task(role, histories[str(row["role"])], facts)
        else:
            empty.append(role)
    sentences = []
    if held:
        marked = any(CONFIRMED in words for words in held)
        key = f" ({KEY})" if marked and not explained else ""
        sentences.append(f"Heads that hold a role at the last checkpoint{key}: {'; '.join(held)}.")
    if empty:
        noun = "this role" if len(empty) == 1 else "these roles"
        sentences.append(f"No head holds {noun} at the last checkpoint: {together(empty)}.")
    return sentences + ([f"Not measured: {'; '.join(missing)}."] if missing else [])


def handover_sentences(roles: pd.DataFrame, handovers: pd.DataFrame, facts: Facts) -> list[str]:
    """How often a role's strongest head changed, and heads lost roles; nothing where no role was
    measured.

    Args:
        roles: rows of `holders.roles_table` of one model and seed.
        handovers: rows of `holders.handovers_table` of the same.
        facts: what is known of roles.
    """
    measured = roles[roles["checkpoints"] > 0] if len(roles) else roles
    if measured.empty:
        return []
    lost, regained = int(measured["lost"].sum()), int(measured["regained"].sum())
    if not lost:
        rest = "No head lost a role."
    elif regained:
        rest = f"Heads lost a role {times(lost)} and took one up again {times(regained)}."
    else:
        rest = f"Heads lost a role {times(lost)}, and took none up again."
    if handovers.empty:
        return [f"Every role kept its strongest head. {rest}"]
    counts = handovers["role"].value_counts(sort=False)
    changed = f"The strongest head of a role changed {times(len(handovers))}"
    if len(counts) == 1:
        return [f"{changed}, for {facts.role(str(counts.index[0])).words}. {rest}"]
    each = [f"{times(int(n))} for {facts.role(str(role)).words}" for role, n in counts.items()]
    return [f"{changed}: {together(each)}. {rest}"]


def task_of_check(task: str, facts: Facts) -> str:
    """Where a role was checked, in words."""
    return "repeated tokens" if task == REPEATED else facts.task(task).words


def _by_task(role: str, history: RoleHistory, facts: Facts) -> list[str]:
    """A role and its holders, once for each task in which they were checked."""
    every, said = holders_at_end(history), []
    for task in history.checked_at_end():
        sure = confirmed_holders(history, task)
        names = {words.split()[0] for words in sure}
        rest = [name for name in every if name not in names]
        parts = [f"{CONFIRMED} {listed(sure)}"] if sure else []
        parts += [f"{listed(rest)} by score alone"] if rest else []
        said.append(f"{role} ({task_of_check(task, facts)}) {', and '.join(parts)}")
    return said or [f"{role} {listed(every)} (not checked)"]
