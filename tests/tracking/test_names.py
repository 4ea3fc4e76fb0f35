"""What scalars are called in W&B, and that each finds its way back."""

from __future__ import annotations

import re

import pytest

from circuitwatch.catalogue import METRICS
from circuitwatch.facts import Facts
from circuitwatch.tracking.names import (
    DETAIL,
    MADE_HERE,
    logged_name,
    names_of,
    recorded_name,
)

FACTS = Facts.of_installation()
RECORDED = [
    *FACTS.quantities,
    *(end for q in FACTS.quantities.values() for end in q.interval or ()),
    "behaviour/above_chance",
    "circuit/status",
    "roles/induction/head",
    "roles/induction/total",
    "weights/sha256",
    "mine/share",
]
WORDS = ["behaviour/above_chance", "circuit/status", "roles/induction/head", "weights/sha256"]


@pytest.mark.parametrize("metric", METRICS)
def test_every_name_is_another_and_finds_its_way_back(metric: str) -> None:
    names = names_of(RECORDED, WORDS, FACTS, metric)
    assert len(set(names.values())) == len(set(RECORDED))
    for recorded, logged in names.items():
        assert recorded_name(logged, metric) == recorded
        assert not MADE_HERE.fullmatch(logged)


def test_metrics_share_no_key_and_keep_their_effects_apart() -> None:
    for key, after in (("value", ""), ("effect", "_effect"), ("corrupted", "_corrupted")):
        named = {logged_name(f"behaviour/{key}", metric) for metric in METRICS}
        assert named == {f"behaviour/{metric}{after}" for metric in METRICS}
    assert logged_name("behaviour/value", "") == "behaviour/value"
    assert logged_name("behaviour/accuracy", "logit_diff") == "behaviour/accuracy"


def test_only_what_stands_beside_something_is_hidden() -> None:
    names = names_of(RECORDED, WORDS, FACTS, "logit_diff")
    hidden = {recorded for recorded, logged in names.items() if logged.startswith(DETAIL)}
    beside = {key for key in RECORDED if re.search(r"[_/](low|high|chance|ceiling)$", key)}
    assert hidden == beside | set(WORDS)
    assert names["behaviour/low"] == "detail/behaviour/logit_diff_low"
    # The mean over prompts and the metric of that name would be one key.
    own = names_of(RECORDED, WORDS, FACTS, "log_prob")
    assert own["behaviour/value"] == "behaviour/log_prob"
    assert own["behaviour/log_prob"] == "detail/behaviour/log_prob"


def test_runs_logged_before_keep_their_names() -> None:
    for name in ("behaviour/value", "behaviour/low", "behaviour/effect", "overlap/edge_jaccard"):
        assert recorded_name(name, "logit_diff") == name


def test_what_a_run_has_beside_the_records_is_known() -> None:
    for name in ("log10_tokens", "cost/seconds_heads", "roles/induction/holders", "heads",
                 "roles/induction/confirmed", "pictures/circuit", "heads_page"):  # fmt: skip
        assert MADE_HERE.fullmatch(name)
    for name in ("tokens", "step", "roles/induction/max", "circuit/found"):
        assert not MADE_HERE.fullmatch(name)
