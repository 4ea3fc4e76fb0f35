"""Which architectures can be analysed, by `model_type`, for those who must not wait for torch: the
names that `architectures` has an entry for.
"""

from __future__ import annotations

ANALYSABLE = frozenset({"gpt2", "gpt_neox", "llama", "mistral", "olmo", "qwen2"})
"""A test compares it with the entries themselves."""
