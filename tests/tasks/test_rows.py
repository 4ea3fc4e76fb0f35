"""Files of prompts in the layouts that there are, and what is wrong with damaged ones."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from circuitwatch.errors import UserError
from circuitwatch.tasks.rows import Row, read_rows

OURS = {
    "clean": "The capital of France is",
    "corrupted": "The capital of Spain is",
    "answer": "Paris",
    "wrong": "Madrid",
}
IOI = {
    "prompt": "When Mary and John went home, John gave a drink to",
    "metadata": {"indirect_object": "Mary", "subject": "John"},
    "choices": ["Mary", "John"],
    "answerKey": 0,
    "s2_io_flip_counterfactual": {
        "prompt": "When Mary and John went home, Mary gave a drink to",
        "choices": ["Mary", "John"],
        "answerKey": 1,
    },
    "abc_counterfactual": {
        "prompt": "When Tom and Ann went home, Kate gave a drink to",
        "choices": ["Tom", "Ann"],
        "answerKey": 0,
    },
}
MULTIPLE_CHOICE = {
    "prompt": "A box is brown. What color is it?\nA. gray\nB. brown\nAnswer:",
    "choices": {"label": ["A", "B"], "text": ["gray", "brown"]},
    "answerKey": 1,
    "symbol_counterfactual": {
        "prompt": "A box is brown. What color is it?\nQ. gray\nX. brown\nAnswer:",
        "choices": {"label": ["Q", "X"], "text": ["gray", "brown"]},
        "answerKey": 1,
    },
}
ARITHMETIC = {
    "prompt": "The sum of 17 and 22 is ",
    "label": 39,
    "operator": "+",
    "random_counterfactual": {"prompt": "The sum of 17 and 31 is ", "label": 48},
}


def written(kind: str, records: list[dict[str, Any]]) -> bytes:
    if kind == "jsonl":
        return "".join(json.dumps(record) + "\n" for record in records).encode()
    if kind == "parquet":
        buffer = io.BytesIO()
        pd.DataFrame(records).to_parquet(buffer)
        return buffer.getvalue()
    flat = [
        {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in r.items()}
        for r in records
    ]
    return pd.DataFrame(flat).to_csv(index=False, sep="\t" if kind == "tsv" else ",").encode()


def rows(kind: str, records: list[dict[str, Any]], **options: Any) -> list[Row]:
    return read_rows(written(kind, records), Path(f"mine.{kind}"), **options).rows


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_ours(kind: str) -> None:
    records = [
        OURS | {"position_country": "France", "group": "a", "by": "me"},
        OURS
        | {
            "answer": "Paris|Lutetia",
            "wrong": '["Madrid", "a|b"]',
            "position_country": "of#1",
            "group": "",
            "by": "me",
        },
    ]
    found = read_rows(written(kind, records), Path(f"mine.{kind}"))
    one, two = found.rows
    assert one == Row(
        1, OURS["clean"], OURS["corrupted"], ("Paris",), ("Madrid",), {"country": "France"}, "a"
    )
    assert (two.right, two.wrong) == (("Paris", "Lutetia"), ("Madrid", "a|b"))
    assert two.number == 2 and found.unused == ("by",)


def test_words_that_look_like_nothing_or_numbers_stay_words() -> None:
    text = (
        'clean,corrupted,answer,wrong\n"It is, they said",It was they said,null,NA\na b,a c,1,2\n'
    )
    found = read_rows(b"\xef\xbb\xbf" + text.encode(), Path("x.csv")).rows
    assert found[0].clean == "It is, they said"
    assert [(row.right, row.wrong) for row in found] == [(("null",), ("NA",)), (("1",), ("2",))]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_of_a_spreadsheet(mark: str) -> None:
    """Without a comma in the heading; those in the rows are text."""
    lines = ["clean|corrupted|answer|wrong", "It is, yes|It was, yes|1,5|2,5"]
    text = "\n".join(lines).replace("|", mark)
    (row,) = read_rows(text.encode(), Path("x.csv")).rows
    assert row == Row(1, "It is, yes", "It was, yes", ("1,5",), ("2,5",))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_and_numbers_as_they_are(kind: str) -> None:
    (row,) = rows(kind, [OURS | {"answer": ["Paris", "Lutetia"], "wrong": [1, 2]}])
    assert row.right == ("Paris", "Lutetia") and row.wrong == ("1", "2")


def test_the_librarys_csv() -> None:
    """With an index without a name, and a second corruption."""
    text = (
        ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
        '470,"Then, Ann met Tom","Then, Ann met Sue",x,47764,26757\n'
        '184,a b,a c,x,"[3, 4]",[5]\n'
    )
    found = read_rows(text.encode(), Path("ioi.csv"))
    assert [(r.right, r.wrong) for r in found.rows] == [((47764,), (26757,)), ((3, 4), (5,))]
    assert found.unused == ("corrupted_hard",)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_benchmarks_records(kind: str) -> None:
    (ioi,) = rows(kind, [IOI])
    assert ioi.corrupted == IOI["s2_io_flip_counterfactual"]["prompt"]  # type: ignore[index]
    assert (ioi.right, ioi.wrong) == (("Mary",), ("John",))
    (abc,) = rows(kind, [IOI], counterfactual="abc")
    assert abc.corrupted.startswith("When Tom") and abc.wrong == ("John",)
    (choice,) = rows(kind, [MULTIPLE_CHOICE])
    assert (choice.right, choice.wrong) == (("B",), ("X",))
    (arithmetic,) = rows(kind, [ARITHMETIC])
    assert (arithmetic.right, arithmetic.wrong) == (("39",), ("48",))


def test_a_record_without_the_counterfactual_has_no_corrupted_prompt() -> None:
    (row,) = rows("jsonl", [ARITHMETIC | {"random_counterfactual": None}])
    assert row.corrupted == ""


HEADING = b"clean,corrupted,answer\n"
IDS = b"clean,corrupted,correct_idx,incorrect_idx\n"
DAMAGED = {
    ("csv", b""): "x.csv: is empty",
    ("csv", HEADING): "x.csv: holds no rows",
    ("csv", b"a,b\n1,2\n"): "x.csv: has the columns a, b; needed are clean, corrupted, answer",
    ("csv", b"clean,clean,answer\na,b,c\n"): "x.csv: has two columns clean",
    ("csv", HEADING + b"a b,a c\n"): "x.csv: row 1 has 2 fields, the heading has 3",
    ("csv", HEADING + b'"a b,a c,d\n'): "x.csv: can't be read as CSV",
    ("csv", HEADING + b"a b,a c,\n"): "x.csv: row 1: answer is empty",
    ("csv", HEADING + b"a,b,c\n,a c,d\n"): "x.csv: row 2: clean is empty",
    ("csv", HEADING + b"a,b,[c\n"): "x.csv: row 1: answer='[c' can't be read as JSON",
    ("csv", b"clean,corrupted,correct_idx\nThe war,The war,52\n"): "x.csv: has correct_idx and no "
    "incorrect_idx, as EAP-IG's file of greater-than, where these are years",
    ("csv", IDS + b"a,b,x,7\n"): "x.csv: row 1: correct_idx='x' can't be read as JSON",
    ("csv", IDS + b"a,b,1.5,7\n"): "x.csv: row 1: correct_idx='1.5' is no token's id",
    ("csv", b"clean\xff"): "x.csv: is not UTF-8 (byte 5)",
    ("jsonl", b'{"clean": "a"}\n{"clean": \n'): "x.jsonl: row 2: can't be read as JSON",
    ("jsonl", b"[1]\n"): "x.jsonl: row 1: is no JSON object",
    ("jsonl", b'{"clean": 1, "corrupted": "b", "answer": "c"}'): "row 1: clean is not text",
    ("jsonl", b'{"clean": "a", "corrupted": "b", "answer": [null]}'): "is no answer, nor several",
    (
        "jsonl",
        b'{"prompt": "a", "choices": ["b"], "answerKey": 7, "counterfactual": {"prompt": "c"}}',
    ): "row 1: answerKey=7 names none of 1 choices",
    (
        "jsonl",
        b'{"prompt": "a", "label": "b", "x_counterfactual": "c"}',
    ): "row 1: x_counterfactual='c' can't be read as JSON",
    ("parquet", b"PAR1 not really"): "x.parquet: can't be read as Parquet",
    ("txt", b"a"): "x.txt: a file of prompts ends in .csv",
}


@pytest.mark.parametrize("damaged", DAMAGED)
def test_damage_is_said_in_one_line(damaged: tuple[str, bytes]) -> None:
    with pytest.raises(UserError, match=re.escape(DAMAGED[damaged])) as error:
        read_rows(damaged[1], Path(f"x.{damaged[0]}"))
    assert "\n" not in str(error.value)


def test_which_counterfactual_must_be_one_that_there_is() -> None:
    with pytest.raises(UserError, match=r"^task\.counterfactual=s1: .* there are s2_io_flip_count"):
        rows("jsonl", [IOI], counterfactual="s1")
    with pytest.raises(UserError, match=r"^task\.counterfactual=s1: .* has no counterfactuals"):
        rows("jsonl", [OURS], counterfactual="s1")
    strange = {"a_counterfactual": None, "b_counterfactual": None}
    with pytest.raises(UserError, match=r"say which with task\.counterfactual=, one of a_"):
        rows("jsonl", [{"prompt": "a", "label": "b", **strange}])
