"""Sparse CSR tensors under autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshlearn.fem import FunctionSpace, assemble, dot, grad, jump, multiply
from meshlearn.fem.sparse import csr_matrix, csr_values, plus, rows_of
from meshlearn.mesh import generate

ROWPTR, COLUMNS = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 2, 1, 0, 2])
OTHER_ROWPTR, OTHER_COLUMNS = torch.tensor([0, 1, 3, 4]), torch.tensor([1, 0, 1, 2])


def example(values: Tensor) -> Tensor:
    return csr_matrix(ROWPTR, COLUMNS, values, (3, 3))


def other(values: Tensor) -> Tensor:
    return csr_matrix(OTHER_ROWPTR, OTHER_COLUMNS, values, (3, 3))


def test_values_come_back() -> None:
    values = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(csr_values(example(values)), values)
    assert rows_of(example(values)).tolist() == [0, 0, 1, 2, 2]
    dense = example(values.detach()).to_dense()
    assert torch.equal(dense[rows_of(example(values)), COLUMNS], values)


@pytest.mark.parametrize("columns", [(), (2,)])
def test_products_have_derivatives_of_both_orders(columns: tuple[int, ...]) -> None:
    values = torch.rand(5, dtype=torch.float64, requires_grad=True)
    x = torch.rand(3, *columns, dtype=torch.float64, requires_grad=True)

    def product(values: Tensor, x: Tensor) -> Tensor:
        return multiply(example(values), x) ** 2

    assert torch.autograd.gradcheck(product, (values, x))
    assert torch.autograd.gradgradcheck(product, (values, x))
    plain = example(values.detach()) @ x.detach()
    assert torch.allclose(multiply(example(values), x), plain)
    assert torch.allclose(multiply(example(values.detach()), x.detach()), plain)


def test_sums_of_different_patterns_have_derivatives_of_both_orders() -> None:
    a = torch.rand(5, dtype=torch.float64, requires_grad=True)
    b = torch.rand(4, dtype=torch.float64, requires_grad=True)

    def total(a: Tensor, b: Tensor) -> Tensor:
        first = example(a)
        return (csr_values(first * 2.0 + other(b) + plus(first, first) * -0.5) ** 3).sum()

    def same(a: Tensor, b: Tensor) -> Tensor:
        return (csr_values(plus(example(a), other(b))) ** 3).sum()

    for function in (total, same):
        assert torch.autograd.gradcheck(function, (a, b))
        assert torch.autograd.gradgradcheck(function, (a, b))


def test_dense_gradients_are_read_at_the_stored_entries() -> None:
    values = torch.rand(5, dtype=torch.float64, requires_grad=True)
    x = torch.rand(3, dtype=torch.float64)
    (native,) = torch.autograd.grad((example(values) @ x).sum(), values)
    (ours,) = torch.autograd.grad(multiply(example(values), x).sum(), values)
    assert torch.allclose(native, ours)


def test_empty_gradient_pattern() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    empty = csr_matrix(
        torch.zeros(4, dtype=torch.int64), none, torch.zeros(0, dtype=torch.float64), (3, 3)
    )
    values = torch.rand(5, dtype=torch.float64, requires_grad=True)
    matrix = example(values)
    (slope,) = torch.autograd.grad(matrix, values, grad_outputs=empty)
    assert slope.tolist() == [0.0] * 5


def test_cells_and_inner_facets_add_up() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1DG")
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    J = assemble(lambda u, v, w: jump(u) * jump(v), space, on="interior")
    assert torch.allclose(plus(A, J).to_dense(), A.to_dense() + J.to_dense())
    assert torch.allclose((A + J).to_dense(), A.to_dense() + J.to_dense())
