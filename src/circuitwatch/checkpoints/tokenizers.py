"""The tokenizer of a checkpoint, in its folder, in the one above, or where the user says that it
is; or the reason why it can't be used.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from circuitwatch.checkpoints.completeness import has_tokenizer
from circuitwatch.checkpoints.hf_olmo import is_hf_olmo
from circuitwatch.checkpoints.shape import read_config, said_by_config
from circuitwatch.checkpoints.unusable import DamagedWeights, reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

JSON_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json"),
    "added_tokens.json",
)
OF_MODEL_TYPE = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files for which the model's type tells how they are meant. SentencePiece's say it themselves."""
UNHEARD_OF = "Zq☃ 9 ﬀ"
"""Words that no vocabulary has: a tokenizer must have some token for them."""
OF_CHAT = re.compile(r"im_start|start_of_turn|start_header|\bINST\b|user|assistant|system|human")
"""What tokens are called that begin a turn of a conversation."""


def load_tokenizer(folder: Path, given: Path | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a checkpoint's folder, or in the one above: a run often saves one for
    all of its checkpoints.

    Args:
        folder: of the checkpoint.
        given: another folder, in which it is instead.

    Raises:
        Unusable: there is none, it can't be read, or it has no tokens for words that it does not
            know.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    config = read_config(folder)
    places = [folder, folder.parent] if given is None else [given]
    place = next((place for place in places if has_tokenizer(place)), None)
    if place is None:
        where = " or above it" if given is None else ""
        raise DamagedWeights(
            f"{places[0]}: no tokenizer in this folder{where}; say where it is with "
            f"model.tokenizer=<folder, or org/name on the hub>"
        )
    for name in JSON_FILES:
        _require_json(place / name)
    with reading(place, "no tokenizer can be read from this folder"):
        tokenizer: PreTrainedTokenizerBase
        is_plain = is_hf_olmo(said_by_config(folder)) or not any(
            (place / name).is_file() for name in OF_MODEL_TYPE
        )
        if is_plain:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(str(place), local_files_only=True)
        else:
            tokenizer = AutoTokenizer.from_pretrained(
                str(place), config=config, local_files_only=True, trust_remote_code=False
            )
    with reading(place, "its tokenizer has no token for words that it does not know"):
        tokenizer.encode(UNHEARD_OF, add_special_tokens=False, verbose=False)
    _require_bos(place, tokenizer, config.vocab_size)
    return tokenizer


def bos_question(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What to ask oneself of the beginning-of-text token, where it looks like one that begins a
    turn of a conversation: plain text does not begin so in a training.
    """
    bos = tokenizer.bos_token
    if bos is None or not OF_CHAT.search(str(bos)):
        return None
    return (
        f"beginning of text: {bos} looks like the beginning of a turn in a chat; if the training "
        f"did not put it before plain text, say task.prepend_bos=false"
    )


def _require_bos(place: Path, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    """Raise DamagedWeights if the model has no embedding for the beginning-of-text token."""
    bos = tokenizer.bos_token_id
    if bos is not None and bos >= vocab_size:
        raise DamagedWeights(
            f"{place}: its beginning-of-text token {tokenizer.bos_token!r} has id {bos}, the model "
            f"only embeddings of {vocab_size} tokens"
        )


def _require_json(path: Path) -> None:
    """Raise DamagedWeights with the file's name if it is there and holds no JSON object."""
    if not path.exists() and not path.is_symlink():
        return
    with reading(path, "is not a whole JSON file"):
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise DamagedWeights(f"{path}: is not a JSON object")
