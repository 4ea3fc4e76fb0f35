"""The check that greater-than is learnt: hand-built logits of known slope, and what the command
says and ends with.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from circuitwatch.behaviour import measure
from circuitwatch.nano import check as module
from circuitwatch.nano.check import Learnt, check, expected_years, main, slope_on_start, start_years
from circuitwatch.nano.model import SIZES, NanoSize
from circuitwatch.nano.training import ensure_trained
from circuitwatch.nano.vocabulary import build_tokenizer
from circuitwatch.tasks import build_prompts

TOKENIZER = build_tokenizer()
YEAR_TOKENS = torch.tensor(TOKENIZER.convert_tokens_to_ids([f"{yy:02}" for yy in range(100)]))
PROMPTS = build_prompts("greater_than", TOKENIZER, n_prompts=128, seed=0)
STARTS = start_years(PROMPTS, YEAR_TOKENS)
CORRUPTED_STARTS = torch.ones_like(STARTS)


def taste(n: int) -> Tensor:
    """Logits [prompt, d_vocab] of a model that likes late years whatever it reads: the later the
    better.
    """
    logits = torch.zeros(n, len(TOKENIZER))
    logits[:, YEAR_TOKENS] = torch.arange(100.0) / 10
    return logits


def after(starts: Tensor, years: int) -> Tensor:
    """Logits of a model that says "`years` after the start", and 99 where that is in the next
    century.
    """
    logits = torch.zeros(len(starts), len(TOKENIZER))
    logits[torch.arange(len(starts)), YEAR_TOKENS[(starts + years).clamp(max=99)]] = 50.0
    return logits


def learnt(clean: Tensor, corrupted: Tensor) -> Learnt:
    behaviour = measure(clean, corrupted, PROMPTS, n_bootstrap=200, seed=0)
    slope = slope_on_start(clean, STARTS, YEAR_TOKENS)
    return Learnt("made by hand", slope, {"greater_than": behaviour}, induction=0.9)


def test_start_years_are_those_of_the_text() -> None:
    written = [int(text.split(" the year ")[1][2:4]) for text in PROMPTS.clean_text]
    assert STARTS.tolist() == written and len(set(written)) > 40


def test_the_expected_year_is_the_mean_over_the_two_digit_tokens_alone() -> None:
    logits = torch.full((2, len(TOKENIZER)), 7.0)  # every other token is likelier than any year
    logits[:, YEAR_TOKENS] = -20.0
    logits[0, YEAR_TOKENS[30]] = logits[0, YEAR_TOKENS[50]] = 3.0
    logits[1, YEAR_TOKENS[10]], logits[1, YEAR_TOKENS[90]] = 3.0 + torch.tensor(3.0).log(), 3.0
    assert expected_years(logits, YEAR_TOKENS).tolist() == pytest.approx([40, 30], abs=1e-6)


def test_slopes_of_models_made_by_hand() -> None:
    """A fixed taste has slope 0, start + 5 slope 1, the mirrored model −1; half-hearted ones what
    lies between.
    """
    starts = torch.arange(2, 95)
    assert slope_on_start(taste(len(starts)), starts, YEAR_TOKENS) == pytest.approx(0, abs=1e-9)
    assert slope_on_start(after(starts, 5), starts, YEAR_TOKENS) == pytest.approx(1, abs=1e-6)
    assert slope_on_start(after(99 - starts, 0), starts, YEAR_TOKENS) == pytest.approx(-1, abs=1e-6)
    # As likely the year of the start as 50: expected (start + 50) / 2. The slope is that of the
    # mean, not of the likeliest year.
    both = torch.maximum(after(starts, 0), after(torch.full_like(starts, 50), 0))
    assert slope_on_start(both[starts != 50], starts[starts != 50], YEAR_TOKENS) == pytest.approx(
        0.5, abs=1e-6
    )


def test_a_taste_for_late_years_is_not_learnt_and_start_plus_five_is() -> None:
    fixed = learnt(taste(128), taste(128))
    assert fixed.behaviour["greater_than"].low > 0.3  # what used to count as greater-than
    assert len(fixed.faults) == 2
    assert re.match(
        r"the expected end year moves by -?0\.00 a start year, below 0\.5$", fixed.faults[0]
    )
    assert fixed.faults[1] == "its behaviour is not above chance (effect)"
    assert learnt(after(STARTS, 5), after(CORRUPTED_STARTS, 5)).faults == []
    # Each requirement fails alone: the right slope below the start year, and years above it
    # whatever they are.
    assert len(learnt(after(STARTS, -1), after(CORRUPTED_STARTS, 5)).faults) == 1
    assert (
        len(learnt(after(torch.full_like(STARTS, 94), 5), after(CORRUPTED_STARTS, 5)).faults) == 1
    )


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that has hardly been trained fails with exit code 1 and one line; one that says start
    + 5 passes.
    """
    monkeypatch.setitem(
        SIZES, "tiny", NanoSize("tiny", n_layers=1, d_model=32, n_heads=2, n_steps=12)
    )
    arguments = ["model=tiny", "seed=3", f"cache={tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    shown = capsys.readouterr()
    last = [
        line for line in shown.err.splitlines() if line and not line.startswith("training tiny")
    ]
    assert ended.value.code == 1 and len(last) == 1
    assert last[0].startswith(
        "circuitwatch: error: greater-than is not learnt (tiny, seed 3: the expected end year"
    )
    measured = check(ensure_trained("tiny", seed=3, cache=tmp_path), "tiny, seed 3")
    assert shown.out == f"{measured}\n" and set(measured.behaviour) == set(module.TASKS)
    assert 0 <= measured.induction < 0.5 and abs(measured.slope) < 0.1
    monkeypatch.setattr(
        module, "check", lambda *_: learnt(after(STARTS, 5), after(CORRUPTED_STARTS, 5))
    )
    main(arguments)
    assert "slope 1.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to check: the command is python -m circuitwatch.nano.check model="),
        (["seed=0"], "seed=0: the command is"),
        (["model=nano-200k", "sed=0"], "sed=0: the command is"),
        (["model=nano-200k", "model=nano-400k"], "the command is"),
        (["model=nano-200k", "seed=first"], "seed=first: give whole numbers"),
        (["model=nano-200k", "cache=/proc/none"], "cache=/proc/none: can't be used"),
        (["model=nano-7b"], "known sizes: nano-100k"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err
