"""Both steps of path patching for one batch of prompts: what arrives at receivers, and what they
make of it (see `circuits.patching`).

Streams and what is made of them are [set, prompt, pos, …], one set for each set of senders. Rows
are flat indices into batch · pos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from circuitwatch.circuits.graph import LETTERS, Graph, place_of
from circuitwatch.circuits.prompts import Batch
from circuitwatch.transformer import ActivationCache, Transformer

MLPs = Literal["recomputed", "frozen"]
Sender = tuple[int, int]
"""(layer, head): the MLP counts as the head after the last, `input` is in layer −1."""


@dataclass(frozen=True)
class Receivers:
    """heads: layer → letter → heads whose input that is; mlps: layers; logits: whether the logits
    are the receiver.
    """

    heads: dict[int, dict[str, list[int]]]
    mlps: frozenset[int]
    logits: bool

    @property
    def layers(self) -> list[int]:
        """Layers that have a receiver, ascending."""
        return sorted({*self.heads, *self.mlps})

    def only_at_ends(self, n_layers: int) -> bool:
        """Whether only the last position of a prompt is ever read: by the logits, or in the last
        layer by anything but keys and values.
        """
        of_heads = all(
            layer == n_layers - 1 and set(letters) <= {"q"} for layer, letters in self.heads.items()
        )
        return of_heads and self.mlps <= {n_layers - 1}


@dataclass(frozen=True)
class Arrival:
    """What arrives at receivers of one kind in one layer: rows [row], flat indices into batch ·
    pos; values [set, row, …].

    For queries, keys and values, values are [set, row, receiver, d_head], as attention takes them,
    or where a norm couples the heads as they are projected; for an MLP or the logits the change of
    their input, [set, row, d_model].
    """

    rows: Tensor
    values: Tensor


Arrivals = dict[tuple[int, str], Arrival]
"""By layer, and letter, `mlp` or `logits` (whose layer is the one after the last)."""


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """The arrivals of several runs of step 1, one behind the other along the sets."""
    return {
        key: Arrival(a.rows, torch.cat([part[key].values for part in parts]))
        for key, a in parts[0].items()
    }


def of_sets(arrivals: Arrivals, sets: Sequence[int]) -> Arrivals:
    """The arrivals of some sets."""
    return {key: Arrival(a.rows, a.values[sets]) for key, a in arrivals.items()}


def start_of(senders: Sequence[Sender], n_layers: int) -> int:
    """The first layer in which a set of senders does anything."""
    return min((layer for layer, _ in senders), default=n_layers)


def find_receivers(graph: Graph, names: Sequence[str]) -> Receivers:
    """Receivers by name. Raises ValueError for a name that is none of this model's."""
    heads: dict[int, dict[str, list[int]]] = {}
    mlps = set()
    for name in dict.fromkeys(names):
        if name not in graph.receivers:
            raise ValueError(
                f"{name}: no receiver of this model; receivers are a0.h0<q>, …<k>, …<v>, m0, "
                f"…, logits"
            )
        place = place_of(name)
        if place is not None and place.letter:
            heads.setdefault(place.layer, {}).setdefault(place.letter, []).append(place.head)
        elif place is not None:
            mlps.add(place.layer)
    return Receivers(dict(sorted(heads.items())), frozenset(mlps), "logits" in names)


def find_sender(graph: Graph, name: str) -> Sender:
    """A sender by name. Raises ValueError for a name that is none of this model's."""
    if name not in graph.senders:
        raise ValueError(
            f"{name}: no sender of this model; senders are input, a0.h0, …, {graph.senders[-1]}"
        )
    place = place_of(name)
    if place is None:  # the input
        return -1, 0
    return place.layer, graph.n_heads if place.head < 0 else place.head


def reading_mask(batch: Batch, positions: Tensor | None, *, ends_only: bool) -> Tensor:
    """Where receivers read: [batch, pos], true or false."""
    n_prompts, n_pos = batch.clean.shape[:2]
    mask = torch.full((n_prompts, n_pos), positions is None, device=batch.clean.device)
    if positions is not None:
        columns = positions.to(mask.device)[batch.indices] - batch.begin[:, None]
        inside = columns >= 0  # before that both prompts are the same
        rows = torch.arange(n_prompts, device=mask.device)[:, None].expand_as(columns)
        mask[rows[inside], columns[inside]] = True
    if ends_only:
        mask[:, :-1] = False
    return mask


