"""Tokenizers that tests build prompts with: the nano suite's and Pythia's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from circuitwatch.nano.vocabulary import build_tokenizer

PUBLISHED = Path(__file__).parents[3] / "shared" / "data"
"""Published data to test against; tests that need it are skipped where it is absent."""


@cache
def tokenizer_named(name: str) -> PreTrainedTokenizerBase:
    """`nano`, or `pythia` if its file is there (else the test is skipped)."""
    if name == "nano":
        return build_tokenizer()
    path = PUBLISHED / "gpt_neox_tokenizer.json"
    if not path.exists():
        pytest.skip("Pythia's tokenizer is not here")
    special = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(path)), **special)
