"""A trained suite in the cache, and a training that was cut off: whatever is damaged is found, and
trained anew with the same bits; a full disk and a signal leave nothing half-written.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from circuitwatch.checkpoints.folder import list_checkpoints
from circuitwatch.errors import UserError
from circuitwatch.nano import suite as suites
from circuitwatch.nano.model import NanoSize
from circuitwatch.nano.training import STATE, Recipe, train_suite

SIZE = NanoSize("tiny", n_layers=1, d_model=32, n_heads=2, n_steps=12)
RECIPE = Recipe(warmup=2, every=5, batch=4)
WEIGHTS = "step8/model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_suite(SIZE, RECIPE, seed=0, folder=tmp_path_factory.mktemp("cache") / "suite")


@pytest.fixture
def suite(whole: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "suite"))


def weights(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("step*/model.safetensors"))
    }


def train(folder: Path, stop: int | None = None) -> tuple[list[int], list[str]]:
    """Train to the end, or until a step; returns steps done and lines said."""
    steps: list[int] = []
    said: list[str] = []

    def progress(step: int, _: int) -> None:
        steps.append(step)
        if step == stop:
            raise InterruptedTraining

    with suppress(InterruptedTraining):
        train_suite(SIZE, RECIPE, seed=0, folder=folder, progress=progress, say=said.append)
    return steps, said


class InterruptedTraining(Exception):
    """Stands in for a kill."""


def flip(path: Path, place: int = -5) -> None:
    """Change one bit, and no time: as a disk does it."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def say_in_manifest(key: str, value: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "suite.json"
        content = json.loads(path.read_text()) | {key: value}
        path.write_text(json.dumps(content))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of the weights": (lambda f: flip(f / WEIGHTS), f"{WEIGHTS} is not what was written"),
    "a bit of a config": (lambda f: flip(f / "step0/config.json", 40), "step0/config.json is not"),
    "cut weights": (lambda f: os.truncate(f / WEIGHTS, 99), f"{WEIGHTS} is not what was written"),
    "no step": (lambda f: shutil.rmtree(f / "step4"), "step4/config.json is missing"),
    "no tokenizer": (lambda f: (f / "step4/tokenizer.json").unlink(), "step4/tokenizer.json is mi"),
    "swapped steps": (
        lambda f: [
            (f / a).rename(f / b) for a, b in (("step1", "x"), ("step2", "step1"), ("x", "step2"))
        ],
        "step1/model.safetensors is not what was written",
    ),
    "another step": (lambda f: shutil.copytree(f / "step4", f / "step5"), "step5 is no checkpoint"),
    "other weights beside": (
        lambda f: shutil.copy(f / WEIGHTS, f / "step4/pytorch_model.bin"),
        "step4/pytorch_model.bin does not belong there",
    ),
    "empty manifest": (lambda f: (f / "suite.json").write_text(""), "suite.json is empty or cut"),
    "cut manifest": (lambda f: os.truncate(f / "suite.json", 50), "suite.json is empty or cut off"),
    "no text": (lambda f: (f / "suite.json").write_bytes(b"\xff\xfe{"), "suite.json is empty or c"),
    "a list": (lambda f: (f / "suite.json").write_text("[]"), "suite.json is no manifest"),
    "tokens": (say_in_manifest("tokens_per_step", 5), "suite.json was changed"),
    "parameters": (say_in_manifest("params_total", 5), "suite.json was changed"),
    "fewer files": (say_in_manifest("files", {}), "suite.json was changed"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_suite_is_put_aside_and_trained_anew(
    damage: str, suite: Path, whole: Path
) -> None:
    spoil, why = DAMAGES[damage]
    assert train(suite) == ([], [])
    spoil(suite)
    steps, said = train(suite)
    assert steps == list(range(1, 13)) and len(said) == 1
    assert f"{suite}: {why}" in said[0] and "suite.damaged1" in said[0]
    assert weights(suite) == weights(whole) and train(suite) == ([], [])
    assert (suite.parent / "suite.damaged1").is_dir()
    assert [c.step for c in list_checkpoints(suite)] == [0, 1, 2, 4, 8, 12]


@pytest.mark.parametrize("damage", ["a bit of the weights", "no step"])
def test_a_bit_is_found_that_flipped_before_this_process_began(
    damage: str, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suites, "_compared", {})
    DAMAGES[damage][0](suite)
    assert len(train(suite)[1]) == 1


def test_a_suite_is_read_once_in_a_process(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(suite)
    monkeypatch.setattr(suites, "first_fault", lambda *_: pytest.fail("read again"))
    assert train(suite) == ([], [])


def strip(folder: Path, **changed: object) -> None:
    """Make the manifest one of a version that kept no hashes."""
    content = json.loads((folder / "suite.json").read_text()) | changed
    del content["files"], content["sha256"]
    (folder / "suite.json").write_text(json.dumps(content))


def test_a_suite_without_hashes_is_taken_and_gets_them(suite: Path, whole: Path) -> None:
    strip(suite)
    steps, said = train(suite)
    assert steps == [] and len(said) == 1 and "kept no hashes, and is taken as it is" in said[0]
    assert (suite / "suite.json").read_bytes() == (whole / "suite.json").read_bytes()
    assert train(suite) == ([], [])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"tokens_per_step": 5}, "suite.json has another tokens_per_step"),
        ({"steps": [0, 12]}, "suite.json has another steps"),
        ({"seed": 1}, "suite.json has another seed"),
        ({"training": None}, "suite.json has another training"),
    ],
)
def test_a_suite_without_hashes_that_says_something_else(
    changed: dict[str, object], why: str, suite: Path
) -> None:
    strip(suite, **changed)
    steps, said = train(suite)
    assert len(steps) == 12 and len(said) == 1 and why in said[0]


