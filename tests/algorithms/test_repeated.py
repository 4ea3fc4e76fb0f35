"""Previous-token heads on repeated segments: a model made by hand whose induction needs one, and
one whose induction does not.
"""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from circuitwatch import catalogue
from circuitwatch.algorithms import Findings, check_previous_tokens
from circuitwatch.algorithms.confirming import with_causes
from circuitwatch.behaviour import TaskMetric
from circuitwatch.catalogue import Role
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.config import HeadsConfig
from circuitwatch.heads.attention import attention_scores, repeated_pairs, repeated_segments
from circuitwatch.heads.checks import INDUCTION_KEYS, REPEATED
from circuitwatch.tasks import PromptSet
from circuitwatch.transformer import Transformer
from support.built import (
    Space,
    assemble,
    head,
    induction_head,
    noise_mlp,
    previous_token_head,
    random_head,
)

WORDS, LENGTH, SEQUENCES = 60, 8, 12
PLACES = 1 + 2 * LENGTH
TOKENS = torch.arange(1, WORDS)
SEGMENTS = repeated_segments(TOKENS, length=LENGTH, n_sequences=SEQUENCES, bos_id=0, seed=0)


def pairs() -> PromptSet:
    found = repeated_pairs(SEGMENTS, TOKENS, length=LENGTH, seed=1)
    assert found is not None
    return found


def model_of(kind: str) -> Transformer:
    """a0.h0 and a0.h2 hold previous token, and a1.h0 induction, in all of them.

    `composed`: a1.h0 reads what a0.h0 writes, and nothing reads a0.h2. `by place`: a1.h0 looks
    LENGTH − 1 places back, whatever came before. `against`: as composed, but a1.h0 finds the right
    place and writes against what stands there, and a1.h1 answers by place.
    """
    space, generator = Space(WORDS, PLACES), torch.Generator().manual_seed(0)
    unread = previous_token_head(space)
    unread.out = random_head(space, "NOISE", 1 / 20, generator).out
    back = torch.zeros(space.d_model, space.d_head)
    back[space.part("PLACE"), space.words :] = (
        torch.diag(torch.ones(PLACES - LENGTH + 1), 1 - LENGTH) * 30
    )
    by_place = head(space, back, space.reads("PLACE"), space.reads("TOKEN"), space.writes("ANSWER"))
    other = random_head(space, "NOISE", 1 / 20, generator)
    composed = induction_head(space)
    composed.q = 3 * composed.q  # all of the attention
    against = induction_head(space)
    against.q, against.out = composed.q, -composed.out / 2
    second = {"composed": [composed, other, other], "by place": [by_place, other, other]}
    second["against"] = [against, by_place, other]
    first = [previous_token_head(space), other, unread]
    return assemble(
        space, [(first, noise_mlp(space, generator)), (second[kind], noise_mlp(space, generator))]
    )


def checked(model: Transformer, more: pd.DataFrame | None = None) -> Findings:
    scores = attention_scores(model, SEGMENTS, length=LENGTH)
    rows = [
        (role, layer, h, float(scores[role][layer, h].mean()))
        for role in ("previous_token", "induction")
        for layer in range(2)
        for h in range(3)
    ]
    table = pd.DataFrame(rows, columns=["role", "layer", "head", "score"])
    table = pd.concat([table, more], ignore_index=True)
    findings = Findings(with_causes(table, None))
    check_previous_tokens(model, pairs(), findings, HeadsConfig(), n_bootstrap=300, seed=0)
    return findings


def rows_of(findings: Findings) -> pd.DataFrame:
    roles = findings.roles
    return roles[roles["role"] == "previous_token"].set_index(["layer", "head"])


def test_a_prompt_and_its_twin_share_the_second_copy_alone() -> None:
    prompts = pairs()
    assert prompts.task == "repeated"
    cuts = set()
    for i, length in enumerate(prompts.lengths.tolist()):
        clean, corrupted = (
            prompts.clean[i, :length].tolist(),
            prompts.corrupted[i, :length].tolist(),
        )
        segment, copy = clean[1 : 1 + LENGTH], clean[1 + LENGTH :]
        assert (
            clean[0] == corrupted[0] == 0
            and copy == corrupted[1 + LENGTH :] == segment[: len(copy)]
        )
        assert (
            not set(segment) & set(corrupted[1 : 1 + LENGTH])
            and len(set(corrupted[1 : 1 + LENGTH])) == LENGTH
        )
        right, wrong = prompts.answer_ids[i].tolist()
        assert right == segment[len(copy)] and wrong in segment[len(copy) + 1 :]
        cuts.add(len(copy))
    assert cuts == set(range(1, LENGTH - 1))