class Paths:
    """Both steps for one batch of prompts; `into` are all receivers to which senders may be sent,
    of which step 2 takes any choice.
    """

    def __init__(
        self,
        model: Transformer,
        batch: Batch,
        base: ActivationCache,
        other: ActivationCache,
        into: Receivers,
        mask: Tensor,
        mlps: MLPs,
    ) -> None:
        self.model, self.batch, self.base, self.other, self.into, self.mlps = (
            model,
            batch,
            base,
            other,
            into,
            mlps,
        )
        self.n_prompts, self.n_pos = mask.shape
        self.rows = torch.nonzero(mask.flatten()).flatten()
        columns = torch.nonzero(mask.any(0)).flatten()
        self.first = int(columns[0]) if len(columns) else self.n_pos - 1
        """The first position at which anything is received."""

    @property
    def rows_behind(self) -> int:
        """Rows that a set of senders needs in step 2."""
        return self.n_prompts * (self.n_pos - self.first)

    def logits_stream(self, arrivals: Arrivals, n_sets: int) -> Tensor:
        """The last residual stream at the ends [set, prompt, d_model], where the logits are the
        receiver.
        """
        final = self.base.final[:, -1].expand(n_sets, -1, -1).clone()
        arrival = arrivals[self.model.n_layers, "logits"]
        final[:, arrival.rows // self.n_pos] += arrival.values
        return final

    def _at(self, x: Tensor, rows: Tensor) -> Tensor:
        """X [batch, pos, …] of a cache at rows; where the cache holds the ends alone, all rows are
        ends.
        """
        return x[rows // self.n_pos, 0] if x.shape[1] == 1 else x.flatten(0, 1)[rows]

    def arrivals(self, sets: Sequence[Sequence[Sender]]) -> Arrivals:
        """Step 1: what arrives of sets in the order of their first layer."""
        model, rows, arrivals = self.model, self.rows, Arrivals()
        starts = [start_of(senders, model.n_layers) for senders in sets]
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
                arrivals[layer, "mlp"] = Arrival(rows, change.clone())
            by_mlp = torch.zeros_like(change[:before])
            if self.mlps == "recomputed" and before and layer < last_read:
                mlp_in = self._at(self.base.mlp_in[layer], rows)
                by_mlp = model.blocks[layer].through_mlp(mlp_in + change[:before])
                by_mlp -= self._at(self.base.mlp_out[layer], rows)
            if model.parallel:
                self._send_heads(layer, rows, sets, change)
            change[:before] += by_mlp
            for i, senders in enumerate(sets):
                if (layer, model.n_heads) in senders:
                    if i < before:
                        change[i] -= by_mlp[i]
                    change[i] += self._at(
                        self.other.mlp_out[layer] - self.base.mlp_out[layer], rows
                    )
        if self.into.logits:
            arrivals[model.n_layers, "logits"] = Arrival(rows, change)
        return arrivals

    def _send_heads(
        self, layer: int, rows: Tensor, sets: Sequence[Sequence[Sender]], change: Tensor
    ) -> None:
        """Add to the change [set, row, d_model] what the senders among a layer's heads now
        write.
        """
        writes = self.model.blocks[layer].writes
        z = self._at(self.other.z[layer] - self.base.z[layer], rows)
        for i, senders in enumerate(sets):
            for head in [head for at, head in senders if at == layer and head < self.model.n_heads]:
                change[i] += z[:, head] @ writes[head]

    def _read_heads(self, arrivals: Arrivals, layer: int, rows: Tensor, change: Tensor) -> None:
        """Queries, keys and values that receivers of a layer make of the changed stream."""
        if layer not in self.into.heads:
            return
        block, sight = self.model.blocks[layer], self.batch.context.sights[layer]
        normalised = block.before_heads(self._at(self.base.attention_in[layer], rows) + change)
        turned = sight.rotation_at(rows, self.n_prompts * self.n_pos)
        for letter, heads in self.into.heads[layer].items():
            read = block.attention.project(letter, normalised, heads)
            if not block.attention.is_coupled(letter):
                read = block.attention.finish(letter, read, turned, heads)
            arrivals[layer, letter] = Arrival(rows, read)

    def behind(
        self, arrivals: Arrivals, n_sets: int, into: Receivers, places: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Step 2: the last residual stream at the ends [set, prompt, d_model] after the receivers
        took what arrived.

        Computed from the first receiver's layer on, at the positions from the first that receives.
        Also the attention [set, head, prompt, place] of the receiving queries at the ends, to keys
        at places [prompt, place].
        """
        model, base, first = self.model, self.base, self.first
        change: Tensor | None = (
            None  # of the residual stream [set, prompt, pos, d_model]; None before anything has
        )
        seen: list[Tensor] = []
        for layer in range(into.layers[0], model.n_layers):
            block, last = model.blocks[layer], layer == model.n_layers - 1
            by_heads = self._attend(
                layer, change, arrivals, n_sets, into.heads.get(layer, {}), places, seen
            )
            if last and change is not None:
                change = change[:, :, -1:]
            after = (
                by_heads if change is None else change if by_heads is None else change + by_heads
            )
            into_mlp = change if model.parallel else after
            if layer in into.mlps:
                arrival = arrivals[layer, "mlp"]
                shape = (n_sets, self.n_prompts, 1 if last else self.n_pos - first, model.d_model)
                into_mlp = base.final.new_zeros(shape) if into_mlp is None else into_mlp.clone()
                prompt, column = (
                    arrival.rows // self.n_pos,
                    arrival.rows % self.n_pos - (self.n_pos - shape[2]),
                )
                into_mlp[:, prompt, column] = arrival.values
            if into_mlp is not None:
                stream, output = (
                    x if last else x[:, first:] for x in (base.mlp_in[layer], base.mlp_out[layer])
                )
                by_mlp = block.through_mlp(stream + into_mlp) - output
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
        arrivals: Arrivals,
        n_sets: int,
        receivers: dict[str, list[int]],
        places: Tensor | None,
        seen: list[Tensor],
    ) -> Tensor | None:
        """What a layer's heads now add beyond the unpatched run [set, prompt, pos, d_model]; None
        if none of them changes.

        Where the stream has not changed yet, only receivers do anything new, and those that share
        the scale of a norm with them.
        """
        if change is None and not receivers:
            return None
        model, base, first = self.model, self.base, self.first
        block, last = model.blocks[layer], layer == model.n_layers - 1
        attention = block.attention
        heads = (
            list(range(model.n_heads))
            if change is not None or block.couples
            else sorted({h for hs in receivers.values() for h in hs})
        )
        parts = {}
        for letter, whole, projected in zip(
            LETTERS,
            (base.q[layer], base.keys[layer], base.values[layer]),
            (base.projected_q[layer], base.projected_keys[layer], None),
            strict=True,
        ):
            n_pos = 1 if last and letter == "q" else self.n_pos - first
            turned = self.batch.context.sights[layer].last(n_pos).rotation
            unfinished = attention.is_coupled(letter) and (
                change is not None or letter in receivers
            )
            if change is None:
                known = projected if unfinished and projected is not None else whole
                part = known[:, -n_pos:, heads].expand(n_sets, -1, -1, -1, -1)
            else:
                stream = base.attention_in[layer][:, -n_pos:] + change[:, :, -n_pos:]
                part = attention.project(letter, block.before_heads(stream), heads)
                if not unfinished:
                    part = attention.finish(letter, part, turned, heads)
            if letter in receivers:
                arrival = arrivals[layer, letter]
                part = part.clone()
                rows, received = arrival.rows, arrival.values
                if n_pos == 1:  # a cache's last layer has queries at the ends alone
                    at_end = rows % self.n_pos == self.n_pos - 1
                    rows, received = rows[at_end], received[:, at_end]
                columns = rows % self.n_pos - (self.n_pos - n_pos)
                sent = self.into.heads[layer][letter]
                for head in receivers[letter]:
                    part[:, rows // self.n_pos, columns, heads.index(head)] = received[
                        :, :, sent.index(head)
                    ]
            parts[letter] = attention.finish(letter, part, turned) if unfinished else part
        z, weights = self._z(layer, heads, parts)
        scale = block.post_scale(z)
        z = z if scale is None else z / scale
        if places is not None and "q" in receivers:
            at_end = weights[:, :, [heads.index(h) for h in receivers["q"]], -1].transpose(1, 2)
            seen.append(at_end.gather(3, places.expand(*at_end.shape[:2], -1, -1)))
        unpatched = base.z[layer] if last else base.z[layer][:, first:]
        return (z - unpatched[:, :, heads]).flatten(3) @ block.writes[heads].flatten(0, 1)

    def _z(
        self, layer: int, heads: Sequence[int], parts: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Attention of some heads: z [set, prompt, pos, head, d_head] and weights [set, prompt,
        head, pos, key].

        Keys and values before the first position that receives are the unpatched run's, and are not
        copied for each set.
        """
        context, q = self.batch.context, parts["q"]
        n_queries = q.shape[2]
        early = []
        for past, own in ((context.keys, self.base.keys), (context.values, self.base.values)):
            before = own[layer][:, : self.first, heads]
            early.append(torch.cat([past[layer][:, :, heads], before], 1) if past else before)
        products = torch.cat(
            [
                torch.einsum("sbqhe,bkhe->sbhqk", q, early[0]),
                torch.einsum("sbqhe,sbkhe->sbhqk", q, parts["k"]),
            ],
            dim=-1,
        )
        sight = context.sights[layer].last(n_queries)
        weights = self.model.blocks[layer].attention.weigh(products, sight, heads)
        n_early = early[0].shape[1]
        z = torch.einsum("sbhqk,bkhe->sbqhe", weights[..., :n_early], early[1])
        return z + torch.einsum("sbhqk,sbkhe->sbqhe", weights[..., n_early:], parts["v"]), weights
