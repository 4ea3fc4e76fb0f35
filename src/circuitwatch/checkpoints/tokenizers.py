"""The tokenizer in a checkpoint's folder, or the reason why it can't be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch.checkpoints.shape import read_config
from circuitwatch.checkpoints.unusable import DamagedWeights, reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

JSON_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
    "added_tokens.json",
)
UNHEARD_OF = "Zq☃ 9 ﬀ"
"""Words that no vocabulary has: a tokenizer must have some token for them."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a checkpoint's folder.

    Raises Unusable for one that can't be read, or has no tokens for words that it does not know.
    """
    from transformers import AutoTokenizer

    read_config(folder)
    for name in JSON_FILES:
        _require_json(folder / name)
    with reading(folder, "no tokenizer can be read from this folder"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    with reading(folder, "its tokenizer has no token for words that it does not know"):
        tokenizer.encode(UNHEARD_OF, add_special_tokens=False, verbose=False)
    return tokenizer


def _require_json(path: Path) -> None:
    """Raise DamagedWeights with the file's name if it is there and holds no JSON object."""
    if not path.exists() and not path.is_symlink():
        return
    with reading(path, "is not a whole JSON file"):
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise DamagedWeights(f"{path}: is not a JSON object")
