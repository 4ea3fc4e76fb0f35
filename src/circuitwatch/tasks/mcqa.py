"""Multiple choice: "The box is brown. What color is the box? A. gray B. brown … Answer:" → the
letter of the colour (copied colours as in Wiegreffe et al., arXiv 2407.15018, and the MIB
benchmark, 2504.13151).

Metric: logit of the right letter − logit of the letter that would be right in the counterpart, in
which the texts of these two options are exchanged. Each ordered pair of letters is met by the
reversed one in the next prompt, with words of its own, so over an even number of prompts a liking
for a letter is worth nothing.
"""

from __future__ import annotations

import random
from itertools import permutations
from typing import TYPE_CHECKING

from circuitwatch.catalogue import Task
from circuitwatch.tasks.prompts import Draft, PromptSet, assemble, fill, require, single_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LETTERS = "ABCD"
COLORS = "red blue green yellow black white brown purple pink gray silver gold".split()
OBJECTS = (
    "pen book cup ball box hat plate bag bottle phone key lamp coin ring shirt pencil mug spoon "
    "fork bowl brush candle card clock flag knife towel watch"
).split()
PATTERN = (
    "Question: The {object} is {color}. What color is the {object}?\n"
    "A. {A}\nB. {B}\nC. {C}\nD. {D}\nAnswer:"
)


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, *, n_prompts: int, seed: int, prepend_bos: bool = True
) -> PromptSet:
    """Positions: right, wrong (the colours in these options) and end."""
    rng = random.Random(seed)
    letters = single_tokens(tokenizer, LETTERS)
    require(len(letters), len(LETTERS), len(LETTERS), "letters", "mcqa")
    colors, objects = (list(single_tokens(tokenizer, words)) for words in (COLORS, OBJECTS))
    require(len(colors), len(LETTERS) + 2, len(COLORS), "colours", "mcqa")
    require(len(objects), 4, len(OBJECTS), "objects", "mcqa")
    pairs = list(permutations(LETTERS, 2))
    rng.shuffle(pairs)
    drafts = []
    for i in range(n_prompts):
        pair = pairs[i // 2 % len(pairs)]
        right, wrong = pair if i % 2 == 0 else pair[::-1]
        options = dict(zip(LETTERS, rng.sample(colors, len(LETTERS)), strict=True))
        words = {"object": rng.choice(objects), "color": options[right]}
        exchanged = options | {right: options[wrong], wrong: options[right]}
        clean, spans = fill(PATTERN, words | options)
        corrupted, _ = fill(PATTERN, words | exchanged)
        marks = {"right": spans[right], "wrong": spans[wrong]}
        drafts.append(Draft(clean, corrupted, marks, [letters[right]], [letters[wrong]]))
    counts = {"colours": len(colors), "objects": len(objects)}
    return assemble(
        "mcqa", "logit_diff", drafts, tokenizer, prepend_bos=prepend_bos, lexicon_counts=counts
    )


TASK = Task(
    name="mcqa", words="multiple choice", metric="logit_diff", make_prompts=make_prompts, place=70
)
