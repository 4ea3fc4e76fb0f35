"""The real model by the code for a hub: two revisions on loopback, one with the heads of a layer
scrambled, are listed, fetched, told apart, watched and summarised.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from circuitwatch.records import Cell
from support import smollm
from support.hub import Hub, running_hub

pytestmark = pytest.mark.e2e

LAYER = 14
SUITE = f"""
about: two revisions of one model
hub_id: org/{{model}}
revisions: step{{step}}
tokens_per_step: 1000000
steps: [1000, 2000]
models:
  {smollm.NAME}: {{params_total: 134515008, params_non_embedding: 106203456}}
"""
OPTIONS = [f"model={smollm.NAME}", "task=gendered_pronoun", "task.n_prompts=16", "schedule=all"]
OPTIONS += ["circuit.resamples=0", "n_bootstrap=200", "heads.n_prompts=8", "heads.n_sequences=8"]
OPTIONS += ["tracking=off", "threads=2", "device=cpu"]


@pytest.fixture(scope="module")
def hub(real_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """step2000 is the model as it is; in step1000 each head of a layer writes by the next one's
    output weights.
    """
    root = tmp_path_factory.mktemp("hub")
    for step in (1000, 2000):
        shutil.copytree(real_folder, root / "org" / smollm.NAME / f"step{step}")
    (path,) = (root / "org" / smollm.NAME / "step1000").glob("*.safetensors")
    tensors = load_file(path)
    name = f"model.layers.{LAYER}.self_attn.o_proj.weight"
    heads = tensors[name].unflatten(1, (9, -1))  # [d_model, head, d_head]
    tensors[name] = torch.roll(heads, 1, 1).flatten(1).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    with running_hub(root) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "conf/suites").mkdir(parents=True)
    (folder / "conf/suites/published.yaml").write_text(SUITE)
    return folder


def command(name: str, home: Path, hub: Hub, *more: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HOME": str(home / "hf"), "CIRCUITWATCH_CACHE": str(home / "cache")}
    said = subprocess.run(
        [sys.executable, "-m", "circuitwatch", name, *more],
        cwd=home,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_two_revisions_from_listing_to_summary(hub: Hub, home: Path, real_folder: Path) -> None:
    of_suite = ["--config-dir", str(home / "conf"), *OPTIONS]
    listed = command("doctor", home, hub, *of_suite)
    assert "step1000" in listed and "step2000" in listed and "can be analysed" in listed
    assert not hub.served  # no weights were fetched for that

    command("watch", home, hub, *of_suite, "sweep=real")
    (weights,) = real_folder.glob("*.safetensors")
    assert hub.served == {f"step{step}": weights.stat().st_size for step in (1000, 2000)}
    (folder,) = (home / "multirun/real").glob("*/*/seed0")
    cell = Cell.open(folder)
    scrambled, whole = cell.records()
    assert cell.is_done() and (scrambled.tokens, whole.tokens) == (10**9, 2 * 10**9)
    assert scrambled.scalars["weights/sha256"] != whole.scalars["weights/sha256"]
    assert whole.scalars["behaviour/above_chance"] and whole.mask is not None
    # What other heads do is as it was: only the scrambled layer and those after it differ.
    roles = scrambled.roles.merge(whole.roles, on=["role", "layer", "head"])
    attending = roles[roles["role"].isin(["induction", "previous_token", "duplicate_token"])]
    same = attending["score_x"] == attending["score_y"]
    assert same[attending["layer"] <= LAYER].all() and not same[attending["layer"] > LAYER].all()

    command("summarize", home, hub, "sweep=real")
    emergence = pd.read_csv(home / "multirun/real/summary/emergence.csv")
    assert set(emergence["model"]) == {smollm.NAME}
    assert (home / "multirun/real/summary/report.html").stat().st_size > 100_000


def test_what_was_fetched_is_what_was_published(hub: Hub, home: Path, real_folder: Path) -> None:
    """Watched from a folder, the same weights give the same numbers."""
    local = home / "local"
    shutil.copytree(real_folder, local / "step2000")
    (local / "suite.json").write_text('{"tokens_per_step": 1000000}\n')
    of_folder = [o for o in OPTIONS if not o.startswith("model=")]
    of_folder += ["model=folder", f"model.path={local}", f"model.name={smollm.NAME}"]
    command("watch", home, hub, *of_folder, "sweep=local")
    (here,) = (home / "multirun/local").glob("*/*/seed0")
    (there,) = (home / "multirun/real").glob("*/*/seed0")
    ours, theirs = Cell.open(here).read(2000), Cell.open(there).read(2000)
    own = {k: v for k, v in theirs.scalars.items() if not k.startswith(("overlap/", "weights/"))}
    assert {k: ours.scalars[k] for k in own} == own
    files = [Cell.open(folder).contents(2000)["roles.parquet"] for folder in (here, there)]
    assert hashlib.sha256(files[0]).digest() == hashlib.sha256(files[1]).digest()
