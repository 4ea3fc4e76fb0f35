"""A user's file of prompts as tokens: the same file with several tokenizers, and rows that can't be
used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from circuitwatch.behaviour import measure, signed_sum
from circuitwatch.config import TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.tasks import PromptSet, own_task, prompts_for, task_of, with_hash
from support.tokenizers import tokenizer_named, with_digits_split

NAMES = ["Mary", "Anna", "Lucy", "Emma", "Kate", "Alice", "Jane", "Sarah", "Laura", "Julia"]
MEN = ["John", "Tom", "James", "Paul", "Mark", "Jack", "David", "Peter", "Adam", "Simon"]


def row(name: str, other: str, **more: Any) -> dict[str, Any]:
    sentence = "So {} is such a good cook, isn't"
    right = {"answer": "she", "wrong": "he"} if name in NAMES else {"answer": "he", "wrong": "she"}
    return {"clean": sentence.format(name), "corrupted": sentence.format(other), **right, **more}


ROWS = [row(a, b) for a, b in zip(NAMES + MEN, MEN + NAMES, strict=True)]


def written(folder: Path, rows: list[dict[str, Any]], name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prompts_of(path: Path, tokenizer: str = "nano", **options: Any) -> PromptSet:
    config = TaskConfig(name=path.stem, path=str(path), **options)
    return prompts_for(config, tokenizer_named(tokenizer), seed=0)


@pytest.mark.parametrize("tokenizer", ["nano", "words", "pythia"])
@pytest.mark.parametrize("bos", [True, False])
def test_the_same_file_with_any_tokenizer(tokenizer: str, bos: bool, tmp_path: Path) -> None:
    prompts = prompts_of(written(tmp_path, ROWS), tokenizer, prepend_bos=bos)
    words = tokenizer_named(tokenizer)
    assert prompts.task == "mine" and prompts.metric == "logit_diff" and not prompts.notes
    assert prompts.clean_text == tuple(row["clean"] for row in ROWS)
    for i, given in enumerate(ROWS):
        length = int(prompts.lengths[i])
        for tokens, text in ((prompts.clean, "clean"), (prompts.corrupted, "corrupted")):
            assert words.decode(tokens[i, bos:length]) == given[text]
        assert [words.decode([token]) for token in prompts.answer_ids[i]] == [
            f" {given['answer']}",
            f" {given['wrong']}",
        ]
        assert prompts.answer_signs[i].tolist() == [1, -1]


def test_positions_are_those_of_the_words(tmp_path: Path) -> None:
    rows = [
        {"clean": f"Then, {a} and {b} went. {b} gave a drink to",
         "corrupted": f"Then, {a} and {b} went. {a} gave a drink to",
         "answer": a, "wrong": b, "position_io": a, "position_s2": f"{b}#2"}
        for a, b in zip(NAMES, MEN, strict=True)
    ]  # fmt: skip
    prompts, tokenizer = prompts_of(written(tmp_path, rows)), tokenizer_named("nano")
    for i, (a, b) in enumerate(zip(NAMES, MEN, strict=True)):
        io, s2 = (int(prompts.positions[name][i]) for name in ("io", "s2"))
        assert tokenizer.decode([int(prompts.clean[i, io])]) == f" {a}"
        assert tokenizer.decode([int(prompts.clean[i, s2])]) == f" {b}"
        assert prompts.clean[i].tolist().index(int(prompts.clean[i, s2])) < s2
    rows[2]["position_io"] = "hen"  # in "Then", not as a word
    with pytest.raises(UserError, match="row 3: position_io='hen' does not stand in clean as a"):
        prompts_of(written(tmp_path, rows))
    rows[2]["position_io"] = "Zoe"
    with pytest.raises(UserError, match=r"mine\.jsonl: row 3: position_io='Zoe' does not stand in"):
        prompts_of(written(tmp_path, rows))


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    longer = row("Mary", "John") | {"corrupted": "So John is such a very good cook, isn't"}
    strange = row("Mary", "John", answer="hippopotamus")
    unknown = row("Mary", "John") | {"clean": "So Xerxes is such a good cook, isn't"}
    blank = row("Mary", "John", wrong="")
    rows = [row("Mary", "Mary"), longer, strange, longer, unknown, blank, *ROWS]
    prompts = prompts_of(written(tmp_path, rows))
    assert prompts.clean_text == tuple(row["clean"] for row in ROWS)
    assert prompts.lexicon_counts == {"rows": 26, "usable rows": 20, "rows used": 20}
    assert set(prompts.notes) == {
        "1 of 26 rows left out: clean and corrupted are the same (row 1)",
        "2 of 26 rows left out: clean and corrupted have different numbers of tokens (rows 2, 4)",
        "1 of 26 rows left out: an answer is no token of this model's tokenizer "
        "(row 3: ' hippopotamus')",
        "1 of 26 rows left out: the tokenizer does not know every word of the prompts (row 5)",
        "1 of 26 rows left out: no wrong answer (row 6)",
    }
    with pytest.raises(UserError, match=r"only 20 of 26 rows can be used .* are needed; 1 of 26"):
        prompts_of(written(tmp_path, rows), min_prompts=21)


def test_answers_that_are_no_token_are_named(tmp_path: Path) -> None:
    odd = [row("Mary", "John", answer=f"zebra{n}|she", wrong="yak") for n in range(6)]
    with pytest.raises(UserError) as error:
        prompts_of(written(tmp_path, odd))
    named = "; ".join(f"row {n + 1}: ' zebra{n}', ' yak'" for n in range(5))
    assert str(error.value).endswith(
        f"6 of 6 rows left out: an answer is no token of this model's tokenizer ({named}; …)"
    )


def test_a_missing_column_of_wrong_answers_is_named(tmp_path: Path) -> None:
    rows = [{"worng" if k == "wrong" else k: v for k, v in each.items()} for each in ROWS]
    message = (
        r"mine\.jsonl: has no column wrong \(there are unused ones: worng\), which task\.metric"
    )
    with pytest.raises(UserError, match=message):
        prompts_of(written(tmp_path, rows))
    empty = [each | {"wrong": ""} for each in ROWS]
    with pytest.raises(UserError, match=r"mine\.jsonl: has no wrong answers, which task\.metric"):
        prompts_of(written(tmp_path, empty))


def test_the_first_token_stands_for_an_answer_if_it_tells(tmp_path: Path) -> None:
    """New York and Los Angeles are several tokens each, in Pythia's tokenizer too."""
    places = {"clean": "The city of Tom is", "corrupted": "The city of Ann is"}
    told = [{**places, "answer": "New York", "wrong": ["Los Angeles", "Los Alamos"]}] * 8
    prompts = prompts_of(written(tmp_path, told), "pythia")
    words = [tokenizer_named("pythia").decode([token]) for token in prompts.answer_ids[0]]
    assert words == [" New", " Los"] and prompts.answer_signs[0].tolist() == [1, -1]
    assert prompts.notes == ("24 answers are several tokens; the first stands for each",)
    untold = [*told, {**places, "answer": "New York", "wrong": "New Delhi"}]
    with pytest.raises(UserError, match=r"row 9: the right answer 'New York' and the wrong 'New D"):
        prompts_of(written(tmp_path, untold), "pythia")


