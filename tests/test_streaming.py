"""A sweep over a dozen revisions of a hub on loopback, through the command line: each fault ends as
it should and harms no other checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.records import Cell
from support.hub import Hub, running_hub
from support.pythias import write_hub_cache, write_pythia

STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
SUITE = """
about: a suite of one tiny model
hub_id: org/{model}
revisions: step{step}
tokens_per_step: 2097152
steps: [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
models:
  tiny: {params_total: 1620000, params_non_embedding: 1776}
"""
DAMAGED = "gpt_neox.layers.1.attention.dense.weight"
OPTIONS = [
    "model=tiny",
    "task=gendered_pronoun",
    "task.n_prompts=8",
    "tracking=off",
    "heads.length=4",
    "heads.n_sequences=2",
    "heads.n_prompts=4",
    "n_bootstrap=20",
    "device=cpu",
]


@pytest.fixture(scope="module")
def revisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All steps but 8; steps 1 and 2 are equal; step 128 has a NaN."""
    root = tmp_path_factory.mktemp("revisions")
    for step in STEPS:
        if step != 8:
            write_pythia(root / "org/tiny" / f"step{step}", 1 if step == 2 else step)
    path = root / "org/tiny/step128/model.safetensors"
    tensors = load_file(path)
    tensors[DAMAGED][0, 0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    return root


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf/suites").mkdir(parents=True)
    (tmp_path / "conf/suites/mine.yaml").write_text(SUITE)
    return tmp_path / "conf"


@pytest.fixture
def hub(revisions: Path) -> Iterator[Hub]:
    with running_hub(revisions) as hub:
        yield hub


def watch(
    tmp_path: Path, *more: str, command: str = "watch", **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "circuitwatch",
            command,
            "--config-dir",
            str(tmp_path / "conf"),
            *OPTIONS,
            f"out={tmp_path / 'out'}",
            *more,
        ],
        cwd=tmp_path,
        env={**kept, "HF_HOME": str(tmp_path / "hf"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def cell_of(tmp_path: Path) -> Cell:
    return Cell.open(tmp_path / "out/default/tiny/gendered_pronoun/seed0")


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder, some of which may vanish meanwhile."""
    total = 0
    for where, _, names in os.walk(
        folder
    ):  # unlike rglob, it goes on where a folder has been deleted
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(where) / name).stat().st_size
    return total


def test_a_sweep_survives_what_a_hub_can_do(
    tmp_path: Path, conf: Path, hub: Hub, revisions: Path
) -> None:
    hub.faults.truncated.add("step16")
    hub.faults.rates["step32"] = 2e6
    hub.faults.busy["step64"] = 2
    one = sum(path.stat().st_size for path in (revisions / "org/tiny/step0").iterdir())
    budget, most, done = int(2.5 * one), 0, threading.Event()
    store = tmp_path / "hf/circuitwatch/org--tiny"

    def measure() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, bytes_below(store))

    measuring = threading.Thread(target=measure)
    measuring.start()
    ran = watch(tmp_path, f"checkpoints.disk={budget / 2**20}MiB", HF_ENDPOINT=hub.url)
    done.set()
    measuring.join()

    assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr
    assert (
        "1 of 12 checkpoints could not be fetched (org/tiny step16 model.safetensors:"
        in ran.stderr.splitlines()[-1]
    )
    cell = cell_of(tmp_path)
    assert cell.steps_done() == [0, 1, 2, 4, 32, 64, 256, 512, 1000] and not cell.is_done()
    skipped = cell.skipped()
    assert list(skipped) == ["8", "16", "128"]
    assert "no such revision" in skipped["8"]["reason"] and not skipped["8"]["again"]
    assert "incomplete download" in skipped["16"]["reason"] and skipped["16"]["again"]
    assert f"{DAMAGED} holds NaN" in skipped["128"]["reason"] and not skipped["128"]["again"]
    for record in cell.records():
        assert record.scalars["weights/sha256"] == weights_sha256(
            revisions / "org/tiny" / record.revision
        )
        assert record.tokens == record.step * 2097152
        assert record.scalars.get("weights/duplicate_of") == ("step1" if record.step == 2 else None)
    assert 0 < most <= budget
    assert not list(store.glob("*/*.safetensors"))  # used ones are deleted
    assert hub.served["step32"] == (revisions / "org/tiny/step32/model.safetensors").stat().st_size

    hub.faults.truncated.clear()
    hub.served.clear()
    again = watch(tmp_path, HF_ENDPOINT=hub.url)
    assert again.returncode == 0, again.stderr
    assert cell.is_done() and set(cell.skipped()) == {"8", "128"} and 16 in cell.steps_done()
    assert set(hub.served) == {
        "step16",
        "step128",
    }  # the damaged one may have been mended meanwhile
    hub.faults.down = True  # a cell that is done asks for nothing
    assert "done already, 10 checkpoints, 2 skipped" in watch(tmp_path, HF_ENDPOINT=hub.url).stdout


def test_a_populated_cache_offline(tmp_path: Path, conf: Path, revisions: Path, hub: Hub) -> None:
    """The hub client's own cache is read and left as it is; it has no step 8, so no one misses
    it.
    """
    folders = {
        path.name: path
        for path in (revisions / "org/tiny").iterdir()
        if path.name in ("step1", "step2", "step128", "step1000")
    }
    write_hub_cache(tmp_path / "hf/hub", "org/tiny", folders)
    before = bytes_below(tmp_path / "hf/hub")
    ran = watch(tmp_path, "checkpoints.duplicates=skip", HF_HUB_OFFLINE="1")
    assert ran.returncode == 0, ran.stderr
    cell = cell_of(tmp_path)
    assert cell.is_done() and cell.steps_done() == [1, 1000]
    assert (
        cell.skipped()["2"]["reason"] == "same weights as step1"
        and DAMAGED in cell.skipped()["128"]["reason"]
    )
    assert bytes_below(tmp_path / "hf/hub") == before
    ran = watch(
        tmp_path, "sweep=other", "schedule=steps", "schedule.steps=[512]", HF_HUB_OFFLINE="1"
    )
    assert (
        ran.returncode == 2
        and "there is no checkpoint at step 512; the nearest are 2, 128, 1000" in ran.stderr
    )
    some = ["schedule=steps", "schedule.steps=[1,512]", "schedule.from=1", "schedule.to=512"]
    assert watch(tmp_path, "sweep=online", *some, HF_ENDPOINT=hub.url).returncode == 0
    assert set(hub.served) == {"step512"}


def test_all_kept_is_found_again_offline(tmp_path: Path, conf: Path, hub: Hub) -> None:
    some = [
        "schedule=steps",
        "schedule.steps=[0,4]",
        "schedule.to=8.4Mtokens",
        "checkpoints.keep=all",
    ]
    assert watch(tmp_path, *some, HF_ENDPOINT=hub.url).returncode == 0
    served = dict(hub.served)
    assert set(served) == {"step0", "step4"}
    ran = watch(tmp_path, *some, "sweep=again", HF_HUB_OFFLINE="1")
    assert ran.returncode == 0, ran.stderr
    ran = watch(tmp_path, *some, "sweep=third", HF_ENDPOINT=hub.url)
    assert ran.returncode == 0 and dict(hub.served) == served


def test_a_lost_network_keeps_what_is_done(tmp_path: Path, conf: Path, hub: Hub) -> None:
    hub.faults.down_after = "step64"
    ran = watch(tmp_path, "schedule.from=64", HF_ENDPOINT=hub.url)
    assert ran.returncode == 2, ran.stdout
    last = ran.stderr.splitlines()[-1]
    assert (
        "the hub can't be reached" in last
        and "checkpoints are recorded, and the same command goes on" in last
    )
    assert cell_of(tmp_path).steps_done() == [64]
    hub.faults.down_after, hub.faults.down = None, False
    assert watch(tmp_path, "schedule.from=64", HF_ENDPOINT=hub.url).returncode == 0
    assert cell_of(tmp_path).steps_done() == [64, 256, 512, 1000]


def test_doctor_names_what_is_wrong(tmp_path: Path, conf: Path, hub: Hub) -> None:
    ran = watch(tmp_path, command="doctor", HF_ENDPOINT=hub.url)
    assert ran.returncode == 0, ran.stderr
    lines = {
        line.split()[0]: line for line in ran.stdout.splitlines() if line.strip()[:1].isdigit()
    }
    assert "missing: " in lines["8"] and "same weights as step1" in lines["2"]
    assert "12 checkpoints, 1 missing, 1 duplicate, " in ran.stdout
    assert "weights of tiny (org/tiny, 1,620,000 parameters)" in ran.stdout
    assert "can be analysed: GPTNeoXForCausalLM, " in ran.stdout
    assert "tasks with the tokenizer of tiny" in ran.stdout
    assert not hub.served and not (tmp_path / "out").exists()


def test_duplicates_can_be_an_error(tmp_path: Path, conf: Path, hub: Hub) -> None:
    ran = watch(tmp_path, "checkpoints.duplicates=error", HF_ENDPOINT=hub.url)
    assert (
        ran.returncode == 2
        and "1 checkpoint has the weights of another (step 2 those of step1)" in ran.stderr
    )
    assert not hub.served


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub of this test alone, of steps 0 and 1000."""
    for step in (0, 1000):
        write_pythia(tmp_path / "root/org/tiny" / f"step{step}", step)
    with running_hub(tmp_path / "root") as hub:
        yield hub


def test_a_revision_that_was_rewritten(tmp_path: Path, conf: Path, own_hub: Hub) -> None:
    """A cell that goes on makes its record anew, or refuses with checkpoints.changed=error; what
    was not rewritten is not fetched again.
    """
    more = ("schedule=steps", "schedule.steps=[0,1000]")
    environment = {"HF_ENDPOINT": own_hub.url}
    own_hub.faults.truncated.add("step1000")
    assert watch(tmp_path, *more, **environment).returncode == 2
    cell = cell_of(tmp_path)
    before = cell.weights_of(0)
    assert cell.steps_done() == [0] and cell.seen()[0] == own_hub.revisions("org/tiny")["step0"]
    own_hub.served.clear()
    assert watch(tmp_path, *more, **environment).returncode == 2
    assert own_hub.served["step0"] == 0
    write_pythia(own_hub.root / "org/tiny/step0", 7)
    own_hub.faults.rewritten.add("step0")
    own_hub.faults.truncated.clear()
    refused = watch(tmp_path, *more, "checkpoints.changed=error", **environment)
    assert refused.returncode == 2 and "step0 has other weights than those" in refused.stderr
    done = watch(tmp_path, *more, **environment)
    assert done.returncode == 0, done.stderr
    assert cell.steps_done() == [0, 1000]
    assert cell.weights_of(0) == weights_sha256(own_hub.root / "org/tiny/step0") != before
