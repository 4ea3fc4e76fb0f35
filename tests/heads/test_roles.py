"""All observational roles together: against naive definitions, on a model built to hold them, and
where they do not apply.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from circuitwatch import catalogue
from circuitwatch.catalogue import Role
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.components import MLP
from circuitwatch.config import HeadsConfig
from circuitwatch.errors import UserError
from circuitwatch.heads.attention import Segments, repeated_segments
from circuitwatch.heads.checks import REPEATED
from circuitwatch.heads.copy_suppression import SuppressionProbe
from circuitwatch.heads.copying import Names
from circuitwatch.heads.measuring import Inputs, Measuring, Score
from circuitwatch.heads.roles import RoleProbes, role_probes, role_scores
from circuitwatch.heads.successor import Succession
from circuitwatch.heads.text import Pieces
from circuitwatch.lexicon import FEMALE_NAMES, MALE_NAMES
from circuitwatch.transformer import Transformer
from support import naive_roles as naive
from support.built import BUILT, RANDOM_HEAD, roles_model
from support.models import VOCABULARY, Case, make_variant
from support.naive_roles import in_double
from support.tokenizers import tokenizer_named

WORDS, LENGTH = 100, 12
ATTENTION_ROLES = ("previous_token", "duplicate_token", "induction")
COPYING_ROLES = ("name_mover", "negative_name_mover")
ROLES = [
    *ATTENTION_ROLES,
    *COPYING_ROLES,
    "copy_suppression",
    "successor",
    "attention_sink",
]
"""In the order of the table."""
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
    text = segments(words, length, n, 2)
    made: dict[str, Any] = dict.fromkeys(
        ATTENTION_ROLES, Segments(segments(words, length, n, 0), length)
    )
    places = torch.tensor([[2, 4, 5]]).repeat(n, 1)
    made |= dict.fromkeys(COPYING_ROLES, Names(segments(words, length, n, 1), places))
    made["copy_suppression"] = SuppressionProbe(text, **settings)
    made["successor"] = successions
    made["attention_sink"] = Pieces(text, has_bos=True)
    return with_made(RoleProbes(inputs(), {}, {}), **made)


def inputs() -> Inputs:
    return Inputs(tokenizer_named("nano"), HeadsConfig(), seed=0)


def with_made(probes: RoleProbes, **made: Any) -> RoleProbes:
    """The same with other inputs for some roles."""
    roles = catalogue.roles()
    return replace(
        probes, made={**probes.made, **{name: (roles[name], probe) for name, probe in made.items()}}
    )


def probe_of(probes: RoleProbes, role: str) -> Any:
    return probes.made[role][1]


def check_against_naive(model: Transformer, probes: RoleProbes) -> None:
    """In float64, in which the two agree to rounding; scores are handed out in float32, hence 1e-6.

    A near-tie that rounding decides is unlikely there.
    """
    model = in_double(model)
    found = role_scores(probes.at(model), probes)
    assert not found.left_out
    assert list(dict.fromkeys(found.table["role"])) == ROLES
    table = found.table.set_index(["role", "layer", "head"])["score"]
    assert len(table) == len(ROLES) * model.n_layers * model.n_heads
    repeated, names = probe_of(probes, "induction"), probe_of(probes, "name_mover")
    distances = {
        "previous_token": 1,
        "induction": repeated.length - 1,
        "duplicate_token": repeated.length,
    }
    for layer in range(model.n_layers):
        for head in range(model.n_heads):
            expected = {
                role: naive.attention_score(
                    model, repeated.tokens, repeated.length, distance, layer, head
                )
                for role, distance in distances.items()
            }
            expected["successor"] = naive.successor(
                model, list(probe_of(probes, "successor")), layer, head
            )
            for role, sign in (("name_mover", 1), ("negative_name_mover", -1)):
                expected[role] = naive.name_mover(
                    model, names.tokens, names.positions, layer, head, sign
                )
            expected["copy_suppression"] = naive.copy_suppression(
                model, probe_of(probes, "copy_suppression"), layer, head
            )[0]
            expected["attention_sink"] = naive.attention_sink(
                model, probe_of(probes, "attention_sink").tokens, layer, head
            )
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


@pytest.mark.parametrize(
    "variant",
    ["bloom", "gemma2", "gemma3", "gpt_neo", "olmo2-grouped", "olmo-clipped", "phi", "smollm3"],
)
def test_scores_equal_naive_ones_on_every_kind_of_block(variant: str, tmp_path: Path) -> None:
    """Norms of what is added, capped logits, windows, ALiBi, a norm of the embedding."""
    lists = [Succession(torch.arange(10, 17), torch.arange(10, 16), torch.arange(1, 7))]
    probes = made_probes(
        VOCABULARY, 6, 6, lists, n_destinations=12, semantic_set=3, predicted_share=0.25, seed=3
    )
    check_against_naive(make_variant(variant, tmp_path).model, probes)


def test_scores_equal_naive_ones_on_a_trained_model(trained_suite: Path) -> None:
    folder = trained_suite / "step300"
    probes = role_probes(load_tokenizer(folder), SMALL, seed=0)
    # The naive score knows no screening; that it changes nothing else has a test of its own.
    unscreened = replace(probe_of(probes, "copy_suppression"), n_screen=0)
    check_against_naive(load_model(folder), with_made(probes, copy_suppression=unscreened))


def test_built_heads_hold_their_roles_and_a_random_head_does_not() -> None:
    lists = [
        Succession(torch.arange(1, WORDS), torch.arange(1, WORDS - 1), torch.arange(1, WORDS - 1))
    ]
    probes = made_probes(WORDS, LENGTH, 16, lists, n_destinations=60)
    scores = role_scores(probes.at(roles_model(WORDS, 1 + 2 * LENGTH)), probes)
    table = scores.table.set_index(["role", "layer", "head"])["score"]
    assert set(BUILT) == set(ROLES) - {"attention_sink"}  # that has a model of its own
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
    table = role_scores(probes.at(case.model), probes).table
    assert table.columns.tolist() == ["role", "layer", "head", "score", "low", "high"]
    assert (table["low"] <= table["score"] + 1e-9).all() and (
        table["score"] <= table["high"] + 1e-9
    ).all()
    assert table[["low", "high"]].stack().between(0, 1).all()
    for role in ROLES:
        assert (
            table.loc[table["role"] == role, "low"] < table.loc[table["role"] == role, "high"]
        ).any() or (table.loc[table["role"] == role, "score"].nunique() == 1), role
    assert role_scores(probes.at(case.model), probes).table.equals(table)
    single = [Succession(lists[0].targets, lists[0].inputs[:1], lists[0].successors[:1])]
    one = made_probes(VOCABULARY, 6, 2, single)
    repeated, names = probe_of(one, "induction"), probe_of(one, "name_mover")
    one = with_made(
        one,
        **dict.fromkeys(ATTENTION_ROLES, Segments(repeated.tokens[:1], 6)),
        **dict.fromkeys(COPYING_ROLES, Names(names.tokens[:1], names.positions[:1])),
        attention_sink=Pieces(probe_of(one, "attention_sink").tokens[:1], True),
    )
    table = role_scores(one.at(case.model), one).table
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
    found = role_scores(probes.at(case.model), probes)
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
        "attention_sink": found.left_out["copy_suppression"],
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
    probes = made_probes(VOCABULARY, 6, 4, lists)
    found = role_scores(probes.at(model), probes)
    assert found.left_out == {"successor": "the first block has no MLP"}
    assert set(found.table["role"]) == set(ROLES) - {"successor"}


def test_a_context_too_short_for_some_probes() -> None:
    lists = [Succession(torch.arange(1, 20), torch.arange(1, 19), torch.arange(1, 19))]
    probes = made_probes(WORDS, LENGTH, 6, lists)
    found = role_scores(probes.at(roles_model(WORDS, 20)), probes)
    cut = {"copy_suppression", "attention_sink"}  # pieces of text, to 20 tokens
    assert set(found.table["role"]) == {"successor", *cut}
    reason = "the repeated segments take 25 tokens, more than the model's context of 20"
    assert [found.left_out[role] for role in ATTENTION_ROLES] == 3 * [reason]
    assert set(found.left_out) == {*ATTENTION_ROLES, *COPYING_ROLES}
    shortest = role_scores(probes.at(roles_model(WORDS, 8)), probes).left_out
    assert [shortest[role] for role in cut] == 2 * [
        "the model's context of 8 tokens is too short for a piece of text"
    ]


@pytest.mark.parametrize("name", ["nano", "bpe", "pythia"])
def test_the_shipped_tokenizers_allow_every_role(name: str) -> None:
    probes = role_probes(tokenizer_named(name), HeadsConfig(), seed=0)
    assert not probes.left_out
    assert list(probes.made) == ROLES
    assert probe_of(probes, "copy_suppression").pieces.shape == (16, 33)
    assert probe_of(probes, "copy_suppression").pieces is probe_of(probes, "attention_sink").tokens
    assert probes.pairs is not None and len(probes.pairs.lengths) == HeadsConfig().n_sequences


def test_every_role_says_where_its_threshold_comes_from_and_which_of_our_tasks_confirm_it() -> None:
    for role in catalogue.roles().values():
        assert 0 < role.threshold <= 1 and role.source and role.about, role.name
        assert set(role.confirmed_on) <= {*catalogue.tasks(), REPEATED}


def test_roles_that_share_a_pass_take_one(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attention roles from one pass, two of names from one; a second checkpoint takes its
    own.
    """
    passes = []
    for path in ("attention.attention_scores", "copying.name_mover_scores"):
        module, _, name = f"circuitwatch.heads.{path}".rpartition(".")
        made = getattr(__import__(module, fromlist=[name]), name)
        monkeypatch.setattr(
            f"{module}.{name}",
            lambda *given, made=made, name=name, **options: (
                passes.append(name) or made(*given, **options)
            ),
        )
    lists = [Succession(torch.arange(10, 17), torch.arange(10, 16), torch.arange(1, 7))]
    probes = made_probes(VOCABULARY, 6, 4, lists)
    for _ in range(2):
        passes.clear()
        role_scores(probes.at(case.model), probes)
        assert sorted(passes) == ["attention_scores", "name_mover_scores"]


