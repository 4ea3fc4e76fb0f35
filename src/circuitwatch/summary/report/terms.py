"""What the words of the report mean, in one plain line each, and where the documentation says more.

The page explains a term where it first appears; the documentation has the same list under "Reading
a report", so that a link to a term finds it there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

from markupsafe import Markup

PACKAGE = "circuitwatch"
PAGE = "reading-a-report/"
"""The page of the documentation that has the terms, each under the anchor `term-<key>`."""
LONGEST = 140
"""Characters of a line."""


@dataclass(frozen=True)
class Term:
    """A word of the report: its key in links, what it is called, and what it means in one line of
    at most LONGEST characters, without a full stop.
    """

    key: str
    name: str
    line: str


TERMS: tuple[Term, ...] = (
    Term(
        "emergence-point",
        "emergence point",
        "the number of training tokens at which a curve has half risen, or passes its threshold",
    ),
    Term(
        "status",
        "status",
        "what can be said of a curve: emerged, already there, not yet there (never), rose and fell "
        "(transient), or unclear (ambiguous)",
    ),
    Term(
        "interval",
        "95 % interval",
        "how uncertain a number is: the range it takes when the prompts (or checkpoints) are drawn "
        "again at random, without the outer 5 %",
    ),
    Term(
        "censored",
        "known by a limit only",
        "not there by the last checkpoint, or there already at the first: the emergence point lies "
        "beyond that",
    ),
    Term(
        "corrupted",
        "corrupted prompt",
        "the twin of a prompt, of equal length, in which the deciding word is changed",
    ),
    Term(
        "effect",
        "effect",
        "the task's metric on the prompts minus that on their corrupted twins: what the deciding "
        "word does",
    ),
    Term(
        "above-chance",
        "above chance",
        "the 95 % intervals of both the task's metric and its effect lie above 0, so the model "
        "uses the prompt",
    ),
    Term(
        "circuit",
        "circuit",
        "the smallest set of connections found that keeps enough of the behaviour (80 % by "
        "default) when all others are corrupted",
    ),
    Term(
        "recovery",
        "recovery",
        "the circuit's metric divided by the whole model's",
    ),
    Term(
        "faithfulness",
        "faithfulness",
        "where the circuit's metric lies between that of the corrupted prompts (0) and the whole "
        "model's (1)",
    ),
    Term(
        "jaccard",
        "Jaccard overlap",
        "of all edges (or nodes) that either of two circuits has, the share that both have: 1 is "
        "the same circuit, 0 nothing in common",
    ),
    Term(
        "overlap-by-chance",
        "overlap by chance",
        "what two random circuits of the same sizes would share",
    ),
    Term(
        "noise-ceiling",
        "noise ceiling",
        "what circuits from two samples of prompts share at one checkpoint: as much as unchanged "
        "circuits can share",
    ),
    Term(
        "stability",
        "stability",
        "where the overlap of two checkpoints' circuits lies between chance (0) and the noise "
        "ceiling (1, no change)",
    ),
    Term(
        "head-role",
        "head role",
        "what an attention head (or MLP) does, scored from 0 to 1; it holds the role from the "
        "role's threshold on",
    ),
    Term(
        "confirmed",
        "confirmed",
        "in that task's circuit, and patching it surely changes the behaviour: it helps if that "
        "lowers the behaviour, hurts if it raises it",
    ),
    Term(
        "handover",
        "handover",
        "another head becomes the strongest that holds a role: the old one lost it, or is behind "
        "by at least 0.05",
    ),
    Term(
        "compensation",
        "compensation",
        "1 if some heads gain what others lose, 0 if all move together; it means something only "
        "above its value by chance",
    ),
    Term(
        "previous-token",
        "previous token",
        "a head that attends to the token before the present one",
    ),
    Term(
        "duplicate-token",
        "duplicate token",
        "a head that attends to the earlier occurrence of the present token",
    ),
    Term(
        "induction",
        "induction",
        "a head that attends to the token that came after the earlier occurrence of the present "
        "one",
    ),
    Term(
        "s-inhibition",
        "S-inhibition",
        "a head that keeps the name movers from the name that is said twice",
    ),
    Term(
        "name-mover",
        "name mover",
        "a head that copies the name it attends to into the answer",
    ),
    Term(
        "negative-name-mover",
        "negative name mover",
        "a head that writes against the name it attends to",
    ),
    Term(
        "copy-suppression",
        "copy suppression",
        "a head that lowers tokens that are predicted already and that it attends to",
    ),
    Term(
        "successor",
        "successor",
        "a head that writes the next item of an ordered list: Tuesday after Monday",
    ),
    Term(
        "year-attention",
        "year attention",
        "how much the end of a greater-than prompt attends to the start year's two digits",
    ),
    Term(
        "year-push",
        "later-year MLP",
        "an MLP that raises the years after the start year above the earlier ones, in greater-than "
        "prompts",
    ),
    Term(
        "attention-sink",
        "attention sink",
        "a head that attends to the first token of a text, whatever it is",
    ),
    Term(
        "share-b",
        "B",
        "in IOI, the share of all heads' direct effect on the logits that name movers, negative "
        "ones and copy suppression have",
    ),
    Term(
        "share-c",
        "C",
        "in IOI, the share of the effect on the name movers' queries that comes from S-inhibition "
        "heads",
    ),
    Term(
        "share-d",
        "D",
        "in IOI, the share of the effect on S-inhibition heads' keys and values that is of "
        "induction and duplicate-token heads",
    ),
    Term(
        "year-lens",
        "year lens",
        "in greater-than, how high the start year ranks in what the circuit's heads write (logit "
        "lens): 1 is first, 0.5 chance",
    ),
    Term(
        "later-years",
        "raising later years",
        "the share of greater-than prompts on which the circuit's MLPs together raise the years "
        "above the start year",
    ),
    Term(
        "unexplained",
        "unexplained",
        "the share of all heads' direct effect on the logits that is of heads without any role",
    ),
    Term(
        "cutoff",
        "cut-off",
        "the score from which a head counts as holding a role; a verdict on the algorithm has to "
        "hold at all of 0.1, 0.2, … 0.9",
    ),
    Term(
        "trend",
        "trend with size",
        "the power of model size that a number goes with (slope): at −1 a model twice as large "
        "needs half as many tokens",
    ),
    Term(
        "knee",
        "size limit",
        "the model size beyond which more parameters change nothing more: the ability emerges no "
        "earlier",
    ),
    Term(
        "lag",
        "lag",
        "the tokens at which a behaviour emerged, divided by those of a role: above 1 the role "
        "came first",
    ),
    Term(
        "drift",
        "drift",
        "how a curve goes on after its rise: its slope per tenfold of tokens, as a share of the "
        "rise",
    ),
    Term(
        "transfer",
        "transfer",
        "a circuit found at one checkpoint, run in the model of another, to see if it still does "
        "the task",
    ),
    Term(
        "specificity",
        "specificity",
        "whether a circuit does its own task and no other: its faithfulness on the prompts of each "
        "task",
    ),
)
"""In the order in which a reader meets them."""
_BY_KEY = {term.key: term for term in TERMS}
_OTHERS = {
    "algorithm/B": "share-b",
    "algorithm/C": "share-c",
    "algorithm/D": "share-d",
    "algorithm/mlp_push": "later-years",
    "algorithm/unexplained_sure": "unexplained",
    "behaviour/effect": "effect",
    "circuit/found": "circuit",
    "circuit/recovery": "recovery",
    "circuit/faithfulness": "faithfulness",
}
"""Quantities whose term is not called after the last part of their key."""


def term(key: str) -> Term:
    """The term with a key. Raises KeyError where there is none."""
    return _BY_KEY[key]


def term_of(name: str) -> Term | None:
    """The term of a role or a quantity of ours, by its name or key (`name_mover`,
    `roles/name_mover/max`, `algorithm/B`, or `B` as the table of the algorithm has it); none where
    there is none, as for a user's own.
    """
    of_role = re.fullmatch(r"roles/([^/]+)/max", name)
    if of_role:
        return _BY_KEY.get(_hyphens(of_role[1]))
    if name.startswith("overlap/"):
        return _of_overlap(name)
    for key in (name, f"algorithm/{name}"):
        if key in _OTHERS:
            return _BY_KEY[_OTHERS[key]]
    group, _, last = name.rpartition("/")
    return _BY_KEY.get(_hyphens(last)) if group in ("", "algorithm") else None


def docs_link(key: str) -> str:
    """Where the documentation explains a term; empty where the installed package doesn't say where
    its documentation is.
    """
    address = documentation()
    return f"{address}{PAGE}#term-{key}" if address else ""


@cache
def documentation() -> str:
    """The address of the documentation as the package's metadata has it, with a slash at its end;
    empty where it has none.
    """
    try:
        links = metadata(PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a copy that was never installed
        return ""
    named = dict(link.split(", ", 1) for link in links)
    address = named.get("Documentation", "")
    return address.rstrip("/") + "/" if address else ""


def _of_overlap(key: str) -> Term:
    if key.endswith("_ceiling"):
        return _BY_KEY["noise-ceiling"]
    return _BY_KEY["overlap-by-chance" if key.endswith("_chance") else "jaccard"]


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class Glossary:
    """The terms of one page as its templates take them: called with a term's key it gives a link to
    the documentation, and it remembers which terms the page has not explained yet.
    """

    def __init__(self) -> None:
        self._met: dict[str, None] = {}
        self._explained: set[str] = set()

    def __call__(self, key: str, words: str = "") -> Markup:
        """A term as HTML, linked to where it is explained, its line as title.

        Args:
            key: of the term.
            words: what stands there; its name by default.
        """
        known = term(key)
        self._met[key] = None
        link = docs_link(key)
        tag = Markup('<a class="term" href="{}" title="{}">{}</a>')
        bare = Markup('<span class="term" title="{}">{}</span>')
        shown = words or known.name
        return tag.format(link, known.line, shown) if link else bare.format(known.line, shown)

    def first_met(self) -> list[Term]:
        """The terms that were named since this was last asked, and never before on the page."""
        new = [key for key in self._met if key not in self._explained]
        self._explained |= set(new)
        self._met = {}
        return [term(key) for key in new]
