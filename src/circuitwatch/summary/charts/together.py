"""Everything that a summary draws, made once from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from circuitwatch.summary.cells import CellData, models_in_order
from circuitwatch.summary.charts.algorithm import Algorithm, algorithm_chart
from circuitwatch.summary.charts.emergence import (
    Emergence,
    Sizes,
    circuit_sizes,
    emergence_charts,
    sizes_panels,
)
from circuitwatch.summary.charts.matrices import Matrix, matrices
from circuitwatch.summary.charts.panel import Choice
from circuitwatch.summary.charts.roles import roles_choice
from circuitwatch.summary.charts.timeline import Timeline, timelines
from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.panels import Specification

CIRCUIT_SIZE = "circuit/nodes"


@dataclass(frozen=True)
class Charts:
    """What there is to draw; anything may be empty.

    Attributes:
        spec: panels of curves, by section.
        roles, algorithm: those of several quantities each.
        emergence: when behaviours and head roles emerged.
        sizes: against model size, by quantity; circuit sizes under CIRCUIT_SIZE.
        timelines: who holds which role when.
        matrices: a row a model: circuits elsewhere.
    """

    spec: Specification
    roles: Choice | None
    algorithm: Algorithm | None
    emergence: list[Emergence]
    sizes: dict[str, list[Sizes]]
    timelines: list[Timeline]
    matrices: list[list[Matrix]]

    def choices(self, section: str) -> list[Choice]:
        """What a section can show."""
        found = list(self.spec.sections[section].choices) if section in self.spec.sections else []
        if section == "roles" and self.roles is not None:
            found.append(self.roles)
        if section == "algorithm" and self.algorithm is not None:
            found.insert(0, self.algorithm.choice)
        return found


def charts(
    spec: Specification,
    cells: Sequence[CellData],
    emergence: pd.DataFrame,
    scaling: pd.DataFrame,
    heads: HeadTables,
) -> Charts:
    """All that there is to draw of some results; cells in order."""
    sizes = sizes_panels(emergence, scaling, spec)
    if own := circuit_sizes(scaling, CIRCUIT_SIZE, spec):
        sizes[CIRCUIT_SIZE] = own
    return Charts(
        spec,
        roles_choice(spec, cells, heads.histories),
        algorithm_chart(spec, cells, emergence),
        emergence_charts(emergence, spec),
        sizes,
        timelines(heads.histories, cells, emergence, spec.facts),
        matrices(heads.transfer, heads.specificity, models_in_order(list(cells)), spec.facts),
    )
