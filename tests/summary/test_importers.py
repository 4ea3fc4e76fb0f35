"""Reading curves from anywhere: what comes out, and the line that is said about what can't be
used.
"""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from circuitwatch.checkpoints.suites import read_suites
from circuitwatch.cli.choices import conf_dir
from circuitwatch.errors import UserError
from circuitwatch.records import find_cells
from circuitwatch.summary.curve_tables import emergence_rows, scaling_rows
from circuitwatch.summary.curves import COLUMNS, Curves, combine
from circuitwatch.summary.fits import LONGEST, Fits, evenly
from circuitwatch.summary.importers import kind_of, parse_request, read_sources
from circuitwatch.summary.importers.cells import curves_of, read_cells
from circuitwatch.summary.importers.format import Asked
from circuitwatch.summary.importers.registry import Registry
from circuitwatch.summary.importers.tidy import read_tidy, to_numbers
from circuitwatch.summary.importers.wandb_runs import connect, find_runs, read_runs
from circuitwatch.summary.statistics.emergence import fit_emergence
from support.wandb_server import FakeApi, FakeRun, running_wandb

SUITES = read_suites([conf_dir()])
REGISTRY = Registry(SUITES)
PYTHIA = 2_097_152
STEPS = [0, 1, 2, 4, 1000, 2000, 3000]
TOKENS = [0, *(PYTHIA * 10**k for k in range(6))]


def rising(model: str = "m", **columns: object) -> pd.DataFrame:
    """A tidy curve of seven checkpoints that rises between the fourth and the fifth."""
    values = [0.0, 0.01, 0.0, 0.02, 0.9, 1.0, 1.0]
    plain = {
        "model": model,
        "params": 1e6,
        "tokens": TOKENS,
        "task": "t",
        "quantity": "q",
        "value": values,
    }
    return pd.DataFrame(
        {key: value for key, value in (plain | columns).items() if value is not None}
    )


def load(tmp_path: Path, *tables: pd.DataFrame, **given: str) -> Curves:
    """What a CSV file of these rows gives through the dispatcher."""
    path = tmp_path / "table.csv"
    pd.concat(tables).to_csv(path, index=False)
    return read_sources(parse_request({"from": str(path), "to": "x"} | given), SUITES).curves


def noted(curves: Curves, pattern: str) -> bool:
    assert all("\n" not in note for note in curves.notes)
    return any(re.search(pattern, note) for note in curves.notes)


# Tidy tables


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
def test_a_tidy_table_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    table = pd.concat([rising(seed=k, stderr=0.1, source_file="x") for k in (0, 1)])
    path = tmp_path / f"curves.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    curves = read_sources(parse_request({"from": str(path), "to": "x"})).curves
    assert tuple(curves.table) == COLUMNS and len(curves.table) == 14
    assert curves.curve("m", "t", "q", 1).to_dict() == dict(
        zip(TOKENS, rising()["value"], strict=True)
    )
    assert (curves.table["stderr"] == 0.1).all() and (curves.table["params"] == 1e6).all()
    assert noted(curves, "columns not used: source_file$")


def test_names_of_columns_by_alias_and_by_mapping(tmp_path: Path) -> None:
    other = rising().rename(
        columns={"params": "params_total", "quantity": "Metric", "value": "score", "model": "who"}
    )
    curves = load(tmp_path, other, columns="model:who")
    assert curves.curve("m", "t", "q").iloc[-1] == 1.0
    with pytest.raises(UserError, match=r"no column model; it has who, .*columns=model:"):
        load(tmp_path, other)
    with pytest.raises(UserError, match="there is no column modle to give"):
        load(tmp_path, other, columns="modle:who")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no column task, value, step or tokens; it has model, params, quantity"
    ):
        load(tmp_path, rising().drop(columns=["task", "value", "tokens"]))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.2B", 1.2e9),
        ("300M", 3e8),
        ("2e9tokens", 2e9),
        ("5k", 5e3),
        ("1_000", 1e3),
        ("2.1 B tokens", 2.1e9),
        ("1,000,000", 1e6),
        ("160m", 1.6e8),
    ],
)
def test_numbers_as_people_write_them(text: str, number: float) -> None:
    assert to_numbers(pd.Series([text]))[0].iloc[0] == pytest.approx(number)


def test_entries_with_a_unit_beside_entries_without_one(tmp_path: Path) -> None:
    """In the first block of the file every entry is a number, so the reader has to change its
    mind.
    """
    many = pd.concat([rising("many")] * 6000).assign(seed=np.arange(6000).repeat(7))
    last = rising("last", seed=0, tokens=["0", "2M", "20M", "210M", "2.1B", "21B", "x"])
    curves = load(tmp_path, many, last)
    assert (tmp_path / "table.csv").stat().st_size > 2**20  # a block of pyarrow's reader
    assert list(curves.curve("last", "t", "q").index) == [0, 2e6, 2e7, 2.1e8, 2.1e9, 2.1e10]
    assert noted(curves, r"tokens: 1 entry is no number \('x'\)")
    assert noted(curves, r"tokens: 5 entries have a unit such as '2M', 36000 have none")
    assert noted(curves, "1 values of last t q have neither step nor tokens: left out")


def test_what_is_not_surely_a_number_is_missing(tmp_path: Path) -> None:
    """0,5 may be a half or an error, never five."""
    numbers, notes = to_numbers(pd.Series(["0,5", "1,5", "1,234,567", "12,34"]))
    assert list(numbers.dropna()) == [1_234_567] and "3 entries are no numbers" in notes[0]


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("model,tokens,task,quantity,value\nmodèle,1,t,q,1\n".encode("latin1"))
    with pytest.raises(UserError, match=r"column model is not text in UTF-8"):
        read_tidy(path, Asked(REGISTRY))


