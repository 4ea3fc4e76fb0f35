"""Runs that are killed at a random moment and gone on with, by each command that writes for long:
what they leave in the end must be what an undisturbed run leaves, to the last byte.

SIGKILL, SIGTERM and SIGINT in turn; every second run is killed twice. Exempt are what the clock
says (timing.json), and of a summary its figures, of which only the names are compared. The runs are
forked from a process that has imported everything, so that one costs only its work (see forking).
A seed gives the moment as a share of the undisturbed run's time; what is written then can differ.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from benchmarks.chaos.forking import Kill, Run, commanded, forked, import_what
from benchmarks.chaos.outcomes import HANG, TRACEBACK, Tally
from benchmarks.chaos.suite import tiny_suite
from circuitwatch.nano import model
from circuitwatch.record_files import TIMING
from support.growing import arguments

LOST, DOUBLED, DIFFERING = "lost", "doubled", "differing"
WRONG_CODE, LEFTOVER = "wrong exit code", "leftover"
FAILURES = (LOST, DOUBLED, DIFFERING, TRACEBACK, WRONG_CODE, LEFTOVER, HANG)
"""What a killed run must not come to; doubled: a file that an undisturbed run doesn't write."""
SAME = "as undisturbed"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
STEPS = (0, 64, 128, 300)
UNFINISHED = (".partial", ".building", ".lock", ".soft")
ODD_WORDS = ("Traceback", "Exception ignored", "Warning:", "Fatal Python")


@dataclass(frozen=True)
class Command:
    """What is killed. below: the folder in which it writes; before: what is there when it begins;
    files, seconds: of an undisturbed run.
    """

    name: str
    work: Callable[[], None]
    below: Path
    before: Path | None
    files: dict[str, bytes]
    seconds: float


def run(n: int, first: int) -> Tally:
    """So many cases, each from its own seed."""
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    tally = Tally("kills", FAILURES)
    with tempfile.TemporaryDirectory() as temporary:
        commands = _commands(Path(temporary))
        for seed in range(first, first + n):
            recipe, faults = _killed(seed, commands[seed % len(commands)], Path(temporary), tally)
            tally.add(seed, recipe, faults[0][0] if faults else SAME, _in_words(faults))
    return tally


def _commands(home: Path) -> list[Command]:
    """Every command, run undisturbed; watch, which writes most, comes twice in a round."""
    out, cache = home / "out", home / "cache"
    suite = home / "suite"
    _sound(forked(lambda: tiny_suite(home / "trained", suite, STEPS), home / "said"))
    watch = ["sweep=s", "schedule=all", *arguments(suite, out)]
    watching = _undisturbed("watch", commanded(*watch), out, None, home)
    watched = Path(shutil.copytree(out, home / "watched"))
    transferring = _undisturbed(
        "transfer", commanded("transfer", "sweep=s", f"out={out}"), out, watched, home
    )
    summarising = _undisturbed(
        "summarize", commanded("summarize", "sweep=s", f"out={out}"), out, watched, home
    )
    training_ = _undisturbed("train", lambda: _train(cache), cache, None, home)
    return [watching, training_, watching, transferring, summarising]


def _train(cache: Path) -> None:
    """Train nano-100k for 300 steps instead of 2000."""
    short = model.NanoSize("nano-100k", n_layers=2, d_model=48, n_heads=3, n_steps=300)
    with patch.dict(model.SIZES, {short.name: short}):
        commanded("train", "model=nano-100k", f"cache={cache}")()


def _undisturbed(
    name: str, work: Callable[[], None], below: Path, before: Path | None, home: Path
) -> Command:
    """Run it once to know what is to be imported, then for its files and its shortest time."""
    names = home / "modules"

    def noting() -> None:
        work()
        names.write_text("\n".join(sys.modules), encoding="utf-8")

    found, seconds = [], []
    for each in (noting, work, work):
        _restore(below, before)
        seconds.append(_sound(forked(each, home / "said")).seconds)
        found.append(_files(below))
        import_what(names.read_text(encoding="utf-8").split())
    differing = sorted(k for k in found[0].keys() | found[1] if found[0].get(k) != found[1].get(k))
    if differing:
        raise AssertionError(f"{name}: two undisturbed runs differ in {differing[:5]}")
    return Command(name, work, below, before, found[1], min(seconds))


def _killed(
    seed: int, command: Command, home: Path, tally: Tally
) -> tuple[str, list[tuple[str, str]]]:
    """Kill a command once or twice, run it to its end, and compare: recipe, and what is wrong."""
    rng, how = random.Random(seed), SIGNALS[seed % len(SIGNALS)]
    kills = [Kill(how, rng.uniform(0, command.seconds)) for _ in range(1 + seed % 2)]
    times = " and ".join(f"{kill.after:.3f}" for kill in kills)
    recipe = f"{command.name}, {how.name} after {times} of {command.seconds:.2f} s"
    _restore(command.below, command.before)
    faults: list[tuple[str, str]] = []
    for kill in kills:
        done = forked(command.work, home / "said", kill)
        faults += _of_run(done, {0, CODES[how]})
        tally.also[f"{command.name}: ended by {how.name}" if done.code else "too late"] += 1
    faults += _of_run(forked(command.work, home / "said"), {0})
    return recipe, [*faults, *_of_files(command)]


def _of_run(done: Run, codes: set[int]) -> list[tuple[str, str]]:
    last = done.err.strip().splitlines()[-3:]
    faults = []
    if done.hung:
        faults.append((HANG, "the run didn't end"))
    if any(word in done.err for word in ODD_WORDS):
        faults.append((TRACEBACK, " | ".join(last)))
    if done.code not in codes:
        faults.append((WRONG_CODE, f"{done.code}, not {sorted(codes)}: {' | '.join(last)}"))
    if done.code in (130, 143) and done.err.count("circuitwatch: interrupted; ") != 1:
        faults.append((TRACEBACK, f"not one line: {done.err[-300:]!r}"))
    return faults


def _of_files(command: Command) -> list[tuple[str, str]]:
    found = _files(command.below)
    unfinished = {
        path.relative_to(command.below).as_posix()
        for path in command.below.rglob("*")
        if any(word in path.name for word in UNFINISHED)
    }
    kinds = (
        (LOST, command.files.keys() - found.keys()),
        (DOUBLED, found.keys() - command.files.keys() - unfinished),
        (DIFFERING, {k for k in found.keys() & command.files if found[k] != command.files[k]}),
        (LEFTOVER, unfinished),
    )
    return [(what, ", ".join(sorted(names)[:5])) for what, names in kinds if names]


def _in_words(faults: list[tuple[str, str]]) -> str:
    return "; ".join(f"{what}: {detail}" for what, detail in faults)


def _files(below: Path) -> dict[str, bytes]:
    """Path → content of every file; of figures only that they are there."""
    figures = (".png", ".pdf", ".svg")
    return {
        path.relative_to(below).as_posix(): b"" if path.suffix in figures else path.read_bytes()
        for path in below.rglob("*")
        if path.is_file() and path.name != TIMING
    }


def _restore(below: Path, before: Path | None) -> None:
    shutil.rmtree(below, ignore_errors=True)
    if before is not None:
        shutil.copytree(before, below)


def _sound(done: Run) -> Run:
    if done.code:
        raise AssertionError(f"an undisturbed run ended with {done.code}: {done.err[-2000:]}")
    return done
