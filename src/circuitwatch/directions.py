"""Whether a quantity falls as a model learns, as a loss does, told by its name or by a person.

Names are taken apart at signs and at capitals, so that `eval/loss`, `trainLoss` and `c4_en_bpb`
are known, and `loss_scale` is not one. What circuitwatch measures itself says so in its catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

FALLING = frozenset(
    "loss nll ppl perplexity bpb bpc xent crossentropy brier ece mse mae rmse wer cer "
    "trainloss valloss evalloss testloss".split()
)
"""Words of a name that falls."""
PHRASES = frozenset(
    tuple(phrase.split())
    for phrase in (
        "bits per byte",
        "bits per character",
        "bits per char",
        "bits per token",
        "test error",
        "error rate",
        "cross entropy",
    )
)
"""Words in a row of a name that falls."""
NOT_ITSELF = frozenset(
    "scale weight weights coef ratio reduction improvement mask count diff difference drop gain "
    "delta change".split()
)
"""Words after which a name is of something else: the scale of a loss is no loss."""
TURNED = frozenset("delta neg negative minus".split())
"""Words before which a name is turned round: a negative log-likelihood with its sign changed."""


def falls_by_name(name: str) -> bool:
    """Whether a quantity of this name falls as a model learns."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).lower()
    words = re.findall(r"[a-z]+|[0-9]+", apart)
    for place, word in enumerate(words):
        long = tuple(words[place : place + 3]) in PHRASES
        short = tuple(words[place : place + 2]) in PHRASES
        if word in FALLING or long or short:
            after = words[place + (3 if long else 2 if short else 1) :]
            if not NOT_ITSELF & set(after) and not TURNED & set(words[:place]):
                return True
    return False


def said_direction(name: str, directions: Mapping[str, bool]) -> bool | None:
    """Whether a person says that a quantity falls, by its name or a pattern such as `*_bpb`; none
    where nothing is said. The longest pattern counts.
    """
    fitting = [pattern for pattern in directions if fnmatchcase(name, pattern)]
    return directions[max(fitting, key=len)] if fitting else None