def test_steps_become_tokens_by_registry_option_or_column(tmp_path: Path) -> None:
    steps = [0, 1, 10, 100, 1000, 10_000, 100_000]
    known = rising("EleutherAI/pythia-70m", tokens=None, step=steps, params=None)
    curves = load(tmp_path, known)
    assert list(curves.curve("pythia-70m", "t", "q").index) == TOKENS
    assert set(curves.table["params"]) == {70426624.0}
    mine = rising("mine", tokens=None, step=steps)
    curves = load(tmp_path, known, mine)
    assert curves.models == ["pythia-70m"] and noted(
        curves, r"mine t q have a step but no tokens.*tokens_per_step="
    )
    assert (
        list(load(tmp_path, mine, tokens_per_step="1024").curve("mine", "t", "q").index)[-1]
        == 1024 * 100_000
    )
    assert (
        list(load(tmp_path, mine.assign(tokens_per_step=7)).curve("mine", "t", "q").index)[-1]
        == 700_000
    )
    beside = rising("mine", quantity="other", step=steps)  # gives tokens too, so the rate is known
    assert list(load(tmp_path, mine, beside).curve("mine", "t", "q").index) == TOKENS


def test_a_model_of_one_published_state_says_nothing_about_tokens_per_step() -> None:
    assert (
        REGISTRY.tokens_per_step("gpt2") is None and REGISTRY.tokens_per_step("pythia-1b") == PYTHIA
    )
    assert REGISTRY.checkpoint("OLMo-7B", "step1000-tokens4B") == (1000.0, 4e9)
    assert (
        REGISTRY.name_of("EleutherAI__pythia-v1.1-160m") == "pythia-160m"
        and REGISTRY.name_of("mine") is None
    )


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (
            rising("pythia-70m", tokens=[0, 1, 2, 4, 1000, 2000, 143_000]),
            "tokens of pythia-70m are its steps: converted",
        ),
        (rising("pythia-70m", step=STEPS, tokens=STEPS), "are its steps: converted"),
        (
            rising("pythia-70m", tokens=[0, 2.1, 4.2, 6.3, 21, 210, 300]),
            "tokens of pythia-70m are in billions: converted",
        ),
        (
            rising("pythia-70m", step=STEPS, tokens=[x * PYTHIA / 1e6 for x in STEPS]),
            "are in millions: converted",
        ),
    ],
)
def test_units_that_can_be_told_are_converted(tmp_path: Path, bad: pd.DataFrame, says: str) -> None:
    curves = load(tmp_path, bad, rising())
    assert noted(curves, says)
    last = {143_000: 143_000 * PYTHIA, 300: 3e11}.get(bad["tokens"].iloc[-1], 3000 * PYTHIA)
    assert curves.curve("pythia-70m", "t", "q").index[-1] == pytest.approx(last)
    assert list(curves.curve("m", "t", "q").index) == TOKENS


