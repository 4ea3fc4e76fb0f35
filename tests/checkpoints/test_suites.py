"""The registry: what its models are, what revisions are called, and a user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoConfig,
    PretrainedConfig,
    Qwen3Config,
    SmolLM3Config,
)

from circuitwatch.checkpoints.loading import model_facts
from circuitwatch.checkpoints.settings import ModelConfig
from circuitwatch.checkpoints.stages import Stages
from circuitwatch.checkpoints.suites import (
    can_be_named,
    checkpoint_at,
    checkpoints_named,
    parse_steps,
    read_suite,
    read_suites,
)
from circuitwatch.cli.choices import conf_dir, mentioned, suites
from circuitwatch.errors import UserError
from circuitwatch.options import options_of

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


def gated(
    kind: type[PretrainedConfig],
    layers: int,
    width: int,
    inner: int,
    heads: int,
    vocabulary: int,
    *,
    groups: int | None = None,
    tied: bool = False,
    **more: int,
) -> PretrainedConfig:
    """A configuration of Llama's kin."""
    return kind(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=groups or heads,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        **more,
    )


def bloom(layers: int, width: int, heads: int) -> PretrainedConfig:
    return BloomConfig(n_layer=layers, hidden_size=width, n_head=heads, vocab_size=250880)


SHAPES = {
    "OLMo-2-0425-1B": gated(Olmo2Config, 16, 2048, 8192, 16, 100352),
    "OLMo-2-0425-1B-early-training": gated(Olmo2Config, 16, 2048, 8192, 16, 100352),
    "OLMo-2-1124-7B": gated(Olmo2Config, 32, 4096, 11008, 32, 100352),
    "OLMo-2-1124-13B": gated(Olmo2Config, 40, 5120, 13824, 40, 100352),
    "OLMo-2-0325-32B": gated(Olmo2Config, 64, 5120, 27648, 40, 100352, groups=8),
    "Olmo-3-1025-7B": gated(Olmo3Config, 32, 4096, 11008, 32, 100278),
    "Olmo-3-1125-32B": gated(Olmo3Config, 64, 5120, 27648, 40, 100278, groups=8),
    "SmolLM3-3B": gated(SmolLM3Config, 36, 2048, 11008, 16, 128256, groups=4, tied=True),
    "SmolLM2-135M": gated(LlamaConfig, 30, 576, 1536, 9, 49152, groups=3, tied=True),
    "TinyLlama-1.1B": gated(LlamaConfig, 22, 2048, 5632, 32, 32000, groups=4),
    "Amber": gated(LlamaConfig, 32, 4096, 11008, 32, 32000),
    "K2": gated(LlamaConfig, 80, 8192, 22016, 64, 32032),
    "ablation-model-fineweb-edu": gated(LlamaConfig, 24, 2048, 8192, 32, 50272, tied=True),
    "Llama-2-13b-hf": gated(LlamaConfig, 40, 5120, 13824, 40, 32000),
    "Llama-3.1-8B": gated(LlamaConfig, 32, 4096, 14336, 32, 128256, groups=8),
    "Llama-3.2-1B": gated(LlamaConfig, 16, 2048, 8192, 32, 128256, groups=8, tied=True),
    "Llama-3.2-3B": gated(LlamaConfig, 28, 3072, 8192, 24, 128256, groups=8, tied=True),
    "Qwen3-0.6B-Base": gated(
        Qwen3Config, 28, 1024, 3072, 16, 151936, groups=8, tied=True, head_dim=128
    ),
    "Qwen3-1.7B-Base": gated(
        Qwen3Config, 28, 2048, 6144, 16, 151936, groups=8, tied=True, head_dim=128
    ),
    "Qwen3-4B-Base": gated(
        Qwen3Config, 36, 2560, 9728, 32, 151936, groups=8, tied=True, head_dim=128
    ),
    "Qwen3-8B-Base": gated(Qwen3Config, 36, 4096, 12288, 32, 151936, groups=8, head_dim=128),
    "Qwen3-14B-Base": gated(Qwen3Config, 40, 5120, 17408, 40, 151936, groups=8, head_dim=128),
    "bloom-560m": bloom(24, 1024, 16),
    "bloom-1b1": bloom(24, 1536, 16),
    "bloom-1b7": bloom(24, 2048, 16),
    "bloom-3b": bloom(30, 2560, 32),
    "bloom-7b1": bloom(30, 4096, 32),
}


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_of_suites_are_those_of_their_shapes(name: str) -> None:
    """Counted in the model that transformers makes of the shape, without memory for its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SHAPES[name])
    sizes = {id(parameter): parameter.numel() for parameter in model.parameters()}
    parts = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    embeddings = {
        id(parameter)
        for part in (*parts, model.get_output_embeddings())
        for parameter in part.parameters()
    }
    assert MODELS[name]["params_total"] == sum(sizes.values())
    inside = sum(size for which, size in sizes.items() if which not in embeddings)
    assert MODELS[name]["params_non_embedding"] == inside


DATADECIDE = {
    "4M": (8, 64, 32, 5725, 0.4),
    "6M": (8, 96, 32, 9182, 0.6),
    "8M": (8, 128, 32, 13039, 0.9),
    "10M": (8, 144, 32, 15117, 1.0),
    "14M": (8, 192, 32, 21953, 1.4),
    "16M": (8, 208, 32, 24432, 1.6),
    "20M": (16, 192, 64, 14584, 1.9),
    "60M": (16, 384, 96, 29042, 5.7),
    "90M": (16, 528, 160, 29901, 9.8),
    "150M": (12, 768, 192, 38157, 15.0),
    "300M": (16, 1024, 320, 45787, 30.0),
    "530M": (16, 1344, 448, 57786, 53.0),
    "750M": (16, 1536, 576, 63589, 75.0),
    "1B": (16, 2048, 704, 69369, 100.0),
}
"""Layers, width, sequences a step, steps, and billions of tokens, from the paper's table."""