def test_a_suite_without_hashes_that_is_not_whole(suite: Path) -> None:
    strip(suite)
    (suite / WEIGHTS).unlink()
    steps, said = train(suite)
    assert len(steps) == 12 and len(said) == 1 and "step8" in said[0]


STATES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda f: os.truncate(f / STATE, 1000), "is cut off or damaged"),
    "empty": (lambda f: os.truncate(f / STATE, 0), "is cut off or damaged"),
    "a bit": (lambda f: flip(f / STATE), "is not what was written"),
    "other tensors": (lambda f: shutil.copy(f / WEIGHTS, f / STATE), "is not what was written"),
    "a published checkpoint": (lambda f: flip(f / "step2/model.safetensors"), "step2/model.safet"),
    "a checkpoint that is gone": (lambda f: shutil.rmtree(f / "step0"), "step0/config.json is mi"),
}


@pytest.mark.parametrize("damage", STATES)
def test_a_damaged_state_begins_again(damage: str, tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "suite"
    train(folder, stop=11)
    spoil, why = STATES[damage]
    spoil(folder)
    steps, said = train(folder)
    assert steps == list(range(1, 13)) and len(said) == 1
    assert why in said[0] and said[0].endswith("; training begins again")
    assert weights(folder) == weights(whole)


def test_a_state_that_is_whole_is_gone_on_from(tmp_path: Path, whole: Path) -> None:
    train(tmp_path / "suite", stop=11)
    assert train(tmp_path / "suite") == ([11, 12], [])
    assert weights(tmp_path / "suite") == weights(whole)
    assert json.loads((tmp_path / "suite/suite.json").read_text()) == json.loads(
        (whole / "suite.json").read_text()
    )


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more into a file fails, as it does on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.2])
def test_a_full_disk_is_one_line_and_nothing_half_written(
    share: float, tmp_path: Path, whole: Path
) -> None:
    """Of no file, of half a checkpoint, and of a checkpoint but not of a state."""
    folder = tmp_path / "suite"
    size = int(share * (whole / WEIGHTS).stat().st_size)
    with (
        files_of_at_most(size),
        pytest.raises(UserError, match=r"can't be written \(File too large\)"),
    ):
        train(folder)
    assert not list(folder.glob("*.building")) and not (folder / "suite.json").exists()
    assert {path.name for path in folder.iterdir()} <= {"step0", "step1", "step2", "step4"}
    assert train(folder)[1] == [] and weights(folder) == weights(whole)


TRAINING = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from nano.test_suite import SIZE, RECIPE
from circuitwatch.nano.training import train_suite
def progress(step, n):
    print(step, flush=True)
    if step == int(sys.argv[2]):
        sys.stdin.read()
train_suite(SIZE, RECIPE, seed=0, folder=Path(sys.argv[1]), progress=progress)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_training_that_goes_on(
    number: signal.Signals, tmp_path: Path, whole: Path
) -> None:
    folder = tmp_path / "suite"
    program = TRAINING.format(tests=str(Path(__file__).parents[1]))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder), "7"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "7":
                process.send_signal(number)
                break
        process.wait(60)
    assert process.returncode != 0 and not (folder / "suite.json").exists()
    (folder / "step8.building").mkdir()
    (folder / "state.building").write_bytes(b"half")
    assert train(folder) == (list(range(6, 13)), [])
    assert weights(folder) == weights(whole) and not list(folder.glob("*.building"))


def test_a_damaged_manifest_of_a_folder_of_ones_own(suite: Path) -> None:
    for wrong in ("", "[]", "{}", '{"tokens_per_step": -1}', '{"tokens_per_step": "x"}'):
        (suite / "suite.json").write_text(wrong)
        with pytest.raises(UserError, match=r"suite\.json: says no tokens_per_step"):
            list_checkpoints(suite)
        assert len(list_checkpoints(suite, tokens_per_step=3)) == 6
