"""The real model is loaded as it is, and it does what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from circuitwatch.transformer import Transformer

pytestmark = pytest.mark.e2e


def test_our_logits_are_hugging_faces(real_model: Transformer, real_folder: Path) -> None:
    """512 random tokens of the whole vocabulary. 1e-3 on logits of order 10: float32 sums in another order, over 30 layers."""
    tokens = torch.randint(real_model.W_E.shape[0], (1, 512), generator=torch.Generator().manual_seed(0))
    hf = AutoModelForCausalLM.from_pretrained(str(real_folder), dtype=torch.float32).eval()
    with torch.no_grad():
        expected = hf(tokens).logits
        ours = real_model.unembed(real_model.run(real_model.embed(tokens)).final)
    difference = (ours - expected).abs().max().item()
    print(f"largest difference of logits {difference:.2g}, largest logit {expected.abs().max():.1f}")
    assert difference < 1e-3
