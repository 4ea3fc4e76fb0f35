"""Write the logits of `support.hf_olmo.MODELS` as ai2-olmo computes them: run in an environment
that has that package (it needs numpy < 2), with tests/ on PYTHONPATH: `python hf_olmo_logits.py
FILE`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from olmo.config import ModelConfig
from olmo.model import OLMo

from support.hf_olmo import MODELS, TOKENS, tensors_of


def numbers_of(options: dict[str, Any]) -> dict[str, Any]:
    """What config.json says of a model, the shapes of its tensors, its logits [pos, d_vocab]."""
    known = set(ModelConfig.__dataclass_fields__)
    config = ModelConfig(**{name: value for name, value in options.items() if name in known})
    model = OLMo(config).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(tensors_of(shapes))
    with torch.no_grad():
        logits = model(torch.tensor(TOKENS)).logits[0]
    said = {**config.asdict(), **{k: v for k, v in options.items() if k not in known}}
    return {
        "config": {"model_type": "hf_olmo", **said},
        "shapes": shapes,
        "logits": [[round(value, 5) for value in row] for row in logits.tolist()],
    }


if __name__ == "__main__":
    found = {name: numbers_of(options) for name, options in MODELS.items()}
    Path(sys.argv[1]).write_text(json.dumps(found) + "\n", encoding="utf-8")
