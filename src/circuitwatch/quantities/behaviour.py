"""What a model does on a task (`behaviour`): the metric, the effect of the deciding word, accuracy
and the log-probability of the right answer.
"""

from circuitwatch.catalogue import HALF_RISE, Quantity

HALF_WAY = 0.75
"""Accuracy half-way between chance, one half, and certainty."""

QUANTITY = [
    Quantity(
        key="behaviour/value",
        words="behaviour",
        unit="task",
        rise=HALF_RISE,
        chance=0.0,
        panel="behaviour",
        interval=("behaviour/low", "behaviour/high"),
        label="the task's metric",
        place=10,
    ),
    Quantity(
        key="behaviour/effect",
        words="effect of the deciding word",
        unit="task",
        rise=HALF_RISE,
        chance=0.0,
        panel="behaviour",
        interval=("behaviour/effect_low", "behaviour/effect_high"),
        label="effect of the deciding word (clean − corrupted)",
        place=20,
    ),
    Quantity(
        key="behaviour/accuracy",
        words="accuracy",
        unit="share",
        range=(0, 1),
        rise=HALF_WAY,
        panel="behaviour",
        interval=("behaviour/accuracy_low", "behaviour/accuracy_high"),
        place=30,
    ),
    Quantity(
        key="behaviour/log_prob",
        words="log-probability of the right answer",
        unit="nats",
        range=(None, 0),
        panel="behaviour",
        place=40,
    ),
    Quantity(
        key="behaviour/corrupted",
        words="metric on the corrupted prompts",
        unit="task",
        place=50,
    ),
]
