"""Which architectures can be analysed, by `model_type`, for those who must not wait for torch: the
names that `architectures` has an entry for, and `hf_olmo`, which is read as one of them.
"""

from __future__ import annotations

ANALYSABLE = frozenset({"gpt2", "gpt_neox", "hf_olmo", "llama", "mistral", "olmo", "qwen2"})
"""A test compares it with the entries themselves."""
