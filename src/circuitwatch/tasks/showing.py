"""Prompts as a person wants to see them first: token by token, the corrupted one below the clean
one, with what differs, where the named words stand, and the answers.

A space is shown as ·, a line's end as ↵; tokens that differ stand in [brackets].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich.box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from circuitwatch.catalogue import METRICS
from circuitwatch.tasks.prompts import PromptSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_ANSWERS = 8
MARGIN = 24
"""Columns of the screen that the tokens do not have."""
VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥"})
Column = tuple[str, str, str]


def prompts_table(
    prompts: PromptSet, tokenizer: PreTrainedTokenizerBase, *, n: int, width: int
) -> Group:
    """The first n pairs of prompts, with what they are and what is to be known of them; width: of
    the screen, in characters.
    """
    total = len(prompts.lengths)
    variant = f", variant {prompts.variant}" if prompts.variant else ""
    title = (
        f"{prompts.task}{variant}: {min(n, total)} of {total} pairs of prompts, measured by the "
        f"{METRICS[prompts.metric].words}"
    )
    table = Table(box=rich.box.SIMPLE_HEAD, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    for i in range(min(n, total)):
        for part, columns in enumerate(_parts(_columns(prompts, i, tokenizer), width - MARGIN)):
            first = str(i + 1) if part == 0 else ""
            table.add_row(first, "clean", _line(columns, 0))
            table.add_row("", "corrupted", _line(columns, 1))
            if any(names for _, _, names in columns):
                table.add_row("", "positions", _line(columns, 2, style="dim"))
        if prompts.groups:
            table.add_row("", "group", prompts.groups[i])
        for words, sign in (("right", 1), ("wrong", -1)):
            table.add_row("", words, _answers(prompts, i, tokenizer, sign))
        table.add_section()
    return Group(Text(title, style="bold"), table, *map(Text, [_counts(prompts), *prompts.notes]))


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """A token as it is shown."""
    text = str(tokenizer.decode([token]))
    piece = str(tokenizer.convert_ids_to_tokens(token))
    if piece.startswith("▁") and not text.startswith(" "):
        text = f" {text}"  # which SentencePiece's decoding leaves out
    return text.translate(VISIBLE)


def _columns(prompts: PromptSet, i: int, tokenizer: PreTrainedTokenizerBase) -> list[Column]:
    """Of each token of a prompt: clean, corrupted, and the names of its position."""
    length = int(prompts.lengths[i])
    names: dict[int, list[str]] = {}
    for name, places in prompts.positions.items():
        names.setdefault(int(places[i]), []).append(name)
    columns = []
    for place in range(length):
        tokens = [int(prompts.clean[i, place]), int(prompts.corrupted[i, place])]
        clean, corrupted = (token_text(tokenizer, token) for token in tokens)
        if tokens[0] != tokens[1]:
            clean, corrupted = f"[{clean}]", f"[{corrupted}]"
        columns.append((clean, corrupted, " ".join(names.get(place, []))))
    return columns


def _parts(columns: list[Column], width: int) -> Iterator[list[Column]]:
    """Columns in lines that fit the width."""
    part: list[Column] = []
    used = 0
    for column in columns:
        needed = max(map(cell_len, column)) + 1
        if part and used + needed > width:
            yield part
            part, used = [], 0
        part.append(column)
        used += needed
    yield part


def _line(columns: list[Column], row: int, style: str = "") -> Text:
    line = Text(style=style, no_wrap=True)
    for column in columns:
        differs = row < 2 and column[0] != column[1]
        line.append(column[row], style="bold yellow" if differs else "")
        line.append(" " * (max(map(cell_len, column)) - cell_len(column[row]) + 1))
    return line


def _answers(prompts: PromptSet, i: int, tokenizer: PreTrainedTokenizerBase, sign: int) -> Text:
    of_prompt = zip(prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True)
    tokens = [token for token, its_sign in of_prompt if its_sign * sign > 0]
    shown = "  ".join(token_text(tokenizer, token) for token in tokens[:MOST_ANSWERS])
    more = f"  … ({len(tokens)} tokens)" if len(tokens) > MOST_ANSWERS else ""
    return Text(shown + more if tokens else "none", style="green" if sign > 0 else "red")


def _counts(prompts: PromptSet) -> str:
    counts = ", ".join(f"{count} {words}" for words, count in prompts.lexicon_counts.items())
    return f"with this tokenizer: {counts}"
