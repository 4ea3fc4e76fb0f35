"""Models of the `hf_olmo` package (OLMo 1 as it was first released, DataDecide), read from their
own configuration and tensors, without the package and without code of the checkpoint.

They compute what transformers' OLMo does where the norms have no parameters, and what its Llama
does where they are RMS norms; so configuration and tensors are renamed, the fused matrices are cut,
and what neither computes is refused by the name of the option. Groeneveld et al. 2402.00838;
Magnusson et al. 2504.11393 (DataDecide).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from circuitwatch.checkpoints.tensors import misfit
from circuitwatch.checkpoints.unusable import DamagedWeights, Unsupported

MODEL_TYPE = "hf_olmo"
DEFAULTS: Mapping[str, Any] = {
    "d_model": 768,
    "n_heads": 12,
    "n_kv_heads": None,
    "multi_query_attention": None,
    "n_layers": 12,
    "mlp_ratio": 4,
    "mlp_hidden_size": None,
    "activation_type": "swiglu",
    "block_type": "sequential",
    "block_group_size": 1,
    "alibi": False,
    "rope": False,
    "rope_theta": 10_000,
    "clip_qkv": None,
    "attention_layer_norm": False,
    "layer_norm_type": "default",
    "layer_norm_with_affine": True,
    "layer_norm_eps": 1e-5,
    "bias_for_layer_norm": None,
    "include_bias": True,
    "norm_after": False,
    "scale_logits": False,
    "embedding_layer_norm": False,
    "max_sequence_length": 1024,
    "vocab_size": 50257,
    "embedding_size": None,
    "weight_tying": True,
}
"""What the options are where config.json leaves them out."""
NEEDED: Mapping[str, tuple[Any, ...]] = {
    "activation_type": ("swiglu",),
    "block_type": ("sequential", "llama"),
    "block_group_size": (1,),
    "alibi": (False, None),
    "rope": (True,),
    "attention_layer_norm": (False, None),
    "layer_norm_type": ("default", "low_precision", "rms"),
    "include_bias": (False,),
    "norm_after": (False, None),
    "scale_logits": (False, None),
    "embedding_layer_norm": (False, None),
}
"""What options must be for transformers' models to compute the same."""
FIXED_EPS = 1e-5
"""Of the norms without parameters, in transformers' OLMo."""
COPIED = {"attn_out": "self_attn.o_proj", "ff_out": "mlp.down_proj"}
NORMS = {"attn_norm": "input_layernorm", "ff_norm": "post_attention_layernorm"}


def is_hf_olmo(config: Mapping[str, Any]) -> bool:
    """Whether config.json is of the package."""
    return config.get("model_type") == MODEL_TYPE


