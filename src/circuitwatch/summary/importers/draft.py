"""Rows that an importer has read, while they are checked, and the notes on what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from circuitwatch.summary.curves import KEYS, curve_names, named


@dataclass
class Draft:
    """Rows on their way into `Curves`, and the notes so far; every note begins with the source's
    name.
    """

    rows: pd.DataFrame
    source: str
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a line."""
        self.notes.append(" ".join(f"{self.source}: {text}".splitlines()))

    def drop(self, which: pd.Series | NDArray[np.bool_], text: str) -> None:
        """Leave rows out; in `text`, {n} is how many they are and {curves} names their curves."""
        mask = np.asarray(which, dtype=bool)
        if mask.any():
            gone = self.rows[mask]
            self.note(text.format(n=int(mask.sum()), curves=named(curve_names(gone))))
            self.rows = self.rows[~mask].reset_index(drop=True)

    def names(self, which: NDArray[np.bool_]) -> list[str]:
        """How notes call the curves of some rows."""
        return curve_names(self.rows[which])

    def curve_ids(self) -> NDArray[np.intp]:
        """An integer per row that tells its curve, in order of appearance."""
        codes = np.zeros(len(self.rows), dtype=np.int64)
        for name in KEYS:
            part, names = pd.factorize(self.rows[name])
            codes = pd.factorize(codes * max(len(names), 1) + part)[0].astype(np.int64)
        return codes
