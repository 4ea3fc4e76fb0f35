"""What the record says heads do on IOI, against plain hooks on transformers' own model; and the
roles they hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from circuitwatch.config import HeadsConfig
from circuitwatch.heads.checks import LOGITS, MOVER_QUERIES
from circuitwatch.record_files import CheckpointRecord
from circuitwatch.records import Cell
from circuitwatch.tasks import PromptSet, build_prompts
from support.plain_hooks import PlainHooks

pytestmark = pytest.mark.e2e

HEADS = [(layer, head) for layer in range(30) for head in range(9)]
NAME_MOVERS = ["a23.h0", "a23.h1", "a23.h2", "a23.h7"]
TOLERANCE = 1e-4
"""Of effects, shares of a mean logit difference near 8: float32 sums in another order over 30
layers.
"""


@pytest.fixture(scope="module")
def record(watch: Callable[..., Cell]) -> CheckpointRecord:
    """64 prompts.

    One step of attribution and few destinations for copy suppression: neither the circuit nor that
    role is looked at closely.
    """
    return watch("task=ioi", "task.n_prompts=64", "circuit=eap", "heads.n_destinations=8").read(1)


@pytest.fixture(scope="module")
def prompts(real_tokenizer: PreTrainedTokenizerBase) -> PromptSet:
    return build_prompts("ioi", real_tokenizer, n_prompts=64, seed=0)


@pytest.fixture(scope="module")
def plain(real_folder: Path, prompts: PromptSet) -> list[tuple[list[int], PlainHooks]]:
    """The prompts in groups of one length, and the model with hooks on each."""
    hf = LlamaForCausalLM.from_pretrained(
        str(real_folder), dtype=torch.float32, attn_implementation="eager"
    ).eval()
    groups = []
    with torch.no_grad():
        for length in prompts.lengths.unique().tolist():
            which = (prompts.lengths == length).nonzero().flatten().tolist()
            groups.append(
                (
                    which,
                    PlainHooks(
                        hf, prompts.clean[which, :length], prompts.corrupted[which, :length]
                    ),
                )
            )
    return groups


def difference(logits: Tensor, prompts: PromptSet, which: list[int]) -> np.ndarray:
    """Logit of IO less that of S: [..., prompt] from logits [..., prompt, vocabulary]."""
    io, s = prompts.answer_ids[which].T
    each = torch.arange(len(which))
    return (logits[..., each, io] - logits[..., each, s]).double().numpy()


def each_prompt(
    plain: list[tuple[list[int], PlainHooks]],
    prompts: PromptSet,
    of: Callable[[PlainHooks], Tensor],
) -> np.ndarray:
    """The metric [..., prompt] of logits [..., prompt, vocabulary] that are made group by group."""
    values = np.concatenate([difference(of(group), prompts, which) for which, group in plain], -1)
    return values[..., np.argsort(np.concatenate([which for which, _ in plain]))]


def in_record(record: CheckpointRecord, receivers: str) -> pd.DataFrame:
    """Effects on some receivers, by sender."""
    assert record.patching is not None
    return record.patching[record.patching["receivers"] == receivers].set_index("sender")


def role(record: CheckpointRecord, name: str, head: str) -> pd.Series:
    layer, number = head[1:].split(".h")
    rows = record.roles[record.roles["role"] == name]
    return rows[(rows["layer"] == int(layer)) & (rows["head"] == int(number))].iloc[0]


def test_behaviour(
    record: CheckpointRecord, plain: list[tuple[list[int], PlainHooks]], prompts: PromptSet
) -> None:
    """The figures that were known of this model, to what they were rounded to; and every prompt's,
    from transformers.
    """
    scalars = record.scalars
    print({name: value for name, value in scalars.items() if name.startswith("behaviour")})
    assert scalars["behaviour/value"] == pytest.approx(4.26, abs=0.005)
    assert scalars["behaviour/accuracy"] == pytest.approx(0.98, abs=0.005)
    assert scalars["behaviour/corrupted"] == pytest.approx(-3.94, abs=0.005)
    assert scalars["behaviour/effect"] == pytest.approx(4.26 + 3.94, abs=0.01)
    assert scalars["behaviour/above_chance"]
    clean = each_prompt(plain, prompts, lambda group: group.clean_logits)
    corrupted = each_prompt(plain, prompts, lambda group: group.corrupted_logits)
    np.testing.assert_allclose(record.prompts["value"], clean, atol=1e-3)
    np.testing.assert_allclose(record.prompts["corrupted"], corrupted, atol=1e-3)


def test_direct_effects(
    record: CheckpointRecord, plain: list[tuple[list[int], PlainHooks]], prompts: PromptSet
) -> None:
    """Of all 270 heads."""
    clean = each_prompt(plain, prompts, lambda group: group.clean_logits)
    unit = (clean - each_prompt(plain, prompts, lambda group: group.corrupted_logits)).mean()
    found = in_record(record, LOGITS)["effect"]
    expected = {}
    for layer in range(30):
        with torch.no_grad():
            values = each_prompt(plain, prompts, lambda group: group.direct(layer))  # noqa: B023
        expected |= {
            f"a{layer}.h{head}": effect
            for head, effect in enumerate((values - clean).mean(1) / unit)
        }
    strongest = found.reindex(found.abs().sort_values(ascending=False).index)
    print("strongest direct effects", strongest.head(12).round(3).to_dict())
    print("largest difference", max(abs(found[name] - value) for name, value in expected.items()))
    assert found.to_dict() == pytest.approx(expected, abs=TOLERANCE)


def test_s_inhibition_effects(
    record: CheckpointRecord, plain: list[tuple[list[int], PlainHooks]], prompts: PromptSet
) -> None:
    """Of all heads before the name movers, on their queries: effects, and the scores, in which two
    prompts may stand on the threshold.
    """
    direct, found = in_record(record, LOGITS), in_record(record, MOVER_QUERIES)["effect"]
    heads = HeadsConfig()
    helping = direct.index[(direct["effect"] <= -heads.min_effect) & (direct["high"] < 0)]
    movers = [
        (layer, head)
        for layer, head in HEADS
        if (name := f"a{layer}.h{head}") in helping
        and role(record, "name_mover", name)["score"] >= heads.threshold("name_mover")
    ]
    receivers: dict[int, list[int]] = {}
    for layer, head in movers:
        receivers.setdefault(layer, []).append(head)
    print("name movers that raise the answer", [f"a{a}.h{h}" for a, h in movers])
    clean = each_prompt(plain, prompts, lambda group: group.clean_logits)
    unit = (clean - each_prompt(plain, prompts, lambda group: group.corrupted_logits)).mean()
    expected, scores = {}, {}
    for layer in range(max(receivers)):
        values, turned = np.empty((9, len(clean))), np.empty((9, len(clean)), dtype=bool)
        for which, group in plain:
            with torch.no_grad():
                logits, attention = group.through_queries(layer, receivers)
            values[:, which] = difference(logits, prompts, which)
            now, then = (
                torch.stack([weights[a][..., h, :] for a, h in movers]).mean(0)
                for weights in (attention, group.attention)
            )
            each, positions = torch.arange(len(which)), prompts.positions
            io, s1 = (
                (now - then)[:, each, positions[place][which]].numpy() for place in ("io", "s1")
            )
            turned[:, which] = (io < 0) & (s1 > 0)
        effects = (values - clean).mean(1) / unit
        inhibits = (turned & (clean - values >= heads.min_effect * unit)).mean(1)
        for head in range(9):
            expected[f"a{layer}.h{head}"], scores[f"a{layer}.h{head}"] = (
                effects[head],
                inhibits[head],
            )
    strongest = found.reindex(found.abs().sort_values(ascending=False).index)
    print("strongest effects on the name movers' queries", strongest.head(10).round(3).to_dict())
    print("largest difference", max(abs(found[name] - value) for name, value in expected.items()))
    assert found.to_dict() == pytest.approx(expected, abs=TOLERANCE)
    recorded = {name: role(record, "s_inhibition", name)["score"] for name in scores}
    print(
        "S-inhibition scores",
        {name: round(float(score), 3) for name, score in recorded.items() if score >= 0.3},
    )
    assert recorded == pytest.approx(scores, abs=2 / len(clean))


def test_name_movers_attend_to_io(
    record: CheckpointRecord, plain: list[tuple[list[int], PlainHooks]], prompts: PromptSet
) -> None:
    """More than to either mention of S; and a23.h3 attends to S2, writes against it, and holds the
    negative role.
    """
    attention = {}
    for head in [*NAME_MOVERS, "a23.h3"]:
        layer, number = map(int, head[1:].split(".h"))
        paid = np.empty((3, len(prompts.lengths)))
        for which, group in plain:
            places = torch.stack([prompts.positions[name][which] for name in ("io", "s1", "s2")], 1)
            paid[:, which] = group.attention[layer][:, number].gather(1, places).T.numpy()
        attention[head] = paid.mean(1)
        score = role(record, "negative_name_mover" if head == "a23.h3" else "name_mover", head)[
            "score"
        ]
        print(
            head,
            "attention to IO, S1, S2",
            attention[head].round(3),
            "score",
            round(float(score), 3),
        )
    for head in NAME_MOVERS:
        io, s1, s2 = attention[head]
        assert io > max(s1, s2), head
        assert role(record, "name_mover", head)["score"] >= HeadsConfig().threshold("name_mover"), (
            head
        )
    io, s1, s2 = attention["a23.h3"]
    assert s2 > max(io, s1)
    assert role(record, "negative_name_mover", "a23.h3")["score"] >= 0.9


def test_the_negative_copier_is_confirmed(record: CheckpointRecord) -> None:
    """It lowers the wrong name, so it helps: patching it takes most of the behaviour."""
    row = role(record, "negative_name_mover", "a23.h3")
    print(row.to_dict())
    assert row["effect"] == pytest.approx(-0.70, abs=0.005)
    assert row["effect_high"] < 0
    assert row["in_circuit"] and row["confirmed"] and row["sign"] == "helps"


def test_what_no_role_explains_is_named(record: CheckpointRecord) -> None:
    """Two heads of the last layer, which write for and against the answer and hold no role; and a
    share that is neither nothing nor all.
    """
    direct, named = (
        in_record(record, LOGITS)["effect"],
        str(record.scalars["algorithm/unexplained_heads"]),
    )
    share = record.scalars["algorithm/unexplained"]
    print(
        named,
        {name: value for name, value in record.scalars.items() if name.startswith("algorithm")},
    )
    assert direct["a29.h1"] == pytest.approx(-0.27, abs=0.005)
    assert direct["a29.h0"] == pytest.approx(0.21, abs=0.005)
    assert named.startswith("a29.h1 -0.27, a29.h0 +0.21")
    assert 0.1 < float(share) < 0.9


def test_induction(record: CheckpointRecord) -> None:
    assert role(record, "induction", "a18.h6")["score"] >= 0.6