@pytest.mark.parametrize("size", DATADECIDE)
def test_datadecides_sizes_and_tokens(size: str) -> None:
    layers, width, batch, steps, tokens = DATADECIDE[size]
    model = MODELS[f"DataDecide-fineweb-edu-{size}"]
    # Attention has four square maps, the gated MLP three of four times the width; RMS norms.
    inside = layers * 16 * width**2 + (2 * layers + 1) * width
    assert model["params_non_embedding"] == inside
    assert model["params_total"] == inside + 2 * 50304 * width
    assert model["tokens_per_step"] == batch * 2048
    assert round(model["tokens_per_step"] * steps / 1e9, 1) == tokens


def test_a_family_is_one_file() -> None:
    names = [name for name in MODELS if name.startswith("DataDecide-")]
    assert len(names) == 25 * 14 * 3
    model = MODELS["DataDecide-dclm-baseline-25p-dolma1.7-75p-1B-large-aux-2"]
    assert model["hub_id"] == "allenai/DataDecide-dclm-baseline-25p-dolma1.7-75p-1B"
    assert model["revisions"] == "step{step}-seed-large-aux-2"
    base = MODELS["DataDecide-c4-20M"]
    assert base["revisions"] == "step{step}-seed-default"
    of_seed = [
        checkpoints_named(
            ["step0-seed-default", "step14584-seed-small-aux-2", "main"],
            MODELS[f"DataDecide-c4-20M{seed}"]["revisions"],
            base["tokens_per_step"],
        )
        for seed in ("", "-small-aux-2", "-small-aux-3")
    ]
    assert [[c.step for c in found] for found in of_seed] == [[0], [14584], []]


