"""Path patching: what one part of a model does through another (Wang et al., arXiv 2211.00593; Goldowsky-Dill et al., 2304.05969).

Senders take the output they have on the other prompt of the pair, and that change may travel along the direct path to the named receivers alone:

1. Every other head is frozen. The MLPs between are recomputed, or frozen too. What arrives at each receiver is kept.
2. The receivers take what arrived; everything behind them is recomputed.

Two facts make this cheap. With heads frozen nothing moves between positions, so step 1 is a pass through MLPs at the positions where receivers read, and
nothing at all if MLPs are frozen. Before the first such position, step 2 changes nothing, so keys and values there are those of the unpatched run, shared by
all senders. All sets of senders go through both steps in one batch, and the unpatched run is computed once for any number of calls.

A receiver takes the value of step 1 even where an earlier receiver's change would reach it, as in the published implementations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from circuitwatch.circuits.attribution import graph_of
from circuitwatch.circuits.graph import LETTERS
from circuitwatch.circuits.prompts import Batch, Metric, Prepared, metric_of_streams
from circuitwatch.transformer import Trace, Transformer, rotate

Direction = Literal["noising", "denoising"]
MLPs = Literal["recomputed", "frozen"]
ROWS_AT_A_TIME = 4096
"""Sets of senders × prompts × positions that are computed together: matrix products are at full speed, memory stays below a few hundred MB."""


@dataclass(frozen=True)
class Patched:
    """What patching did: the metric of every prompt, for every set of senders.

    values [set, prompt]: patched; unpatched [prompt]: the run that was patched; clean, corrupted [prompt]: the two runs. All on the CPU, float64.
    attention [set, head, prompt, place], unpatched_attention [head, prompt, place]: from the last token of the prompt to the places asked for, for every head
    of which a query is a receiver, in the receivers' order; empty where no places were asked for.
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

        Noising, −1 means that the whole behaviour is lost; denoising, +1 that the whole of it is restored.
        """
        return (self.values - self.unpatched).mean(1) / self.total


@dataclass(frozen=True)
class _Receivers:
    """heads: layer → letter → heads whose input that is; mlps: layers; logits: whether the logits are the receiver."""

    heads: dict[int, dict[str, list[int]]]
    mlps: frozenset[int]
    logits: bool

    @property
    def layers(self) -> list[int]:
        return sorted({*self.heads, *self.mlps})

    def only_at_ends(self, n_layers: int) -> bool:
        """Whether only the last position of a prompt is ever read: by the logits, or in the last layer by anything but keys and values."""
        of_heads = all(layer == n_layers - 1 and set(letters) <= {"q"} for layer, letters in self.heads.items())
        return of_heads and self.mlps <= {n_layers - 1}


@dataclass(frozen=True)
class _Arrival:
    """What arrives at receivers of one kind in one layer: rows [row], flat indices into batch · pos; values [set, row, …].

    For queries, keys and values, values are [set, row, receiver, d_head], rotated where the unpatched run's are; for an MLP or the logits the change of
    their input, [set, row, d_model].
    """

    rows: Tensor
    values: Tensor


class PathPatcher:
    """Path patching on prepared prompts. The runs of both prompts of each pair are computed once, for all calls of `patch`."""

    def __init__(self, prepared: Prepared, metric: Metric) -> None:
        self.prepared, self.model, self.metric = prepared, prepared.model, metric
        self.graph = graph_of(prepared.model)

    @cached_property
    def runs(self) -> list[tuple[Trace, Trace]]:
        """Clean and corrupted trace of every batch, `at_end`."""
        with torch.no_grad():
            return [
                (self.model.run(batch.clean, batch.context, like=batch.like, at_end=True), batch.corrupted_run)
                for batch in self.prepared.batches
            ]

    @torch.no_grad()
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
        """Patch each set of senders by itself into the receivers.

        Args:
            senders: sets of node names (`input`, `a0.h1`, `m0`); a set is patched as one. One that no receiver can see changes nothing.
            receivers: `a1.h0<q>`, `a1.h0<k>`, `a1.h0<v>`, `m1`, any number of them; or `logits` alone.
            positions: [prompt, n] positions in the prompts at which receivers take what arrives; None: at all. As nothing moves between positions on the
                way, these are also the positions at which senders are patched.
            direction: `noising` gives the clean run corrupted outputs, `denoising` the corrupted run clean ones.
            mlps: what MLPs between sender and receiver do.
            look_at: [prompt, place] positions; the attention that the receiving queries at the end of the prompt pay them is returned.

        Raises:
            ValueError: a name that is no sender or receiver of this model, or `logits` beside other receivers.
        """
        sets = [[self._sender(name) for name in names] for names in senders]
        into = self._receivers(receivers)
        order = sorted(range(len(sets)), key=lambda i: _start(sets[i], self.model.n_layers))
        n_prompts, device = self.prepared.n_prompts, self.model.device
        clean, corrupted = (torch.empty(n_prompts, dtype=torch.float64) for _ in range(2))
        values = torch.empty(len(sets), n_prompts, dtype=torch.float64)
        n_heads = sum(len(letters.get("q", [])) for letters in into.heads.values())
        n_places = 0 if look_at is None else look_at.shape[1]
        attention = torch.empty(len(sets), n_heads, n_prompts, n_places)
        for batch, (clean_run, corrupted_run) in zip(self.prepared.batches, self.runs, strict=True):
            indices = batch.indices.cpu()
            for target, run in ((clean, clean_run), (corrupted, corrupted_run)):
                target[indices] = self._metric(run.final[None, :, -1], batch)[0]
            base, other = (clean_run, corrupted_run) if direction == "noising" else (corrupted_run, clean_run)
            mask = _mask(batch, positions, ends_only=into.only_at_ends(self.model.n_layers))
            places = None if look_at is None else batch.keys_of(look_at.to(device)[batch.indices])
            paths = _Paths(self.model, batch, base, other, into, mask, mlps, places)
            size = max(1, ROWS_AT_A_TIME // max(1, paths.rows_of_a_set))
            for start in range(0, len(order), size):
                chunk = order[start : start + size]
                final, seen = paths.patch([sets[i] for i in chunk])
                rows = torch.tensor(chunk)[:, None]
                values[rows, indices] = self._metric(final, batch)
                if n_places:
                    attention[torch.tensor(chunk)[:, None, None], torch.arange(n_heads)[:, None], indices] = seen.cpu()
        asked = [name for name in dict.fromkeys(receivers) if name.endswith("<q>")]
        by_layer = [f"a{layer}.h{h}<q>" for layer, letters in into.heads.items() for h in letters.get("q", [])]
        before = torch.empty(0, n_prompts, 0)
        if look_at is not None:
            whole = self.attention(look_at, direction).flatten(0, 1)
            before = whole[
                [layer * self.graph.n_heads + head for layer, head in map(self._sender, (n[:-3] for n in asked))]
            ]
        return Patched(
            values,
            clean if direction == "noising" else corrupted,
            clean,
            corrupted,
            attention[:, [by_layer.index(name) for name in asked]],
            before,
        )

    @torch.no_grad()
    def attention(self, places: Tensor, direction: Direction = "noising") -> Tensor:
        """What every head pays positions [prompt, place] from the last token, in the run that a direction patches: [layer, head, prompt, place]."""
        found = torch.empty(self.model.n_layers, self.model.n_heads, self.prepared.n_prompts, places.shape[1])
        for batch, runs in zip(self.prepared.batches, self.runs, strict=True):
            run, context = runs[0 if direction == "noising" else 1], batch.context
            at = batch.keys_of(places.to(batch.indices.device)[batch.indices])[:, None].expand(
                -1, self.model.n_heads, -1
            )
            for layer, (q, keys) in enumerate(zip(run.q, run.keys, strict=True)):
                whole = torch.cat([context.keys[layer], keys], 1) if context.keys else keys
                scores = torch.einsum("bhe,bkhe->bhk", q[:, -1], whole) * self.model.attention_scale
                weights = scores.masked_fill_(~context.mask[:, :, -1], float("-inf")).softmax(-1)
                found[layer, :, batch.indices.cpu()] = weights.gather(2, at).transpose(0, 1).cpu()
        return found

    def _metric(self, streams: Tensor, batch: Batch) -> Tensor:
        """The metric [set, prompt] from the last residual stream at the ends, [set, prompt, d_model]."""
        return metric_of_streams(self.model, streams, batch.indices, self.metric).double().cpu()

    def _sender(self, name: str) -> tuple[int, int]:
        """(layer, head) of a sender: the MLP counts as the head after the last, `input` is in layer −1."""
        if name not in self.graph.senders:
            raise ValueError(f"{name}: no sender of this model; senders are input, a0.h0, …, {self.graph.senders[-1]}")
        if name == "input":
            return -1, 0
        layer, _, head = name[1:].partition(".h")
        return int(layer), int(head) if head else self.graph.n_heads

    def _receivers(self, names: Sequence[str]) -> _Receivers:
        heads: dict[int, dict[str, list[int]]] = {}
        mlps = set()
        for name in dict.fromkeys(names):
            if name not in self.graph.receivers:
                raise ValueError(
                    f"{name}: no receiver of this model; receivers are a0.h0<q>, …<k>, …<v>, m0, …, logits"
                )
            if match := re.fullmatch(r"a(\d+)\.h(\d+)<([qkv])>", name):
                heads.setdefault(int(match[1]), {}).setdefault(match[3], []).append(int(match[2]))
            elif name != "logits":
                mlps.add(int(name[1:]))
        if "logits" in names and (heads or mlps):
            raise ValueError("logits: must be the only receiver, since they read what all others change")
        return _Receivers(dict(sorted(heads.items())), frozenset(mlps), "logits" in names)


def _start(senders: Sequence[tuple[int, int]], n_layers: int) -> int:
    """The first layer in which a set of senders does anything."""
    return min((layer for layer, _ in senders), default=n_layers)


def _mask(batch: Batch, positions: Tensor | None, *, ends_only: bool) -> Tensor:
    """Where receivers read: [batch, pos], true or false."""
    n_prompts, n_pos = batch.clean.shape[:2]
    mask = torch.full((n_prompts, n_pos), positions is None, device=batch.clean.device)
    if positions is not None:
        columns = positions.to(mask.device)[batch.indices] - batch.begin[:, None]
        inside = columns >= 0  # before that, a prompt and its twin are the same
        rows = torch.arange(n_prompts, device=mask.device)[:, None].expand_as(columns)
        mask[rows[inside], columns[inside]] = True
    if ends_only:
        mask[:, :-1] = False
    return mask


class _Paths:
    """Both steps for one batch of prompts and one choice of receivers. Streams and what they make are [set, prompt, pos, …]."""

    def __init__(
        self,
        model: Transformer,
        batch: Batch,
        base: Trace,
        other: Trace,
        into: _Receivers,
        mask: Tensor,
        mlps: MLPs,
        places: Tensor | None,
    ) -> None:
        self.model, self.batch, self.base, self.other, self.into, self.mlps = model, batch, base, other, into, mlps
        self.n_prompts, self.n_pos = mask.shape
        self.rows = torch.nonzero(mask.flatten()).flatten()
        self.places = places
        columns = torch.nonzero(mask.any(0)).flatten()
        self.first = int(columns[0]) if len(columns) else self.n_pos - 1
        """The first position at which anything is received."""

    @property
    def rows_of_a_set(self) -> int:
        """Rows that a set of senders needs in the wider of the two steps."""
        behind = 0 if self.into.logits else self.n_prompts * (self.n_pos - self.first)
        return max(len(self.rows), behind)

    def patch(self, sets: Sequence[Sequence[tuple[int, int]]]) -> tuple[Tensor, Tensor]:
        """The last residual stream at the ends [set, prompt, d_model], and attention [set, head, prompt, place] of receiving queries."""
        arrivals = self._arrivals(sets)
        if not self.into.logits:
            return self._behind(arrivals, len(sets))
        final = self.base.final[:, -1].expand(len(sets), -1, -1).clone()
        arrival = arrivals[self.model.n_layers, "logits"]
        final[:, arrival.rows // self.n_pos] += arrival.values
        return final, final.new_empty(len(sets), 0, self.n_prompts, 0)

    def _at(self, x: Tensor, rows: Tensor) -> Tensor:
        """X [batch, pos, …] of a trace at rows; where the trace holds the ends alone, all rows are ends."""
        return x[rows // self.n_pos, 0] if x.shape[1] == 1 else x.flatten(0, 1)[rows]

    def _arrivals(self, sets: Sequence[Sequence[tuple[int, int]]]) -> dict[tuple[int, str], _Arrival]:
        """Step 1: sets in the order of their first layer, as (layer, head) → what arrives, by (layer, letter, `mlp` or `logits`)."""
        model, rows, arrivals = self.model, self.rows, dict[tuple[int, str], _Arrival]()
        starts = [_start(senders, model.n_layers) for senders in sets]
        change = self.base.final.new_zeros(len(sets), len(rows), model.d_model)
        embedding = self._at(self.other.attention_in[0] - self.base.attention_in[0], rows)
        for i, senders in enumerate(sets):
            if (-1, 0) in senders:
                change[i] = embedding
        last_read = model.n_layers if self.into.logits else self.into.layers[-1]
        for layer in range(min(last_read + 1, model.n_layers)):
            self._read_heads(arrivals, layer, rows, change)
            if layer == model.n_layers - 1:  # what follows is read at the ends alone
                at_end = rows % self.n_pos == self.n_pos - 1
                rows, change = rows[at_end], change[:, at_end]
            before = sum(start < layer for start in starts)
            if not model.parallel:
                self._send_heads(layer, rows, sets, change)
                before = sum(start <= layer for start in starts)
            if layer in self.into.mlps:
                arrivals[layer, "mlp"] = _Arrival(rows, change.clone())
            by_mlp = torch.zeros_like(change[:before])
            if self.mlps == "recomputed" and before and layer < last_read:
                block, mlp_in = model.blocks[layer], self._at(self.base.mlp_in[layer], rows)
                by_mlp = block.mlp(block.mlp_norm(mlp_in + change[:before])) - self._at(self.base.mlp_out[layer], rows)
            if model.parallel:
                self._send_heads(layer, rows, sets, change)
            change[:before] += by_mlp
            for i, senders in enumerate(sets):
                if (layer, model.n_heads) in senders:
                    if i < before:
                        change[i] -= by_mlp[i]
                    change[i] += self._at(self.other.mlp_out[layer] - self.base.mlp_out[layer], rows)
        if self.into.logits:
            arrivals[model.n_layers, "logits"] = _Arrival(rows, change)
        return arrivals

    def _send_heads(self, layer: int, rows: Tensor, sets: Sequence[Sequence[tuple[int, int]]], change: Tensor) -> None:
        """Add to the change [set, row, d_model] what the senders among a layer's heads now write."""
        attention = self.model.blocks[layer].attention
        z = self._at(self.other.z[layer] - self.base.z[layer], rows)
        for i, senders in enumerate(sets):
            for head in [head for at, head in senders if at == layer and head < self.model.n_heads]:
                change[i] += z[:, head] @ attention.W_O[head]

    def _read_heads(self, arrivals: dict[tuple[int, str], _Arrival], layer: int, rows: Tensor, change: Tensor) -> None:
        """Queries, keys and values that receivers of a layer make of the changed stream."""
        if layer not in self.into.heads:
            return
        block = self.model.blocks[layer]
        normalised = block.attention_norm(self._at(self.base.attention_in[layer], rows) + change)
        for letter, heads in self.into.heads[layer].items():
            read = self._project(layer, letter, normalised, heads)
            arrivals[layer, letter] = _Arrival(rows, self._turn(letter, read, rows))

    def _project(self, layer: int, letter: str, normalised: Tensor, heads: Sequence[int]) -> Tensor:
        """Queries, keys or values [..., receiver, d_head] of some heads of a layer, before the rotary embedding."""
        attention = self.model.blocks[layer].attention
        weight, bias = (getattr(attention, f"{kind}_{letter.upper()}") for kind in "Wb")
        if letter != "q":
            weight, bias = attention.of_each_head(weight), attention.of_each_head(bias)
        flat = normalised @ weight[heads].transpose(0, 1).flatten(1)
        return flat.unflatten(-1, (len(heads), -1)) + bias[heads]

    def _turn(self, letter: str, x: Tensor, rows: Tensor) -> Tensor:
        """The rotary embedding of queries or keys [set, row, receiver, d_head] at rows."""
        if letter == "v" or self.batch.context.rotation is None:
            return x
        cos, sin = (
            table.expand(self.n_prompts, self.n_pos, 1, -1).flatten(0, 1)[rows] for table in self.batch.context.rotation
        )
        return rotate(x, (cos, sin))

    def _behind(self, arrivals: dict[tuple[int, str], _Arrival], n_sets: int) -> tuple[Tensor, Tensor]:
        """Step 2: from the first receiver's layer on, at the positions from the first that receives."""
        model, base, first = self.model, self.base, self.first
        change: Tensor | None = None  # of the residual stream [set, prompt, pos, d_model]; None before anything has
        seen: list[Tensor] = []
        for layer in range(self.into.layers[0], model.n_layers):
            block, last = model.blocks[layer], layer == model.n_layers - 1
            by_heads = self._attend(layer, change, arrivals, n_sets, seen)
            if last and change is not None:
                change = change[:, :, -1:]
            after = by_heads if change is None else change if by_heads is None else change + by_heads
            into_mlp = change if model.parallel else after
            if (layer, "mlp") in arrivals:
                arrival = arrivals[layer, "mlp"]
                shape = (n_sets, self.n_prompts, 1 if last else self.n_pos - first, model.d_model)
                into_mlp = base.final.new_zeros(shape) if into_mlp is None else into_mlp.clone()
                prompt, column = arrival.rows // self.n_pos, arrival.rows % self.n_pos - (self.n_pos - shape[2])
                into_mlp[:, prompt, column] = arrival.values
            if into_mlp is not None:
                stream, output = (x if last else x[:, first:] for x in (base.mlp_in[layer], base.mlp_out[layer]))
                by_mlp = block.mlp(block.mlp_norm(stream + into_mlp)) - output
                after = by_mlp if after is None else after + by_mlp
            change = after
        assert change is not None
        final = base.final[:, -1] + change[:, :, -1]
        none = final.new_empty(n_sets, 0, self.n_prompts, 0)
        return final, torch.cat(seen, 1) if seen else none

    def _attend(
        self,
        layer: int,
        change: Tensor | None,
        arrivals: dict[tuple[int, str], _Arrival],
        n_sets: int,
        seen: list[Tensor],
    ) -> Tensor | None:
        """What a layer's heads now add beyond the unpatched run [set, prompt, pos, d_model]; None if none of them changes.

        Where the stream has not changed yet, only receivers do anything new.
        """
        receivers = self.into.heads.get(layer, {})
        if change is None and not receivers:
            return None
        model, base, first = self.model, self.base, self.first
        attention, last = model.blocks[layer].attention, layer == model.n_layers - 1
        every = range(model.n_heads)
        heads = list(every) if change is not None else sorted({h for hs in receivers.values() for h in hs})
        parts = {}
        for letter, whole in zip(LETTERS, (base.q[layer], base.keys[layer], base.values[layer]), strict=True):
            n_pos = 1 if last and letter == "q" else self.n_pos - first
            if change is None:
                part = whole[:, -n_pos:, heads].expand(n_sets, -1, -1, -1, -1)
            else:
                stream = base.attention_in[layer][:, -n_pos:] + change[:, :, -n_pos:]
                part = self._project(layer, letter, model.blocks[layer].attention_norm(stream), heads)
                if letter != "v" and self.batch.context.rotation is not None:
                    cos, sin = (table[:, -n_pos:] for table in self.batch.context.rotation)
                    part = rotate(part.flatten(0, 1), (_tiled(cos, n_sets), _tiled(sin, n_sets))).view_as(part)
            if letter in receivers:
                arrival = arrivals[layer, letter]
                part = part.clone()
                rows, received = arrival.rows, arrival.values
                if n_pos == 1:  # a trace's last layer has queries at the ends alone
                    at_end = rows % self.n_pos == self.n_pos - 1
                    rows, received = rows[at_end], received[:, at_end]
                columns = rows % self.n_pos - (self.n_pos - n_pos)
                for i, head in enumerate(receivers[letter]):
                    part[:, rows // self.n_pos, columns, heads.index(head)] = received[:, :, i]
            parts[letter] = part
        z, weights = self._z(layer, heads, parts)
        if self.places is not None and "q" in receivers:
            at_end = weights[:, :, [heads.index(h) for h in receivers["q"]], -1].transpose(1, 2)
            seen.append(at_end.gather(3, self.places.expand(*at_end.shape[:2], -1, -1)))
        unpatched = base.z[layer] if last else base.z[layer][:, first:]
        return (z - unpatched[:, :, heads]).flatten(3) @ attention.W_O[heads].flatten(0, 1)

    def _z(self, layer: int, heads: Sequence[int], parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Attention of some heads: z [set, prompt, pos, head, d_head] and weights [set, prompt, head, pos, key].

        Keys and values before the first position that receives are the unpatched run's, and are not copied for each set.
        """
        context, q = self.batch.context, parts["q"]
        n_queries = q.shape[2]
        early = []
        for past, own in ((context.keys, self.base.keys), (context.values, self.base.values)):
            before = own[layer][:, : self.first, heads]
            early.append(torch.cat([past[layer][:, :, heads], before], 1) if past else before)
        scores = torch.cat(
            [
                torch.einsum("sbqhe,bkhe->sbhqk", q, early[0]),
                torch.einsum("sbqhe,sbkhe->sbhqk", q, parts["k"]),
            ],
            dim=-1,
        )
        mask = context.mask[:, :, -n_queries:]
        weights = (scores * self.model.attention_scale).masked_fill_(~mask, float("-inf")).softmax(-1)
        n_early = early[0].shape[1]
        z = torch.einsum("sbhqk,bkhe->sbqhe", weights[..., :n_early], early[1])
        return z + torch.einsum("sbhqk,sbkhe->sbqhe", weights[..., n_early:], parts["v"]), weights


def _tiled(table: Tensor, n_sets: int) -> Tensor:
    """A rotary table [prompt or 1, pos, 1, dim] for `n_sets` copies of the prompts."""
    return table if len(table) == 1 else table.repeat(n_sets, 1, 1, 1)
