"""The greater-than measures against loops over prompts on Hugging Face's modules, on a small
trained model whose years are two tokens, and a random one that sees digits; shares and intervals on
made-up effects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitwatch.algorithms import Findings, confirm_roles, unconfirmed
from circuitwatch.algorithms.causes import Case
from circuitwatch.algorithms.effects import Effects
from circuitwatch.algorithms.greater_than import written_at_end, year_pushes
from circuitwatch.checkpoints.loading import load_model
from circuitwatch.checkpoints.tokenizers import load_tokenizer
from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.graph import place_of
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.circuits.resampling import bootstrap_weights
from circuitwatch.config import HeadsConfig
from circuitwatch.tasks import PromptSet, build_prompts
from support.models import logit_difference, make_variant
from support.textbook import Textbook
from support.tokenizers import tokenizer_named

N_PROMPTS = 12


class Trained:
    """The last checkpoint: as circuitwatch loads it, as Hugging Face does, and what was found in
    it.
    """

    def __init__(self, folder: Path, nodes: list[str] | None) -> None:
        self.model, self.hf = load_model(folder), GPTNeoXForCausalLM.from_pretrained(folder)
        self.hf.requires_grad_(False)
        self.prompts: PromptSet = build_prompts(
            "greater_than", load_tokenizer(folder), n_prompts=N_PROMPTS, seed=0
        )
        roles = pd.DataFrame(
            [
                (role, layer, head, 0.9)
                for role in ("successor", "induction")
                for layer in (0, 1)
                for head in (0, 1)
            ],
            columns=["role", "layer", "head", "score"],
        )
        prepared = Prepared(self.model, self.prompts, batch_size=5)
        self.findings: Findings = confirm_roles(
            prepared, self.prompts, roles, nodes, HeadsConfig(), n_bootstrap=200, seed=0
        )

    def outputs(self, prompt: int) -> dict[str, torch.Tensor]:
        length = int(self.prompts.lengths[prompt])
        book = Textbook(self.hf)
        outputs = book.run(book.embed(self.prompts.clean[prompt : prompt + 1, :length]))[1]
        return {name: output[0, -1] for name, output in outputs.items()}

    def lens(self, written: torch.Tensor, prompt: int) -> dict[int, float]:
        """Logit of every two-digit number in the lens of what a part writes, by the place of the
        number in the prompt's list of answers.
        """
        norm = self.hf.gpt_neox.final_layer_norm
        seen = (written - written.mean()) * norm.weight
        return {i: float(self.hf.lm_head.weight[i] @ seen) for i in self.numbers()}

    def numbers(self) -> set[int]:
        """All 100 two-digit numbers, or the ten digits."""
        ids = self.prompts.answer_ids[self.prompts.answer_signs != 0].tolist()
        return {*ids, *(self.start(i) for i in range(N_PROMPTS))}

    def start(self, prompt: int) -> int:
        """The token of the start year."""
        return int(self.prompts.clean[prompt, self.prompts.positions["year"][prompt]])


@pytest.fixture(scope="module", params=["two digits", "tens"])
def trained(
    request: pytest.FixtureRequest, trained_suite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = trained_suite / "step300"
    if request.param == "tens":
        folder = tmp_path_factory.mktemp("digits")
        tokenizer = tokenizer_named("digits")
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        config = GPTNeoXConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=48,
            initializer_range=0.3,
        )
        GPTNeoXForCausalLM(config).save_pretrained(folder)
    found = Trained(folder, graph_of(load_model(folder)).nodes)
    assert found.prompts.variant == ("tens" if request.param == "tens" else "")
    assert len(found.numbers()) == (10 if request.param == "tens" else 100)
    return found


def scores_of(findings: Findings, role: str) -> dict[tuple[int, int], float]:
    rows = findings.roles[findings.roles["role"] == role]
    return {(r.layer, r.head): r.score for r in rows.itertuples()}


def test_year_attention_equals_hugging_faces(trained: Trained) -> None:
    trained.hf.set_attn_implementation("eager")
    totals = np.zeros((2, 2))
    for i, length in enumerate(trained.prompts.lengths.tolist()):
        attentions = trained.hf(
            trained.prompts.clean[i : i + 1, :length], output_attentions=True
        ).attentions
        positions = trained.prompts.positions
        year = [int(positions[name][i]) for name in ("year", "units") if name in positions]
        totals += np.array(
            [[float(layer[0, head, -1, year].sum()) for head in (0, 1)] for layer in attentions]
        )
    scores = scores_of(trained.findings, "year_attention")
    for (layer, head), score in scores.items():
        assert score == pytest.approx(totals[layer, head] / N_PROMPTS, abs=1e-5)


def test_year_push_and_the_measures_equal_loops(trained: Trained) -> None:
    prompts, pushes, ranks = trained.prompts, np.zeros((2, N_PROMPTS)), np.zeros((4, N_PROMPTS))
    every = [trained.outputs(i) for i in range(N_PROMPTS)]
    by_mlp = [
        [trained.lens(every[i][f"m{layer}"], i) for i in range(N_PROMPTS)] for layer in (0, 1)
    ]
    for i, outputs in enumerate(every):
        start = trained.start(i)
        sign = dict(
            zip(prompts.answer_ids[i].tolist(), prompts.answer_signs[i].tolist(), strict=True)
        )
        for layer in (0, 1):
            logits = by_mlp[layer][i]
            usual = {token: np.mean([other[token] for other in by_mlp[layer]]) for token in logits}
            above, others = (
                [v - usual[t] for t, v in logits.items() if sign.get(t) == s] for s in (1, -1)
            )
            pushes[layer, i] = np.mean(above) - np.mean(others)
            for head in (0, 1):
                logits = trained.lens(outputs[f"a{layer}.h{head}"], i)
                rest = [v for token, v in logits.items() if token != start]
                ranks[2 * layer + head, i] = np.mean([v < logits[start] for v in rest])
    scores = scores_of(trained.findings, "year_push")
    assert [scores[layer, -1] for layer in (0, 1)] == pytest.approx((pushes > 0).mean(1))
    scalars = trained.findings.scalars
    assert scalars["algorithm/mlp_push"] == pytest.approx((pushes.sum(0) > 0).mean())
    direct = trained.findings.patching[0].set_index("sender")["effect"]
    weights = direct[["a0.h0", "a0.h1", "a1.h0", "a1.h1"]].abs().to_numpy()
    # 2e-3: two numbers whose logits are nearly equal may change places.
    assert scalars["algorithm/year_lens"] == pytest.approx(
        (weights @ ranks / weights.sum()).mean(), abs=2e-3
    )
    attention = np.array(list(scores_of(trained.findings, "year_attention").values()))
    assert scalars["algorithm/year_attention"] == pytest.approx(
        weights @ attention / weights.sum(), abs=1e-5
    )
    for name in ("year_attention", "year_lens", "mlp_push"):
        low, value, high = (scalars[f"algorithm/{name}{end}"] for end in ("_low", "", "_high"))
        assert 0 <= low <= value <= high <= 1


def test_roles_are_checked_on_the_circuits_mlps(trained: Trained) -> None:
    roles = trained.findings.roles
    checked = roles[roles["role"].isin(["successor", "induction"])]
    assert (checked["effect_on"] == "circuit MLPs").all()
    effects = trained.findings.patching[1].set_index("sender")["effect"]
    for row in checked.itertuples():
        effect = effects[f"a{row.layer}.h{row.head}"]
        counts = abs(effect) >= HeadsConfig().min_effect and (
            row.effect_low > 0 or row.effect_high < 0
        )
        assert row.effect == effect and row.confirmed == counts
        assert pd.isna(row.sign) != counts and (
            not counts or row.sign == ("helps" if effect < 0 else "hurts")
        )


def test_heads_outside_the_circuit_are_not_checked(trained_suite: Path) -> None:
    found = Trained(trained_suite / "step300", ["input", "a1.h0", "m1", "logits"]).findings
    checked = found.roles[found.roles["role"] == "successor"].set_index(["layer", "head"])
    assert checked["effect"].notna().tolist() == [False, False, True, False]
    assert list(found.patching[1]["sender"]) == ["a1.h0"]
    # In a model with parallel blocks the MLP does not see its own layer's heads.
    assert checked.loc[(1, 0), "effect"] == 0


def test_without_a_circuit_the_measures_are_left_out(trained_suite: Path) -> None:
    found = Trained(trained_suite / "step300", None).findings
    for name in ("year_attention", "year_lens", "mlp_push"):
        assert (
            found.scalars[f"algorithm/{name}_left_out"] == "no circuit"
            and f"algorithm/{name}" not in found.scalars
        )
    assert len(scores_of(found, "year_attention")) == 4 and len(scores_of(found, "year_push")) == 2


def test_a_constant_liking_for_late_years_is_no_push(trained: Trained) -> None:
    """Whatever is added to the output of an MLP on all prompts alike changes no push."""
    prompts = trained.prompts
    case = Case(trained.model, None, prompts, None, HeadsConfig(), np.empty(0))  # type: ignore[arg-type]  # nothing is patched
    written = torch.randn(
        3, N_PROMPTS, trained.model.d_model, generator=torch.Generator().manual_seed(0)
    )
    late = trained.model.W_U[:, prompts.answer_ids[0][prompts.answer_signs[0] > 0]].sum(1)
    plain, liking = year_pushes(case, written), year_pushes(case, written + late)
    torch.testing.assert_close(liking, plain, rtol=1e-3, atol=1e-4)
    assert plain.abs().mean() > 0.01


def test_before_there_is_behaviour_the_roles_are_seen_all_the_same(trained: Trained) -> None:
    prepared = Prepared(trained.model, trained.prompts)
    table = trained.findings.roles[["role", "layer", "head", "score"]]
    successors = table[table["role"] == "successor"]
    found = unconfirmed(
        prepared, trained.prompts, successors, HeadsConfig(), n_bootstrap=10, seed=0
    )
    for role in ("year_attention", "year_push"):
        assert scores_of(found, role) == pytest.approx(scores_of(trained.findings, role), abs=1e-5)
    assert found.roles["effect"].isna().all() and not found.scalars


@pytest.mark.parametrize("variant", ["olmo2", "gemma2", "phi"])
def test_what_is_written_at_the_end_is_what_nodes_add(variant: str, tmp_path: Path) -> None:
    """Behind the norm of what attention and MLP add, where there is one."""
    small = make_variant(variant, tmp_path)
    patcher = PathPatcher(small.prepared(3), logit_difference)
    case = Case(small.model, patcher, small.prompts, None, HeadsConfig(), np.empty(0))  # type: ignore[arg-type]  # nothing but their number is looked at
    by_heads, by_mlps = written_at_end(case)
    for i, length in enumerate(small.prompts.lengths.tolist()):
        stream = small.textbook.embed(small.prompts.clean[i : i + 1, :length])
        outputs = small.textbook.run(stream)[1]
        for name, output in outputs.items():
            if place := place_of(name):
                layer, head = place.layer, place.head
                found = by_mlps[layer][i] if head < 0 else by_heads[layer][head][i]
                torch.testing.assert_close(found, output[0, -1], rtol=1e-4, atol=1e-5)


def test_shares_count_sizes_of_effects() -> None:
    """Two heads against each other: −0.6 and +0.3 of the behaviour, and one of −0.1; a tenth of a
    unit each prompt more or less.
    """
    unit = np.full(50, 2.0)
    wobble = np.random.default_rng(0).normal(0, 0.1, (3, 50))
    effects = Effects(
        "logits", ["a0.h0", "a0.h1", "a1.h0"], np.array([[-1.2], [0.6], [-0.2]]) + wobble, unit
    )
    share = effects.share({"a0.h0", "a0.h1"})
    assert share is not None
    value, low, high = share
    assert value == pytest.approx(0.9, abs=0.03) and low < value < high and high - low < 0.1
    assert effects.share(set()) == (0, 0, 0)
    nothing = Effects("logits", ["a0.h0"], np.zeros((1, 50)), unit)
    assert nothing.share({"a0.h0"}) is None
    table = effects.table().set_index("sender")
    assert table["effect"].tolist() == pytest.approx([-0.6, 0.3, -0.1], abs=0.03)


def test_the_bootstrap_draws_every_prompt_equally_often() -> None:
    weights = bootstrap_weights(7, 300, 1)
    assert (weights.sum(1) == 7).all() and weights.mean(0) == pytest.approx(np.ones(7), abs=0.25)
