"""How the report's sections about head roles, turnover, the algorithm and transfer are read, and
the columns that their tables show; see `report`.
"""

from __future__ import annotations

import html

import pandas as pd

from circuitwatch.summary.heads.tables import HeadTables
from circuitwatch.summary.report.findings import findings
from circuitwatch.summary.together import Comparisons

READ_ROLES = """Each panel has one role: the score of its strongest head, by model size. Scores of
different roles are not on one scale: each has its own threshold, which the table gives. A role that
rises before a behaviour may be needed for it; one that rises after it can hardly have been. In the
table of lags <b>ratio</b> is how many times as many tokens the behaviour took: above 1 the role
came first. Where both crossings lie between the same two checkpoints their order was not seen,
whatever a fitted curve says."""
READ_TIMELINE = """A row is a head that holds a role at some checkpoint, the stronger the colour the
higher its score. Bars of full height are confirmed by cause in the task that is named: the head is
in the circuit (none is asked for on the probe <i>repeated</i>), and patching it surely changes the
behaviour; a solid bar <i>helps</i> (patching lowers the behaviour), one with a white line through
it <i>hurts</i> (patching raises it). Bars of half the height are by the score alone: the head looks
like its role. A role that can be confirmed in several tasks stands once for each. A head keeps a
role until its score is below 0.8 of the threshold, so that wandering about the threshold is not
turnover; a handover is a change of the strongest holder by a lead of at least 0.05.
<b>compensation</b> is 1 where what one head loses others gain and 0 where all move together; below
the one <b>by chance</b>, which heads moving independently would have, it speaks against
replacement, and where little moved it means little."""
READ_ALGORITHM = """IOI: B, C and D are the shares of the path-patching effects on the logits, on
the name movers' queries, and on the S-inhibition heads' keys and values that come from heads whose
roles say so; they can exceed 1 or be below 0. <b>Unexplained</b> is the share of the direct effect
on the logits that is of heads without any role. Which heads count hangs on the roles' cut-offs, so
the shaded band is the least and the most over cut-offs from 0.1 to 0.9 for all roles, and the line
is at each role's own; thin bars are 95 % intervals over prompts. A verdict is given only if every
cut-off gives the same. Greater-than: attention to the start year, its logit lens, and MLPs that
raise later years. They exist only while the behaviour is above chance. A share <i>stays</i> if all
its values lie within 0.2; the trend is per tenfold of tokens, with a 95 % interval. If heads change
while the shares stay, the algorithm is kept by other heads."""
READ_TRANSFER = """The circuit of one checkpoint is imposed on the model at another: the diagonal is
a circuit on its own model, below it are earlier circuits on later models. Circuits that transfer
though their edges differ (low Jaccard) are interchangeable. Earlier circuits that fail on later
models, while the behaviour is there, are parts that no longer do it: renamed heads if the
algorithm's shares stay, another algorithm if they move too. A larger circuit transfers more easily.
In the task table, a circuit is specific where only the diagonal is high."""

ROLES: dict[str, str | None] = {
    "model": None,
    "seed": None,
    "role": None,
    "threshold": None,
    "status": None,
    "tokens": "emerges",
    "holders_ever": "holders ever",
    "heads_at_end": "holders at the end",
    "confirmed_at_end": "confirmed, by task",
    "strongest_share": "strongest's share",
    "handovers": None,
    "lost": None,
    "regained": None,
    "compensation": None,
    "compensation_chance": "by chance",
    "rank_neighbours": "rank corr. of neighbours",
    "rank_first_last": "first to last",
    "note": None,
}
HANDOVERS: dict[str, str | None] = {
    "model": None,
    "seed": None,
    "role": None,
    "from": None,
    "to": None,
    "tokens_before": "between",
    "tokens_after": "and",
    "from_before": "old one's score",
    "from_after": "then",
    "to_before": "new one's score",
    "to_after": "then",
    "old_still_holds": "old one still holds it",
}
ALGORITHM: dict[str, str | None] = {
    "model": None,
    "seed": None,
    "task": None,
    "quantity": None,
    "verdict": None,
    "verdicts": "by cut-off",
    "n": "checkpoints",
    "mean": None,
    "min": None,
    "max": None,
    "first": None,
    "last": None,
    "band_min": "least over cut-offs",
    "band_max": "most",
    "trend": None,
    "trend_low": "low",
    "trend_high": "high",
    "heads": "strongest heads",
    "missing_at": "without it",
    "why_missing": "why",
}
TRANSFER: dict[str, str | None] = {
    "model": None,
    "seed": None,
    "task": None,
    "circuits": None,
    "edges": "mean edges",
    "own": "own model",
    "earlier_on_later": "earlier on later",
    "earlier_on_later_median": "median",
    "later_on_earlier": "later on earlier",
    "later_on_earlier_median": "median",
    "edge_jaccard": "edge Jaccard",
}
SPECIFICITY: dict[str, str | None] = {
    "model": None,
    "seed": None,
    "circuit_task": "circuit of",
    "task": "prompts of",
    "last": "last common checkpoint",
    "last_tokens": "at",
    "mean": None,
    "checkpoints": None,
}


def findings_html(emergence: pd.DataFrame, heads: HeadTables, compared: Comparisons) -> str:
    """What is found: a list of sentences a model, and where there are several seeds, one for each
    of them, folded; empty if there is nothing about heads.
    """
    if not heads.histories and heads.algorithm.empty:
        return ""
    found = findings(emergence, heads, compared)
    parts = []
    for model in dict.fromkeys(finding.model for finding in found):
        own = [finding for finding in found if finding.model == model]
        several = own[0].seed is None
        first, *others = (
            _paragraph(model if i == 0 else f"seed {finding.seed}", finding.sentences)
            for i, finding in enumerate(own)
        )
        parts.append(
            first
            + (
                f"<details><summary>each seed of "
                f"{html.escape(model)}</summary>{''.join(others)}</details>"
                if several
                else ""
            )
        )
    return "".join(parts)


def _paragraph(name: str, sentences: list[str]) -> str:
    items = "".join(f"<li>{html.escape(said)}</li>" for said in sentences)
    return f"<h3>{html.escape(name)}</h3><ul>{items}</ul>"
