"""Which quantities fall, by their names and as a person says."""

from __future__ import annotations

import pytest

from circuitwatch.directions import falls_by_name, said_direction
from circuitwatch.facts import Facts

FALL = (
    *("loss", "train/loss", "eval/c4_en/CrossEntropyLoss", "trainLoss", "nll", "mean_nll", "ppl"),
    *("word_perplexity", "byte_perplexity,none", "bits_per_byte", "c4_en_bpb", "brier_score"),
    *("NLLLoss", "LMLoss", "trainloss", "train_loss_step", "wer", "bits_per_char", "test_error"),
    *("cross-entropy", "Cross Entropy", "error_rate", "eval_loss", "ece", "valid/ppl"),
)
RISE = (
    *("acc", "acc_norm", "logit_diff", "loss_scale", "loss_reduction", "glossary", "exact_match"),
    *("len_norm", "tokens_per_second", "prob_diff", "loss_drop", "delta_loss", "neg_nll"),
    *("lossless", "error", "entropy"),
)


@pytest.mark.parametrize("name", FALL)
def test_names_that_fall(name: str) -> None:
    assert falls_by_name(name)


@pytest.mark.parametrize("name", RISE)
def test_names_that_do_not(name: str) -> None:
    assert not falls_by_name(name)


def test_what_a_person_says_counts_and_the_longest_pattern_first() -> None:
    said = {"*": False, "*_gap": True, "big_gap": False}
    assert said_direction("small_gap", said) is True
    assert said_direction("big_gap", said) is False and said_direction("acc", said) is False
    assert said_direction("acc", {"*_gap": True}) is None
    facts = Facts(directions={"odd": True, "loss": False})
    assert facts.quantity("odd").falls and not facts.quantity("loss").falls
    assert facts.quantity("nll").falls
    assert Facts.together([Facts(), facts]).quantity("odd").falls
