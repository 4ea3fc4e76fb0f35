"""From a checkpoint's folder to a `Transformer`: Hugging Face loads it, TransformerLens reads its
weights in one layout, the logits are compared.

Every tensor of the model must be in the files, under its own name or behind the prefix of a known
wrapper (see `tensors`); none is ever made up. Weights are read from safetensors, or where there are
none from .bin files with PyTorch's weights-only reader, so that nothing is ever unpickled; no code
of a checkpoint is ever run. The Hugging Face model and the bridge live only while loading, so that
one model is in memory afterwards.
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
from circuitwatch.transformer import MLP, Attention, Block, Norm, Rotary, Transformer

SAVED_HEADS = {"GPTNeoXForCausalLM": "embed_out"}
"""What files call the unembedding, where transformers itself calls it lm_head."""
MAX_ROTARY_POSITIONS = 2048
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
    # Tied weights are counted once.
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    embeddings = ("embed_in", "embed_out", "wte", "wpe", "embed_tokens", "lm_head")
    architecture = type(model).__name__
    return {
        "architecture": architecture,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "d_model": config.hidden_size,
        "parallel": _is_parallel(config),
        "params_total": sum(sizes.values()),
        "params_non_embedding": sum(
            size for name, size in sizes.items() if not any(part in name for part in embeddings)
        ),
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
    hf_model, taken_off = _hugging_face_model(folder, dtype)
    if taken_off and on_prefix:
        on_prefix(taken_off)
    return as_transformer(hf_model, str(folder), device=device, check_length=check_length)


@torch.no_grad()
def as_transformer(
    hf_model: Any, called: str, *, device: str = "cpu", check_length: int | None = None
) -> Transformer:
    """A Hugging Face model as plain tensors, its logits compared with its own.

    Args:
        hf_model: On the CPU, in eval mode. It is changed and must not be used afterwards.
        called: What it is called in errors.
        device: Where the plain tensors go.
        check_length: As in `load_model`.

    Returns:
        The model, of the precision that it has.

    Raises:
        Unsupported: Its logits differ.
        DamagedWeights: They are NaN or infinite.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    config = hf_model.config
    rotary = _rotary_tables(hf_model, config)
    tokens = _check_tokens(config, check_length)
    with reading(called, "the model can't be run"):
        expected = hf_model(tokens).logits[0]
    if not expected.isfinite().all():
        raise DamagedWeights(
            f"{called}: its logits are NaN or infinite, though its weights are finite: the "
            f"training has diverged"
        )
    # The bridge wants a tokenizer, which reading weights does not need; an empty one spares loading
    # a large one for each checkpoint.
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"": 0}, unk_token="")))
    with reading(called, "TransformerLens can't read this model"):
        bridge = TransformerBridge.boot_transformers(
            called, hf_model=hf_model, tokenizer=empty, device="cpu", dtype=hf_model.dtype
        )
    model = _to_transformer(bridge, rotary, parallel=_is_parallel(config))
    _compare(called, model.unembed(model.run(model.embed(tokens)).final)[0], expected, config)
    return model if device == "cpu" else _moved(model, torch.device(device))


def _hugging_face_model(folder: Path, dtype: torch.dtype) -> tuple[Any, str]:
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
    refuse_unsupported(str(folder), type(hf_model).__name__, hf_model.config)
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


def _check_tokens(config: Any, length: int | None) -> Tensor:
    """Random tokens of the whole vocabulary [1, pos], always the same: a few low ids at a few first
    positions would miss what only others show.
    """
    context = min(config.max_position_embeddings, MAX_ROTARY_POSITIONS)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        config.vocab_size, (1, min(length or CHECK_LENGTH, context)), generator=generator
    )


def _compare(called: str, ours: Tensor, expected: Tensor, config: Any) -> None:
    """Raise Unsupported if our logits [pos, d_vocab] are not those expected, or some layer looks
    back over fewer tokens than there are.
    """
    length = len(expected)
    largest = expected.abs().max()
    differences = (ours - expected).abs().amax(-1)
    wrong = torch.nonzero(~(differences <= LOGIT_TOLERANCE * largest))
    # Only these layers look back no further than the window; where a configuration lists no kinds
    # of layers, all do.
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    window = getattr(config, "sliding_window", None) if slides else None
    is_short = window is not None and window < length
    if not len(wrong) and not is_short:
        return
    first = f" from token {int(wrong[0]) + 1} of {length} on" if len(wrong) else ""
    cause = (
        f": sliding_window={window} is shorter than the inputs, and such windows are not supported"
    )
    raise Unsupported(
        f"{called}: our forward pass differs from Hugging Face's by {differences.max():.2g} "
        f"in logits of at most "
        f"{largest:.2g}{first}{cause if is_short else ''}; not analysed"
    )


