"""Models made by hand, whose heads' roles are known: one-hot parts of the residual stream, and
heads that move one part into another.

The parts are TOKEN (what stands here), PREVIOUS (what stood before), NEXT (what follows in the list
of words), ANSWER (what is unembedded), PLACE, and NOISE, which nothing reads. A head has two areas:
words and places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from circuitwatch.components import MLP, Attention, Block, Norm
from circuitwatch.transformer import Transformer

N_NOISE = 8
WORD_PARTS = ("TOKEN", "PREVIOUS", "NEXT", "ANSWER")


@dataclass(frozen=True)
class Space:
    """Sizes and places of the parts, for a vocabulary of `words` and texts of up to `places`
    tokens.
    """

    words: int
    places: int

    @property
    def d_model(self) -> int:
        return len(WORD_PARTS) * self.words + self.places + N_NOISE

    @property
    def d_head(self) -> int:
        return self.words + self.places

    def part(self, name: str) -> slice:
        """Where a part stands in the residual stream."""
        if name in WORD_PARTS:
            start = WORD_PARTS.index(name) * self.words
            return slice(start, start + self.words)
        start = len(WORD_PARTS) * self.words
        return (
            slice(start, start + self.places)
            if name == "PLACE"
            else slice(start + self.places, self.d_model)
        )

    def reads(self, name: str, scale: float = 1.0) -> Tensor:
        """[d_model, d_head]: a part into its area of the head."""
        weight = torch.zeros(self.d_model, self.d_head)
        area = slice(self.words, None) if name == "PLACE" else slice(0, self.words)
        size = self.part(name).stop - self.part(name).start
        weight[self.part(name), area] = scale * torch.eye(size)
        return weight

    def writes(self, name: str, scale: float = 1.0) -> Tensor:
        """[d_head, d_model]: an area of the head into a part."""
        return self.reads(name, scale).T


@dataclass
class Head:
    """One head: q, k, v [d_model, d_head], out [d_head, d_model], b_q [d_head]."""

    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    b_q: Tensor


def head(
    space: Space, q: Tensor, k: Tensor, v: Tensor, out: Tensor, b_q: Tensor | None = None
) -> Head:
    """A head without the bias unless there is one."""
    return Head(q, k, v, out, torch.zeros(space.d_head) if b_q is None else b_q)


def previous_token_head(space: Space) -> Head:
    """Place i looks at place i − 1 and copies its token to PREVIOUS."""
    back = torch.zeros(space.d_model, space.d_head)
    back[space.part("PLACE"), space.words :] = torch.diag(torch.ones(space.places - 1), -1) * 30
    return head(space, back, space.reads("PLACE"), space.reads("TOKEN"), space.writes("PREVIOUS"))


def induction_head(space: Space) -> Head:
    """Finds the place whose PREVIOUS is the present token, and copies its token to ANSWER."""
    return head(
        space,
        space.reads("TOKEN", 6.0),
        space.reads("PREVIOUS"),
        space.reads("TOKEN"),
        space.writes("ANSWER"),
    )


def duplicate_token_head(space: Space) -> Head:
    """Looks at places with the present token, and at no cost at its own."""
    q = space.reads("TOKEN", 6.0) + space.reads("PLACE", -6.0)
    out = torch.zeros(space.d_head, space.d_model)
    out[:N_NOISE, space.part("NOISE")] = torch.eye(N_NOISE) / 20
    return head(space, q, space.reads("TOKEN") + space.reads("PLACE"), space.reads("TOKEN"), out)


def copying_head(space: Space, part: str, scale: float) -> Head:
    """Looks everywhere alike and writes a part's words to ANSWER: a name mover (TOKEN), its
    negative (scale < 0), a successor head (NEXT).
    """
    nothing = torch.zeros(space.d_model, space.d_head)
    return head(space, nothing, nothing, space.reads(part), space.writes("ANSWER", scale))


def suppressing_head(space: Space, scale: float) -> Head:
    """Looks at the token that ANSWER predicts, else at word 0 (BOS), and writes against the token;
    of BOS it says nothing.
    """
    fallback = torch.zeros(space.d_head)
    fallback[0] = 1.5
    values = space.reads("TOKEN")
    values[space.part("TOKEN").start] = 0
    return head(
        space,
        space.reads("ANSWER"),
        space.reads("TOKEN"),
        values,
        space.writes("ANSWER", -scale),
        fallback,
    )


def random_head(space: Space, part: str, scale: float, generator: torch.Generator) -> Head:
    """Looks at, and writes to one part, something random."""
    q, k, v = (
        torch.randn(space.d_model, space.d_head, generator=generator) / space.d_model
        for _ in range(3)
    )
    out = torch.zeros(space.d_head, space.d_model)
    size = len(range(*space.part(part).indices(space.d_model)))
    out[:, space.part(part)] = torch.randn(space.d_head, size, generator=generator) * scale
    return Head(q, k, v, out, torch.zeros(space.d_head))


def noise_mlp(space: Space, generator: torch.Generator) -> MLP:
    """Reads everything and writes to NOISE."""
    w_out = torch.zeros(16, space.d_model)
    w_out[:, space.part("NOISE")] = torch.randn(16, N_NOISE, generator=generator) / 20
    w_in = torch.randn(space.d_model, 16, generator=generator)
    return MLP(w_in, torch.zeros(16), w_out, torch.zeros(space.d_model), torch.relu)


def succession_mlp(space: Space, scale: float) -> MLP:
    """Writes the word after the present one to NEXT; the last is followed by none."""
    w_in, w_out = torch.zeros(space.d_model, space.words), torch.zeros(space.words, space.d_model)
    w_in[space.part("TOKEN")] = torch.eye(space.words)
    w_out[:, space.part("NEXT")] = torch.diag(torch.ones(space.words - 1), 1) * scale
    return MLP(w_in, torch.zeros(space.words), w_out, torch.zeros(space.d_model), torch.relu)


def assemble(
    space: Space, layers: list[tuple[list[Head], MLP]], final_weight: float = 1.0
) -> Transformer:
    """A model of sequential blocks with learnt positions and norms that do not centre."""
    blocks = []
    for heads, mlp in layers:
        q, k, v, out, b_q = (
            torch.stack([getattr(one, name) for one in heads])
            for name in ("q", "k", "v", "out", "b_q")
        )
        norm = Norm(torch.ones(space.d_model), None, eps=1e-5, centred=False)
        attention = Attention(
            q, k, v, out, b_q, 0 * b_q, 0 * b_q, torch.zeros(space.d_model), scale=1.0
        )
        blocks.append(Block(norm, attention, norm, mlp))
    embedding, places = (
        torch.zeros(space.words, space.d_model),
        torch.zeros(space.places, space.d_model),
    )
    embedding[:, space.part("TOKEN")] = torch.eye(space.words)
    places[:, space.part("PLACE")] = torch.eye(space.places)
    unembedding = torch.zeros(space.d_model, space.words)
    unembedding[space.part("ANSWER")] = torch.eye(space.words)
    return Transformer(
        blocks=tuple(blocks),
        W_E=embedding,
        W_pos=places,
        final_norm=Norm(torch.full((space.d_model,), final_weight), None, eps=1e-5, centred=False),
        W_U=unembedding,
        b_U=None,
        parallel=False,
    )


def induction_model(words: int, places: int) -> Transformer:
    """a0.h0 and a1.h0 are a previous-token and an induction head; a0.h1, a1.h1 and both MLPs write
    into NOISE.
    """
    space, generator = Space(words, places), torch.Generator().manual_seed(0)
    layers = [
        ([one, random_head(space, "NOISE", 1 / 20, generator)], noise_mlp(space, generator))
        for one in (previous_token_head(space), induction_head(space))
    ]
    return assemble(space, layers)


BUILT = {
    "previous_token": (0, 0),
    "duplicate_token": (0, 1),
    "induction": (1, 0),
    "name_mover": (1, 1),
    "successor": (1, 2),
    "negative_name_mover": (2, 0),
    "copy_suppression": (2, 0),
}
"""Role → layer and head that `roles_model` holds it with."""
RANDOM_HEAD = (2, 1)


def roles_model(words: int, places: int) -> Transformer:
    """Three layers of three heads, see `BUILT`; the others do something random.

    Word 0 is BOS, each word's successor the next.
    """
    space, generator = Space(words, places), torch.Generator().manual_seed(0)
    noise = noise_mlp(space, generator)
    first = [
        previous_token_head(space),
        duplicate_token_head(space),
        random_head(space, "NOISE", 1 / 20, generator),
    ]
    second = [
        induction_head(space),
        copying_head(space, "TOKEN", 0.2),
        copying_head(space, "NEXT", 0.2),
    ]
    third = [
        suppressing_head(space, 0.5),
        *(random_head(space, "ANSWER", 0.2, generator) for _ in range(2)),
    ]
    return assemble(
        space,
        [(first, succession_mlp(space, 0.1)), (second, noise), (third, noise)],
        final_weight=3.0,
    )
