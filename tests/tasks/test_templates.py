"""Templates: what a file may say, what it must not, and how rows are drawn."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitwatch.config import TaskConfig
from circuitwatch.errors import UserError
from circuitwatch.tasks import own_task, task_of, templates_in
from circuitwatch.tasks.templates import chained_rows
from support.tokenizers import tokenizer_named

GOOD = """
words: who has it
metric: prob_diff
patterns: ["Then, {name} had a {thing} and {name2} had a {thing2}. {who} had a"]
lists:
  name: [Mary, Anna, John, Tom, Lucy]
  "thing, where":
    - [ring, store]
    - [book, park]
    - [ball, school]
    - [key, office]
    - [xylophone, zoo]
where: {who: "{name}"}
corrupted: {who: "{name2}"}
answer: "{thing}"
wrong: "{thing2}"
roles: [induction]
"""


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_template_is_read_as_it_says(tmp_path: Path) -> None:
    task = own_task(written(tmp_path, GOOD))
    assert (task.name, task.words, task.metric) == ("mine", "who has it", "prob_diff")
    assert task.roles == ("induction",)
    tokenizer = tokenizer_named("nano")
    prompts = task.make_prompts(tokenizer, n_prompts=20, seed=0)
    assert prompts.lexicon_counts == {"name": 5, "thing, where": 4}
    assert set(prompts.positions) == {"name", "name2", "thing", "thing2", "who", "end"}
    sentence = r"Then, (\w+) had a (\w+) and (\w+) had a (\w+)\. (\w+) had a"
    for i, (clean, corrupted) in enumerate(
        zip(prompts.clean_text, prompts.corrupted_text, strict=True)
    ):
        parts = re.fullmatch(sentence, clean)
        assert parts is not None
        first, thing, second, other, who = parts.groups()
        assert who == first != second and thing != other
        assert corrupted == clean.removesuffix(f"{first} had a") + f"{second} had a"
        answers = [tokenizer.decode([token]) for token in prompts.answer_ids[i]]
        assert answers == [f" {thing}", f" {other}"]
        at = int(prompts.positions["who"][i])
        assert tokenizer.decode([int(prompts.clean[i, at])]) == f" {who}"
    again = own_task(tmp_path / "mine.yaml").make_prompts(tokenizer, n_prompts=20, seed=0)
    assert again.clean_text == prompts.clean_text


WRONG = {
    "name: [Mary": ("- [Mary", r"mine\.yaml: can't be read as YAML"),
    'wrong: "{thing2}"': ("", r"mine\.yaml: wrong: is missing"),
    "roles: [induction]": ("rolls: [x]", r"mine\.yaml: rolls: no such key; there are "),
    "[induction]": ("[inducing]", r"mine\.yaml: roles: inducing: no such role; there are "),
    "metric: prob_diff": ("metric: chance", r"mine\.yaml: metric: 'chance'; choose one of logit"),
    'answer: "{thing}"': ("answer: {thing}", r"mine\.yaml: answer: {'thing': None} is not text; p"),
    'wrong: "{thing2}" ': ('wrong: "{name2}"', r"mine\.yaml: wrong: must be {thing} with another"),
    'wrong: "{thing2}"  ': ('wrong: "a {thing2}"', r"mine\.yaml: wrong: .* must be one slot"),
    "{who} had a": ("{whom} had a", r"mine\.yaml: patterns\[0\]: {whom}: no such slot; there are"),
    "{who} had a ": ("{who had a", r"mine\.yaml: patterns\[0\]: .*: expected '}'"),
    'corrupted: {who: "{name2}"}': (
        'corrupted: {whose: "{name2}"}',
        r"mine\.yaml: corrupted\.whose: is no slot of 'Then, ",
    ),
    'corrupted: {who: "{name2}"} ': (
        'corrupted: {who: "{name}"}',
        r"task=mine: corrupted changes nothing in 'Then, ",
    ),
    "[key, office]": ("[key]", r"mine\.yaml: lists\.thing, where\[3\]: \['key'\] is not one word"),
    "[book, park]": ("[ring, store]", r"mine\.yaml: lists\.thing, where: ring, store is there tw"),
    "Lucy]": ("no]", r"mine\.yaml: lists\.name\[4\]: False is not text; put it in quotes"),
    'name: [Mary, Anna, John, Tom, Lucy]': ("name2: [Mary]", r"lists\.name2: 'name2' must be of"),
    'where: {who: "{name}"}': ('where: {name: "{name2}"}', r"mine\.yaml: where\.name: must be a"),
    'patterns: ["Then': ('patterns: ["Theodora', r"task=mine: this model's tokenizer does not k"),
    "metric: prob_diff ": ("metric: [logit_diff]", r"mine\.yaml: metric: \['logit_diff'\]; choose"),
    "metric: prob_diff  ": ("metric: {a: 1}", r"mine\.yaml: metric: {'a': 1}; choose one of logit"),
    "roles: [induction] ": ("answer: a", r"yaml: answer: is there twice \(again in line 17\)"),
    'where: {who: "{name}"} ': (
        'where: {who: "{name}", who: "{name2}"}',
        r"mine\.yaml: who: is there twice \(again in line 13\)",
    ),
    "{who} had a  ": ("{who!r} had a", r"yaml: patterns\[0\]: {who!r}: a slot is a name alone"),
    "{who} had a   ": ("{who:>10} had a", r"yaml: patterns\[0\]: {who:>10}: a slot is a name"),
    'where: {who: "{name}"}  ': (
        'where: {who: "{name!s:4}"}',
        r"mine\.yaml: where\.who: {name!s:4}: a slot is a name alone, {name}, without",
    ),
    "[ball, school]": ("[viola, school]", r"task=mine: only 3 of 5 rows of thing, where are"),
}  # fmt: skip


@pytest.mark.parametrize("part", WRONG)
def test_what_is_wrong_is_said_with_file_and_key(part: str, tmp_path: Path) -> None:
    new, message = WRONG[part]
    old = part.rstrip()
    assert old in GOOD
    with pytest.raises(UserError, match=message) as error:
        own_task(written(tmp_path, GOOD.replace(old, new))).make_prompts(
            tokenizer_named("nano"), n_prompts=8, seed=0
        )
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_template(tmp_path: Path) -> None:
    for text in ("", "- a", "\x00"):
        with pytest.raises(UserError, match=r"mine\.yaml: "):
            own_task(written(tmp_path, text))
    with pytest.raises(UserError, match=r"task\.metric=log_prob: .*mine\.yaml says itself"):
        own_task(written(tmp_path, GOOD), metric="log_prob")


def test_templates_are_found_below_a_configuration_folder(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    path = written(tmp_path / "tasks", GOOD)
    written(tmp_path / "tasks", "a,b", "other.csv")
    short = written(tmp_path / "tasks", GOOD, "other.yml")
    again = written(tmp_path / "tasks", GOOD, "other.yaml")
    assert templates_in([tmp_path, tmp_path / "none", tmp_path]) == {
        "mine": [path],
        "other": [again, short],
    }


PRONOUNS = """
patterns: ["So {name} is such a good cook, isn't"]
lists:
  "name, pron": [[Mary, she], [Anna, she], [Lucy, she], [Emma, she], [John, OTHER]]