@pytest.mark.parametrize(
    ("model", "revision", "step", "billions"),
    [
        ("OLMo-2-0425-1B", "stage1-step120000-tokens252B", 120000, 252),
        ("OLMo-2-1124-7B", "stage1-step928646-tokens3896B", 928646, 3896),
        ("Olmo-3-1025-7B", "stage1-step1413814", 1413814, 5930),
        ("Olmo-3-1125-32B", "stage1-step655000", 655000, 5495),
        ("SmolLM3-3B", "stage3-step-4720000", 4720000, 11136),
        ("ablation-model-c4", "step-001000-2BT", 1000, 2),
        ("ablation-model-c4", "step-167000-350BT", 167000, 350),
        ("bloom-560m", "global_step659500", 659500, 346),
        ("TinyLlama-1.1B", "step-480k-token-1007B", 480000, 1007),
        ("Amber", "ckpt_356", 356, 1245),
        ("K2", "ckpt_054", 54, 195),
    ],
)
def test_revisions_that_people_name(model: str, revision: str, step: int, billions: float) -> None:
    """Their step, and tokens that agree with what their names or their cards say."""
    facts = MODELS[model]
    found = checkpoints_named([revision, "main"], facts["revisions"], facts["tokens_per_step"])
    assert [c.revision for c in found] == [revision] and found[0].step == step
    # Names round up, down or to the nearest.
    assert abs(found[0].tokens / 1e9 - billions) <= max(1, 0.001 * billions)


def test_both_stages_of_olmo_2_are_a_variant() -> None:
    facts = MODELS["OLMo-2-1124-7B-ingredient2"]
    assert facts["hub_id"] == MODELS["OLMo-2-1124-7B"]["hub_id"] and facts["stages"] == "join"
    names = ["stage1-step928646-tokens3896B", "main"]
    names += [f"stage2-ingredient{n}-step11931-tokens50B" for n in (1, 2, 3)]
    found = checkpoints_named(
        names, facts["revisions"], facts["tokens_per_step"], Stages(ingredient=facts["ingredient"])
    )
    assert [(c.step, c.revision) for c in found] == [
        (928646, names[0]),
        (928646 + 11931, "stage2-ingredient2-step11931-tokens50B"),
    ]
    assert found[-1].tokens == (928646 + 11931) * 4194304


def test_every_model_can_be_chosen() -> None:
    """What the registry says is within the bounds of the options."""
    specs = dict(options_of(ModelConfig))
    for name, model in MODELS.items():
        for key, value in model.items():
            if value is not None and key != "steps":
                specs[key].require(value, f"{name}: {key}")


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