BAD = {
    "steps among tokens": (
        rising("bad", tokens=[0, 1000, 2000, 3000, 8e9, 1e10, 2e10]),
        "mixed units: tokens of bad t q jump by a factor above 10000",
    ),
    "one row in another unit": (
        rising("bad", step=[0, 1, 10, 100, 1000, 10_000, 100_000], tokens=[*TOKENS[:6], 210]),
        r"mixed units: 1 values of bad t q have tokens per step that are 100 times off",
    ),
    "tokens fall": (
        rising("bad", step=range(7), tokens=[0, 1e6, 2e6, 1.5e6, 4e6, 5e6, 6e6]),
        "tokens of bad t q do not rise with their steps",
    ),
    "negative": (
        rising("bad", tokens=[-5, *TOKENS[1:]]),
        "1 values of bad t q have negative tokens",
    ),
    "all missing": (rising("bad", value=np.nan), "every value of bad t q is missing or infinite"),
    "some infinite": (
        rising("bad", value=[0, 0, np.inf, 0, np.nan, 1, 1]),
        "2 values of bad t q are missing or infinite",
    ),
    "one checkpoint": (rising("bad").iloc[:1], r"one checkpoint only in 1 curve \(bad t q\)"),
    "no model": (rising(None), "7 rows without model, task or quantity left out"),
    "params in billions": (
        rising("bad", params=0.16),
        "params of bad is 0.16, not a number of parameters",
    ),
    "two sizes": (rising("bad", params=2e6), r"fewer than 3 model sizes \(2\): no trend"),
    "no size": (rising("bad", params=None), "no parameter count for bad"),
    "several sizes": (
        rising("bad", params=[1e6] * 4 + [2e6] * 3),
        "bad has 2 different numbers of parameters",
    ),
    "out of order": (
        rising("bad").iloc[::-1],
        r"tokens of 1 curve \(bad t q\) are not in ascending order: sorted",
    ),
    "text as value": (
        rising("bad", value=["0", "0", "none of it", "0", "1", "1", "1"]),
        r"value: 1 entry is no number \('none of it'\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_the_rest_is_summarised(tmp_path: Path, name: str) -> None:
    bad, says = BAD[name]
    curves = load(tmp_path, bad, rising("good"))
    assert noted(curves, says), curves.notes
    assert list(curves.curve("good", "t", "q").index) == TOKENS
    rows = emergence_rows(Fits(curves, {"q": 0.5}, n_bootstrap=20))
    assert rows.frame().set_index("model").loc["good", "crossing_low"] == TOKENS[3]
    scaling_rows(curves, rows)


def test_curves_that_are_fine_have_no_notes(tmp_path: Path) -> None:
    sizes = [rising(name, params=size) for name, size in (("a", 1e6), ("b", 2e6), ("c", 4e6))]
    assert load(tmp_path, *sizes).notes == []
    lone = rising(
        "d", params=3e6, tokens=[0, *(PYTHIA * k for k in (1, 2, 4, 1000, 2000, 143_000))]
    )
    assert (
        load(tmp_path, *sizes, lone).notes == []
    )  # a schedule with wide gaps, each step above the one before


def test_the_same_tokens_twice(tmp_path: Path) -> None:
    same = load(tmp_path, rising(), rising())
    assert len(same.table) == 7 and not noted(same, "different values")
    with pytest.raises(
        UserError, match=r"table.csv: different values of m t q at 0 tokens \(0 and 9"
    ):
        load(tmp_path, rising(), rising(value=[9.0] * 7).iloc[:1])


def test_a_size_that_contradicts_the_registry_is_corrected(tmp_path: Path) -> None:
    curves = load(tmp_path, rising("pythia-1.4b", params=14e9))
    assert set(curves.table["params"]) == {1414647808.0}
    assert noted(curves, r"pythia-1.4b has 1.4e\+10 parameters there, 1.415e\+09 in the registry")


def test_shots_are_part_of_the_task(tmp_path: Path) -> None:
    curves = load(tmp_path, rising(shots=0), rising(shots=5, value=0.5))
    assert set(curves.table["task"]) == {"t", "t 5-shot"}


def test_only_if_nothing_is_left_is_there_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to summarise: .*every value of m t q") as caught:
        load(tmp_path, rising(value=np.nan))
    assert "\n" not in str(caught.value)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    rising().to_csv(tmp_path / "good.csv", index=False)
    names = ("empty.csv", "torn.parquet", "absent.csv", "good.csv")
    given = {"from": ",".join(str(tmp_path / name) for name in names), "to": "x"}
    curves = read_sources(parse_request(given)).curves
    assert (
        len(curves.table) == 7 and sum(note.startswith("left out: ") for note in curves.notes) == 3
    )


def test_a_long_curve_is_thinned_and_says_so(tmp_path: Path) -> None:
    """Fits are quadratic in the number of checkpoints, so 20,000 of them would take minutes and
    gigabytes.
    """
    tokens = np.arange(20_000) * 1e6
    values = 1 / (1 + np.exp(-(np.log(np.maximum(tokens, 1e6)) - np.log(1e9)) / 0.3))
    curves = load(
        tmp_path,
        pd.DataFrame(
            {"model": "m", "task": "t", "quantity": "q", "tokens": tokens, "value": values}
        ),
    )
    (row,) = emergence_rows(Fits(curves, n_bootstrap=20))
    assert row.n <= LONGEST and "of 20000 checkpoints" in row.note
    assert row.status == "emerged" and row.tokens == pytest.approx(1e9, rel=0.05)
    kept = evenly(tokens)
    assert kept[0] == 0 and kept[-1] == 19_999 and (np.diff(kept) > 0).all()


# Results of lm-evaluation-harness


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def earlier(acc: float, arguments: str, shots: int = 0) -> dict[str, object]:
    results = {"lambada": {"acc": acc, "acc_stderr": 0.01, "ppl": 100.0, "ppl_stderr": 1.0}}
    return {
        "results": results,
        "versions": {"lambada": 0},
        "config": {"model_args": arguments, "num_fewshot": shots},
    }


def later(acc: float, arguments: object, shots: int = 0) -> dict[str, object]:
    metrics = {
        "alias": "lambada",
        "sample_len": 5153,
        "acc,none": acc,
        "acc_stderr,none": 0.01,
        "exact_match,strict": 0.2,
        "exact_match_stderr,strict": "N/A",
    }
    return {
        "results": {"lambada": metrics},
        "n-shot": {"lambada": shots},
        "config": {"model": "hf", "model_args": arguments},
    }


def test_both_schemes_of_the_harness_give_the_same_curves(tmp_path: Path) -> None:
    for step, acc in ((0, 0.0), (1000, 0.2), (143000, 0.4)):
        arguments = f"pretrained=EleutherAI/pythia-v1.1-160m,revision=step{step}"
        write(tmp_path / f"a/pythia-160m/zero-shot/160m_step{step}.json", earlier(acc, arguments))
        write(
            tmp_path / f"a/pythia-160m/five-shot/160m-5shot_step{step}.json",
            earlier(acc / 2, arguments, shots=5),
        )
        when = f"results_2025-01-0{len(str(step))}T00-00-00.000001.json"
        write(
            tmp_path / "b/EleutherAI__pythia-160m" / when,
            later(acc, arguments.replace("-v1.1", "")),
        )
    write(
        tmp_path / "c/EleutherAI__pythia-160m/results_1.json",
        later(0.3, {"pretrained": "EleutherAI/pythia-160m", "revision": "step2000"}, shots=5),
    )
    a, b, c = (
        read_sources(parse_request({"from": str(tmp_path / x), "to": "x"}), SUITES).curves
        for x in "abc"
    )
    expected = {0.0: 0.0, 1000.0 * PYTHIA: 0.2, 143000.0 * PYTHIA: 0.4}
    assert a.curve("pythia-160m", "lambada", "acc").to_dict() == expected
    assert b.curve("pythia-160m", "lambada", "acc").to_dict() == expected
    assert a.curve("pythia-160m", "lambada 5-shot", "acc").iloc[-1] == 0.2
    assert c.curve("pythia-160m", "lambada 5-shot", "acc").to_dict() == {2000.0 * PYTHIA: 0.3}
    assert set(b.table["quantity"]) == {"acc", "exact_match,strict"} and set(
        a.table["quantity"]
    ) == {"acc", "ppl"}
    assert b.table.query("quantity == 'acc'")["stderr"].eq(0.01).all()
    assert b.table.query("quantity != 'acc'")["stderr"].isna().all()
    assert set(a.table["params"]) == {162322944.0}
    rows = emergence_rows(Fits(a, n_bootstrap=10))
    assert "ppl" in {row.quantity for row in rows} and a.facts.quantity("ppl").falls


def test_results_of_ones_own_models(tmp_path: Path) -> None:
    for model in ("small", "large"):
        for step in (0, 100, 200):
            write(
                tmp_path / f"evals/{model}/results_{step}.json",
                later(step / 200, f"pretrained=runs/{model}/checkpoint-{step}"),
            )
    write(
        tmp_path / "evals/small/results_again.json",
        later(1.0, "pretrained=runs/small/checkpoint-200"),
    )
    write(tmp_path / "evals/large/results_final.json", later(0.9, "pretrained=runs/large/final"))
    write(tmp_path / "evals/large/package.json", {"name": "no result"})
    write(tmp_path / "evals/large/x_step7.json", earlier(0.1, "pretrained=x,revision=step8"))
    (tmp_path / "evals/large/torn.json").write_text("{")
    given = {"from": str(tmp_path / "evals"), "to": "x", "tokens_per_step": "1000"}
    curves = read_sources(parse_request(given), SUITES).curves
    assert curves.curve("large", "lambada", "acc").to_dict() == {0.0: 0.0, 1e5: 0.5, 2e5: 1.0}
    assert curves.curve("small", "lambada", "acc").to_dict() == {0.0: 0.0, 1e5: 0.5, 2e5: 1.0}
    for line in (
        r"1 file left out \(results_final.json\): no step",
        r"1 file left out \(package.json\): no result of lm-evaluation-harness",
        r"\(x_step7.json\): the file's name says another step than its revision step8",
        r"\(torn.json\): can't be read as JSON",
    ):
        assert noted(curves, line), curves.notes
    with pytest.raises(UserError, match=r"have a step but no tokens"):
        read_sources(parse_request({"from": str(tmp_path / "evals"), "to": "x"}), SUITES)


# Input that looks right and is not


ALL = [0, 1, 2, 4, 1000, 2000, 143_000]
EXACT = [step * PYTHIA for step in ALL]
COUNTS = "tokens are counts, such as 2.1e9"


def test_tokens_that_may_be_no_counts_are_named_with_what_would_be_right(tmp_path: Path) -> None:
    in_billions = [t / 1e9 for t in TOKENS]
    for table, says in (
        (
            rising("a", tokens=in_billions),
            r"table.csv: tokens of a have fractions, such as 0.00209715, so may be no counts: ",
        ),
        (
            rising("a", tokens=[0, 1, 2, 3, 4, 5, 300]),
            "tokens of a are at most 300, so may be no counts: ",
        ),
        (
            rising("a", tokens=[0, *TOKENS[1:6], 2e19]),
            r"tokens of a go up to 2e\+19, more than any model was trained on",
        ),
        (
            rising("a", tokens=[k * 1000 for k in range(7)]),
            r"tokens of a end at 6000, of b at 2.097e\+11: one of them",
        ),
        (
            rising("a", tokens=[*TOKENS[:6], 2.2e14]),
            r"tokens of a t q jump from 2.097e\+10 to 2.2e\+14 at the end: ",
        ),
    ):
        alone = "at most" in says
        curves = load(tmp_path, table, *([] if alone else [rising("b")]))
        assert noted(curves, says + f".*{COUNTS}"), curves.notes
        assert curves.curve("a", "t", "q").index.tolist() == table["tokens"].tolist()
    doubted = load(tmp_path, rising("a", tokens=[0, 1e3, 2e3, 3e3, 8e9, 1e10, 2e10]), rising("b"))
    assert (
        doubted.models == ["b"] and len(doubted.notes) == 2
    )  # left out as mixed, and so not doubted besides


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (
            [x * 0.25 for x in ALL],
            "fewer than one, so no counts: its steps with 2.09715e.06 tokens a step are used",
        ),
        ([round(t / 1e9) for t in EXACT], "in billions, rounded to 1e.09 tokens: its steps with"),
        ([f"{round(t / 1e9)}B" for t in EXACT], "rounded to 1e.09 tokens: its steps with"),
        (
            [round(t / 1e9, 2) for t in EXACT],
            "in billions, rounded to 1e.07 tokens: its steps with",
        ),
    ],
)
def test_tokens_of_a_known_model_that_its_steps_know_better(
    tmp_path: Path, tokens: list[object], says: str
) -> None:
    curves = load(tmp_path, rising("pythia-70m", step=ALL, tokens=tokens))
    assert curves.curve("pythia-70m", "t", "q").index.tolist() == EXACT and noted(
        curves, f"tokens of pythia-70m are .*{says}"
    )