def test_several_answers_are_a_mean_of_logits_and_a_sum_of_probabilities(tmp_path: Path) -> None:
    rows = [
        row(a, b, answer="she|Mary|Anna", wrong="he|John") for a, b in zip(NAMES, MEN, strict=True)
    ]
    tokenizer = tokenizer_named("nano")
    logits = torch.randn(10, len(tokenizer), generator=torch.Generator().manual_seed(0))
    ids = {
        w: tokenizer.convert_tokens_to_ids(f" {w}") for w in ("she", "Mary", "Anna", "he", "John")
    }
    right, wrong = [ids["she"], ids["Mary"], ids["Anna"]], [ids["he"], ids["John"]]
    probabilities = logits.softmax(-1)
    expected = {
        "logit_diff": logits[:, right].mean(1) - logits[:, wrong].mean(1),
        "prob_diff": probabilities[:, right].sum(1) - probabilities[:, wrong].sum(1),
        "log_prob": probabilities[:, right].sum(1).log(),
    }
    path = written(tmp_path, rows)
    for metric, values in expected.items():
        prompts = prompts_of(path, metric=metric)
        for shift in (0.0, 7.0):  # logits have no zero of their own
            found = signed_sum(
                logits + shift, prompts.metric, prompts.answer_ids, prompts.answer_signs
            )
            torch.testing.assert_close(found, values, rtol=1e-4, atol=1e-5)


def test_log_prob_needs_no_wrong_answers_and_asks_for_an_effect_alone(tmp_path: Path) -> None:
    rows = [{k: v for k, v in each.items() if k != "wrong"} for each in ROWS]
    path, tokenizer = written(tmp_path, rows), tokenizer_named("nano")
    with pytest.raises(
        UserError, match=r"has no column wrong, which task\.metric=logit_diff needs"
    ):
        prompts_of(path)
    prompts = prompts_of(path, metric="log_prob")
    clean = torch.zeros(len(rows), len(tokenizer))
    clean.scatter_(1, prompts.answer_ids, 3.0)
    found = measure(clean, torch.zeros_like(clean), prompts, n_bootstrap=50, seed=0)
    assert found.value == pytest.approx(found.log_prob) and found.value < 0 < found.effect
    assert found.above_chance and found.accuracy == 1
    nothing = measure(clean, clean, prompts, n_bootstrap=50, seed=0)
    assert nothing.not_above_chance == "effect"
    clean[:, 5] = 4.0  # another token comes first
    assert measure(clean, clean, prompts, n_bootstrap=50, seed=0).accuracy == 0