OWN = Role(
    name="own_role",
    words="own role",
    about="every head has a score of its number",
    threshold=0.4,
    source="made up",
    probe=lambda inputs: inputs.heads.n_texts,
    score=lambda measuring, n: numbers(measuring)[..., None].expand(-1, -1, n),
    place=5,
)


def numbers(measuring: Measuring) -> torch.Tensor:
    """Layer and head, in tenths: [layer, head]."""
    model = measuring.model
    return torch.arange(model.n_layers)[:, None] / 10 + torch.arange(model.n_heads) / 10


def test_one_object_is_a_role(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added from outside it is in the table, first by its place, with its probe, its score and an
    interval; and in the configuration with its threshold.
    """
    monkeypatch.setitem(catalogue.ADDED, Role, {})
    catalogue.add(OWN)
    probes = role_probes(tokenizer_named("nano"), SMALL, seed=0)
    table = role_scores(
        probes.at(case.model), replace(probes, made={"own_role": probes.made["own_role"]})
    ).table
    assert set(table["role"]) == {"own_role"}
    assert table["score"].tolist() == pytest.approx(
        numbers(probes.at(case.model)).flatten().tolist()
    )
    assert table["low"].tolist() == pytest.approx(table["high"].tolist())  # all units alike
    assert next(iter(probes.made)) == "own_role"
    assert HeadsConfig().thresholds["own_role"] == HeadsConfig().threshold("own_role") == 0.4
    assert HeadsConfig(thresholds={"own_role": 0.7}).threshold("own_role") == 0.7
    assert HeadsConfig(thresholds={"own_role": 0.7}).threshold("induction") == 0.5


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (torch.zeros(7), r"role own_role: it gives \[7\]; it must give \[2, \d, unit\], \[layer"),
        (torch.full((2, 9, 1), 0.5), r"role own_role: it gives \[2, 9, 1\]"),
        (Score(*3 * [np.zeros((2, 9))]), r"role own_role: it gives \[2, 9\]"),
        (None, r"role own_role: it gives NoneType, which holds no numbers; it must give \[2"),
        ("too high", r"role own_role: the score of head 1\.2 is 1\.01; it must be within \[0, 1\]"),
        ("missing", r"role own_role: its scores are NaN or infinite"),
    ],
)
def test_scores_that_are_none(
    case: Case, monkeypatch: pytest.MonkeyPatch, score: Any, message: str
) -> None:
    value = {"too high": 1.01, "missing": float("nan")}.get(score) if isinstance(score, str) else 0

    def scored(measuring: Measuring, probe: None) -> Any:
        scores = torch.zeros(case.model.n_layers, case.model.n_heads, 2)
        scores[1, 2] = value
        return scores if isinstance(score, str) else score

    role = replace(OWN, score=scored, probe=None)
    probes = RoleProbes(inputs(), {"own_role": (role, None)}, {})
    with pytest.raises(UserError, match=message):
        role_scores(probes.at(case.model), probes)


def test_what_a_role_raises_names_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*given: Any) -> None:
        raise ValueError("boom in\nmy role")

    def asks(*given: Any) -> None:
        raise UserError("heads.text: another, please")

    probes = RoleProbes(inputs(), {"own_role": (replace(OWN, score=boom), None)}, {})
    with pytest.raises(UserError, match=r"^role own_role: ValueError: boom in my role$"):
        role_scores(probes.at(case.model), probes)
    monkeypatch.setitem(catalogue.ADDED, Role, {"own_role": replace(OWN, probe=boom)})
    with pytest.raises(UserError, match=r"^role own_role: ValueError: boom in my role$"):
        role_probes(tokenizer_named("nano"), SMALL, seed=0)
    monkeypatch.setitem(catalogue.ADDED, Role, {"own_role": replace(OWN, probe=asks)})
    with pytest.raises(UserError, match=r"^heads.text: another, please$"):
        role_probes(tokenizer_named("nano"), SMALL, seed=0)
