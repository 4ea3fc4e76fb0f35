"""Muon's orthogonalisation against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch

from circuitwatch.nano.muon import Group, Muon, orthogonalise


def with_spectrum(
    rows: int, columns: int, spectrum: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random matrix with the given singular values, and its U Vᵀ."""
    u, _, vt = torch.linalg.svd(
        torch.randn(rows, columns, dtype=torch.float64), full_matrices=False
    )
    return u @ torch.diag(spectrum.double()) @ vt, u @ vt


@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (4, 12), (12, 4)])
def test_orthogonalise_keeps_singular_vectors_and_flattens_the_spectrum(
    rows: int, columns: int
) -> None:
    torch.manual_seed(0)
    matrix, target = with_spectrum(rows, columns, torch.linspace(0.05, 1.0, min(rows, columns)))
    result = orthogonalise(matrix, 5)
    assert result.shape == matrix.shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6 and values.max() < 1.25
    # Uᵀ X V is diagonal when the singular vectors are untouched.
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    core = u.mT @ result @ vt.mT
    assert torch.allclose(core, torch.diag(core.diagonal()), atol=1e-9)
    assert (core - u.mT @ target @ vt.mT).abs().max() < 0.4


def test_orthogonalise_treats_a_stack_matrix_by_matrix_and_leaves_zero_alone() -> None:
    torch.manual_seed(1)
    stack = torch.randn(3, 5, 8)
    stack[1] = 0
    result = orthogonalise(stack, 3)
    assert torch.equal(result[1], torch.zeros(5, 8))
    assert torch.allclose(result[2], orthogonalise(stack[2], 3), atol=1e-5)


def test_muon_moves_each_head_by_itself() -> None:
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.zeros(8, 6))
    weight.grad = torch.randn(8, 6)
    weight.grad[:4] *= 1000  # a loud head must not drown the quiet one
    gradient = weight.grad.clone()
    Muon([Group([weight], lambda w: w.view(2, 4, 6))], momentum=0.95, n_iterations=5).step(lr=0.1)
    for rows in (slice(0, 4), slice(4, 8)):
        assert torch.allclose(
            weight[rows].detach(), -0.1 * orthogonalise(gradient[rows], 5), atol=1e-6
        )