def test_tokens_that_cannot_be_counts_are_left_out(tmp_path: Path) -> None:
    curves = load(
        tmp_path,
        rising("a", step=ALL, tokens=[t / 1e9 for t in EXACT]),
        rising("b", step=ALL, tokens=EXACT),
    )
    assert noted(
        curves, f"tokens of a are 0.0021 a step, fewer than one, so no counts .{COUNTS}.*left out"
    )
    assert curves.models == ["b"] and noted(
        curves, "7 values of a t q left out: their tokens are no counts"
    )
    curves = load(tmp_path, rising("pythia-70m", tokens=[0, 0.3, 0.5, 0.7, 7, 11, 13]), rising("b"))
    assert curves.models == ["b"] and noted(
        curves, "tokens of pythia-70m are at most 13, but one of its steps has 2.097e.06"
    )
    early = load(tmp_path, rising("OLMo-7B", tokens=[k * 4.5e6 for k in range(7)]))
    assert (
        early.curve("OLMo-7B", "t", "q").index[-1] == 27e6
    )  # more than a step, before any that is published
    curves = load(
        tmp_path,
        rising("pythia-70m", tokens=[round(t / 1e9, 2) for t in EXACT]).iloc[3:],
        rising("b"),
    )
    assert noted(curves, "tokens of pythia-70m are in billions: converted; rounded to 1e.07 tokens")
    assert curves.curve("pythia-70m", "t", "q").index[-1] == pytest.approx(EXACT[-1], rel=1e-4)


