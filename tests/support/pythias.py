"""Tiny models of Pythia's architecture with random weights and the real tokenizer (the nano one
where it is absent), as revisions or a hub's cache.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from support.tokenizers import PUBLISHED, tokenizer_named

REPOSITORY = "EleutherAI/pythia-14m"
VOCABULARY = 50304
"""Pythia's tokens, padded as Pythia pads them: a hub's faults need files of several pieces."""


def write_pythia(
    folder: Path, seed: int, *, dtype: torch.dtype = torch.float16, as_bin: bool = False
) -> Path:
    """One checkpoint of 2 layers × 2 heads × 8 dimensions, 3 MB in float16; the vocabulary is as
    large as Pythia's whichever tokenizer there is.
    """
    tokenizer = tokenizer_named("pythia" if PUBLISHED.exists() else "nano")
    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=VOCABULARY,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        max_position_embeddings=64,
    )
    model = GPTNeoXForCausalLM(config).to(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    if as_bin:
        config.architectures = ["GPTNeoXForCausalLM"]
        config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_hub_cache(cache: Path, repository: str, revisions: dict[str, Path]) -> None:
    """Lay revisions out as the hub's client caches them: blobs, snapshots of links to them,
    refs.
    """
    import hashlib

    base = cache / f"models--{repository.replace('/', '--')}"
    for name, folder in revisions.items():
        commit = hashlib.sha1(name.encode()).hexdigest()
        snapshot = base / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (base / "blobs").mkdir(exist_ok=True)
        for path in folder.iterdir():
            content = path.read_bytes()
            blob = base / "blobs" / hashlib.sha256(content).hexdigest()
            blob.write_bytes(content)
            (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
        (base / "refs").mkdir(exist_ok=True)
        (base / "refs" / name).write_text(commit)