def config_as_transformers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the model of transformers that computes the same.

    Args:
        config: What config.json holds.

    Returns:
        What config.json would hold for transformers' OLMo or Llama.

    Raises:
        Unsupported: by which option neither computes the same.
        DamagedWeights: a size is none.
    """
    said = {**DEFAULTS, **{k: v for k, v in config.items() if k in DEFAULTS}}
    for name, allowed in NEEDED.items():
        if not any(said[name] == value and type(said[name]) is type(value) for value in allowed):
            raise Unsupported(
                f"model_type={MODEL_TYPE} with {name}={said[name]} is not supported; it must be "
                f"{' or '.join(str(value) for value in allowed if value is not None)}"
            )
    for name in ("d_model", "n_heads", "n_layers", "max_sequence_length"):
        _require_size(name, said[name])
    is_rms = said["layer_norm_type"] == "rms"
    if not is_rms and said["layer_norm_with_affine"]:
        raise Unsupported(
            f"model_type={MODEL_TYPE} with layer_norm_type={said['layer_norm_type']} and "
            f"layer_norm_with_affine=true is not supported; RMS norms, or norms without parameters"
        )
    if is_rms and said["layer_norm_with_affine"] and said["bias_for_layer_norm"]:
        raise Unsupported(f"model_type={MODEL_TYPE} with bias_for_layer_norm=true is not supported")
    if is_rms and said["clip_qkv"] is not None:
        raise Unsupported(
            f"model_type={MODEL_TYPE} with clip_qkv={said['clip_qkv']}: clipped queries, keys and "
            f"values are not supported"
        )
    if not is_rms and said["layer_norm_eps"] != FIXED_EPS:
        raise Unsupported(
            f"model_type={MODEL_TYPE} with layer_norm_eps={said['layer_norm_eps']} is not "
            f"supported for norms without parameters; it must be {FIXED_EPS}"
        )
    fused = said["mlp_hidden_size"]
    fused = said["mlp_ratio"] * said["d_model"] if fused is None else fused
    _require_size("mlp_hidden_size", fused)
    kv_heads = said["n_kv_heads"]
    if kv_heads is None:
        kv_heads = 1 if said["multi_query_attention"] else said["n_heads"]
    whole = {
        "hidden_size": said["d_model"],
        "num_hidden_layers": said["n_layers"],
        "num_attention_heads": said["n_heads"],
        "num_key_value_heads": kv_heads,
        "intermediate_size": fused // 2,
        "hidden_act": "silu",
        "max_position_embeddings": said["max_sequence_length"],
        "vocab_size": said["embedding_size"] or said["vocab_size"],
        "tie_word_embeddings": bool(said["weight_tying"]),
        "attention_bias": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": float(said["rope_theta"])},
        **{
            name: config.get(name)
            for name in ("bos_token_id", "eos_token_id", "pad_token_id")
            if name in config
        },
        **{k: config[k] for k in ("quantization_config",) if k in config},
    }
    if is_rms:
        eps = {"rms_norm_eps": said["layer_norm_eps"], "mlp_bias": False}
        return {"model_type": "llama", **whole, **eps, "architectures": ["LlamaForCausalLM"]}
    clip = {"clip_qkv": said["clip_qkv"]}
    return {"model_type": "olmo", **whole, **clip, "architectures": ["OlmoForCausalLM"]}


def tensors_as_transformers(
    tensors: Mapping[str, Tensor], config: Any, called: str
) -> dict[str, Tensor]:
    """The tensors of a model under the names of transformers, the fused ones cut.

    Args:
        tensors: Name in the files → tensor.
        config: `config_as_transformers` as a configuration of transformers.
        called: What the checkpoint is called in errors.

    Returns:
        Name in transformers → tensor, views of those given.

    Raises:
        DamagedWeights: tensors are missing or of another shape.
    """
    front = re.compile(r"^(?:model\.)?(?=transformer\.)")  # a trainer's own files have no `model.`
    tensors = {front.sub("model.", name): tensor for name, tensor in tensors.items()}
    d, inner = config.hidden_size, config.intermediate_size
    head = d // config.num_attention_heads
    kv = config.num_key_value_heads * head
    missing: list[str] = []
    other: list[tuple[str, list[int], list[int]]] = []
    found: dict[str, Tensor] = {}

    def take(name: str, shape: tuple[int, ...], put: Callable[[Tensor], dict[str, Tensor]]) -> None:
        """Put what a tensor of the files becomes, or note what is wrong with it."""
        tensor = tensors.get(name)
        if tensor is None:
            missing.append(name)
        elif tuple(tensor.shape) != shape:
            other.append((name, list(tensor.shape), list(shape)))
        else:
            found.update(put(tensor))

    def norm(name: str, put: str) -> None:
        """RMS norms have a weight, or 1 where they have none; OLMo's norms have no parameters."""
        if config.model_type != "llama":
            return
        if name in tensors:
            take(name, (d,), lambda tensor: {put: tensor})
        else:
            found[put] = torch.ones(d)

    top = "model.transformer."
    take(f"{top}wte.weight", (config.vocab_size, d), lambda t: {"model.embed_tokens.weight": t})
    norm(f"{top}ln_f.weight", "model.norm.weight")
    if not config.tie_word_embeddings:
        take(f"{top}ff_out.weight", (config.vocab_size, d), lambda t: {"lm_head.weight": t})
    shapes = {"attn_out": (d, d), "ff_out": (d, inner)}
    for layer in range(config.num_hidden_layers):
        block, to = f"{top}blocks.{layer}.", f"model.layers.{layer}."

        def cut(names: tuple[str, ...], sizes: tuple[int, ...], to: str = to) -> Any:
            return lambda tensor: {
                f"{to}{name}.weight": part
                for name, part in zip(names, tensor.split(sizes), strict=True)
            }

        projections = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        if f"{block}q_proj.weight" in tensors:  # block_type=llama
            for name, rows in zip(projections, (d, kv, kv), strict=True):
                take(f"{block}{name[10:]}.weight", (rows, d), cut((name,), (rows,)))
        else:
            take(f"{block}att_proj.weight", (d + 2 * kv, d), cut(projections, (d, kv, kv)))
        # The second half goes through the activation.
        halves = ("mlp.up_proj", "mlp.gate_proj")
        take(f"{block}ff_proj.weight", (2 * inner, d), cut(halves, (inner, inner)))
        for name, put in COPIED.items():
            take(f"{block}{name}.weight", shapes[name], cut((put,), shapes[name][:1]))
        for name, put in NORMS.items():
            norm(f"{block}{name}.weight", f"{to}{put}.weight")
    if wrong := misfit(missing, other):
        raise DamagedWeights(f"{called}: the weights are damaged: {wrong}")
    return found


def _require_size(name: str, size: Any) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise DamagedWeights(f"{name} is {size!r}; a whole number above 0 is needed")
