"""From a checkpoint's folder to a `Transformer`: Hugging Face loads it, its architecture's entry
reads the weights in one layout, the logits are compared.

Every tensor of the model must be in the files, under its own name or behind the prefix of a known
wrapper (see `tensors`); none is ever made up. Weights are read from safetensors, or where there are
none from .bin files with PyTorch's weights-only reader, so that nothing is ever unpickled; no code
of a checkpoint is ever run. The Hugging Face model lives only while loading, so that one model is
in memory afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuitwatch.checkpoints.architectures import architecture_of, refusal, supported
from circuitwatch.checkpoints.files import weight_files
from circuitwatch.checkpoints.hf_olmo import is_hf_olmo, tensors_as_transformers
from circuitwatch.checkpoints.kinds import held_instead_in, without_adapter
from circuitwatch.checkpoints.shape import read_config, require_weights_for, said_by_config
from circuitwatch.checkpoints.tensors import (
    layer_of,
    misfit,
    renamings,
    stored_names,
    stored_tensors,
    unmerged_adapter,
)
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported, reading
from circuitwatch.transformer import Transformer

SAVED_HEADS = {"GPTNeoXForCausalLM": "embed_out"}
"""What files call the unembedding, where transformers itself calls it lm_head."""
CHECK_LENGTH = 128
"""Tokens on which our logits are compared with Hugging Face's where no number is given."""
LOGIT_TOLERANCE = 1e-3
"""Largest difference of logits accepted between our forward pass and Hugging Face's, relative to
their largest magnitude: float32 rounding over dozens of layers stays below it, while any real
difference of architecture is far above."""


def model_facts(folder: Path) -> dict[str, Any]:
    """Shape and size of a checkpoint's model, without loading its weights.

    Keys: architecture, n_layers, n_heads, d_model, parallel, params_total, params_non_embedding
    (without embeddings and unembedding). Raises Unusable for a configuration that describes no
    language model.
    """
    from transformers import AutoModelForCausalLM

    config = read_config(folder)
    with reading(folder / "config.json", "no model can be made from it"), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    sizes = {id(parameter): parameter.numel() for parameter in model.parameters()}  # tied ones once
    embeddings = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    outside = {
        id(parameter)
        for part in (*embeddings, model.get_output_embeddings())
        if part is not None
        for parameter in part.parameters()
    }
    return {
        "architecture": type(model).__name__,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "d_model": config.hidden_size,
        "parallel": _is_parallel(config),
        "params_total": sum(sizes.values()),
        "params_non_embedding": sum(size for name, size in sizes.items() if name not in outside),
    }


def _is_parallel(config: Any) -> bool:
    entry = architecture_of(config)
    return entry is not None and entry.is_parallel(config)


@torch.no_grad()
def load_model(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    check_length: int | None = None,
    on_prefix: Callable[[str], None] | None = None,
) -> Transformer:
    """Load a checkpoint for analysis.

    Raises Unsupported for an architecture that is not supported, and logits that differ from the
    Hugging Face model's; DamagedWeights for files that are missing or can't be read, an adapter
    that is not merged, tensors that are missing, of another shape, NaN or infinite (with their
    names), and logits that are.

    Args:
        folder: A Hugging Face checkpoint.
        device: Where the model goes.
        dtype: Precision of its weights, whatever the files have.
        check_length: Tokens on which our logits are compared with Hugging Face's, which should be
            as many as the longest input will have; at most the model's context is taken, and by
            default CHECK_LENGTH.
        on_prefix: Told what was taken off the tensors' names, if anything was.

    Returns:
        The model as plain tensors.
    """
    hf_model, taken_off = hugging_face_model(folder, dtype)
    if taken_off and on_prefix:
        on_prefix(taken_off)
    return as_transformer(hf_model, str(folder), device=device, check_length=check_length)


@torch.no_grad()
def as_transformer(
    hf_model: Any, called: str, *, device: str = "cpu", check_length: int | None = None
) -> Transformer:
    """A Hugging Face model as plain tensors, its logits compared with its own.

    Args:
        hf_model: On the CPU, in eval mode. It is left as it is.
        called: What it is called in errors.
        device: Where the plain tensors go.
        check_length: As in `load_model`.

    Returns:
        The model, of the precision that it has.

    Raises:
        Unsupported: Its logits differ.
        DamagedWeights: They are NaN or infinite.
    """
    entry = architecture_of(hf_model.config)
    if entry is None:
        raise Unsupported(f"{called}: {refusal(hf_model.config)}")
    model = entry.read(hf_model)
    tokens = _check_tokens(model, hf_model.config.vocab_size, check_length)
    with reading(called, "the model can't be run"):
        expected = hf_model(tokens).logits[0]
    if not expected.isfinite().all():
        raise DamagedWeights(
            f"{called}: its logits are NaN or infinite, though its weights are finite: the "
            f"training has diverged"
        )
    _compare(called, model.unembed(model.run(model.embed(tokens)).final)[0], expected)
    return model if device == "cpu" else moved(model, torch.device(device))