def test_a_comma_is_the_decimal_sign_where_semicolons_separate(tmp_path: Path) -> None:
    text = "model;tokens;task;quantity;value\n" + "".join(
        f"m;{10**k}0000;t;q;{k},022\n" for k in range(4)
    )
    for name in ("a.csv", "a.csv.gz"):
        path = tmp_path / name
        pd.read_csv(io.StringIO(text), sep=";", dtype=str).to_csv(path, index=False, sep=";")
        curve = read_tidy(path, Asked(REGISTRY)).curve("m", "t", "q")
        assert curve.tolist() == [0.022, 1.022, 2.022, 3.022]
    (tmp_path / "b.csv").write_text(text.replace(";t;", ",5;t;").replace("10000,5", "1,500"))
    assert noted(
        read_tidy(tmp_path / "b.csv", Asked(REGISTRY)),
        "tokens: a comma is read as the decimal sign",
    )
    curves = load(tmp_path, rising(value=[f"{k},022" for k in range(1, 8)]))
    assert curves.curve("m", "t", "q").tolist() == [k * 1000 + 22 for k in range(1, 8)]


def test_shots_as_people_write_them(tmp_path: Path) -> None:
    tables = [
        rising(shots=shots)
        for shots in ("0-shot", "5-shot", "25 shot", "3", "five", "2.5", "inf", "-1", "1e30")
    ]
    curves = load(tmp_path, *tables)
    assert (
        set(curves.table["task"]) == {"t", "t 3-shot", "t 5-shot", "t 25-shot"}
        and len(curves.table) == 28
    )
    assert noted(
        curves, "shots: 35 rows with 'five', '2.5', 'inf' and 2 more left out: not whole numbers"
    )
    assert noted(
        load(tmp_path, rising(shots=2.5), rising(shots=np.inf), rising(shots=5)),
        "shots: 14 rows with",
    )


def test_seeds_that_are_none(tmp_path: Path) -> None:
    for seeds, says in (
        ((0, 1.5), "seed: 7 rows with '1.5' left out"),
        ((0, 1e30), "seed: 7 rows with '1e.30' left out"),
        ((0, np.inf), "7 rows with 'inf' left out"),
        ((0, "alpha"), "7 rows with 'alpha' left out"),
        (("alpha", "beta"), "names are numbered: alpha is 0, beta is 1"),
        ((3, np.nan), "7 rows have none: taken as 0"),
    ):
        curves = load(tmp_path, *(rising(seed=seed) for seed in seeds))
        assert noted(curves, says), curves.notes
        assert len(curves.table) == (7 if "left out" in says else 14)
    big = pd.concat([rising(seed=2**53), rising(seed=2**53 + 1)])
    assert set(load(tmp_path, big).table["seed"]) == {2**53, 2**53 + 1}


def test_columns_that_no_table_has(tmp_path: Path) -> None:
    for columns, says in (
        (
            "value:acc",
            r"^columns=value:acc: no table has a column acc; "
            r"table.csv has model, params, tokens, task, quantity, value$",
        ),
        ("valu:value", "^columns=valu:value: there is no column valu to give"),
    ):
        with pytest.raises(UserError, match=says):
            load(tmp_path, rising(), columns=columns)
    rising().to_csv(tmp_path / "a.csv", index=False)
    both = {"from": f"{tmp_path / 'a.csv'},{tmp_path / 'b.csv'}", "to": "x", "columns": "value:v"}
    with pytest.raises(
        UserError, match=r"column v; a.csv has .*b.csv: no such file"
    ):  # which may have had it
        read_sources(parse_request(both), SUITES)
    write(tmp_path / "evals/pythia-70m/x_step1000.json", earlier(0.1, ""))
    with pytest.raises(UserError, match="no table has a column v; no source is a table"):
        read_sources(
            parse_request({"from": str(tmp_path / "evals"), "to": "x", "columns": "value:v"}),
            SUITES,
        )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"model,tokens,task,quantity,value,value\nm,1,t,q,1,2\n",
            "more than one column is called value",
        ),
        (
            b"model|tokens|task|quantity|value\nm|1|t|q|1\n",
            "its first line is one column, 'model.tokens.*separated by comma, semicolon or tab",
        ),
        (
            "model,tokens,task,quantity,value\nm,1,t,q,1\n".encode("utf-16"),
            "is text in UTF-16; save it as UTF-8",
        ),
        ("\ufeffmodel,tokens\n".encode("utf-16-be"), "is text in UTF-16; save it as UTF-8"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"a.csv: {says}") as caught:
        read_tidy(tmp_path / "a.csv", Asked(REGISTRY))
    assert "\n" not in str(caught.value)