def test_the_head_that_induction_reads_is_confirmed_and_its_look_alike_is_not() -> None:
    findings = checked(model_of("composed"))
    rows = rows_of(findings)
    known, look_alike = rows.loc[(0, 0)], rows.loc[(0, 2)]
    assert known["score"] > 0.9 and look_alike["score"] > 0.9
    assert (
        known["confirmed"]
        and known["sign"] == "helps"
        and known["effect"] == pytest.approx(-1, abs=0.05)
    )
    assert known["effect_low"] <= known["effect"] <= known["effect_high"] < 0
    assert not look_alike["confirmed"] and look_alike["effect"] == pytest.approx(0, abs=1e-3)
    assert look_alike["effect_on"] == known["effect_on"] == "induction keys"
    assert rows["confirmed"].notna().sum() == 2  # those that do not hold the role were not patched
    (table,) = findings.patching
    assert list(table["sender"]) == ["a0.h0", "a0.h2"] and set(table["receivers"]) == {
        "induction keys"
    }


def test_another_role_may_be_confirmed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holders are patched with the previous-token heads, and each role is checked in its own
    holders.
    """
    monkeypatch.setitem(catalogue.ADDED, Role, {})
    catalogue.add(
        Role("mine", "mine", "", 0.5, "", confirmed_on={REPEATED: INDUCTION_KEYS}, sign="hurts")
    )
    model = model_of("composed")
    alone = rows_of(checked(model))
    table = pd.DataFrame([("mine", 0, 0, 0.6), ("mine", 0, 1, 0.6)])
    table.columns = ["role", "layer", "head", "score"]
    findings = checked(model, more=table)
    mine = findings.roles[findings.roles["role"] == "mine"].set_index(["layer", "head"])
    assert mine["sign"].fillna("").tolist() == ["helps", ""]
    assert mine["confirmed"].tolist() == [False, False]  # it asks for heads that hurt
    pd.testing.assert_frame_equal(rows_of(findings), alone)
    (effects,) = findings.patching
    assert sorted(effects["sender"]) == ["a0.h0", "a0.h1", "a0.h2"]


def test_the_effect_is_path_patching_into_the_keys_at_the_first_copy() -> None:
    model, prompts = model_of("composed"), pairs()
    patcher = PathPatcher(Prepared(model, prompts), TaskMetric(prompts))
    first_copy = torch.arange(1, 1 + LENGTH).repeat(SEQUENCES, 1)
    expected = patcher.patch([["a0.h0"]], ["a1.h0<k>"], positions=first_copy).effects
    assert rows_of(checked(model)).loc[(0, 0), "effect"] == pytest.approx(
        float(expected[0]), abs=1e-5
    )


def test_without_composition_there_is_no_effect() -> None:
    """The null: both heads hold their roles, but the induction head looks by place.

    Norms' scales leave 1e-3.
    """
    rows = rows_of(checked(model_of("by place")))
    assert rows.loc[(0, 0), "score"] > 0.9
    assert (
        rows.loc[(0, 0), "effect"] == pytest.approx(0, abs=1e-3)
        and not rows.loc[(0, 0), "confirmed"]
    )
    assert rows["sign"].isna().all()


def test_one_that_serves_a_head_against_the_answer_hurts() -> None:
    rows = rows_of(checked(model_of("against")))
    assert (
        rows.loc[(0, 0), "effect"] > 0.1
        and rows.loc[(0, 0), "sign"] == "hurts"
        and rows.loc[(0, 0), "confirmed"]
    )


def test_nothing_is_said_where_no_head_holds_induction_or_no_segment_is_continued() -> None:
    space, generator = Space(WORDS, PLACES), torch.Generator().manual_seed(0)
    random = [random_head(space, "NOISE", 1 / 20, generator) for _ in range(3)]
    noise = noise_mlp(space, generator)
    without = assemble(space, [([previous_token_head(space), *random[:2]], noise), (random, noise)])
    silent = model_of("composed")
    silent.blocks[1].attention.W_O.zero_()
    for model in (without, silent):
        findings = checked(model)
        rows = rows_of(findings)
        assert (
            rows.loc[(0, 0), "score"] > 0.9
            and rows["confirmed"].isna().all()
            and rows["effect"].isna().all()
        )
        assert findings.patching == []


def test_too_few_tokens_for_a_counterpart_or_sequences_for_an_interval() -> None:
    few = torch.arange(1, 2 * LENGTH)
    segments = repeated_segments(few, length=LENGTH, n_sequences=2, bos_id=None, seed=0)
    assert repeated_pairs(segments, few, length=LENGTH, seed=0) is None
    assert repeated_pairs(SEGMENTS[:1], TOKENS, length=LENGTH, seed=0) is None
