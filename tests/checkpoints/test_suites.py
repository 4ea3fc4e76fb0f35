"""The registry: what its models are, what revisions are called, and a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GPT2Config, GPTNeoXConfig, OlmoConfig

from circuitwatch.checkpoints.loading import model_facts
from circuitwatch.checkpoints.suites import (
    can_be_named,
    checkpoint_at,
    checkpoints_named,
    parse_steps,
    read_suite,
    read_suites,
)
from circuitwatch.cli.choices import conf_dir
from circuitwatch.errors import UserError

MODELS = {
    name: model for suite in read_suites([conf_dir()]) for name, model in suite.models.items()
}
PYTHIA = {
    "14m": (6, 128, 4, 50304),
    "31m": (6, 256, 8, 50304),
    "70m": (6, 512, 8, 50304),
    "160m": (12, 768, 12, 50304),
    "410m": (24, 1024, 16, 50304),
    "1b": (16, 2048, 8, 50304),
    "1.4b": (24, 2048, 16, 50304),
    "2.8b": (32, 2560, 32, 50304),
    "6.9b": (32, 4096, 32, 50432),
    "12b": (36, 5120, 40, 50688),
}
"""Layers, width, heads and padded vocabulary, from table 1 and the configurations of Pythia."""


@pytest.mark.parametrize("size", PYTHIA)
def test_pythias_parameters_are_those_of_its_shapes(size: str, tmp_path: Path) -> None:
    layers, width, heads, vocabulary = PYTHIA[size]
    GPTNeoXConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        vocab_size=vocabulary,
        architectures=["GPTNeoXForCausalLM"],
    ).save_pretrained(tmp_path)
    facts = model_facts(tmp_path)
    for key in ("params_total", "params_non_embedding"):
        assert MODELS[f"pythia-{size}"][key] == facts[key]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("gpt2", GPT2Config()),
        ("gpt2-xl", GPT2Config(n_layer=48, n_embd=1600, n_head=25)),
        ("arwen-gpt2-medium-x21", GPT2Config(n_layer=24, n_embd=1024, n_head=16)),
        (
            "OLMo-7B",
            OlmoConfig(
                num_hidden_layers=32,
                hidden_size=4096,
                num_attention_heads=32,
                intermediate_size=11008,
            ),
        ),
    ],
)
def test_other_suites_parameters(name: str, config: object, tmp_path: Path) -> None:
    config.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    assert model_facts(tmp_path)["params_total"] == MODELS[name]["params_total"]


def test_every_size_seed_and_variant_is_a_model() -> None:
    for size in PYTHIA:
        assert MODELS[f"pythia-{size}"]["steps"] == [
            0,
            *(2**k for k in range(10)),
            *range(1000, 143001, 1000),
        ]
        if size not in ("14m", "31m"):
            assert MODELS[f"pythia-{size}-deduped"]["hub_id"] == f"EleutherAI/pythia-{size}-deduped"
    for size in ("14m", "31m", "70m", "160m", "410m"):
        for seed in range(1, 10):
            assert (
                MODELS[f"pythia-{size}-seed{seed}"]["hub_id"]
                == f"EleutherAI/pythia-{size}-seed{seed}"
            )
    assert len(MODELS["alias-gpt2-small-x21"]["steps"]) == 609


@pytest.mark.parametrize(
    ("pattern", "per_step", "names", "found"),
    [
        (
            "step{step}",
            10,
            ["main", "step0", "step20", "step3-old"],
            [(0, 0, "step0"), (20, 200, "step20")],
        ),
        (
            "step{step}-tokens{tokens}B",
            None,
            ["step1000-tokens4B", "step556000-tokens2460B"],
            [
                (1000, 4 * 10**9, "step1000-tokens4B"),
                (556000, 2460 * 10**9, "step556000-tokens2460B"),
            ],
        ),
        (
            "stage*-step{step}",
            2,
            ["stage1-step40000", "stage2-step9", "step1"],
            [(9, 18, "stage2-step9"), (40000, 80000, "stage1-step40000")],
        ),
        ("step-{step}", 1048576, ["step-240000"], [(240000, 251658240000, "step-240000")]),
    ],
)
def test_revisions_by_their_names(
    pattern: str, per_step: int | None, names: list[str], found: list[tuple]
) -> None:
    named = checkpoints_named(names, pattern, per_step)
    assert [(c.step, c.tokens, c.revision) for c in named] == found
    for checkpoint in named:
        if can_be_named(pattern, per_step):
            assert checkpoint_at(checkpoint.step, pattern, per_step or 0) == checkpoint
    assert can_be_named(pattern, per_step) == ("*" not in pattern and "{tokens}" not in pattern)


def test_steps_as_people_write_them() -> None:
    assert parse_steps([512, 0, "1000..3000 by 1000", "1..3"], "x") == [
        0,
        1,
        2,
        3,
        512,
        1000,
        2000,
        3000,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [a]", "needs `models`"),
        ("hub_id: a/{model}\nmodel: {}", "needs `models`"),
        ("hub_id: a/{model}\nrevisions: s{step}\nmodels: {m: }", "tokens_per_step is missing"),
        ("hub_id: a/{model}\ntokens_per_step: 1\nmodels: {m: }", "m has no revisions"),
        (
            "hub_id: a/{model}\nrevisions: main\ntokens_per_step: 1\nmodels: {m: }",
            "has no {step}, so `steps` must name",
        ),
        (
            "hub_id: a/{model}\nrevisions: s{step}\ntokens_per_step: 1\nmodels: {m: {size: 3}}",
            "size: no such key",
        ),
        (
            "hub_id: a/{model}\nrevisions: s{step}\ntokens_per_step: 1\nsteps: "
            "[all]\nmodels: {m: }",
            "neither a number nor a range",
        ),
        ("models: [", "can't be read as YAML"),
    ],
)
def test_a_file_that_is_no_suite(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=r"bad\.yaml") as caught:
        read_suite(tmp_path / "bad.yaml")
    assert message in str(caught.value)


def test_names_with_steps_that_no_training_has_are_no_checkpoints() -> None:
    """Beyond what tables and files can hold, or what Python reads as a number."""
    names = ["step9", f"step{2**64}", f"step{'9' * 5000}", "step1000000001", "step8"]
    assert [c.step for c in checkpoints_named(names, "step{step}", 1)] == [8, 9]
    tokens = ["step1-1.2.3B", f"step2-{'9' * 400}B", "step3-2.1B"]
    assert [c.step for c in checkpoints_named(tokens, "step{step}-{tokens}", None)] == [3]
