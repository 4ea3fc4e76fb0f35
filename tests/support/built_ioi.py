"""A model made by hand that does indirect object identification as Wang et al.

describe it, and heads that only look as if they did.
"""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import torch
from torch import Tensor

from circuitwatch.components import MLP, Attention, Block, Norm
from circuitwatch.tasks.prompts import PromptSet
from circuitwatch.transformer import Transformer

NAMES, WORD, END, TOKENS = 6, 6, 7, 8
PLACES = 5
S2, LAST = 3, 4
WIDTH, D_HEAD = 8, 16
TOKEN, PLACE, DUPLICATE, INHIBITED, ANSWER, NOISE = (
    slice(WIDTH * i, WIDTH * i + WIDTH) for i in range(6)
)
D_MODEL = 6 * WIDTH
FIRST, SECOND = slice(0, WIDTH), slice(WIDTH, 2 * WIDTH)


def matrix(*parts: tuple[slice, slice, Tensor]) -> Tensor:
    """[d_model, d_head] with blocks (rows of the stream, columns of the head, [8, 8])."""
    weight = torch.zeros(D_MODEL, D_HEAD)
    for rows, columns, block in parts:
        weight[rows, columns] = block
    return weight


def ioi_model(against: Literal["io", "s"] | None = None, size: float = 1.5) -> Transformer:
    """Prompts are: name, name, word, name (S2), end. Layers 0 to 2 each have the head that does the
    work, h0, and two others.

    a0.h0, duplicate token: at S2 looks for the same token and writes its place into DUPLICATE.
    a1.h0, S-inhibition: at the end looks at S2 and copies that place into INHIBITED. a2.h0, name
    mover: at the end looks at both names, but not at the inhibited place, and copies the token into
    ANSWER. a2.h1 copies tokens into ANSWER too, but looks at the word alone. All other heads and
    the MLPs are random and write into NOISE, which nothing reads. a2.h2 is one of them, unless it
    copies `against` a name by `size`: IO, which it finds as the name mover does, or S, at S2.
    """
    generator = torch.Generator().manual_seed(0)
    eye, every, end = torch.eye(WIDTH), torch.ones(WIDTH, WIDTH), torch.zeros(WIDTH, WIDTH)
    end[END] = 1  # the end token asks, whatever the place
    here = {place: torch.diag(torch.eye(WIDTH)[place]) for place in range(PLACES)}

    def at(*places: int) -> Tensor:
        return sum((here[place] for place in places), torch.zeros(WIDTH, WIDTH))

    duplicate = (
        matrix((TOKEN, FIRST, 40 * eye), (TOKEN, SECOND, 40 * every)),
        matrix((TOKEN, FIRST, eye), (PLACE, SECOND, -4 * at(S2))),  # not at itself
        matrix((PLACE, FIRST, eye)),
        matrix((DUPLICATE, FIRST, eye / 5)).T,
    )
    inhibition = (
        matrix((TOKEN, FIRST, 40 * end)),
        matrix((PLACE, FIRST, at(S2))),
        matrix((DUPLICATE, FIRST, eye)),
        matrix((INHIBITED, FIRST, eye / 5)).T,
    )
    mover = (
        matrix((TOKEN, FIRST, 6 * end), (INHIBITED, SECOND, -30 * eye)),
        matrix((PLACE, FIRST, at(0, 1)), (PLACE, SECOND, eye)),
        matrix((TOKEN, FIRST, eye)),
        matrix((ANSWER, FIRST, 4 * eye)).T,
    )
    looks_like_one = (
        matrix((TOKEN, FIRST, 40 * end)),
        matrix((PLACE, FIRST, at(2))),
        matrix((TOKEN, FIRST, eye)),
        matrix((ANSWER, FIRST, 4 * eye)).T,
    )

    against_a_name = {
        "io": (*mover[:3], -size / 4 * mover[3]),
        "s": (*inhibition[:2], matrix((TOKEN, FIRST, eye)), matrix((ANSWER, FIRST, -size * eye)).T),
    }

    def other() -> tuple[Tensor, ...]:
        return *(torch.randn(D_MODEL, D_HEAD, generator=generator) for _ in range(3)), matrix(
            (NOISE, FIRST, eye / 20)
        ).T

    def block(*heads: tuple[Tensor, ...]) -> Block:
        weights = [torch.stack(kind) for kind in zip(*heads, strict=True)]
        norm = Norm(torch.ones(D_MODEL), None, eps=1e-5, centred=False)
        w_out = torch.zeros(16, D_MODEL)
        w_out[:, NOISE] = torch.randn(16, WIDTH, generator=generator) / 500
        mlp = MLP(
            torch.randn(D_MODEL, 16, generator=generator),
            torch.zeros(16),
            w_out,
            torch.zeros(D_MODEL),
            torch.relu,
        )
        return Block(
            norm,
            Attention(*weights, *torch.zeros(3, 3, D_HEAD), torch.zeros(D_MODEL), scale=1.0),
            norm,
            mlp,
        )

    embedding, places = torch.zeros(TOKENS, D_MODEL), torch.zeros(PLACES, D_MODEL)
    embedding[:, TOKEN] = torch.eye(TOKENS)
    places[:, PLACE] = torch.eye(WIDTH)[:PLACES]
    unembedding = torch.zeros(D_MODEL, TOKENS)
    unembedding[ANSWER] = torch.eye(TOKENS)
    return Transformer(
        blocks=(
            block(duplicate, other(), other()),
            block(inhibition, other(), other()),
            block(mover, looks_like_one, other() if against is None else against_a_name[against]),
        ),
        W_E=embedding,
        W_pos=places,
        final_norm=Norm(torch.ones(D_MODEL), None, eps=1e-5, centred=False),
        W_U=unembedding,
        b_U=None,
        parallel=True,
    )


def ioi_prompts() -> PromptSet:
    """All ordered pairs of names, the repeated one first or second by turns; corrupted by repeating
    the other.
    """
    clean, corrupted, answers, io, s1 = [], [], [], [], []
    for i, (a, b) in enumerate(permutations(range(NAMES), 2)):
        subject, other = (a, b) if i % 2 else (b, a)
        clean.append([a, b, WORD, subject, END])
        corrupted.append([a, b, WORD, other, END])
        answers.append([other, subject])
        io.append([a, b].index(other))
        s1.append([a, b].index(subject))
    n = len(clean)
    return PromptSet(
        task="ioi",
        metric="logit_diff",
        clean_text=("",) * n,
        corrupted_text=("",) * n,
        clean=torch.tensor(clean),
        corrupted=torch.tensor(corrupted),
        lengths=torch.full((n,), PLACES),
        answer_ids=torch.tensor(answers),
        answer_signs=torch.tensor([[1.0, -1.0]] * n),
        positions={
            "io": torch.tensor(io),
            "s1": torch.tensor(s1),
            "s2": torch.full((n,), S2),
            "end": torch.full((n,), LAST),
        },
        lexicon_counts={},
    )