def test_models_of_another_organisation_are_other_models(tmp_path: Path) -> None:
    curves = load(tmp_path, rising("EleutherAI/pythia-70m", value=0.5), rising("mylab/pythia-70m"))
    assert set(curves.models) == {"pythia-70m", "mylab/pythia-70m"} and len(curves.table) == 14
    assert noted(curves, "models under the registry's names: EleutherAI/pythia-70m is pythia-70m$")
    assert (
        REGISTRY.name_of("mylab__pythia-70m") is None
        and REGISTRY.name_of("/runs/evals/pythia-70m") == "pythia-70m"
    )
    write(tmp_path / "x/results_step1000.json", earlier(0.1, "pretrained=mylab/pythia-70m"))
    own = read_sources(
        parse_request({"from": str(tmp_path / "x"), "to": "x", "tokens_per_step": "7"}), SUITES
    ).curves
    assert own.models == ["mylab/pythia-70m"] and set(own.table["tokens"]) == {7000.0}


def test_numbers_that_cannot_be(tmp_path: Path) -> None:
    for column, number in (
        ("params", np.inf),
        ("params", -5e6),
        ("params", 0),
        ("stderr", -1),
        ("stderr", np.inf),
    ):
        curves = load(tmp_path, rising("bad", **{column: number}), rising("good", stderr=0.1))
        shown = re.escape(f"{number:g}")
        assert noted(curves, f"{column} of bad( t q)? is .*{shown}.*: taken as missing"), (
            curves.notes
        )
        rows = curves.table.query("model == 'bad'")
        assert len(rows) == 7 and rows[column].isna().all()
        emergence_rows(Fits(curves, n_bootstrap=10))
    curves = load(tmp_path, rising("bad", value=[0, 0, 1e308, -1e308, 1, 1, 1]), rising("good"))
    assert (
        noted(curves, r"2 values of bad t q are beyond ±1e\+100: left out")
        and len(curves.table) == 12
    )


def test_files_of_the_harness_that_no_harness_wrote(tmp_path: Path) -> None:
    write(tmp_path / "e/pythia-70m/good_step1000.json", earlier(0.1, ""))
    write(tmp_path / "e/pythia-70m/a_step1.json", earlier(0.1, "") | {"config": "foo"})
    write(tmp_path / "e/pythia-70m/c_step2.json", earlier(10**400, ""))
    (tmp_path / "e/pythia-70m/deep.json").write_text("[" * 200_000)
    curves = read_sources(parse_request({"from": str(tmp_path / "e"), "to": "x"}), SUITES).curves
    assert noted(curves, r"1 file left out \(a_step1.json\): its `config` is no group of settings")
    assert noted(curves, r"1 file left out \(deep.json\): can't be read as JSON")
    assert curves.curve("pythia-70m", "lambada", "acc").to_dict() == {1000.0 * PYTHIA: 0.1}


def test_perplexity_emerges_where_the_same_rise_does(tmp_path: Path) -> None:
    rise = rising()
    fall = rise.assign(quantity="ppl", value=1 - rise["value"])
    curves = load(tmp_path, rise, fall)
    down, up = emergence_rows(Fits(curves, {"q": 0.5, "ppl": 0.5}, n_bootstrap=20))
    assert (down.quantity, up.quantity) == ("ppl", "q")
    assert (down.status, down.crossing_low) == (up.status, up.crossing_low)
    assert (up.status, up.crossing_low) == ("emerged", TOKENS[3])
    assert (down.tokens, down.final) == (pytest.approx(up.tokens), 0.0)


# Cells


def test_cells_as_curves_are_what_the_records_say(sweep_folder: Path) -> None:
    """Values and values per prompt, against the records read one by one; and the table's row is the
    fit to them.
    """
    found = find_cells(sweep_folder)
    curves = combine([curves_of(read_cells(found)[0])])
    rows = emergence_rows(Fits(curves, n_bootstrap=20)).frame()
    cell = next(
        c for c in found if (c.header["model"]["name"], c.header["task"]) == ("nano-400k", "ioi")
    )
    records = list(cell.records())
    for quantity in ("behaviour/value", "behaviour/accuracy", "behaviour/log_prob"):
        curve = curves.curve("nano-400k", "ioi", quantity)
        assert dict(curve) == {record.tokens: record.scalars[quantity] for record in records}
    prompts = curves.prompts["nano-400k", "ioi", "behaviour/value", 0]
    for record in records:
        assert prompts.loc[record.tokens].tolist() == record.prompts["value"].tolist()
    row = rows.query(
        "model == 'nano-400k' and task == 'ioi' and quantity == 'behaviour/value'"
    ).iloc[0]
    fitted = fit_emergence(
        [r.tokens for r in records],
        [r.scalars["behaviour/value"] for r in records],
        chance=0.0,
        per_prompt=prompts,
        n_bootstrap=20,
    )
    assert (row["status"], row["tokens"], row["tokens_low"]) == (
        fitted.status,
        fitted.tokens,
        fitted.low,
    )


