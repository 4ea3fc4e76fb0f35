"""Muon: momentum whose update is orthogonalised, for the hidden matrices of a small transformer.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024): the momentum
matrix M = U S Vᵀ is replaced by an approximation of U Vᵀ, found by a Newton–Schulz iteration, so
that every direction of the matrix learns at the same speed. A fused query-key-value matrix is not
one map but three per head, which are orthogonalised one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Coefficients of the odd quintic a·x + b·x³ + c·x⁵ of the Muon paper: steep at 0, and maps singular
# values towards [0.7, 1.2].
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, n_iterations: int) -> Tensor:
    """Approximate U Vᵀ of each matrix in `matrices` [..., rows, columns]; more iterations flatten
    more of the spectrum.

    Each matrix is divided by its Frobenius norm first, which bounds its singular values by one; an
    all-zero matrix stays zero.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    for _ in range(n_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


@dataclass(frozen=True)
class Group:
    """Parameters of one shape, and how each is seen as a stack of matrices [matrix, rows, columns]
    (a view, not a copy).
    """

    parameters: Sequence[Tensor]
    view: Callable[[Tensor], Tensor]


class Muon:
    """Nesterov momentum, orthogonalised. All matrices of a group go through one batched iteration.

    The step of a matrix is lr · sqrt(max(1, rows / columns)), so that its effect on a unit-scale
    input does not depend on the shape.
    """

    def __init__(self, groups: Sequence[Group], *, momentum: float, n_iterations: int) -> None:
        self.groups = list(groups)
        self.momentum = momentum
        self.n_iterations = n_iterations
        self.buffers = [
            torch.zeros_like(torch.cat([g.view(p.detach()) for p in g.parameters]))
            for g in self.groups
        ]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every parameter from its gradient."""
        for group, buffer in zip(self.groups, self.buffers, strict=True):
            gradients = [p.grad for p in group.parameters if p.grad is not None]
            stacked = torch.cat([group.view(gradient) for gradient in gradients])
            buffer.lerp_(stacked, 1 - self.momentum)
            update = orthogonalise(stacked.lerp_(buffer, self.momentum), self.n_iterations)
            scale = max(1.0, update.shape[-2] / update.shape[-1]) ** 0.5
            per_parameter = update.chunk(len(group.parameters))
            for parameter, delta in zip(group.parameters, per_parameter, strict=True):
                group.view(parameter).add_(delta, alpha=-lr * scale)

    def state(self) -> dict[str, Tensor]:
        """The momentum buffers by name: all that is needed to go on."""
        return {f"muon.{index}": buffer for index, buffer in enumerate(self.buffers)}