def hugging_face_model(folder: Path, dtype: torch.dtype) -> tuple[Any, str]:
    """The model as transformers has it, every tensor of it from the files, and what was taken off
    the tensors' names.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM
    from transformers.utils import logging

    config, files = read_config(folder), weight_files(folder)
    if not files:
        if instead := held_instead_in(folder):
            raise DamagedWeights(f"{folder}: {instead}")
        raise DamagedWeights(
            f"{folder}: no weights in this folder; model.safetensors or pytorch_model.bin is needed"
        )
    is_renamed = is_hf_olmo(said_by_config(folder))
    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of tensors that don't fit: we say it in one line
    try:
        with reading(folder, "the weights can't be read as tensors"):
            names = stored_names(files)
            require_weights_for(config, folder)
            renamed, taken_off = renamings(names)
            common: dict[str, Any] = {
                "dtype": dtype,
                "output_loading_info": True,
                "ignore_mismatched_sizes": True,
            }
            if is_renamed:
                stored = {renamed.get(k, k): tensor for k, tensor in stored_tensors(files).items()}
                tensors = tensors_as_transformers(stored, config, str(folder))
                hf_model, loaded = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(
                    None, config=config, state_dict=tensors, **common
                )
            else:
                with without_adapter(folder) as place:
                    hf_model, loaded = AutoModelForCausalLM.from_pretrained(
                        str(place),
                        local_files_only=True,
                        trust_remote_code=False,
                        weights_only=True,
                        use_safetensors=files[0].suffix == ".safetensors",
                        key_mapping={f"^{re.escape(old)}$": new for old, new in renamed.items()}
                        or None,
                        **common,
                    )
    finally:
        logging.set_verbosity(verbosity)
    if adapter := unmerged_adapter(names):
        raise DamagedWeights(
            f"{folder}: a model with LoRA layers that are not merged ({adapter}); merge the "
            f"adapter into its base and save that"
        )

    def as_saved(name: str) -> str:
        """A tensor's name in a file, which is where a person will look for it."""
        head = SAVED_HEADS.get(type(hf_model).__name__, "lm_head")
        return re.sub(r"^lm_head\b", head, name)

    n_layers = hf_model.config.num_hidden_layers
    beyond = max(map(layer_of, names if is_renamed else loaded["unexpected_keys"]), default=-1) + 1
    if beyond > n_layers:
        raise DamagedWeights(
            f"{folder}: the weights have {beyond} layers, config.json says {n_layers}"
        )
    missing = [as_saved(name) for name in loaded["missing_keys"]]
    if wrong := misfit(
        missing, [(as_saved(name), *shapes) for name, *shapes in loaded["mismatched_keys"]]
    ):
        raise DamagedWeights(f"{folder}: the weights are damaged: {wrong}")
    for name, tensor in hf_model.named_parameters():
        if not tensor.isfinite().all():
            raise DamagedWeights(
                f"{folder}: the weights are damaged: {as_saved(name)} holds NaN or infinite values"
            )
    return hf_model.eval().requires_grad_(False), taken_off


def refuse_unsupported(called: str, architecture: str, config: Any) -> None:
    """Raise Unsupported for a model, called so, of an architecture that can't be analysed."""
    if line := refusal(config):
        raise Unsupported(f"{called}: {line}")
    entry = architecture_of(config)
    if entry is None or entry.class_name != architecture:
        raise Unsupported(
            f"{called}: architecture {architecture} is not supported; supported are {supported()}"
        )


def _check_tokens(model: Transformer, n_vocabulary: int, length: int | None) -> Tensor:
    """Random tokens of the whole vocabulary [1, pos], always the same: a few low ids at a few first
    positions would miss what only others show.
    """
    n_tokens, room = length or CHECK_LENGTH, model.context_length
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        n_vocabulary,
        (1, n_tokens if room is None else min(n_tokens, room)),
        generator=generator,
    )


def _compare(called: str, ours: Tensor, expected: Tensor) -> None:
    """Raise Unsupported if our logits [pos, d_vocab] are not those expected."""
    largest = expected.abs().max()
    differences = (ours - expected).abs().amax(-1)
    wrong = torch.nonzero(~(differences <= LOGIT_TOLERANCE * largest))
    if len(wrong):
        raise Unsupported(
            f"{called}: our forward pass differs from Hugging Face's by {differences.max():.2g} "
            f"in logits of at most {largest:.2g} from token {int(wrong[0]) + 1} of "
            f"{len(expected)} on; not analysed"
        )


def moved(model: Transformer, device: torch.device) -> Transformer:
    """The same model on another device; what its parts share, they still share."""
    done: dict[int, Any] = {}

    def move(value: Any) -> Any:
        if id(value) not in done:
            done[id(value)] = _moved(value, device, move)
        return done[id(value)]

    result: Transformer = move(model)
    return result


def _moved(value: Any, device: torch.device, move: Callable[[Any], Any]) -> Any:
    """A tensor on another device, or something of which the parts are moved by `move`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(move(part) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        fields = [name for name, field in value.__dataclass_fields__.items() if field.init]
        return type(value)(**{name: move(getattr(value, name)) for name in fields})
    return value