corrupted: {name: "{name2}"}
answer: "{pron}"
wrong: "{pron2}"
"""


def test_answers_that_are_all_the_same_word(tmp_path: Path) -> None:
    same = r"mine\.yaml: lists\.name, pron: all rows have the same pron, 'she'; right and wrong ans"
    with pytest.raises(UserError, match=same):
        own_task(written(tmp_path, PRONOUNS.replace("OTHER", "she")))
    task = own_task(written(tmp_path, PRONOUNS.replace("OTHER", "xylophone")))
    left = r"task=mine: the 4 of 5 rows of name, pron that are single tokens .* same pron, 'she'; "
    with pytest.raises(UserError, match=left):
        task.make_prompts(tokenizer_named("nano"), n_prompts=8, seed=0)


@pytest.mark.parametrize("option", [{"min_prompts": 2}, {"space": False}, {"counterfactual": "a"}])
def test_options_of_files_of_prompts_are_refused(option: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert task_of(TaskConfig(name="mine", path=str(path))).name == "mine"
    (key,) = option
    with pytest.raises(UserError, match=rf"^task\.{key} does nothing with .*mine\.yaml; it is for"):
        task_of(TaskConfig(name="mine", path=str(path), **option))


@given(
    words=st.lists(st.sampled_from("abcde"), min_size=2, max_size=12).filter(
        lambda words: len(set(words)) > 1
    ),
    n=st.integers(1, 40),
    seed=st.integers(0, 10),
)
def test_rows_are_right_as_often_as_wrong(words: list[str], n: int, seed: int) -> None:
    """Whatever the words, but for the last pair where two alternate an odd number of times."""
    rows = tuple((word, str(i)) for i, word in enumerate(words))
    chain = chained_rows(rows, 0, n, random.Random(seed))
    assert len(chain) == n and all(right[0] != wrong[0] for right, wrong in chain)
    assert all(one[1] == two[0] for one, two in pairwise(chain))
    right, wrong = Counter(r for r, _ in chain), Counter(w for _, w in chain)
    odd_one_out = n == 1 or (len(set(words)) == 2 and n % 2)
    assert right == wrong or odd_one_out


def test_rows_are_used_about_equally_often() -> None:
    rows = tuple((word, "") for word in "abcdefg")
    used = Counter(right for right, _ in chained_rows(rows, 0, 70, random.Random(0)))
    assert set(used) == set(rows) and max(used.values()) - min(used.values()) <= 2
