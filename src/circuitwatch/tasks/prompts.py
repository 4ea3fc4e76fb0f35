"""Prompts as tensors: filling patterns, the single-token checks, and finding where the named words
stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from circuitwatch.catalogue import MetricKind
from circuitwatch.encoding import ids_behind
from circuitwatch.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Draft:
    """One pair of prompts as text: the words to find (name → characters in the clean text), and the
    right and wrong answers as token ids.
    """

    clean: str
    corrupted: str
    marks: Mapping[str, tuple[int, int]]
    right: Sequence[int]
    wrong: Sequence[int]


@dataclass(frozen=True)
class PromptSet:
    """A task's prompts for one tokenizer.

    clean, corrupted: token ids [prompt, pos], right-padded (attention is causal, so padding changes
    nothing before it); a prompt and its counterpart have the same length, lengths [prompt], and the
    metric is read at its last position. answer_ids [prompt, answer] and answer_signs [prompt,
    answer]: above 0 right, below 0 wrong, 0 padding; of size 1, in `logit_diff` of 1 over the
    number of right (or wrong) answers, since logits have no zero of their own. The metric is
    Σ sign · logit (`logit_diff`), Σ sign · probability (`prob_diff`), or the log of the right
    answers' probability (`log_prob`). positions: name → [prompt], where the named word stands.
    lexicon_counts: how many words, or rows of a file, this tokenizer could use.

    variant: which of several ways of making a task's prompts this was. notes: what a user should
    know of the prompts, such as rows that were left out. groups: of each prompt, or empty. bos: the
    token that every prompt begins with, or empty where none was put before them.
    """

    task: str
    metric: MetricKind
    clean_text: tuple[str, ...]
    corrupted_text: tuple[str, ...]
    clean: Tensor
    corrupted: Tensor
    lengths: Tensor
    answer_ids: Tensor
    answer_signs: Tensor
    positions: dict[str, Tensor]
    lexicon_counts: dict[str, int]
    variant: str = ""
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    bos: str = ""


def fill(pattern: str, words: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """A pattern's text with its {fields} filled, and the characters that each field came to stand
    at.
    """
    text, spans = "", {}
    for literal, field, _, _ in Formatter().parse(pattern):
        text += literal
        if field is not None:
            spans[field] = (len(text), len(text) + len(words[field]))
            text += words[field]
    return text, spans


def single_tokens(tokenizer: PreTrainedTokenizerBase, words: Iterable[str]) -> dict[str, int]:
    """The words that, behind a space, are one known token of the tokenizer, with its id."""
    found = {}
    for word in words:
        ids = ids_behind(tokenizer, f" {word}")
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            found[word] = ids[0]
    return found


def require(count: int, needed: int, total: int, what: str, task: str) -> None:
    """Raise UserError unless `needed` words of a kind are usable."""
    if count < needed:
        raise UserError(
            f"task={task}: only {count} of {total} {what} are single tokens in this model's "
            f"tokenizer; at least {needed} are needed"
        )


def assemble(
    task: str,
    metric: MetricKind,
    drafts: Sequence[Draft],
    tokenizer: PreTrainedTokenizerBase,
    *,
    prepend_bos: bool,
    lexicon_counts: dict[str, int],
    variant: str = "",
    notes: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> PromptSet:
    """Encode drafts; the rest is what a `PromptSet` says beside.

    Raises UserError where the tokenizer lacks a word of a prompt, or gives a prompt and its
    counterpart different lengths.
    """
    import torch  # here, as the catalogue is read without it

    bos = [tokenizer.bos_token_id] if prepend_bos and tokenizer.bos_token_id is not None else []
    clean_rows, corrupted_rows, places = [], [], []
    for draft in drafts:
        encoded = tokenizer(
            draft.clean, add_special_tokens=False, verbose=False, return_offsets_mapping=True
        )
        clean, corrupted = (
            encoded["input_ids"],
            tokenizer(draft.corrupted, add_special_tokens=False, verbose=False)["input_ids"],
        )
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in clean + corrupted:
            raise UserError(
                f"task={task}: this model's tokenizer does not know every word of {draft.clean!r}"
            )
        if len(clean) != len(corrupted):
            raise UserError(
                f"task={task}: {draft.clean!r} and {draft.corrupted!r} differ in length with "
                f"this model's tokenizer"
            )
        last_characters = {name: end - 1 for name, (_, end) in draft.marks.items()}
        spans = encoded["offset_mapping"]
        place = {
            name: len(bos)
            + next(i for i, (start, end) in enumerate(spans) if start <= character < end)
            for name, character in last_characters.items()
        }
        clean_rows.append(bos + clean)
        corrupted_rows.append(bos + corrupted)
        places.append(place | {"end": len(bos) + len(clean) - 1})
    return PromptSet(
        task=task,
        metric=metric,
        clean_text=tuple(draft.clean for draft in drafts),
        corrupted_text=tuple(draft.corrupted for draft in drafts),
        clean=_padded(clean_rows),
        corrupted=_padded(corrupted_rows),
        lengths=torch.tensor([len(row) for row in clean_rows]),
        answer_ids=_padded([[*draft.right, *draft.wrong] for draft in drafts]),
        answer_signs=_padded([_signs(draft, metric) for draft in drafts]),
        positions={name: torch.tensor([place[name] for place in places]) for name in places[0]},
        lexicon_counts=lexicon_counts,
        variant=variant,
        notes=tuple(notes),
        groups=tuple(groups),
        bos=str(tokenizer.bos_token) if bos else "",
    )


def _signs(draft: Draft, metric: MetricKind) -> list[float]:
    """The answers' signs, the right ones first."""
    n_right, n_wrong = len(draft.right), len(draft.wrong)
    if metric == "logit_diff":
        return [1.0 / n_right] * n_right + [-1.0 / max(n_wrong, 1)] * n_wrong
    return [1.0] * n_right + [-1.0] * n_wrong


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """Rows of unequal lengths as one tensor, filled up with 0 on the right."""
    import torch

    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
