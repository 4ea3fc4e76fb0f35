"""The table of names of checkpoints, and of names that are none."""

from __future__ import annotations

import pytest

from circuitwatch.summary.importers.names import Checkpoint, read_name

NAMES = {
    "step143k": Checkpoint(143_000),
    "step1.5k": Checkpoint(1500),
    "ckpt-1.5B": Checkpoint(tokens=1.5e9),
    "1.5B": Checkpoint(tokens=1.5e9),
    "tokens3B": Checkpoint(tokens=3e9),
    "ckpt_100B": Checkpoint(tokens=1e11),
    "checkpoint_1_50000": Checkpoint(50_000),
    "checkpoint-1000": Checkpoint(1000),
    "iter_0001000": Checkpoint(1000),
    "iteration-500": Checkpoint(500),
    "global_step1000": Checkpoint(1000),
    "step=1000": Checkpoint(1000),
    "ep1-ba1000": Checkpoint(1000),
    "epoch=3-step=1000.ckpt": Checkpoint(1000),
    "1000": Checkpoint(1000),
    "0": Checkpoint(0),
    "143k": Checkpoint(143_000),
    "step-480k-token-1007B": Checkpoint(480_000, 1.007e12),
    "step1000-tokens4B": Checkpoint(1000, 4e9),
    "step1000-4Btokens": Checkpoint(1000, 4e9),
    "stage1-step1000-tokens2B": Checkpoint(1000, 2e9, stage=1),
    "stage2-ingredient1-step1000-tokens2B": Checkpoint(1000, 2e9, stage=2, ingredient=1),
    "160m_step1000": Checkpoint(1000, rest="160m"),
    "1.4b-1MtokBS_step126000": Checkpoint(126_000, rest="1.4b-1MtokBS"),
    "pythia-160m-seed1": Checkpoint(seed=1, rest="pythia-160m"),
    "pythia-160m-seed_3-step512": Checkpoint(512, seed=3, rest="pythia-160m"),
    "mymodel-checkpoint-512": Checkpoint(512, rest="mymodel"),
    "run/step512": Checkpoint(512, rest="run/"),
}
NONE = (
    *("pythia-160m", "Qwen2.5-1.5B", "gpt2", "main", "final", "v1.1", "OLMo-1B-hf", "opt-125m"),
    *("results_2024-05-20T10-19-00.123456", "2024-05-20", "a3f9e2c", "llama-7b", "timestep"),
    *(
        "pythia-v1.1-1.4b-1MtokBS",
        "0.5",
        "footstep3x",
        "SmolLM2-135M",
        "70M",
        "stepping-stones",
        "",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_checkpoints(name: str) -> None:
    assert read_name(name) == NAMES[name]


@pytest.mark.parametrize("name", NONE)
def test_names_of_other_things(name: str) -> None:
    found = read_name(name)
    assert not found.is_one and found.seed is None and found.stage is None
    assert found.rest == name