def _rotary_tables(hf_model: Any, config: Any) -> Rotary | None:
    """The model's own cosines and sines, so that every kind of rotary scaling is taken over
    exactly.
    """
    module = getattr(hf_model.base_model, "rotary_emb", None)
    if module is None:
        return None
    positions = torch.arange(min(config.max_position_embeddings, MAX_ROTARY_POSITIONS))[None]
    cos, sin = module(torch.zeros(1, dtype=hf_model.dtype), positions)
    return Rotary(cos[0].clone(), sin[0].clone())


def _to_transformer(bridge: Any, rotary: Rotary | None, *, parallel: bool) -> Transformer:
    from transformers.activations import ACT2FN

    config = bridge.original_model.config
    n_layers, d_model = config.num_hidden_layers, config.hidden_size
    # The bridge stacks a weight over layers each time it is asked for one, so each is asked for
    # once.
    w_q, w_k, w_v, w_o, w_in, w_out = (
        bridge.W_Q,
        bridge.W_K,
        bridge.W_V,
        bridge.W_O,
        bridge.W_in,
        bridge.W_out,
    )
    gated = hasattr(bridge.blocks[0].mlp, "gate")
    w_gate: Any = bridge.W_gate if gated else None

    def bias(name: str, like: Tensor, *shape: int) -> Tensor:
        """The biases of every layer, zeros where the architecture has none."""
        try:
            value: Tensor = getattr(bridge, name)
        except AttributeError:
            return like.new_zeros(n_layers, *shape)
        return value

    per_head = [
        bias(name, w, *w.shape[1::2]) for name, w in (("b_Q", w_q), ("b_K", w_k), ("b_V", w_v))
    ]
    b_o, b_out = bias("b_O", w_o, d_model), bias("b_out", w_out, d_model)
    b_in = bias("b_in", w_in, w_in.shape[-1])
    # GPT-2 of Stanford; queries take over the scale.
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        depth = torch.arange(1, n_layers + 1, dtype=w_q.dtype).view(-1, 1, 1)
        w_q, per_head[0] = w_q / depth[..., None], per_head[0] / depth
    activation = ACT2FN[config.hidden_act if rotary else config.activation_function]
    blocks = []
    for layer, block in enumerate(bridge.blocks):
        attention = Attention(
            *(_layer(part, layer) for part in (w_q, w_k, w_v, w_o, *per_head, b_o))
        )
        w, b, w2, b2 = (_layer(part, layer) for part in (w_in, b_in, w_out, b_out))
        mlp = MLP(w, b, w2, b2, activation, _layer(w_gate, layer) if gated else None)
        blocks.append(
            Block(_norm(block.ln1, d_model, w_q), attention, _norm(block.ln2, d_model, w_q), mlp)
        )
    return Transformer(
        blocks=tuple(blocks),
        W_E=_copied(bridge.W_E),
        W_pos=None if rotary else _copied(bridge.W_pos),
        rotary=rotary,
        final_norm=_norm(bridge.ln_final, d_model, w_q),
        W_U=_copied(bridge.W_U),
        b_U=_copied(bridge.b_U),
        parallel=parallel,
        attention_scale=float(blocks[0].attention.W_Q.shape[-1] ** -0.5),
    )


def _layer(stacked: Tensor, layer: int) -> Tensor:
    """One layer's part of a weight that the bridge has copied already, all layers together: a view,
    so that there is one copy and not two.
    """
    return stacked[layer].detach().contiguous()


def _copied(tensor: Tensor) -> Tensor:
    """A contiguous copy that keeps nothing else alive."""
    return tensor.detach().contiguous().clone()


def _norm(module: Any, d_model: int, like: Tensor) -> Norm:
    """LayerNorm with or without weight and bias (OLMo's has neither), or RMSNorm."""
    original = module.original_component
    weight, bias = getattr(original, "weight", None), getattr(original, "bias", None)
    eps = next(
        (
            float(getattr(original, name))
            for name in ("eps", "variance_epsilon")
            if hasattr(original, name)
        ),
        1e-5,
    )
    return Norm(
        weight=like.new_ones(d_model) if weight is None else _copied(weight),
        bias=None if bias is None else _copied(bias),
        eps=eps,
        centred="RMS" not in type(original).__name__,
    )


def _moved(model: Transformer, device: torch.device) -> Transformer:
    """The same model on another device."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, tuple):
            return tuple(move(part) for part in value)
        if hasattr(value, "__dataclass_fields__"):
            arguments = {
                name: move(getattr(value, name))
                for name, field in value.__dataclass_fields__.items()
                if field.init
            }
            return type(value)(**arguments)
        return value

    moved: Transformer = move(model)
    return moved
