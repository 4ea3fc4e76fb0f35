"""Results as one object: what is read is what the records say, each record read once and each curve
fitted once; without torch; and one line for what is not there.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import circuitwatch as cw
from circuitwatch.errors import UserError
from circuitwatch.records import Cell, find_cells
from circuitwatch.results import Results
from circuitwatch.summary.fits import Fits
from circuitwatch.summary.importers import Request, read_sources
from circuitwatch.summary.rows import HEADINGS, EmergenceRow
from circuitwatch.summary.statistics import curve as curve_module
from circuitwatch.summary.statistics.emergence import fit_emergence
from support.sweeps import TASKS, TOKENS_PER_STEP, moment, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("out") / "demo", transfer=True)


@pytest.fixture(scope="module")
def results(sweep: Path) -> Results:
    return cw.open(sweep, n_bootstrap=20)


def test_the_examples_of_the_docstring(results: Results) -> None:
    frame = results.emergence.frame()
    assert {"model", "task", "quantity", "tokens", "tokens_low", "status"} <= set(frame)
    (row,) = [
        row
        for row in results.emergence
        if (row.model, row.task, row.quantity) == ("nano-400k", "ioi", "behaviour/value")
    ]
    assert isinstance(row, EmergenceRow) and row.status == "emerged"
    assert row.tokens == pytest.approx(moment("ioi", "nano-400k"), rel=0.15)
    assert len(frame) == len(results.emergence)
    curves = results.curves(task="ioi", quantity="behaviour")
    assert [curve.model for curve in curves] == ["nano-100k", "nano-400k"]
    assert results.circuit("nano-400k", "ioi").draw().axes
    assert len(results.tables["lags"].frame()) == len(results.compared.lags) > 0


def test_curves_are_what_the_records_say(results: Results, sweep: Path) -> None:
    cell = Cell.open(sweep / "nano-400k" / "ioi" / "seed0")
    (curve,) = results.curves("nano-400k", "ioi", "behaviour/value")
    records = list(cell.records())
    assert curve.tokens.tolist() == [record.tokens for record in records]
    assert curve.values.tolist() == [record.scalars["behaviour/value"] for record in records]
    assert curve.words == "behaviour" and curve.unit == "logit difference"
    assert curve.frame()["value"].tolist() == curve.values.tolist()
    assert curve.emergence == fit_emergence(
        curve.tokens,
        curve.values,
        chance=0.0,
        per_prompt=results.all_curves.prompts["nano-400k", "ioi", "behaviour/value", 0],
        not_above_chance=results.all_curves.not_above_chance["nano-400k", "ioi", 0].values(),
        n_bootstrap=20,
    )
    (role,) = results.curves("nano-400k", quantity="induction")
    assert (role.task, role.quantity) == ("-", "roles/induction/max")
    both = results.curves(quantity="induction")
    assert len(both) == 2 and len(both.frame()) == sum(len(one.tokens) for one in both)
    assert len(results.curves(seed=0)) == len(results.curves())


def test_a_circuit_is_the_recorded_one(results: Results, sweep: Path) -> None:
    cell = Cell.open(sweep / "nano-400k" / "ioi" / "seed0")
    with_circuit = [record for record in cell.records() if record.mask is not None]
    last = results.circuit("nano-400k", "ioi")
    assert last.step == with_circuit[-1].step and last.tokens == last.step * TOKENS_PER_STEP
    for record in (with_circuit[0], with_circuit[-1]):
        circuit = results.circuit("nano-400k", "ioi", step=record.step)
        graph = cell.header["graph"]
        expected = {
            (graph["senders"][s], graph["receivers"][r]) for s, r in np.argwhere(record.mask)
        }
        assert set(circuit.edges) == expected and len(circuit) == len(expected)
        assert circuit.faithfulness == record.scalars["circuit/faithfulness"]
        assert circuit.recovery == record.scalars["circuit/recovery"]
        ends = {name.split("<")[0] for edge in expected for name in edge}
        assert ends <= set(circuit.nodes)
        frame = circuit.frame()
        assert (frame["score"].abs().diff().dropna() <= 0).all()
        for _, row in frame.iterrows():
            place = graph["senders"].index(row["sender"]), graph["receivers"].index(row["receiver"])
            assert row["score"] == record.scores[place]


def test_every_table_of_the_summary_is_there(results: Results) -> None:
    assert list(results.tables) == list(HEADINGS)
    for name, table in results.tables.items():
        assert table.name == name and table.heading and table.reading.endswith(".")
        assert len(table) == len(table.rows) == len(table.frame())
    assert len(results.tables["cells"]) == 2 * len(TASKS)
    assert len(results.tables["transfer"]) and len(results.tables["turnover"])
    with pytest.raises(KeyError, match=r"no table .nothing.; there are emergence"):
        results.tables["nothing"]


def test_what_is_not_there_is_one_line_that_says_what_is(results: Results, tmp_path: Path) -> None:
    for ask, says in (
        (lambda: results.curves(task="mine"), "no curve with task mine; there are .*ioi"),
        (
            lambda: results.curves(quantity="x/y"),
            "no curve with quantity x/y; there are behaviour/value, .* more",
        ),
        (lambda: results.curves(seed=7), "no curve with seed 7; there are 0"),
        (
            lambda: results.circuit("nano-400k", "mine"),
            "no cell of nano-400k, mine; there are nano",
        ),
        (
            lambda: results.circuit("nano-400k", "ioi", step=1),
            r"nano-400k, ioi: no circuit at step 1 .none: behaviour not above chance.; "
            r"there are circuits at \d+",
        ),
        (lambda: cw.open(tmp_path / "absent"), "nothing to summarise: .*absent: no such file"),
    ):
        with pytest.raises(UserError, match=says) as error:
            ask()
        assert "\n" not in str(error.value)


def test_tables_of_others_and_mixes(sweep: Path, tmp_path: Path) -> None:
    tokens = np.geomspace(1e6, 1e9, 12)
    values = 1 / (1 + np.exp(-(np.log(tokens) - np.log(3e7)) / 0.3))
    table = pd.DataFrame(
        {"model": "mine", "t": tokens, "task": "sums", "quantity": "ppl", "value": 9 - values}
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    both = cw.open(tmp_path / "a.csv", sweep, columns={"tokens": "t"}, n_bootstrap=10)
    assert {"mine", "nano-400k"} <= set(both.models) and len(both.cells) == 2 * len(TASKS)
    (row,) = [row for row in both.emergence if row.model == "mine"]
    assert row.status == "emerged" and row.tokens == pytest.approx(3e7, rel=0.1)
    assert row.level == pytest.approx(8.5, abs=0.1) and row.final == pytest.approx(8.0, abs=0.01)
    asked = cw.open(
        tmp_path / "a.csv", columns={"tokens": "t"}, thresholds={"ppl": 8.25}, n_bootstrap=0
    )
    assert asked.emergence[0].level == 8.25 and asked.emergence[0].tokens > row.tokens
    with pytest.raises(UserError, match="no cell of mine, sums; there are no cells among"):
        asked.circuit("mine", "sums")


def test_each_record_is_read_once_and_each_curve_fitted_once(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[Path] = Counter()
    contents, fit = Cell.contents, curve_module.fit_logistic

    def counted(self: Cell, step: int, *names: str) -> dict[str, bytes]:
        reads[self.folder / str(step)] += 1
        return contents(self, step, *names)

    fitted: list[bytes] = []

    def counted_fit(x: np.ndarray, y: np.ndarray) -> object:
        fitted.append(y.tobytes())
        return fit(x, y)

    monkeypatch.setattr(Cell, "contents", counted)
    monkeypatch.setattr(curve_module, "fit_logistic", counted_fit)
    results = cw.open(sweep, n_bootstrap=4)
    assert not fitted, "opening fits nothing"
    for _ in range(2):
        for table in results.tables.values():
            table.frame()
    assert set(reads.values()) == {1}
    assert len(reads) == sum(len(cell.steps_done()) for cell in find_cells(sweep))
    curves = [
        results.curves(row.model, row.task, row.quantity)[0].values.tobytes()
        for row in results.emergence
    ]
    assert fitted and not Counter(fitted) - Counter(curves)  # two curves may have the same values


def test_curves_that_are_compared_share_their_samples(sweep: Path) -> None:
    """The same lag as from curves that nothing is shared between."""
    curves = read_sources(Request((str(sweep),), Path())).curves
    behaviour = ("nano-400k", "ioi", "behaviour/value", 0)
    roles = [("nano-400k", "-", f"roles/{name}/max", 0) for name in ("induction", "name_mover")]
    shared = Fits(curves, n_bootstrap=30)
    for role in roles:
        assert shared.lag(role, behaviour) == Fits(curves, n_bootstrap=30).lag(role, behaviour)


def test_reading_imports_neither_torch_nor_matplotlib(sweep: Path) -> None:
    script = (
        "import sys, circuitwatch as cw; r = cw.open(sys.argv[1], n_bootstrap=2); "
        "r.emergence; r.tables['lags'].frame(); "
        "assert not {'torch', 'transformers', 'matplotlib', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(sweep)], check=True)


def test_it_is_typed() -> None:
    assert (Path(cw.__file__).parent / "py.typed").is_file()


def test_a_summary_writes_what_the_results_say(sweep: Path, make: Callable[[Path], Path]) -> None:
    folder = make(sweep)
    results = cw.open(sweep, n_bootstrap=8)
    for name, table in results.tables.items():
        if not len(table):
            assert not (folder / f"{name}.csv").exists()
            continue
        written = pd.read_csv(folder / f"{name}.csv")
        assert list(written) == list(table.frame()) and len(written) == len(table), name


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """The function that writes a summary without figures; where it is."""
    from circuitwatch.summary import writing

    monkeypatch.setattr(writing, "draw_figures", lambda *_: {})
    return lambda sweep: writing.summarize(sweep, n_bootstrap=8).folder
