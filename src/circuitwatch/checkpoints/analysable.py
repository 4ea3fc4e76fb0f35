"""Which architectures can be analysed, by `model_type`, for those who must not wait for torch: the
names that `architectures` has an entry for, and AI2's own format of OLMo's, `hf_olmo`.
"""

from __future__ import annotations

ANALYSABLE = frozenset(
    "bloom falcon gemma gemma2 gemma3_text gpt2 gpt_neo gpt_neox gptj hf_olmo llama mistral olmo "
    "olmo2 olmo3 opt phi qwen2 qwen3 smollm3 stablelm".split()
)
"""A test compares it with the entries themselves."""