def test_prompts_are_drawn_evenly_from_groups(tmp_path: Path) -> None:
    rows = [each | {"group": "few" if i in (4, 9) else "many"} for i, each in enumerate(ROWS)]
    path = written(tmp_path, rows)
    prompts = prompts_of(path, n_prompts=8)
    assert sorted(prompts.groups) == ["few"] * 2 + ["many"] * 6
    assert prompts.lexicon_counts["group few"] == 2
    order = [each["clean"] for each in rows]
    assert list(prompts.clean_text) == sorted(prompts.clean_text, key=order.index)
    logits = torch.zeros(8, len(tokenizer_named("nano")))
    table = measure(logits, logits, prompts, n_bootstrap=50, seed=0).per_prompt
    assert list(table["group"]) == list(prompts.groups)
    config = TaskConfig(name="mine", path=str(path), n_prompts=8)
    other = prompts_for(config, tokenizer_named("nano"), seed=1)
    assert prompts_of(path, n_prompts=8).clean_text == prompts.clean_text != other.clean_text


def test_answers_without_a_space(tmp_path: Path) -> None:
    """Digits that go on with a number, and a prompt that ends in a space."""
    tokenizer = with_digits_split(tokenizer_named("pythia"))
    answers = {"answer": "9", "wrong": "0"}
    rows = [
        {"clean": f"From 17{t}2 to 17", "corrupted": "From 1702 to 17", **answers}
        for t in range(1, 9)
    ]
    config = TaskConfig(name="mine", path=str(written(tmp_path, rows)), space=False)
    prompts = prompts_for(config, tokenizer, seed=0)
    assert [tokenizer.decode([token]) for token in prompts.answer_ids[0]] == ["9", "0"]
    for each in rows:
        each["clean"], each["corrupted"] = f"{each['clean']} ", f"{each['corrupted']} "
    config.path, config.space = str(written(tmp_path, rows)), True
    prompts = prompts_for(config, tokenizer, seed=0)
    assert [tokenizer.decode([token]) for token in prompts.answer_ids[0]] == ["9", "0"]


def test_ids_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    rows = [{"clean": each["clean"], "corrupted": each["corrupted"], "correct_idx": 20 + i,
             "incorrect_idx": [40]} for i, each in enumerate(ROWS)]  # fmt: skip
    prompts = prompts_of(written(tmp_path, rows))
    assert prompts.answer_ids.tolist() == [[20 + i, 40] for i in range(20)]
    rows[6]["correct_idx"] = 47764
    with pytest.raises(UserError, match=r"row 7: 47764 is no id of this model's tokenizer, which "):
        prompts_of(written(tmp_path, rows))


def test_a_file_that_changed_is_another_task(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS)
    config = with_hash(TaskConfig(name="mine", path=str(path)))
    assert config.sha256 is not None and task_of(config).name == "mine"
    written(tmp_path, ROWS[1:])
    with pytest.raises(UserError, match=r"mine\.jsonl: its content has changed \(SHA-256 "):
        task_of(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ioi"}, r"task\.name=ioi: is a task of the catalogue"),
        (
            {"metric": "accuracy"},
            r"task\.metric=accuracy: choose one of logit_diff, prob_diff, log",
        ),
        ({"path": "."}, r"task\.path=\.: is a folder; give a file"),
        ({"path": None, "name": "ioi", "min_prompts": 9}, r"task\.min_prompts does nothing with"),
        ({"path": "none.csv"}, r"task\.path=none\.csv: can't be read"),
        ({"path": None, "name": "ioi", "metric": "log_prob"}, r"task\.metric does nothing with"),
        ({"path": None, "name": "ioi", "counterfactual": "abc"}, r"task\.counterfactual does noth"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"name": "mine", "path": str(written(tmp_path, ROWS)), **options}
    with pytest.raises(UserError, match=message):
        task_of(TaskConfig(**given))


def test_a_files_task_by_hand(tmp_path: Path) -> None:
    task = own_task(written(tmp_path, ROWS, "my_names.jsonl"), metric="prob_diff")
    assert (task.name, task.words, task.metric) == ("my_names", "my names", "prob_diff")
    prompts = task.make_prompts(tokenizer_named("nano"), n_prompts=10, seed=0)
    assert len(prompts.lengths) == 10
