"""Path patching against a naive implementation: one prompt, one set of senders at a time, on
Hugging Face's own modules.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.patching import PathPatcher
from circuitwatch.circuits.prompts import Prepared
from circuitwatch.components import Norm
from support.models import Case, logit_difference, make_case, probability
from support.naive_circuits import Naive, naive_values


@pytest.fixture(scope="module", params=["parallel", "sequential", "llama"])
def deep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Four layers, so that there are heads and MLPs on the way and behind."""
    return make_case(request.param, tmp_path_factory.mktemp(f"deep-{request.param}"), n_layers=4)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(data=st.data())
def test_random_senders_and_receivers_equal_the_naive_implementation(
    deep: Case, data: st.DataObject
) -> None:
    """Sets of any senders into any receivers, at some positions or all, both ways, MLPs both ways.
    1e-4 absolute on logit differences of order 1: float32 sums in another order."""
    case, graph = deep, graph_of(deep.model)
    sets = data.draw(
        st.lists(
            st.lists(st.sampled_from(graph.senders), unique=True, max_size=3),
            min_size=1,
            max_size=3,
        )
    )
    into_logits = data.draw(st.integers(0, 3)) == 0
    receivers = (
        ["logits"]
        if into_logits
        else data.draw(
            st.lists(st.sampled_from(graph.receivers[:-1]), unique=True, min_size=1, max_size=4)
        )
    )
    positions = None
    if data.draw(st.booleans()):
        places = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
        positions = torch.stack([case.prompts.lengths - place for place in places], 1)
    direction = data.draw(st.sampled_from(["noising", "denoising"]))
    mlps = data.draw(st.sampled_from(["recomputed", "frozen"]))
    batch_size = data.draw(st.sampled_from([3, 64]))
    patcher = PathPatcher(case.prepared(batch_size), logit_difference)
    patched = patcher.patch(sets, receivers, positions=positions, direction=direction, mlps=mlps)  # type: ignore[arg-type]
    for senders, values in zip(sets, patched.values, strict=True):
        expected = naive_values(case, senders, receivers, positions, direction, mlps)
        assert values.tolist() == pytest.approx(expected, abs=1e-4)


def test_effects_are_shares_of_the_behaviour(case: Case) -> None:
    """Every sender patched at once destroys the behaviour (−1), or restores it (+1); no sender does
    nothing.
    """
    everything = graph_of(case.model).senders
    patcher = PathPatcher(case.prepared(), logit_difference)
    for direction, whole in (("noising", -1.0), ("denoising", 1.0)):
        effects = patcher.patch([everything, []], ["logits"], direction=direction).effects  # type: ignore[arg-type]
        assert effects.tolist() == pytest.approx([whole, 0.0], abs=1e-5)


def test_a_metric_of_probabilities(case: Case) -> None:
    patched = PathPatcher(case.prepared(), probability).patch([["a0.h1"]], ["logits"])
    length = int(case.prompts.lengths[0])
    clean, corrupted = (
        case.textbook.embed(t[:1, :length]) for t in (case.prompts.clean, case.prompts.corrupted)
    )
    logits = Naive(case.textbook).patch(
        clean, corrupted, ["a0.h1"], ["logits"], list(range(length)), "recomputed"
    )
    assert patched.values[0, 0].item() == pytest.approx(
        probability(logits[:, -1], torch.tensor([0])).item(), abs=1e-6
    )


def test_direct_effects_sum_to_the_total_where_the_model_is_linear_in_them(case: Case) -> None:
    """With MLPs frozen the final stream is the sum of all outputs, and with a final norm of
    constant scale the logits are linear in it.

    The norm's scale is constant to 1e-6 when eps is 1e6 times the variance; its weight makes up for
    the size.
    """
    norm = case.model.final_norm
    flat = Norm(norm.weight * 1e4, norm.bias, eps=1e8, centred=norm.centred)
    model = replace(case.model, final_norm=flat)
    patched = PathPatcher(Prepared(model, case.prompts), logit_difference).patch(
        [[name] for name in graph_of(model).senders], ["logits"], mlps="frozen"
    )
    assert patched.effects.sum().item() == pytest.approx(-1, abs=1e-4)
    by_prompt = (patched.values - patched.unpatched).sum(0)
    torch.testing.assert_close(by_prompt, patched.corrupted - patched.clean, rtol=1e-3, atol=1e-3)
    assert patched.effects.abs().max() > 0.1  # and it is no sum of zeros


def test_attention_of_receiving_queries(case: Case) -> None:
    """What the patched queries attend to, against a softmax over the naive run's own queries and
    keys; also before the first token that differs.
    """
    heads = [(1, 2), (0, 1), (1, 0)]
    places = torch.stack([torch.zeros_like(case.prompts.lengths), case.prompts.lengths - 2], 1)
    senders = ["input", "a0.h0", "m0"]
    patched = PathPatcher(case.prepared(3), logit_difference).patch(
        [senders, []], [f"a{layer}.h{h}<q>" for layer, h in heads], look_at=places
    )
    assert patched.attention.shape == (2, 3, len(case.prompts.lengths), 2)
    torch.testing.assert_close(
        patched.attention[1], patched.unpatched_attention, rtol=1e-5, atol=1e-6
    )
    case.hf.set_attn_implementation("eager")
    for i, length in enumerate(case.prompts.lengths.tolist()):
        weights = case.hf(case.prompts.clean[i : i + 1, :length], output_attentions=True).attentions
        for at, (layer, head) in enumerate(heads):
            expected = weights[layer][0, head, -1, places[i]]
            torch.testing.assert_close(
                patched.unpatched_attention[at, i], expected, rtol=1e-4, atol=1e-5
            )
    assert (patched.attention[0] - patched.attention[1]).abs().max() > 1e-3


def test_patched_attention_is_that_of_the_corrupted_query(case: Case) -> None:
    """With `input` the only sender, a first-layer query becomes the corrupted one, while the keys
    stay clean.
    """
    if (
        case.model.blocks[0].attention.rotary is not None
        or case.model.blocks[0].attention.heads_per_group > 1
    ):
        pytest.skip(
            "written for models without rotary embedding, where the attention is one product"
        )
    attention, block = case.model.blocks[0].attention, case.model.blocks[0]
    places = (case.prompts.lengths - 1)[:, None]
    patched = PathPatcher(case.prepared(), logit_difference).patch(
        [["input"]], ["a0.h2<q>"], look_at=places
    )
    for i, length in enumerate(case.prompts.lengths.tolist()):
        clean, corrupted = (
            block.attention_norm(case.textbook.embed(t[i : i + 1, :length])[0])
            for t in (case.prompts.clean, case.prompts.corrupted)
        )
        q = corrupted[-1] @ attention.W_Q[2] + attention.b_Q[2]
        keys = clean @ attention.W_K[2] + attention.b_K[2]
        expected = (keys @ q * case.model.blocks[0].attention.scale).softmax(0)[-1]
        assert patched.attention[0, 0, i, 0].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("senders", "receivers", "message"),
    [
        (["a9.h0"], ["logits"], r"a9\.h0: no sender"),
        (["m0"], ["a1.h0"], r"a1\.h0: no receiver"),
        (["m0"], ["logits", "m1"], "must be the only receiver"),
    ],
)
def test_wrong_names(case: Case, senders: list[str], receivers: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PathPatcher(case.prepared(), logit_difference).patch([senders], receivers)
