"""Every size has bounds at both ends, and what is beyond them is refused in one line that says what
is allowed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import circuitwatch as cw
from circuitwatch import limits, results
from circuitwatch.callback import CircuitwatchCallback
from circuitwatch.checkpoints.suites import parse_steps
from circuitwatch.cli import main
from circuitwatch.config import Config, ModelConfig, TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.live.due import Every
from circuitwatch.options import check_options, options_of, value_of
from circuitwatch.summary import writing
from circuitwatch.transfer import transfer

CONFIG = Config(model=ModelConfig(name="m"), task=TaskConfig(name="t"))
OPTIONS = dict(options_of(Config))
ABSURD = ("9" * 10_000, *(f"{'9' * 400}{unit}" for unit in ("", "TiB", "d", "tokens", "T")))
"""What is beyond any size, in all the ways that sizes are written."""


def type_of(key: str) -> Any:
    """The declared type of an option."""
    *parts, name = key.split(".")
    owner = type(value_of(CONFIG, ".".join(parts))) if parts else Config
    return get_type_hints(owner)[name]


def is_a_number(declared: Any) -> bool:
    """Whether a type is of numbers, or holds some."""
    return declared in (int, float, Any) or any(is_a_number(one) for one in get_args(declared))


NUMBERS = [key for key in OPTIONS if is_a_number(type_of(key))]
TEXTS = [key for key in {*OPTIONS} - {*NUMBERS} if type_of(key) is not bool]


def test_every_option_is_seen() -> None:
    """None is of a kind that is not known here: a number, a text, yes or no."""
    assert all(str in (type_of(key), *get_args(type_of(key))) for key in TEXTS)
    assert len(NUMBERS) > 20 and len(TEXTS) > 20


def wrong_at(key: str, end: int) -> Any:
    """A value of a numeric option that is far below, or above."""
    far = end * 10**20
    declared = type_of(key)
    if declared == dict[str, float]:
        return {"induction": float(far)}
    return [far] if any(list[int] == one for one in (declared, *get_args(declared))) else far


@pytest.mark.parametrize("end", [-1, 1])
@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_has_bounds_at_both_ends(key: str, end: int) -> None:
    with pytest.raises(UserError, match=key) as error:
        OPTIONS[key].require(wrong_at(key, end), key)
    assert "at most" in str(error.value) or "choose one of" in str(error.value)


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_text_has_a_greatest_length(key: str) -> None:
    """And one that is a size or a time, a greatest value."""
    for absurd in ABSURD if OPTIONS[key].check else ABSURD[:1]:
        with pytest.raises(UserError, match=key) as error:
            OPTIONS[key].require(absurd, key) or pytest.fail(absurd)
        assert len(str(error.value)) < 600
    with pytest.raises(UserError):
        OPTIONS[key].require("x" * 10_000, key)


def test_the_bounds_themselves_are_taken() -> None:
    for key, spec in OPTIONS.items():
        for bound in (spec.least, spec.most):
            if bound is not None:
                spec.require([bound] if "list" in str(type_of(key)) else bound, key)
    check_options(CONFIG)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("task.n_prompts=100000000", "must be at least 2, at most 10000"),
        ("threads=100000", "must be at least 1, at most 1024"),
        ("seed=100000000000000000000", "must be at least 0, at most 4294967295"),
        ("n_bootstrap=1000000000", "must be at least 10, at most 10000"),
        ("schedule=steps schedule.steps=[10000000000]", "must be at least 0, at most 1000000000"),
        ("circuit.memory=99999999999TiB", "must be at least 1 byte, at most 1048576TiB"),
    ],
)
def test_the_command_says_what_is_allowed(
    given: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["model=nano-100k", "task=ioi", "tracking=off", *given.split()])
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []


FAR = 10**20
CALLS: dict[str, Callable[[], object]] = {
    "n_prompts": lambda: cw.prompts("ioi", None, n_prompts=FAR),  # type: ignore[arg-type]
    "seed": lambda: cw.prompts("ioi", None, seed=FAR),  # type: ignore[arg-type]
    "n_bootstrap": lambda: cw.measure(None, None, n_bootstrap=FAR),  # type: ignore[arg-type]
    "batch_size": lambda: cw.edge_scores(None, None, batch_size=FAR),  # type: ignore[arg-type]
    "ig_steps": lambda: cw.find_circuit(None, None, ig_steps=FAR),  # type: ignore[arg-type]
    "checkpoints": lambda: transfer(Path("none"), checkpoints=FAR),
    "tokens_per_step": lambda: CircuitwatchCallback(["ioi"], tokens_per_step=FAR),
    "every": lambda: Every(FAR),
    "circuits": lambda: cw.Watcher(["ioi"], model_name="m", tokenizer=None, circuits=FAR),  # type: ignore[arg-type]
    "task.n_prompts": lambda: cw.Watcher(["ioi"], model_name="m", tokenizer=None, n_prompts=FAR),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_from_python_have_the_same_bounds(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}=1000"):
        CALLS[name]()


@pytest.mark.parametrize("call", [results.open, writing.summarize, writing.summarize_sources])
def test_summaries_have_bounds_of_resamples(call: Any) -> None:
    rest = [Path("none")] * (len(inspect.signature(call).parameters) > 0)
    if call is writing.summarize_sources:
        rest = [Path("none"), ()]  # type: ignore[list-item]
    for wrong in (FAR, -1, 2.5, True):
        with pytest.raises(UserError, match=r"^n_bootstrap=.*at least 0, at most 10000$"):
            call(*rest, n_bootstrap=wrong)


@pytest.mark.parametrize(
    "steps", [["0..100000000000"], ["0..1000000000"], ["1..10 by 0"], [FAR], ["9" * 10_000]]
)
def test_steps_of_a_suite(steps: list[Any]) -> None:
    with pytest.raises(UserError, match=r"^file: steps: ") as error:
        parse_steps(steps, "file")
    assert len(str(error.value)) < 200


def test_numbers_that_python_writes_no_more() -> None:
    with pytest.raises(UserError, match=r"^every=a number of thousands of digits: give"):
        Every(10**5000)


def test_a_long_value_is_cut_in_a_message() -> None:
    assert limits.shown("x" * 60) == "x" * 60
    assert limits.shown("x" * 61) == "x" * 60 + "… (61 characters)"
    assert limits.shown(10**5000) == "a number of thousands of digits"
