"""All observational roles together: against naive definitions, on a model built to hold them, and
where they do not apply.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitwatch.checkpoints.loading import load_model, load_tokenizer
from circuitwatch.config import HeadsConfig, RoleThresholds
from circuitwatch.errors import UserError
from circuitwatch.heads.attention import repeated_segments
from circuitwatch.heads.checks import CHECKED_ON, REPEATED
from circuitwatch.heads.copy_suppression import SuppressionProbe
from circuitwatch.heads.roles import (
    ATTENTION_ROLES,
    COPYING_ROLES,
    ROLES,
    RoleProbes,
    role_probes,
    role_scores,
)
from circuitwatch.heads.successor import Succession
from circuitwatch.lexicon import FEMALE_NAMES, MALE_NAMES
from circuitwatch.nano.check import TASKS
from circuitwatch.transformer import MLP, Transformer
from support import naive_roles as naive
from support.built import BUILT, RANDOM_HEAD, roles_model
from support.models import VOCABULARY, Case
from support.naive_roles import in_double
from support.tokenizers import tokenizer_named

WORDS, LENGTH = 100, 12
SMALL = HeadsConfig(
    length=6, n_sequences=3, n_prompts=4, n_texts=6, text_length=16, n_destinations=10
)


def segments(words: int, length: int, n: int, seed: int) -> torch.Tensor:
    return repeated_segments(
        torch.arange(1, words), length=length, n_sequences=n, bos_id=0, seed=seed
    )


def made_probes(
    words: int, length: int, n: int, successions: list[Succession], **options: float
) -> RoleProbes:
    """Probes of random tokens for a vocabulary without a tokenizer; words stand for names, too."""
    settings = {
        "has_bos": True,
        "n_destinations": 40,
        "semantic_set": 5,
        "predicted_share": 0.05,
        "seed": 0,
    } | options
    text = SuppressionProbe(segments(words, length, n, 2), **settings)
    places = torch.tensor([[2, 4, 5]]).repeat(n, 1)
    return RoleProbes(
        segments(words, length, n, 0),
        length,
        segments(words, length, n, 1),
        places,
        successions,
        text,
        {},
    )


def check_against_naive(model: Transformer, probes: RoleProbes) -> None:
    """In float64, in which the two agree to rounding; scores are handed out in float32, hence 1e-6.

    A near-tie that rounding decides is unlikely there.
    """
    model = in_double(model)
    found = role_scores(model, probes)
    assert not found.left_out
    assert list(dict.fromkeys(found.table["role"])) == list(ROLES)
    table = found.table.set_index(["role", "layer", "head"])["score"]
    assert len(table) == len(ROLES) * model.n_layers * model.n_heads
    assert (
        probes.names is not None and probes.name_positions is not None and probes.text is not None
    )
    distances = {
        "previous_token": 1,
        "induction": probes.length - 1,
        "duplicate_token": probes.length,
    }
    for layer in range(model.n_layers):
        for head in range(model.n_heads):
            expected = {
                role: naive.attention_score(
                    model, probes.repeated, probes.length, distance, layer, head
                )
                for role, distance in distances.items()
            }
            expected["successor"] = naive.successor(model, list(probes.lists), layer, head)
            for role, sign in (("name_mover", 1), ("negative_name_mover", -1)):
                expected[role] = naive.name_mover(
                    model, probes.names, probes.name_positions, layer, head, sign
                )
            expected["copy_suppression"] = naive.copy_suppression(model, probes.text, layer, head)[
                0
            ]
            for role in ROLES:
                assert table[role, layer, head] == pytest.approx(expected[role], abs=1e-6), (
                    role,
                    layer,
                    head,
                )


@pytest.mark.parametrize(("n_destinations", "with_bias"), [(6, False), (24, True)])
def test_scores_equal_naive_ones_on_random_models(
    case: Case, n_destinations: int, with_bias: bool
) -> None:
    """Few destinations are unembedded one by one, many through the heads; a bias of the unembedding
    counts.
    """
    lists = [
        Succession(torch.arange(10, 17), torch.arange(10, 16), torch.arange(1, 7)),
        Succession(torch.arange(20, 25), torch.arange(20, 25), torch.tensor([1, 2, 3, 4, 0])),
    ]
    probes = made_probes(
        VOCABULARY,
        6,
        6,
        lists,
        n_destinations=n_destinations,
        semantic_set=3,
        predicted_share=0.25,
        seed=3,
    )
    bias = (
        torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(4))
        if with_bias
        else case.model.b_U
    )
    check_against_naive(replace(case.model, b_U=bias), probes)


def test_scores_equal_naive_ones_on_a_trained_model(trained_suite: Path) -> None:
    folder = trained_suite / "step300"
    probes = role_probes(load_tokenizer(folder), SMALL, seed=0)
    assert probes.text is not None
    # The naive score knows no screening; that it changes nothing else has a test of its own.
    check_against_naive(load_model(folder), replace(probes, text=replace(probes.text, n_screen=0)))


def test_built_heads_hold_their_roles_and_a_random_head_does_not() -> None:
    lists = [
        Succession(torch.arange(1, WORDS), torch.arange(1, WORDS - 1), torch.arange(1, WORDS - 1))
    ]
    probes = made_probes(WORDS, LENGTH, 16, lists, n_destinations=60)
    table = role_scores(roles_model(WORDS, 1 + 2 * LENGTH), probes).table.set_index(
        ["role", "layer", "head"]
    )["score"]
    assert set(BUILT) == set(ROLES)
    for role, (layer, head) in BUILT.items():
        assert table[role, layer, head] >= 0.9, role
        assert table[role, *RANDOM_HEAD] <= 0.1, role
    assert table["name_mover", *BUILT["negative_name_mover"]] == 0
    assert table["negative_name_mover", *BUILT["name_mover"]] == 0
    assert table["copy_suppression", *BUILT["name_mover"]] <= 0.1


def test_every_score_has_an_interval_over_what_it_averages(case: Case) -> None:
    """Sequences, items, prompts and pieces of text; one of each tells nothing of others."""
    lists = [Succession(torch.arange(10, 17), torch.arange(10, 16), torch.arange(1, 7))]
    probes = made_probes(
        VOCABULARY, 6, 6, lists, n_destinations=30, semantic_set=3, predicted_share=0.25
    )
    table = role_scores(case.model, probes).table
    assert table.columns.tolist() == ["role", "layer", "head", "score", "low", "high"]
    assert (table["low"] <= table["score"] + 1e-9).all() and (
        table["score"] <= table["high"] + 1e-9
    ).all()
    assert table[["low", "high"]].stack().between(0, 1).all()
    for role in ROLES:
        assert (
            table.loc[table["role"] == role, "low"] < table.loc[table["role"] == role, "high"]
        ).any() or (table.loc[table["role"] == role, "score"].nunique() == 1), role
    assert role_scores(case.model, probes).table.equals(table)
    single = [Succession(lists[0].targets, lists[0].inputs[:1], lists[0].successors[:1])]
    one = replace(made_probes(VOCABULARY, 6, 2, single), repeated=probes.repeated[:1])
    one = replace(one, names=one.names[:1], name_positions=one.name_positions[:1])
    table = role_scores(case.model, one).table
    assert table["score"].notna().all() and table[["low", "high"]].isna().all().all()


def word_level(words: list[str], **special: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


@pytest.mark.parametrize("special", [{}, {"bos_token": "<s>"}])
def test_a_tokenizer_without_names_lists_and_the_texts_words(
    case: Case, special: dict[str, str]
) -> None:
    probes = role_probes(
        word_level(["<unk>", "<s>", *(f"w{i}" for i in range(40))], **special), SMALL, seed=0
    )
    found = role_scores(case.model, probes)
    assert set(found.table["role"]) == set(ATTENTION_ROLES)
    names = (
        f"only 0 of {len([*FEMALE_NAMES, *MALE_NAMES])} names are single tokens in this "
        f"model's tokenizer; at least 10 are needed"
    )
    assert found.left_out == {
        "successor": "no list has two items in succession that are single tokens in this "
        "model's tokenizer",
        "name_mover": names,
        "negative_name_mover": names,
        "copy_suppression": "this model's tokenizer can encode only 0 of 6 pieces of "
        "English prose; "
        "heads.text=<file> gives it another",
    }


def test_too_few_tokens_for_a_segment_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match=r"heads.length=6: only 3 tokens"):
        role_probes(word_level(["<unk>", "a", "b", "c"]), SMALL, seed=0)


def test_a_model_without_a_first_mlp(case: Case) -> None:
    model, first = case.model, case.model.blocks[0]
    nothing = torch.zeros(model.d_model, 0)
    without = MLP(nothing, torch.zeros(0), nothing.T, torch.zeros(model.d_model), torch.relu)
    model = replace(model, blocks=(replace(first, mlp=without), *model.blocks[1:]))
    lists = [Succession(torch.arange(10, 17), torch.arange(10, 16), torch.arange(1, 7))]
    found = role_scores(model, made_probes(VOCABULARY, 6, 4, lists))
    assert found.left_out == {"successor": "the first block has no MLP"}
    assert set(found.table["role"]) == set(ROLES) - {"successor"}


def test_a_context_too_short_for_some_probes() -> None:
    model = roles_model(WORDS, 20)
    lists = [Succession(torch.arange(1, 20), torch.arange(1, 19), torch.arange(1, 19))]
    found = role_scores(model, made_probes(WORDS, LENGTH, 6, lists))
    assert set(found.table["role"]) == {
        "successor",
        "copy_suppression",
    }  # pieces of text are cut to 20 tokens
    reason = "the repeated segments take 25 tokens, more than the model's context of 20"
    assert [found.left_out[role] for role in ATTENTION_ROLES] == 3 * [reason]
    assert set(found.left_out) == {*ATTENTION_ROLES, *COPYING_ROLES}
    shortest = role_scores(roles_model(WORDS, 8), made_probes(WORDS, LENGTH, 6, lists)).left_out[
        "copy_suppression"
    ]
    assert shortest == "the model's context of 8 tokens is too short for a piece of text"


@pytest.mark.parametrize("name", ["nano", "bpe", "pythia"])
def test_the_shipped_tokenizers_allow_every_role(name: str) -> None:
    probes = role_probes(tokenizer_named(name), HeadsConfig(), seed=0)
    assert not probes.left_out
    assert probes.text is not None and probes.text.pieces.shape == (16, 33)
    assert probes.pairs is not None and len(probes.pairs.lengths) == HeadsConfig().n_sequences


def test_every_role_has_a_threshold_and_a_task_that_confirms_it() -> None:
    thresholds = {field.name for field in fields(RoleThresholds)}
    assert set(CHECKED_ON) == thresholds
    assert {task for tasks in CHECKED_ON.values() for task in tasks} <= {*TASKS, REPEATED}
