"""How far circuits overlap (`circuits.overlap`, `summary.overlaps`): with the one before and with
the last one; beside them what chance gives, and the noise ceiling.
"""

from circuitwatch.catalogue import Quantity

MEASURES = {
    "edge_jaccard": "edge Jaccard",
    "node_jaccard": "node Jaccard",
    "weighted_edge_jaccard": "weighted edge Jaccard",
}
COMPARED = {"": "to the checkpoint before", "_final": "to the last circuit"}


def _of(measure: str, words: str, place: int) -> list[Quantity]:
    """One measure with all that it is compared with; those in a figure have the panel."""
    made: list[Quantity] = []

    def add(suffix: str, called: str, *, drawn: bool) -> None:
        key = f"overlap/{measure}{suffix}"
        panel = "overlaps" if drawn else ""
        last = ", with the last" if "_final" in suffix else ""
        label = words + last + (", other prompts" if "_resampled" in suffix else "")
        at = place + len(made)
        made.append(Quantity(key, called, words, (0, 1), panel=panel, label=label, place=at))

    for suffix, to in COMPARED.items():
        add(suffix, f"{words} {to}", drawn=True)
        add(f"{suffix}_chance", f"{words} {to} by chance", drawn=False)
        add(f"{suffix}_resampled", f"{words} of other prompts {to}", drawn=True)
        add(f"{suffix}_resampled_ceiling", f"noise ceiling of {words} {to}", drawn=False)
        add(f"{suffix}_resampled_chance", f"{words} of other prompts {to} by chance", drawn=False)
    add("_mean", f"{words}, exponentially weighted mean", drawn=measure == "edge_jaccard")
    add("_ceiling", f"{words} of resampled prompts at one checkpoint", drawn=False)
    return made


QUANTITY = [
    quantity
    for place, (measure, words) in enumerate(MEASURES.items())
    for quantity in _of(measure, words, 300 + 20 * place)
]
