"""The smallest circuit that does what the model does (`circuits.search`): its size and how much of
the behaviour it keeps.
"""

from circuitwatch.catalogue import Quantity

FOUND = 0.5
"""Between no circuit, 0, and one, 1."""

QUANTITY = [
    Quantity("circuit/found", "a circuit", range=(0, 1), rise=FOUND, place=100),
    Quantity(
        "circuit/edges_share",
        "share of all edges",
        "share",
        (0, 1),
        panel="circuits",
        compared_by_size=True,
        place=110,
    ),
    Quantity(
        "circuit/edges",
        "edges",
        "edges",
        (0, None),
        panel="circuits",
        compared_by_size=True,
        place=120,
    ),
    Quantity(
        "circuit/nodes",
        "nodes",
        "nodes",
        (0, None),
        panel="circuits",
        compared_by_size=True,
        place=130,
    ),
    Quantity("circuit/nodes_share", "share of all nodes", "share", (0, 1), place=140),
    Quantity("circuit/faithfulness", "faithfulness", "share", panel="circuits", place=150),
    Quantity("circuit/recovery", "recovery", "share", panel="circuits", place=160),
    Quantity("circuit/edges_before_pruning", "edges before pruning", "edges", (0, None), place=170),
    Quantity("circuit/evaluations", "circuits evaluated", "circuits", (0, None), place=180),
    Quantity("circuit/score_steps", "steps of integrated gradients", "steps", (1, None), place=190),
    Quantity(
        "circuit/score_error",
        "estimated error of the scores",
        "share of their sum",
        (0, None),
        place=200,
    ),
]
