"""How a tokenizer writes words that stand behind others.

SentencePiece begins every text with a space of its own (Llama 2's normaliser puts "▁" before it),
so a word with its space, encoded by itself, has one too many and falls into pieces that it is not
in inside a sentence. So words are encoded behind another text, and that text's tokens taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEFORE = "a"
"""Stands before a text that is encoded as the continuation of another; all tokenizers know it."""


def ids_behind(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text's tokens where it stands behind other text.

    Args:
        tokenizer: of the model.
        text: with the space that separates it from what stands before it.

    Returns:
        The ids, without special tokens. Of a tokenizer that joins the text with what stands before
        it they are those of the text by itself.
    """

    def ids_of(part: str) -> list[int]:
        return list(tokenizer.encode(part, add_special_tokens=False, verbose=False))

    before, whole = ids_of(BEFORE), ids_of(BEFORE + text)
    n = len(before)
    return whole[n:] if whole[:n] == before and len(whole) > n else ids_of(text)