def test_standard_errors_and_damaged_records_of_cells(
    make_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_sweep(tmp_path / "s", models=("nano-400k",), tasks=("ioi",))
    cell = find_cells(folder)[0]
    step = cell.steps_done()[-1]
    scalars = cell.read(step).scalars
    curves = read_sources(parse_request({"from": str(folder), "to": "x"})).curves
    last = curves.table.query("quantity == 'behaviour/value'").iloc[-1]
    assert last["stderr"] == pytest.approx(
        (scalars["behaviour/high"] - scalars["behaviour/low"]) / (2 * 1.96), rel=1e-4
    )
    assert not curves.table["quantity"].str.contains("low|high|sha256|above_chance").any()
    damaged = cell.folder / f"checkpoints/step{step:06}/scalars.json"
    damaged.write_text(damaged.read_text().replace("0.8", "0.9"))
    again = read_sources(parse_request({"from": str(cell.folder), "to": "x"})).curves
    assert noted(again, "scalars.json: damaged") and again.table["step"].max() < step


# W&B


def fake_project(sweep: Path) -> dict[str, list[FakeRun]]:
    """What `tracking` would have logged of a sweep's cells, and two runs that can't be used."""
    runs = []
    for number, cell in enumerate(find_cells(sweep)):
        logged = [{"tokens": r.tokens, "step": r.step, **r.scalars} for r in cell.records()]
        rows = [
            {"_step": k, "_runtime": 0.1 * k, "_timestamp": 1.7e9 + k} | row
            for k, row in enumerate(logged)
        ]
        config = {
            **cell.header["config"],
            "seed": cell.header["seed"],
            "model_facts": cell.header["model"],
        }
        runs.append(FakeRun(f"run{number}", config, rows))
    runs.append(
        FakeRun("other", {"model": "x", "lr": 0.1}, [{"_step": 0, "loss": 1.0}], group="other")
    )
    runs.append(FakeRun("torn", {"model": "x"}, TimeoutError("too slow"), group="other"))
    return {"me/proj": runs}


def as_read(curves: Curves) -> pd.DataFrame:
    return combine([curves]).table.drop(columns="source")


def test_the_double_has_the_signatures_of_the_real_api() -> None:
    from wandb.apis.public import Api, Run

    for double, real in ((FakeApi.runs, Api.runs), (FakeRun.scan_history, Run.scan_history)):
        assert [(p.name, p.default) for p in inspect.signature(double).parameters.values()] == [
            (p.name, p.default) for p in inspect.signature(real).parameters.values()
        ]


def test_runs_give_what_their_cells_give(sweep_folder: Path) -> None:
    projects = fake_project(sweep_folder)
    curves = read_runs(find_runs("me/proj", lambda: FakeApi(projects)), registry=REGISTRY)
    of_cells = curves_of(read_cells(find_cells(sweep_folder))[0])
    logged = replace(
        of_cells, table=of_cells.table[~of_cells.table["quantity"].str.contains("_final")]
    )
    pd.testing.assert_frame_equal(as_read(curves), as_read(logged))
    assert curves.not_above_chance == of_cells.not_above_chance
    assert set(curves.not_above_chance["nano-100k", "ioi", 0].values()) == {"value and effect"}
    assert noted(curves, r"run torn: history can't be read \(too slow\)")
    assert noted(curves, r"1 run \(other\) with no number beside tokens or step")
    group = read_runs(find_runs("me/proj/demo", lambda: FakeApi(projects)), registry=REGISTRY)
    assert group.notes == [] and len(group.table) == len(curves.table)


def test_runs_of_other_programs() -> None:
    rows = [
        {"_step": k, "step": 10 * k, "eval/acc": k / 4, "note": "x", "nan": "NaN"} for k in range(4)
    ]
    rows += [{"_step": 4, "step": 30, "eval/acc": 0.9}]  # resumed: logged again
    api = FakeApi({"me/p": [FakeRun("mine", {"model": "mine", "params": 5000, "seed": 3}, rows)]})
    curves = read_runs(find_runs("me/p", lambda: api), registry=REGISTRY, tokens_per_step=100)
    assert curves.curve("mine", "run", "eval/acc", 3).to_dict() == {
        0.0: 0.0,
        1000.0: 0.25,
        2000.0: 0.5,
        3000.0: 0.9,
    }


@pytest.mark.parametrize(
    ("project", "says"),
    [
        ("me/absent", "wandb:me/absent: can't be read"),
        ("me/p/none", "no run there of group none"),
        ("me", "give wandb:<entity>/<project>"),
    ],
)
def test_projects_that_are_not_there(project: str, says: str) -> None:
    api = FakeApi({"me/p": [FakeRun("a", {}, [])]})
    with pytest.raises(UserError, match=says):
        find_runs(project, lambda: api)


def test_without_an_account_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        UserError, match="no W&B account on this machine; set WANDB_API_KEY"
    ) as caught:
        connect()
    assert "\n" not in str(caught.value)


KEY = "k1e2y3" * 6 + "abcd"
CLIENT = """
import sys
from circuitwatch.errors import UserError
from circuitwatch.summary.importers import wandb_runs
from circuitwatch.summary.importers.registry import Registry
wandb_runs.TIMEOUT = 3
for project in sys.argv[2:]:
    try:
        curves = wandb_runs.read_runs(wandb_runs.find_runs(project), registry=Registry())
        curves.table.to_parquet(sys.argv[1])
    except UserError as error:
        print(error)
assert not {"torch", "transformers"} & set(sys.modules)
"""


