"""One process at a time sends a cell's run: W&B takes rows of a run from whoever sends them, and
two that count its rows spoil them for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from circuitwatch.errors import UserError
from circuitwatch.locks import hold
from circuitwatch.records import Cell

LOCK = ".wandb.lock"
"""In the cell's folder. It is not the cell's own lock, since a cell that is watched without W&B may
be sent meanwhile.
"""


class InUse(UserError):
    """Another process sends this run now; the message says which, in one line."""


@contextmanager
def hold_run(cell: Cell) -> Iterator[None]:
    """Send a cell's run alone. Raises InUse at once if another process sends it."""
    with ExitStack() as held:
        try:
            held.enter_context(
                hold(cell.folder / LOCK, f"{cell.folder}: its W&B run is being sent")
            )
        except UserError as error:
            raise InUse(str(error)) from error
        yield
