"""Path patching: what one part of a model does through another (Wang et al., arXiv 2211.00593;
Goldowsky-Dill et al., 2304.05969).

Senders take the output they have on the other prompt of the pair, and that change may travel along
the direct path to the named receivers alone:

1. Every other head is frozen. The MLPs between are recomputed, or frozen too. What arrives at each
receiver is kept. 2. The receivers take what arrived; everything behind them is recomputed.

Two facts make this cheap. With heads frozen nothing moves between positions, so step 1 is a pass
through MLPs at the positions where receivers read, and nothing at all if MLPs are frozen. Before
the first such position, step 2 changes nothing, so keys and values there are those of the unpatched
run, shared by all senders. All sets of senders go through both steps in one batch; the unpatched
run is computed once for any number of calls, and step 1 once for any number of choices among the
receivers it was made for.

A receiver takes the value of step 1 even where an earlier receiver's change would reach it, as in
the published implementations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.graph import head_name
from circuitwatch.circuits.paths import (
    Arrivals,
    MLPs,
    Paths,
    Sender,
    find_receivers,
    find_sender,
    joined,
    of_sets,
    reading_mask,
    start_of,
)
from circuitwatch.circuits.prompts import Metric, Prepared, metric_of_streams
from circuitwatch.transformer import ActivationCache

Direction = Literal["noising", "denoising"]
ROWS_AT_A_TIME = 4096
"""Sets of senders × prompts × positions that are computed together: matrix products are at full
speed, memory stays below a few hundred MB.
"""


@dataclass(frozen=True)
class Patched:
    """What patching did: the metric of every prompt, for every set of senders.

    values [set, prompt]: patched; unpatched [prompt]: the run that was patched; clean, corrupted
    [prompt]: the two runs. All on the CPU, float64. attention [set, head, prompt, place],
    unpatched_attention [head, prompt, place]: from the last token of the prompt to the places asked
    for, for every head of which a query is a receiver, in the receivers' order; empty where no
    places were asked for.
    """

    values: Tensor
    unpatched: Tensor
    clean: Tensor
    corrupted: Tensor
    attention: Tensor
    unpatched_attention: Tensor

    @property
    def total(self) -> float:
        """F(clean) − F(corrupted), the mean over prompts: the unit of effects."""
        return float((self.clean - self.corrupted).mean())

    @property
    def effects(self) -> Tensor:
        """(F(patched) − F(unpatched)) / (F(clean) − F(corrupted)) of every set: [set].

        Noising, −1 means that the whole behaviour is lost; denoising, +1 that the whole of it is
        restored.
        """
        return (self.values - self.unpatched).mean(1) / self.total


class PathPatcher:
    """Path patching on prepared prompts.

    The runs of both prompts of each pair are computed once, for all calls.
    """

    def __init__(self, prepared: Prepared, metric: Metric) -> None:
        self.prepared, self.model, self.metric = prepared, prepared.model, metric
        self.graph = graph_of(prepared.model)

    @cached_property
    def runs(self) -> list[tuple[ActivationCache, ActivationCache]]:
        """Clean and corrupted cache of every batch, `at_end`."""
        with torch.no_grad():
            return [
                (
                    self.model.run(batch.clean, batch.context, like=batch.like, at_end=True),
                    batch.corrupted_run,
                )
                for batch in self.prepared.batches
            ]

    @cached_property
    def unpatched(self) -> tuple[Tensor, Tensor]:
        """The metric of every clean and every corrupted prompt: two tensors [prompt] on the CPU,
        float64.
        """
        values = torch.empty(2, self.prepared.n_prompts, dtype=torch.float64)
        for batch, runs in zip(self.prepared.batches, self.runs, strict=True):
            streams = torch.stack([run.final[:, -1] for run in runs])
            values[:, batch.indices.cpu()] = (
                metric_of_streams(self.model, streams, batch.indices, self.metric).cpu().double()
            )
        return values[0], values[1]

    def patch(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        *,
        positions: Tensor | None = None,
        direction: Direction = "noising",
        mlps: MLPs = "recomputed",
        look_at: Tensor | None = None,
    ) -> Patched:
        """Patch each set of senders by itself into the receivers: `send`, then `Sent.into` all of
        them; see there.
        """
        return self.send(
            senders, receivers, positions=positions, direction=direction, mlps=mlps
        ).into(receivers, look_at=look_at)

    @torch.no_grad()
    def send(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        *,
        positions: Tensor | None = None,
        direction: Direction = "noising",
        mlps: MLPs = "recomputed",
    ) -> Sent:
        """Step 1: let the change of each set of senders travel to all of the receivers.

        Args:
            senders: sets of node names (`input`, `a0.h1`, `m0`); a set is patched as one. One that
                no receiver can see changes nothing.
            receivers: `a1.h0<q>`, `a1.h0<k>`, `a1.h0<v>`, `m1`, `logits`, any number of them.
            positions: [prompt, n] positions in the prompts at which receivers take what arrives;
                None: at all. As nothing moves between positions on the way, these are also the
                positions at which senders are patched.
            direction: `noising` gives the clean run corrupted outputs, `denoising` the corrupted
                run clean ones.
            mlps: what MLPs between sender and receiver do.

        Raises:
            ValueError: a name that is no sender or receiver of this model.
        """
        sets = [[find_sender(self.graph, name) for name in names] for names in senders]
        into, n_layers = find_receivers(self.graph, receivers), self.model.n_layers
        order = sorted(range(len(sets)), key=lambda i: start_of(sets[i], n_layers))
        back = torch.tensor(order).argsort().tolist()
        paths, arrived = [], []
        for batch, (clean, corrupted) in zip(self.prepared.batches, self.runs, strict=True):
            base, other = (clean, corrupted) if direction == "noising" else (corrupted, clean)
            mask = reading_mask(batch, positions, ends_only=into.only_at_ends(n_layers))
            paths.append(Paths(self.model, batch, base, other, into, mask, mlps))
            size = max(1, ROWS_AT_A_TIME // max(1, len(paths[-1].rows)))
            chunks = [order[start : start + size] for start in range(0, len(order), size)]
            arrived.append(
                of_sets(
                    joined([paths[-1].arrivals([sets[i] for i in chunk]) for chunk in chunks]), back
                )
            )
        return Sent(self, sets, direction, paths, arrived)

    @torch.no_grad()
    def attention(self, places: Tensor, direction: Direction = "noising") -> Tensor:
        """What every head pays positions [prompt, place] from the last token, in the run that a
        direction patches: [layer, head, prompt, place].
        """
        found = torch.empty(
            self.model.n_layers, self.model.n_heads, self.prepared.n_prompts, places.shape[1]
        )
        for batch, runs in zip(self.prepared.batches, self.runs, strict=True):
            run, context = runs[0 if direction == "noising" else 1], batch.context
            at = batch.keys_of(places.to(batch.indices.device)[batch.indices])[:, None].expand(
                -1, self.model.n_heads, -1
            )
            for layer, (q, keys) in enumerate(zip(run.q, run.keys, strict=True)):
                whole = torch.cat([context.keys[layer], keys], 1) if context.keys else keys
                products = torch.einsum("bhe,bkhe->bhk", q[:, -1], whole)[:, :, None]
                weights = self.model.blocks[layer].attention.weigh(
                    products, context.sights[layer].last()
                )[:, :, 0]
                found[layer, :, batch.indices.cpu()] = weights.gather(2, at).transpose(0, 1).cpu()
        return found


@dataclass(frozen=True)
class Sent:
    """What arrived of each set of senders at all the receivers that it was sent to; a list over
    batches each.
    """

    patcher: PathPatcher
    sets: list[list[Sender]]
    direction: Direction
    paths: list[Paths]
    arrived: list[Arrivals]

    @torch.no_grad()
    def into(self, receivers: Sequence[str], *, look_at: Tensor | None = None) -> Patched:
        """Step 2: these of the receivers take what arrived, and everything behind them is
        recomputed.

        look_at: [prompt, place] positions; the attention that the receiving queries at the end of
        the prompt pay them is returned. Raises ValueError for a receiver that nothing was sent to,
        and `logits` beside others.
        """
        patcher, model, n_prompts = (
            self.patcher,
            self.patcher.model,
            self.patcher.prepared.n_prompts,
        )
        into = find_receivers(patcher.graph, receivers)
        if into.logits and len(receivers) > 1:
            raise ValueError(
                "logits: must be the only receiver, since they read what all others change"
            )
        clean, corrupted = patcher.unpatched
        unpatched = clean if self.direction == "noising" else corrupted
        queries = [
            (layer, head) for layer, letters in into.heads.items() for head in letters.get("q", [])
        ]
        values = unpatched.repeat(len(self.sets), 1)
        before, n_places = torch.empty(len(queries), n_prompts, 0), 0
        if look_at is not None:
            n_places = look_at.shape[1]
            before = patcher.attention(look_at, self.direction)[
                [at for at, _ in queries], [head for _, head in queries]
            ]
        attention = before.repeat(len(self.sets), 1, 1, 1)
        last = model.n_layers if into.logits else into.layers[-1]
        own = last in into.mlps and not model.parallel  # the MLP sees its own layer's heads
        sees = [
            i for i, senders in enumerate(self.sets) if start_of(senders, last + 1) < last + own
        ]
        for paths, arrived in zip(self.paths, self.arrived, strict=True):
            batch, indices = paths.batch, paths.batch.indices.cpu()
            places = (
                None
                if look_at is None
                else batch.keys_of(look_at.to(batch.indices.device)[batch.indices])
            )
            size = max(1, ROWS_AT_A_TIME // paths.rows_behind)
            for start in range(0, len(sees), size):
                chunk = sees[start : start + size]
                part = of_sets(arrived, chunk)
                if into.logits:
                    final = paths.logits_stream(part, len(chunk))
                else:
                    final, seen = paths.behind(part, len(chunk), into, places)
                metric = metric_of_streams(model, final, batch.indices, patcher.metric)
                rows = torch.tensor(chunk)[:, None]
                values[rows, indices] = metric.cpu().double()
                if n_places and queries:
                    attention[rows[:, :, None], torch.arange(len(queries))[:, None], indices] = (
                        seen.cpu()
                    )
        named = [head_name(layer, head, "q") for layer, head in queries]
        asked = [named.index(name) for name in dict.fromkeys(receivers) if name in named]
        return Patched(values, unpatched, clean, corrupted, attention[:, asked], before[asked])
