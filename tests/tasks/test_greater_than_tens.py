"""Greater-than with tokenizers that split digits: one of our own, and Pythia's with its digits
split, which is how SmolLM's does it.
"""

from __future__ import annotations

import re

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from circuitwatch.behaviour import measure
from circuitwatch.errors import UserError
from circuitwatch.facts import variant_of
from circuitwatch.tasks import build_prompts
from circuitwatch.tasks.greater_than import digits
from support.tokenizers import tokenizer_named, with_digits_split

N = 64


@pytest.fixture(params=["own", "published"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    if request.param == "own":
        return tokenizer_named("digits")
    return with_digits_split(tokenizer_named("pythia"))


def test_the_prompts_ask_for_the_tens(tokenizer: PreTrainedTokenizerBase) -> None:
    prompts = build_prompts("greater_than", tokenizer, n_prompts=N, seed=0)
    assert prompts.variant == "tens" and prompts.metric == "prob_diff"
    tens = []
    for i, (clean, corrupted) in enumerate(
        zip(prompts.clean_text, prompts.corrupted_text, strict=True)
    ):
        found = re.search(r"year (\d\d)(\d)(\d) (?:to|until) the year (\d\d)$", clean)
        assert found is not None and found[1] == found[4]
        assert corrupted == clean.replace(f"{found[1]}{found[2]}{found[3]}", f"{found[1]}01")
        tens.append(int(found[2]))
        answers = {
            tokenizer.decode([token]): sign
            for token, sign in zip(
                prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True
            )
            if sign
        }
        expected = {str(d): 1 if d > tens[-1] else -1 for d in range(10) if d != tens[-1]}
        assert answers == expected
        at = {
            name: tokenizer.decode([int(prompts.clean[i, places[i]])])
            for name, places in prompts.positions.items()
        }
        century = found[1][1]
        assert at == {"year": found[2], "units": found[3], "century": century, "end": century}
    assert set(tens) == set(range(1, 9))
    assert all(sum(tens[i : i + 2]) == 9 for i in range(0, N, 2))


def test_what_is_symmetric_about_the_middle_scores_nothing(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    prompts = build_prompts("greater_than", tokenizer, n_prompts=N, seed=0)
    logits = torch.full((1, len(tokenizer)), -20.0)
    ids = digits(tokenizer)
    assert ids is not None
    for digit, token in enumerate(ids):
        logits[0, token] = -abs(digit - 4.5)
    found = measure(*[logits.expand(N, -1)] * 2, prompts, n_bootstrap=50, seed=0)
    assert found.value == pytest.approx(0, abs=1e-6) and found.effect == 0


@pytest.mark.parametrize(("knows", "above"), [(True, True), (False, False)])
def test_logits_made_by_hand(knows: bool, above: bool, tokenizer: PreTrainedTokenizerBase) -> None:
    """All probability on the digits above the start's, or on those above 5 whatever it is."""
    prompts = build_prompts("greater_than", tokenizer, n_prompts=N, seed=0)
    ids = digits(tokenizer)
    assert ids is not None
    logits = torch.full((2, N, len(tokenizer)), -30.0)
    for which, tokens in enumerate((prompts.clean, prompts.corrupted)):
        for i in range(N):
            start = ids.index(int(tokens[i, prompts.positions["year"][i]])) if knows else 5
            logits[which, i, ids[start + 1 :]] = 0.0
    found = measure(logits[0], logits[1], prompts, n_bootstrap=200, seed=0)
    assert found.above_chance == above
    if knows:
        assert found.value == pytest.approx(1, abs=1e-6) and found.accuracy == 1
        # The counterpart's digits are 1 to 9: those above t less those below.
        tens = [
            ids.index(int(t)) for t in prompts.clean.gather(1, prompts.positions["year"][:, None])
        ]
        expected = sum(((9 - t) - (t - 1)) / 9 for t in tens) / N
        assert found.corrupted == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["nano", "words", "pythia"])
def test_two_digit_tokens_are_asked_for_where_there_are(name: str) -> None:
    assert digits(tokenizer_named(name)) is None
    prompts = build_prompts("greater_than", tokenizer_named(name), n_prompts=N, seed=0)
    assert prompts.variant == "" and "units" not in prompts.positions


def test_three_digits_at_a_time_are_neither() -> None:
    """As in Llama 3: "1732" is "173" and "2"."""
    pieces = [str(number) for number in range(1000)] + [f"{n:03}" for n in range(100)]
    ids = {piece: i for i, piece in enumerate(dict.fromkeys(["<unk>", " ", *pieces]))}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[0-9]{1,3}|\s|[^0-9\s]+"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert digits(tokenizer) is None
    with pytest.raises(UserError, match="task=greater_than: only 0 of 100 two-digit numbers"):
        build_prompts("greater_than", tokenizer, n_prompts=N, seed=0)


def test_a_header_tells_its_variant() -> None:
    assert variant_of({"task_variant": "tens"}) == "tens"
    assert variant_of({"task_variant": ""}) == variant_of({}) == ""
