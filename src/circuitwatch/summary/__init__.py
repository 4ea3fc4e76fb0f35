"""From records and from others' results to a summary: tables, figures and one report. Imports no
torch, so that it starts quickly.

One path serves every source: curves are read (`importers`), their emergence and what goes with size
are looked for (`curve_tables`, by `fits`), and what curves say together (`together`); cells among
the sources add circuits, heads, the algorithm and transfer. `results` puts it into one object, and
`writing` writes that.

Written to <sweep>/summary, or to the folder asked for: the tables that `rows` names as CSV, where
they have rows; notes.txt; the figures that `drawing` names as PNG, SVG and PDF; report.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitwatch.summary.printing import print_summary
    from circuitwatch.summary.writing import SummaryResult, summarize, summarize_sources

__all__ = ["SummaryResult", "print_summary", "summarize", "summarize_sources"]


def __getattr__(name: str) -> Any:
    """What writes a summary, imported when it is first asked for: reading results needs no
    Matplotlib.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from circuitwatch.summary import printing, writing

    return getattr(printing if name == "print_summary" else writing, name)
