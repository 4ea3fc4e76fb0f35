"""A checkpoint in TransformerLens, for hooks and whatever else a person wants to look at that is
not watched here: the same weights by the same checks, as a `TransformerBridge`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from circuitwatch.analysis import torch_device
from circuitwatch.checkpoints.loading import hugging_face_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.checkpoints.unusable import reading

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def load_bridge(folder: str | Path, *, device: str = "auto") -> TransformerBridge:
    """Load a checkpoint into TransformerLens, with its raw weights.

    A circuit's nodes are there under TransformerLens' names: `a3.h5` is head 5 of
    `blocks.3.attn.hook_z`, `m3` is `blocks.3.hook_mlp_out`.

    Args:
        folder: with config.json, weights and a tokenizer, as transformers saves them.
        device: as PyTorch names it; auto: a GPU if there is one.

    Returns:
        The bridge, in float32.

    Raises:
        UserError: the folder lacks a file, weights are missing or damaged, or TransformerLens can't
            read the architecture.
    """
    path = Path(folder).expanduser()
    tokenizer = load_tokenizer(path)
    hf_model, _ = hugging_face_model(path, torch.float32)
    from transformer_lens.model_bridge import TransformerBridge

    with reading(str(path), "TransformerLens can't read this model"):
        return TransformerBridge.boot_transformers(
            str(path),
            hf_model=hf_model,
            tokenizer=tokenizer,
            device=torch_device(device),
            dtype=hf_model.dtype,
        )
