"""What a checkpoint's config.json says of its model, and whether it can be so: transformers makes a
model of whatever it is told, without layers or of more than any machine holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from circuitwatch.checkpoints.architectures import architecture_of, refusal
from circuitwatch.checkpoints.architectures.refusing import kind_refused
from circuitwatch.checkpoints.files import weight_files
from circuitwatch.checkpoints.hf_olmo import config_as_transformers, is_hf_olmo
from circuitwatch.checkpoints.kinds import held_instead_in
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported, reading

SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size")
"""Sizes that every language model has, under whatever names its own configuration gives them."""
POSITIONS = "max_position_embeddings"
"""One that those have whose positions are bounded."""
MOST_LAYERS = 1000
"""More than any model has, and not so many that describing them takes long."""


def said_by_config(folder: Path) -> dict[str, Any]:
    """What a checkpoint's config.json holds.

    Raises DamagedWeights where there is none, or it can't be read.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise DamagedWeights(f"{folder}: no such checkpoint folder")
    if not path.is_file():
        if instead := held_instead_in(folder):
            raise DamagedWeights(f"{folder}: {instead}")
        raise DamagedWeights(
            f"{folder}: no config.json in this folder; a Hugging Face checkpoint is needed"
        )
    with reading(path, "can't be read"):
        said = json.loads(path.read_bytes())
    if not isinstance(said, dict):
        raise DamagedWeights(f"{path}: is not a JSON object")
    return said


def read_config(folder: Path) -> Any:
    """The configuration in a checkpoint's folder, as transformers reads it; no code is run.

    Raises DamagedWeights where it can't be read or says what can't be, Unsupported where it is that
    of a model that can't be analysed, with the cause.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    said, path = said_by_config(folder), folder / "config.json"
    is_renamed = is_hf_olmo(said)
    if is_renamed:
        try:
            said = config_as_transformers(said)
        except (DamagedWeights, Unsupported) as error:
            raise type(error)(f"{path}: {error}") from error
    # transformers itself advises to run the code of what it does not know.
    if architecture_of(said) is None and (line := refusal(said)):
        name = str(said.get("model_type"))
        is_other = (
            name in CONFIG_MAPPING and CONFIG_MAPPING[name] not in MODEL_FOR_CAUSAL_LM_MAPPING
        )
        if is_other and not kind_refused(said):
            line = f"model_type={name}: not a language model that predicts the next token"
        raise Unsupported(f"{path}: {line}")
    with reading(path, "can't be read"):
        config = (
            CONFIG_MAPPING[said["model_type"]].from_dict(said)
            if is_renamed
            else AutoConfig.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        )
    if line := refusal(config):
        raise Unsupported(f"{path}: {line}")
    for name in (*SIZES, POSITIONS) if hasattr(config, POSITIONS) else SIZES:
        size = getattr(config, name, None)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise DamagedWeights(f"{path}: {name} is {size!r}; a whole number above 0 is needed")
    if config.num_hidden_layers > MOST_LAYERS:
        raise DamagedWeights(
            f"{path}: num_hidden_layers is {config.num_hidden_layers}; at most {MOST_LAYERS}"
        )
    return config


def require_weights_for(config: Any, folder: Path) -> None:
    """Raise DamagedWeights if the weight files, where there are any, are too small for what the
    configuration says: a model of that size would be made, in memory, before they are found not to
    fit.
    """
    with reading(folder, "can't be read"):
        files = weight_files(folder)
        stored = sum(path.stat().st_size for path in files if path.is_file())
    least = {  # tensors of at least so many numbers are there, and a number has a byte or more
        "vocab_size": config.vocab_size * config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers * config.hidden_size**2,
        "intermediate_size": config.hidden_size * (_inner(config) or 1),
    }
    for name, numbers in least.items():
        if files and numbers > stored:
            raise DamagedWeights(
                f"{folder / 'config.json'}: with {name}={getattr(config, name, None)} and "
                f"hidden_size={config.hidden_size} the weights would be of {numbers} numbers or "
                f"more, their files have {stored} bytes"
            )


def _inner(config: Any) -> int | None:
    size = getattr(config, "intermediate_size", None)
    return size if isinstance(size, int) else None
