"""A copy of a model that is being trained, as plain tensors.

The live model is only read: its weights are copied to the CPU and put into a fresh Hugging Face
model made from its configuration, so nothing is hooked, wrapped or switched to another mode.
Wrappers around it (DDP, DataParallel, torch.compile) are taken off for reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circuitwatch.checkpoints.loading import as_transformer, refuse_unsupported
from circuitwatch.checkpoints.tensors import misfit, renamings, unmerged_adapter
from circuitwatch.checkpoints.unusable import DamagedWeights
from circuitwatch.errors import UserError
from circuitwatch.transformer import Transformer

WRAPPED = ("_orig_mod", "module")
"""What torch.compile, and DDP, DataParallel and DeepSpeed, call the model that they wrap."""
State = dict[str, Tensor]


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside any wrappers."""
    while True:
        # Only a wrapper has the whole model as its one child.
        inner = [child for name, child in model.named_children() if name in WRAPPED]
        if len(inner) != 1 or len(list(model.children())) != 1:
            return model
        model = inner[0]


def refuse_sharded(model: nn.Module) -> None:
    """Raise UserError for a model of which this process holds only a part."""
    how = None
    if any("FullyShardedDataParallel" in type(part).__name__ for part in model.modules()):
        how = "FSDP"
    for parameter in model.parameters():
        if hasattr(parameter, "ds_id") or parameter.numel() == 0:
            how = "DeepSpeed's ZeRO-3"
        elif hasattr(parameter, "placements"):
            how = "FSDP or tensor parallelism"
        elif parameter.is_meta:
            how = "offloading"
    if how:
        raise UserError(
            f"the model's weights are sharded ({how}), no process has them all, so they can't be "
            f"watched live; save checkpoints and watch those: circuitwatch model=folder model.path="
        )


def refuse_unfit(model: nn.Module, called: str) -> None:
    """Raise UserError for a live model, without wrappers, that can't be copied and analysed."""
    from transformers import PreTrainedModel

    names = list(model.state_dict())
    if getattr(model, "peft_config", None) or (adapter := unmerged_adapter(names)):
        shown = "" if getattr(model, "peft_config", None) else f" ({adapter})"
        raise UserError(
            f"{called}: an adapter is being trained (PEFT, LoRA){shown}, which can't be watched "
            f"live; merge the adapter into its base at some checkpoints and watch those"
        )
    if not isinstance(model, PreTrainedModel):
        raise UserError(
            f"{called}: {type(model).__name__} is no model of transformers, so its weights can't "
            f"be read; give a transformers model"
        )
    refuse_unsupported(called, type(model).__name__, model.config)
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            raise UserError(
                f"{called}: {name} is {str(parameter.dtype).removeprefix('torch.')}; quantised "
                f"weights can't be analysed"
            )


def state_of(model: nn.Module) -> State:
    """A copy on the CPU of a live model's weights, by name, in their own precision."""
    state = {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, Tensor)
    }
    renamed, _ = renamings(list(state))  # parts that are compiled or checkpointed
    return {renamed.get(name, name): tensor for name, tensor in state.items()}


def sha256_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's weights: over its tensors in order of their names, of each the line
    "<name> <dtype> <shape>" and then its bytes.

    It is not that of a file which the model is saved to.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def load_state(
    state: State,
    folder: Path,
    called: str,
    *,
    like: Any,
    device: str,
    dtype: torch.dtype,
    check_length: int,
) -> Transformer:
    """A copied state as plain tensors; as `load_model` would load it from a folder.

    Args:
        state: Weights by name; it is empty afterwards, so that there is one copy less in memory.
        folder: Holds the model's config.json.
        called: What the model is called in errors.
        like: The live model's class, which a fresh model must have.
        device: Where the plain tensors go.
        dtype: Their precision.
        check_length: Tokens on which logits are compared with Hugging Face's.

    Returns:
        The model.

    Raises:
        UserError: The live model is more than, or another one than, its configuration says.
        DamagedWeights: Weights are NaN or infinite.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    if bad := next((name for name, t in state.items() if not t.isfinite().all()), None):
        raise DamagedWeights(f"{called}: {bad} holds NaN or infinite values")
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    state.clear()
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None) is not like:
        raise UserError(
            f"{called}: {like.__module__}.{like.__name__} is not the class that transformers has "
            f"for model_type={config.model_type}, so it can't be told what it computes"
        )
    hf_model, loaded = like.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    del weights
    if wrong := misfit(loaded["missing_keys"], loaded["mismatched_keys"]):
        raise UserError(f"{called}: the weights don't fit the model's configuration: {wrong}")
    if more := sorted(loaded["unexpected_keys"]):
        raise UserError(
            f"{called}: {more[0]} is no tensor of {like.__name__}; a model with parts of one's own "
            f"can't be analysed"
        )
    return as_transformer(
        hf_model.eval().requires_grad_(False), called, device=device, check_length=check_length
    )
