"""What no role accounts for (`algorithms.shares.unexplained`), in every task."""

from circuitwatch.catalogue import Quantity

QUANTITY = [
    Quantity(
        key="algorithm/unexplained",
        words="unexplained: of the effect on the logits, from heads without any role",
        unit="share",
        range=(0, 1),
        panel="algorithm",
        interval=("algorithm/unexplained_low", "algorithm/unexplained_high"),
        colour="#000000",
        marker="x",
        label="no role (unexplained)",
        place=500,
    ),
    Quantity(
        key="algorithm/unexplained_sure",
        words="unexplained, of heads whose effect is sure",
        unit="share",
        range=(0, 1),
        panel="algorithm",
        interval=("algorithm/unexplained_sure_low", "algorithm/unexplained_sure_high"),
        place=510,
    ),
]
