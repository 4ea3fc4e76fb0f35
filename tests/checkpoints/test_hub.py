"""The hub's client and the store, against a hub on loopback: retries, resuming, hashes, budget, and
what a user is told.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from circuitwatch.checkpoints.audit import Audit, Weights
from circuitwatch.checkpoints.files import weights_sha256
from circuitwatch.checkpoints.hub import LostNetwork, Repository
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.schedule import Checkpoint
from circuitwatch.checkpoints.source import Missing, NotFetched
from circuitwatch.checkpoints.store import Store
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.checkpoints.waiting import Cancelled, Patience
from circuitwatch.errors import UserError
from support.hub import Hub, running_hub
from support.pythias import write_pythia

NAME = "org/tiny"
QUICK = Patience(first_wait=0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    write_pythia(root / NAME / "step0", 0)
    write_pythia(root / NAME / "step1", 1, as_bin=True)
    return root


@pytest.fixture
def hub(root: Path) -> Iterator[Hub]:
    with running_hub(root) as hub:
        yield hub


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> Repository:
    return Repository(
        NAME, tmp_path / "listings", endpoint=hub.url, patience=Patience(first_wait=0.01)
    )


def fetch(repository: Repository, folder: Path, revision: str = "step0") -> Path:
    listing = repository.listing(revision)
    repository.download(listing, listing.needed(), folder, lambda _: None)
    return folder


def test_what_arrives_is_what_the_hub_has(
    repository: Repository, root: Path, tmp_path: Path
) -> None:
    folder = fetch(repository, tmp_path / "got")
    for path in folder.iterdir():
        assert path.read_bytes() == (root / NAME / "step0" / path.name).read_bytes()
    assert weights_sha256(folder) == repository.listing("step0").sha256()
    assert load_model(folder).W_E.dtype == torch.float32  # float16 on disk


def test_weights_in_bin_files_are_read_as_tensors_alone(
    repository: Repository, root: Path, tmp_path: Path
) -> None:
    folder = fetch(repository, tmp_path / "got", "step1")
    assert [path.name for path in folder.glob("*.bin")] == ["pytorch_model.bin"]
    expected = torch.load(root / NAME / "step1" / "pytorch_model.bin", weights_only=True)
    torch.testing.assert_close(load_model(folder).W_E, expected["gpt_neox.embed_in.weight"].float())
    torch.save({"gpt_neox.embed_in.weight": Path("anything")}, folder / "pytorch_model.bin")
    with pytest.raises(DamagedWeights, match="can't be read as tensors"):
        load_model(folder)


def test_a_busy_hub_is_asked_again(repository: Repository, hub: Hub, tmp_path: Path) -> None:
    hub.faults.busy["step0"] = 2
    fetch(repository, tmp_path / "got")
    assert hub.asked[f"GET {NAME}/resolve/{hub.revisions(NAME)['step0']}/model.safetensors"] == 3
    hub.faults.busy["step0"] = 99
    with pytest.raises(NotFetched, match=r"step0 model\.safetensors: the hub answers 503, 4 times"):
        fetch(repository, tmp_path / "again")


def test_a_broken_download_goes_on_where_it_stopped(
    repository: Repository, hub: Hub, root: Path, tmp_path: Path
) -> None:
    hub.faults.cut["step0"] = 2
    folder = fetch(repository, tmp_path / "got")
    assert len(hub.ranges) == 2 and not any(r.endswith("=0-") for r in hub.ranges)
    assert weights_sha256(folder) == weights_sha256(root / NAME / "step0")


def test_another_run_goes_on_too(
    repository: Repository, hub: Hub, root: Path, tmp_path: Path
) -> None:
    hub.faults.truncated.add("step0")
    with pytest.raises(
        NotFetched, match=r"step0 model.safetensors: incomplete download: \d+ of \d+ bytes"
    ):
        fetch(repository, tmp_path / "got")
    hub.faults.truncated.clear()
    hub.served.clear()
    folder = fetch(repository, tmp_path / "got")
    size = (root / NAME / "step0" / "model.safetensors").stat().st_size
    assert hub.served["step0"] == size - size // 2
    assert weights_sha256(folder) == weights_sha256(root / NAME / "step0")


def test_bytes_that_are_not_the_listed_ones(
    repository: Repository, hub: Hub, tmp_path: Path
) -> None:
    hub.faults.changed.add("step0")
    with pytest.raises(NotFetched, match="SHA-256 mismatch"):
        fetch(repository, tmp_path / "got")
    assert not (tmp_path / "got" / "model.safetensors").exists()


def test_what_is_not_there(repository: Repository, hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="step7: the hub does not have it"):
        repository.listing("step7")
    with pytest.raises(
        UserError, match="org/other: no such repository, or it is private and needs HF_TOKEN"
    ):
        Repository(
            "org/other", tmp_path, endpoint=hub.url, patience=Patience(first_wait=0.01)
        ).branches()
    hub.faults.down = True
    with pytest.raises(LostNetwork, match="the hub can't be reached"):
        repository.branches()


def test_a_token_is_sent_and_never_shown(
    repository: Repository, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.faults.token = "hf_secret"
    with pytest.raises(UserError, match="needs HF_TOKEN"):
        repository.branches()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert set(repository.branches()) == {"step0", "step1"}
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError) as caught:
        repository.branches()
    assert "hf_wrong" not in str(caught.value)


def test_stopping_is_quick(repository: Repository, hub: Hub, tmp_path: Path) -> None:
    hub.faults.rate = 2e6
    stopped = threading.Event()
    listing = repository.listing("step0")
    with pytest.raises(Cancelled):
        repository.download(
            listing, listing.weights("safetensors"), tmp_path, lambda _: stopped.set(), stopped
        )
    assert hub.served["step0"] < listing.weights("safetensors")[0].size


def filled(size: int):  # type: ignore[no-untyped-def]
    return lambda folder: (folder / "weights").write_bytes(b"0" * size)


def test_the_store_keeps_to_its_budget(tmp_path: Path) -> None:
    """Entries that are held stay, the others make room: of another model first, then of this one
    the last used first.
    """
    store, never = Store(tmp_path, 1000), threading.Event()
    for repository, name in (("other", "x"), ("mine", "a"), ("mine", "b")):
        store.release(store.take(repository, name, 300, filled(200), never), keep=True)
    assert store.used() == 900
    a = store.take("mine", "a", 300, lambda _: pytest.fail("fetched again"), never)
    c = store.take("mine", "c", 300, filled(200), never)
    assert set(store.whole("other")) == set() and set(store.whole("mine")) == {"a", "b", "c"}
    d = store.take("mine", "d", 300, filled(200), never)
    assert set(store.whole("mine")) == {"a", "c", "d"} and store.used() == 900
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    with pytest.raises(Cancelled):  # everything is held
        store.take("mine", "e", 300, filled(200), stopped)
    for held in (a, c, d):
        store.release(held, keep=False)
    assert store.whole("mine") == {}
    with pytest.raises(UserError, match=r"checkpoints\.disk=.*: mine f alone has"):
        store.take("mine", "f", 2000, filled(200), never)


def test_what_a_dead_run_held_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, os, threading; from pathlib import Path; from "
        "circuitwatch.checkpoints.store import Store\n"
        "held = Store(Path(sys.argv[1]), 1000).take('mine', 'a', 600, lambda f: (f / "
        "'w').write_text('x'), threading.Event())\n"
        "print('held', flush=True); sys.stdin.read(); os._exit(1)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == b"held\n"
    store, stopped = Store(tmp_path, 1000), threading.Event()
    threading.Timer(0.3, stopped.set).start()
    with pytest.raises(Cancelled):
        store.take("mine", "b", 600, filled(10), stopped)
    other.stdin.close()
    other.wait()
    other.stdout.close()
    store.take("mine", "b", 600, filled(10), threading.Event())
    assert set(store.whole("mine")) == {"b"}


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "circuitwatch.checkpoints.store.shutil.disk_usage", lambda _: type("U", (), {"free": 10})
    )
    with pytest.raises(
        UserError,
        match=r"the disk has .* left and a needs .*; make room, or .*checkpoints\.folder=",
    ):
        Store(tmp_path, 1000).take("mine", "a", 600, filled(10), threading.Event())


def test_a_disk_that_fills_up_meanwhile(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    listing = repository.listing("step0")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="the disk is full; make room"):
        repository.download(listing, listing.small(), tmp_path / "got", lambda _: None)


def audit_of(identities: dict[int, set[str]]) -> Audit:
    checkpoints = [Checkpoint(step, step, f"step{step}") for step in identities]
    return Audit.of(
        checkpoints, {s: Weights("bin", 1, None, frozenset(i)) for s, i in identities.items()}, {}
    )


def test_which_of_equal_checkpoints_is_kept() -> None:
    """The last one if it is among them, else the first; one kind of file in common is enough."""
    found = audit_of(
        {
            0: {"a"},
            1: {"a"},
            2: {"b"},
            4: {"z"},
            8: {"z", "y"},
            16: {"c", "d"},
            32: {"d"},
            64: {"z"},
        }
    )
    assert found.duplicate_of == {1: "step0", 4: "step64", 8: "step64", 32: "step16"}


def test_the_kept_hash_is_the_files(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "model-00001-of-00002.safetensors")
    one = weights_sha256(tmp_path)
    save_file({"v": torch.ones(3)}, tmp_path / "model-00002-of-00002.safetensors")
    assert len(one) == 64 and weights_sha256(tmp_path) != one


def test_an_empty_file_is_a_file(repository: Repository, root: Path, tmp_path: Path) -> None:
    empty = root / NAME / "step0" / "added_tokens.json"
    empty.touch()
    try:
        folder = fetch(repository, tmp_path / "got")
    finally:
        empty.unlink()
    assert (folder / "added_tokens.json").read_bytes() == b""
    assert not list(folder.glob("*.part"))


def test_weights_of_another_folder_are_not_the_models(repository: Repository, hub: Hub) -> None:
    hub.faults.listed["step0"] = ["model_fp16/model.safetensors", "model/a.safetensors"]
    listing = repository.listing("step0")
    assert [file.name for file in listing.weights("safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/x", "a/../../x", r"a\..\x", "C:x", "model\0.safetensors", "a//x", "."],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(
    name: str, repository: Repository, hub: Hub
) -> None:
    hub.faults.listed["step0"] = [name]
    with pytest.raises(DamagedWeights, match="step0: lists a file outside its folder") as caught:
        repository.listing("step0")
    assert repr(name) in str(caught.value)
