"""What a reader of results gets hold of: one curve, one circuit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.circuits.graph import Graph
from circuitwatch.errors import UserError
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.charts.layout import is_laid_out
from circuitwatch.summary.curves import CurveKey
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.statistics.status import Emergence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MeasuredCurve:
    """A quantity of one model over its checkpoints.

    Attributes:
        model, task, quantity, seed: which one; the task is `-` for what is a model's whatever the
            task.
        words, unit: what the quantity is called, and what it is measured in.
        params: parameters of the model, NaN where nobody says.
        tokens, values: [checkpoint] ascending in tokens.
        stderr: [checkpoint] standard errors, NaN where there are none.
    """

    model: str
    task: str
    quantity: str
    seed: int
    words: str
    unit: str
    params: float
    tokens: Floats
    values: Floats
    stderr: Floats
    _fits: Fits = field(repr=False)

    @classmethod
    def of(cls, fits: Fits, key: CurveKey) -> MeasuredCurve:
        """One of the curves that are fitted."""
        facts, rows = fits.curves.facts, fits.curves.rows(key)
        model, task, quantity, seed = key
        return cls(
            model,
            task,
            quantity,
            seed,
            facts.quantity(quantity).words,
            facts.unit(quantity, task),
            float(rows["params"].iloc[0]),
            rows["tokens"].to_numpy(dtype=float),
            rows["value"].to_numpy(dtype=float),
            rows["stderr"].to_numpy(dtype=float),
            fits,
        )

    @property
    def emergence(self) -> Emergence:
        """When it rose (or fell); fitted when it is first asked for."""
        return self._fits.emergence((self.model, self.task, self.quantity, self.seed))

    def frame(self) -> pd.DataFrame:
        """One row a checkpoint: model, task, quantity, seed, tokens, value, stderr."""
        return pd.DataFrame(
            {
                "model": self.model,
                "task": self.task,
                "quantity": self.quantity,
                "seed": self.seed,
                "tokens": self.tokens,
                "value": self.values,
                "stderr": self.stderr,
            }
        )


@dataclass(frozen=True, eq=False)
class MeasuredCurves(Sequence[MeasuredCurve]):
    """Some curves."""

    curves: tuple[MeasuredCurve, ...]

    @overload
    def __getitem__(self, index: int) -> MeasuredCurve: ...
    @overload
    def __getitem__(self, index: slice) -> MeasuredCurves: ...
    def __getitem__(self, index: int | slice) -> MeasuredCurve | MeasuredCurves:
        """One of them, or several."""
        if isinstance(index, slice):
            return MeasuredCurves(self.curves[index])
        return self.curves[index]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.curves)

    def __iter__(self) -> Iterator[MeasuredCurve]:
        """The curves."""
        return iter(self.curves)

    def frame(self) -> pd.DataFrame:
        """All of them below one another."""
        return pd.concat([curve.frame() for curve in self.curves], ignore_index=True)


@dataclass(frozen=True)
class RecordedCircuit:
    """The circuit of one checkpoint of a cell.

    Attributes:
        step, tokens: of the checkpoint.
    """

    cell: CellData = field(repr=False)
    step: int
    tokens: int

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.cell.model

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.cell.task

    @property
    def edges(self) -> list[tuple[str, str]]:
        """Its edges (sender, receiver), named as EAP-IG does, the strongest first. Raises UserError
        where the cell doesn't name them.
        """
        senders, receivers = self._named("senders"), self._named("receivers")
        at, into = np.divmod(self._places[self._order], len(receivers))
        return [(senders[s], receivers[r]) for s, r in zip(at, into, strict=True)]

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores of its edges [edge], the strongest first; NaN where none were recorded."""
        return self._scores[self._order]

    @property
    def nodes(self) -> list[str]:
        """Its nodes, in the order they are computed."""
        model = self.cell.header["model"]
        graph = Graph(int(model["n_layers"]), int(model["n_heads"]), bool(model.get("parallel")))
        mask = np.zeros(graph.edges.size, dtype=bool)
        mask[self._places] = True
        inside = graph.nodes_in(mask.reshape(graph.edges.shape))
        return [graph.nodes[k] for k in np.flatnonzero(inside)]

    @property
    def faithfulness(self) -> float | None:
        """How much of the effect of the deciding word it keeps; none where that is not defined."""
        return self._scalar("circuit/faithfulness")

    @property
    def recovery(self) -> float | None:
        """How much of the model's behaviour it keeps; none where that is not defined."""
        return self._scalar("circuit/recovery")

    def frame(self) -> pd.DataFrame:
        """One row an edge: sender, receiver, score."""
        frame = pd.DataFrame(self.edges, columns=["sender", "receiver"])
        return frame.assign(score=self.scores)

    def __len__(self) -> int:
        """Number of its edges."""
        return self._places.size

    def draw(self) -> Figure:
        """Its graph by layer. Raises UserError where the cell doesn't say how it is laid out."""
        from circuitwatch.summary.figures.circuits import circuit_figure

        figure = circuit_figure([self.cell], self.step) if is_laid_out(self.cell) else None
        if figure is None:
            raise UserError(f"{self.cell.folder}: doesn't say how its circuits are laid out")
        return figure

    @property
    def _places(self) -> NDArray[np.intp]:
        return self.cell.circuits[self.step]

    @property
    def _scores(self) -> NDArray[np.float32]:
        none = np.full(self._places.size, np.nan, dtype=np.float32)
        return self.cell.scores.get(self.step, none)

    @property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(-np.abs(self._scores), kind="stable")

    def _named(self, side: str) -> list[str]:
        names = self.cell.header.get("graph", {}).get(side)
        if not names:
            raise UserError(f"{self.cell.folder}: doesn't name the {side} of its circuits' edges")
        return list(names)

    def _scalar(self, name: str) -> float | None:
        at = self.cell.curves.loc[self.cell.curves["step"] == self.step]
        return float(at[name].iloc[0]) if name in at and pd.notna(at[name].iloc[0]) else None
