"""`circuitwatch export`: the circuits of a cell as EAP-IG's JSON."""

from __future__ import annotations

import json
from pathlib import Path

from circuitwatch.cli.command import Command
from circuitwatch.cli.stopping import STOPPING


def export(arguments: list[str]) -> None:
    """Write each circuit of a cell (cell=…) into a folder (to=…)."""
    from circuitwatch.circuits.exchange import to_json
    from circuitwatch.circuits.graph import Graph
    from circuitwatch.cli.given import files_that, given
    from circuitwatch.records import Cell

    hint = "give cell=<folder of one cell> and to=<folder to write>"
    values = given("export", arguments, needed={"cell", "to"}, hint=hint)
    cell, target = Cell.open(Path(values["cell"]).expanduser()), Path(values["to"]).expanduser()
    model = cell.header["model"]
    graph = Graph(model["n_layers"], model["n_heads"], model["parallel"])
    written = 0
    STOPPING.begin()
    with files_that(target, "written"):
        target.mkdir(parents=True, exist_ok=True)
        for record in cell.records():
            if record.scores is not None:
                content = to_json(graph, record.scores, record.mask, d_model=model["d_model"])
                (target / f"step{record.step}.json").write_text(
                    json.dumps(content) + "\n", encoding="utf-8"
                )
                written += 1
    print(
        f"{target}: {written} circuits of {len(cell.steps_done())} checkpoints; the others "
        f"have no scored edges"
    )


COMMAND = Command(
    export,
    {
        "export cell=<folder> to=<folder>": "the circuits of a cell, one JSON file a checkpoint, "
        "as the EAP-IG library and MIB read them",
    },
)