def ask(server: str, folder: Path, *projects: str) -> str:
    """Run the real client in a process of its own, with nobody's settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    env |= {
        "HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
        "WANDB_BASE_URL": server,
        "WANDB_API_KEY": KEY,
        "WANDB_CACHE_DIR": str(folder),
        "WANDB_DIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(folder / "out.parquet"), *projects],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stdout


def test_the_real_client_reads_a_server(sweep_folder: Path, tmp_path: Path) -> None:
    projects = fake_project(sweep_folder)
    with running_wandb({"me/proj": projects["me/proj"][:2]}) as server:
        said = ask(server.url, tmp_path, "me/absent", "me/proj/demo")
        assert said.startswith("wandb:me/absent: can't be read (") and said.count("\n") == 1
        assert server.keys == {KEY}
        assert 'runs {"group": "demo"}' in server.asked and {"history run0", "history run1"} <= set(
            server.asked
        )
    read = pd.read_parquet(tmp_path / "out.parquet").sort_values(
        ["quantity", "task", "tokens"], ignore_index=True
    )
    expected = combine([curves_of(read_cells(find_cells(sweep_folder)[:2])[0])]).table
    expected = expected[~expected["quantity"].str.contains("_final")]
    expected = expected.sort_values(["quantity", "task", "tokens"], ignore_index=True)
    assert len(read) == len(expected)
    np.testing.assert_allclose(read["value"].astype(float), expected["value"], rtol=1e-9)


def test_without_a_network_there_is_one_line(tmp_path: Path) -> None:
    said = ask("http://127.0.0.1:9", tmp_path, "me/proj")
    assert (
        said == "wandb: no connection (http://127.0.0.1:9 can't be reached: Connection refused)\n"
    )


# The command line's part


def test_what_a_path_is(sweep_folder: Path, tmp_path: Path) -> None:
    rising().to_csv(tmp_path / "a.csv")
    write(tmp_path / "evals/m/m_step1.json", earlier(0.1, ""))
    write(tmp_path / "neither/x.json", {"a": 1})
    (tmp_path / "x.txt").write_text("")
    kinds = {
        "wandb:a/b": "wandb",
        sweep_folder: "cells",
        next(sweep_folder.glob("*/*/seed0")): "cells",
        tmp_path / "a.csv": "tidy",
    }
    kinds |= {tmp_path / "evals": "harness", tmp_path / "evals/m/m_step1.json": "harness"}
    for source, kind in kinds.items():
        assert kind_of(str(source)) == kind
    for source, says in (
        ("neither", "looked for cells .* and for .*results of lm-eval.*tables are given as files"),
        ("absent", "no such file"),
        ("x.txt", "not a table"),
    ):
        with pytest.raises(UserError, match=says):
            kind_of(str(tmp_path / source))


def test_a_mix_is_put_together(sweep_folder: Path, tmp_path: Path) -> None:
    rising("pythia-160m", params=None).to_csv(tmp_path / "a.csv", index=False)
    write(tmp_path / "evals/pythia-70m/x_step1000.json", earlier(0.1, ""))
    given = {"from": f"{sweep_folder},{tmp_path / 'a.csv'},{tmp_path / 'evals'}", "to": "x"}
    sources = read_sources(parse_request(given), SUITES)
    assert len(sources.cells) == 8 and {"pythia-160m", "pythia-70m", "nano-400k"} <= set(
        sources.curves.models
    )
    assert set(sources.curves.table["source"]) == {"a.csv", "evals", sweep_folder.name}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"from": "a.csv"}, "give from="),
        ({"from": "a.csv", "to": "x", "by": "y"}, "give from="),
        (
            {"from": "a.csv", "to": "x", "tokens_per_step": "-1"},
            "tokens_per_step=-1: give a number",
        ),
        ({"from": "a.csv", "to": "x", "thresholds": "acc"}, "acc is no pair"),
        ({"from": "a.csv", "to": "x", "thresholds": "acc:high"}, "high is no number"),
        (
            {"from": "a.csv", "to": "x", "thresholds": "acc:nan"},
            "thresholds=acc:nan: nan is no number that a curve can cross",
        ),
        (
            {"from": "a.csv", "to": "x", "thresholds": "acc:inf"},
            "thresholds=acc:inf: inf is no number that a curve can cross",
        ),
    ],
)
def test_arguments_that_cannot_be(given: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse_request(given)


def test_thresholds(tmp_path: Path) -> None:
    request = parse_request({"from": "a", "to": "b", "thresholds": "t/q:0.5,ppl:2"})
    assert request.thresholds == {"t/q": 0.5, "ppl": 2.0}
    curves = load(tmp_path, rising(), rising(quantity="other"))
    rows = emergence_rows(Fits(curves, {"t/q": 0.5}, n_bootstrap=10)).frame()
    rows = rows.set_index("quantity")
    assert list(rows["rule"]) == ["half rise", "threshold"] and rows.loc["q", "level"] == 0.5
    with pytest.raises(UserError, match="no curve t/z"):
        emergence_rows(Fits(curves, {"t/z": 0.5}))


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    rising().to_csv(tmp_path / "a.csv", index=False)
    code = (
        "import sys; from circuitwatch.summary.importers import *; from "
        "circuitwatch.summary.curve_tables import emergence_rows; "
        "from circuitwatch.summary.fits import Fits; "
        "sources = read_sources(parse_request({'from': sys.argv[1], 'to': 'x'})); "
        "emergence_rows(Fits(sources.curves)); "
        "assert not {'torch', 'transformers', 'wandb'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.csv")], check=True)


def test_a_mapping_that_one_table_needs_does_not_harm_another(tmp_path: Path) -> None:
    rising("a").to_csv(tmp_path / "a.csv", index=False)
    rising("b").rename(columns={"value": "v"}).to_csv(tmp_path / "b.csv", index=False)
    for name in "ab":
        asked = Asked(REGISTRY, {"value": "v"})
        assert read_tidy(tmp_path / f"{name}.csv", asked).models == [name]