FINE = "hub_id: a/{model}\nrevisions: s{step}\ntokens_per_step: 1\n"


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
        (f"{FINE}steps: 3\nmodels: {{m: }}", "steps: is 3, not a list of steps and ranges"),
        ("models: [", "can't be read as YAML"),
        ("models: {m: {}, m: {}}", "found duplicate key m"),
        ("models: " + "[" * 5000, "can't be read as YAML"),
        (f"{FINE}models: {{m: {{variants: x}}}}", "m: variants: give a list"),
        (f"{FINE}models: {{m: {{variants: {{a: {{size: 3}}}}}}}}", "size: no such key"),
        (f"{FINE}models: {{m: {{variants: [b]}}, m-b: }}", "m-b: is there twice"),
        (f"{FINE}models: {{'m-{{kind}}': }}", "{kind} is no axis under `each`; there is none"),
        (f"{FINE}each: {{a: [x]}}\nmodels: {{'m-{{b}}': }}", "no axis under `each`; there are a"),
        (f"{FINE}each: {{model: [x]}}\nmodels: {{m: }}", "each: 'model' can't be an axis"),
        (f"{FINE}each: {{a: []}}\nmodels: {{m: }}", "each: a: give a list of names"),
        (f"{FINE}each: [a]\nmodels: {{m: }}", "each: give what names stand for"),
        (f"{FINE}licence: 3\nmodels: {{m: }}", "m: licence: give a word, not 3"),
        (f"{FINE}checkpoints: 0\nmodels: {{m: }}", "m: checkpoints: give how many there are"),
        (f"{FINE}path: x\nmodels: {{m: }}", "the suite has both path and hub_id; give path for"),
        ("path: 3\nmodels: {m: }", "m: path: give a folder, not 3"),
        ("path: ' '\nmodels: {m: }", "m: path="),
        ("path: ~nobody.here/x\nmodels: {m: }", "m: path: ~nobody.here/x: "),
        ("path: x\nsteps: [1]\nmodels: {m: }", "steps does nothing with path"),
        ("path: x\nmodels: {m: {revisions: a}}", "m: revisions does nothing with path"),
        ("models: {m: {path: x, hub_id: y}}", "m has both path and hub_id"),
        ("models: {m: }", "m has no hub_id, nor a path"),
    ],
)
def test_a_file_that_is_no_suite(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(UserError, match=r"bad\.yaml") as caught:
        read_suite(tmp_path / "bad.yaml")
    assert message in str(caught.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "suites/own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_a_suite_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the file, wherever a command is run; a model's own place wins."""
    suite = read_suite(
        written(
            tmp_path / "mine",
            "path: ../../runs/{model}\ntokens_per_step: 512\nmodels:\n"
            "  tiny: {params_total: 5, variants: [seed1]}\n"
            "  other: {path: /data/other}\n"
            "  home: {path: '~/x', tokens_per_step: 7}\n"
            "  published: {hub_id: org/p, revisions: 'step{step}'}\n",
        )
    )
    assert suite.models["tiny"] == {
        "params_total": 5,
        "tokens_per_step": 512,
        "name": "tiny",
        "source": "folder",
        "path": str(tmp_path / "runs/tiny"),
    }
    assert suite.models["tiny-seed1"]["path"] == str(tmp_path / "runs/tiny-seed1")
    assert suite.models["other"]["path"] == "/data/other"
    assert suite.models["home"]["path"] == str(Path.home() / "x")
    assert (
        suite.models["published"]["hub_id"] == "org/p" and "path" not in suite.models["published"]
    )
    monkeypatch.chdir(tmp_path)
    again = read_suite(Path("mine/suites/own.yaml"))
    assert again.models == suite.models


def test_a_folder_of_a_suite_on_the_hub(tmp_path: Path) -> None:
    suite = read_suite(
        written(tmp_path, f"{FINE}steps: [1, 2]\nmodels: {{m: {{path: here}}, n: }}")
    )
    assert suite.models["m"]["path"] == str(tmp_path / "suites/here")
    assert "steps" not in suite.models["m"] and suite.models["n"]["steps"] == [1, 2]


def test_a_name_that_is_a_date(tmp_path: Path) -> None:
    suite = read_suite(written(tmp_path, f"{FINE}models: {{m: {{variants: [2024-11-05]}}}}"))
    assert suite.models["m-2024-11-05"]["hub_id"] == "a/m-2024-11-05"
    other = "revisions: 2024-11-05\ntokens_per_step: 1\nsteps: [1]\nhub_id: a/b\nmodels: {n: }"
    assert read_suite(written(tmp_path / "other", other)).models["n"]["revisions"] == "2024-11-05"


def test_a_family_that_an_experiment_names(tmp_path: Path) -> None:
    """Its models are told to Hydra as if the command line named them."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("model: DataDecide-c4-4M-small-aux-2\n")
    arguments = ["--config-dir", str(tmp_path), "experiment=mine"]
    told = {name for suite in mentioned(suites(arguments), arguments) for name in suite.models}
    assert "DataDecide-c4-4M-small-aux-2" in told and "pythia-14m" in told
    assert "DataDecide-c4-1B" not in told


def test_of_families_hydra_is_told_what_is_named() -> None:
    family = next(suite for suite in read_suites([conf_dir()]) if suite.name == "datadecide")
    assert family.named_in("task=ioi").models == {}
    assert list(family.named_in("model=DataDecide-c4-1B").models) == ["DataDecide-c4-1B"]
    assert family.named_in("model=glob(DataDecide-c4-*)").models == family.models
    pythia = next(suite for suite in read_suites([conf_dir()]) if suite.name == "pythia")
    assert pythia.named_in("task=ioi") is pythia


def test_names_with_steps_that_no_training_has_are_no_checkpoints() -> None:
    """Beyond what tables and files can hold, or what Python reads as a number."""
    names = ["step9", f"step{2**64}", f"step{'9' * 5000}", "step1000000001", "step8"]
    assert [c.step for c in checkpoints_named(names, "step{step}", 1)] == [8, 9]
    tokens = ["step1-1.2.3B", f"step2-{'9' * 400}B", "step3-2.1B"]
    assert [c.step for c in checkpoints_named(tokens, "step{step}-{tokens}", None)] == [3]
