"""Prompts as they are shown."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.showing import prompts_table
from support.tokenizers import tokenizer_named


def shown(task: str, tokenizer: str, *, width: int = 200, n: int = 1, **changed: object) -> str:
    words = tokenizer_named(tokenizer)
    prompts = replace(build_prompts(task, words, n_prompts=4, seed=0), **changed)  # type: ignore[arg-type]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(prompts_table(prompts, words, n=n, width=width))
    return console.export_text()


def test_what_differs_stands_below_one_another() -> None:
    lines = shown("ioi", "nano").splitlines()
    clean, corrupted, positions = (
        next(line for line in lines if f" {what} " in line)
        for what in ("clean", "corrupted", "positions")
    )
    assert clean.count("[") == corrupted.count("[") == 1
    at = clean.index("[")
    assert corrupted.index("[") == at == positions.index("s2")
    name, other = (line[at + 1 : line.index("]")] for line in (clean, corrupted))
    assert clean.index(other) == positions.index(" io ") + 1 and name != other
    right, wrong = (
        next(line for line in lines if f" {what} " in line) for what in ("right", "wrong")
    )
    assert right.split()[-1] == other and wrong.split()[-1] == name
    assert "logit difference" in lines[0] and "1 of 4 pairs" in lines[0]


def test_a_long_prompt_is_broken_where_tokens_end() -> None:
    narrow, wide = (shown("docstring", "words", width=width) for width in (90, 1000))
    assert max(map(len, narrow.splitlines())) <= 90
    tokens = [
        [
            token
            for line in text.splitlines()
            if " clean " in line
            for token in line.split("clean")[1].split()
        ]
        for text in (narrow, wide)
    ]
    assert tokens[0] == tokens[1] and "↵" in "".join(tokens[0])


def test_many_answers_groups_variants_and_notes() -> None:
    text = shown("greater_than", "digits", groups=("a", "b", "c", "d"), notes=("2 rows left out",))
    assert "variant tens" in text and "2 rows left out" in text and "group" in text
    assert "100 tokens" not in text
    many = shown("greater_than", "nano")
    assert many.count(" tokens)") >= 1
