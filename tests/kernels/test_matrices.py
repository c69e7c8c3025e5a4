"""Small matrices as structures of arrays against torch.linalg."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshlearn.kernels.matrices import (
    Matrix,
    adjugate,
    determinant,
    inverse,
    product,
    trace,
    transposed,
)


def arrays(dense: Tensor) -> Matrix:
    """`[n, d, e]` as rows of vectors `[n]`."""
    return [[dense[:, i, j] for j in range(dense.shape[2])] for i in range(dense.shape[1])]


def dense(matrix: Matrix) -> Tensor:
    """The way back."""
    return torch.stack([torch.stack(row, dim=-1) for row in matrix], dim=-2)


@pytest.fixture(params=[1, 2, 3])
def sample(request: pytest.FixtureRequest) -> Tensor:
    return torch.randn(50, request.param, request.param, dtype=torch.float64)


def test_against_torch(sample: Tensor) -> None:
    m = arrays(sample)
    volume = torch.linalg.det(sample)
    torch.testing.assert_close(determinant(m), volume)
    torch.testing.assert_close(dense(inverse(m)), torch.linalg.inv(sample), rtol=1e-9, atol=1e-9)
    adjoint = volume[:, None, None] * torch.linalg.inv(sample)
    torch.testing.assert_close(dense(adjugate(m)), adjoint, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(trace(m), sample.diagonal(dim1=1, dim2=2).sum(dim=1))
    torch.testing.assert_close(dense(transposed(m)), sample.transpose(1, 2))
    one = torch.eye(len(m), dtype=torch.float64).expand_as(sample)
    torch.testing.assert_close(dense(product(m, inverse(m))), one, rtol=0, atol=1e-9)


def test_products_of_rectangles() -> None:
    a = torch.randn(7, 2, 3, dtype=torch.float64)
    b = torch.randn(7, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(dense(product(arrays(a), arrays(b))), a @ b)


def test_any_shape_of_vectors(sample: Tensor) -> None:
    m = [[x.reshape(5, 10) for x in row] for row in arrays(sample)]
    torch.testing.assert_close(determinant(m), torch.linalg.det(sample).reshape(5, 10))


def test_differentiable_twice(sample: Tensor) -> None:
    start = sample[:3].clone().requires_grad_()

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        m = arrays(x)
        return determinant(m), dense(inverse(m))

    assert torch.autograd.gradcheck(both, (start,), atol=1e-5, rtol=1e-4)
    assert torch.autograd.gradgradcheck(lambda x: determinant(arrays(x)), (start,))
