"""What is doubtful about circuits is said: faithfulness out of range, scores that had not
converged, and why there is no circuit.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from circuitwatch.summary import SummaryResult
from circuitwatch.summary.cells import CellData
from circuitwatch.summary.report.circuits import _codes
from circuitwatch.summary.report.findings import circuit_warnings


def test_the_table_counts_them(result: SummaryResult) -> None:
    rows = result.cells.set_index(["model", "task"])
    odd = rows.loc[("nano-400k", "gendered_pronoun")]
    assert (odd["out_of_range"], odd["not_converged"]) == (1, 3)
    assert (odd["score_steps"], odd["score_error"], odd["largest_score_error"]) == (27, 0.05, 0.05)
    others = rows.drop([("nano-400k", "gendered_pronoun")])
    assert (others["out_of_range"] == 0).all() and (others["not_converged"] == 0).all()
    never = rows.loc[("nano-100k", "ioi")]
    assert never["checkpoints_with_circuit"] == 0
    assert never["why_no_circuit"] == f"behaviour not above chance ({never['checkpoints']})"


def test_the_page_says_them(result: SummaryResult) -> None:
    (said,) = circuit_warnings(result.cells, result.facts)
    assert said.startswith("nano-400k, gendered pronoun: at 1 of ")
    assert "faithfulness is above 1.2 or below −0.2: the circuit does something else" in said
    assert "at 3 checkpoints the edge scores had not converged" in said
    assert "(largest estimated error 0.05 of all scores)" in said
    page = Path(result.folder / "report.html").read_text(encoding="utf-8")
    first = page.split("<h2")[1]
    assert "1 warning</summary>" in first and "the circuit does something else" in first
    assert "behaviour not above chance (" in page


def test_each_checkpoint_says_its_own(cells: list[CellData]) -> None:
    cell = next(c for c in cells if (c.model, c.task) == ("nano-400k", "gendered_pronoun"))
    names, codes = _codes(cell.curves)
    said = dict(zip(cell.curves["step"], (names[code] for code in codes), strict=True))
    assert (
        said[300] == "found; faithfulness above 1.2 or below −0.2"
        and said[1000] == "found; edge scores not converged"
    )
    assert said[500] == "found" and said[0].startswith("none: ")
    plain = pd.DataFrame({"circuit/status": ["found", None]})
    assert _codes(plain) == [["found", "not recorded"], [0, 1]]
