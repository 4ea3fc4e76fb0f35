"""The circuit of other prompts of the same kind: a bootstrap over prompts, the noise ceiling of
comparisons of circuits.

A circuit is found from a sample of prompts, so two samples give two circuits of one and the same
model. What these share is all that circuits of two checkpoints *from two samples* can be expected
to share if nothing changed between them. The samples are drawn once a cell and are the same at
every checkpoint (`overlap.resampled_overlaps` compares them, like with like).

A resample draws as many prompts as there are, with replacement. Its scores are the mean over its
prompts, its circuit the smallest that reaches the threshold on them. No model is run again for the
scores; circuits are evaluated prompt by prompt and averaged by how often each was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from circuitwatch.circuits.evaluation import CircuitEvaluator
from circuitwatch.circuits.overlap import Circuit
from circuitwatch.circuits.search import SearchSpec, denominator, smallest_circuit

Array = npt.NDArray[np.float64]


def bootstrap_weights(n_prompts: int, n_bootstrap: int, seed: int | Sequence[int]) -> Array:
    """How often each prompt is drawn in each resample: [resample, prompt]."""
    drawn = np.random.default_rng(seed).integers(n_prompts, size=(n_bootstrap, n_prompts))
    return np.stack([np.bincount(row, minlength=n_prompts) for row in drawn]).astype(float)


def interval_of_mean(
    values: Array,
    drawn: Array | None = None,
    *,
    n_bootstrap: int = 1000,
    seed: int | Sequence[int] = 0,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval, over prompts, of the mean of values [prompt].

    Of a resample, if `drawn` [prompt] says how often it has each prompt.
    """
    sample = values if drawn is None else np.repeat(values, drawn.astype(int))
    means = bootstrap_weights(len(sample), n_bootstrap, seed) @ sample / len(sample)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def circuits_of_resamples(
    evaluator: CircuitEvaluator,
    weights: Array,
    scores: npt.NDArray[np.float32],
    *,
    model: Array,
    corrupted: Array,
    spec: SearchSpec,
    n_bootstrap: int = 1000,
    on_evaluation: Callable[[int], None] | None = None,
) -> list[Circuit | None]:
    """The circuit of every resample [resample], None for one that has none.

    Args:
        evaluator: of the prompts.
        weights: [resample, prompt], see `bootstrap_weights`.
        scores: [resample, sender, receiver] under these weights.
        model: [prompt] the full model's behaviour.
        corrupted: [prompt] the same on the corrupted prompts.
        spec: as for the circuit of all prompts.
        n_bootstrap: resamples of a resample, for the interval of what its criterion divides by.
        on_evaluation: told how many circuits of a resample have been evaluated.
    """
    circuits: list[Circuit | None] = []
    for drawn, of_resample in zip(weights, scores, strict=True):
        share = drawn / drawn.sum()
        result = smallest_circuit(
            evaluator.graph,
            of_resample,
            lambda mask, share=share: float(share @ evaluator.per_prompt(mask)),  # type: ignore[misc]
            model=float(share @ model),
            corrupted=float(share @ corrupted),
            spec=spec,
            interval=interval_of_mean(
                denominator(model, corrupted, spec.criterion), drawn, n_bootstrap=n_bootstrap
            ),
            on_evaluation=on_evaluation,
        )
        circuits.append(None if result.mask is None else Circuit(result.mask, of_resample))
    return circuits
