"""Chebyshev convolutions: the polynomials of the graph Laplacian, by dense algebra."""

from __future__ import annotations

import pytest
import torch
from numpy.polynomial import chebyshev as reference
from torch import Tensor

from meshlearn.mesh import Mesh, generate
from meshlearn.nn import EDGE_WEIGHTS, ChebyshevConv, chebyshev_terms, scaled_laplacian


def dense(mesh: Mesh, weights: str) -> Tensor:
    sender, receiver = mesh.edge_index
    matrix = torch.zeros(mesh.num_nodes, mesh.num_nodes, dtype=torch.float64)
    matrix[receiver, sender] = scaled_laplacian(mesh, weights).double()
    return matrix


@pytest.mark.parametrize("weights", EDGE_WEIGHTS)
def test_the_spectrum_is_within_one_and_the_ends_are_known(weights: str) -> None:
    mesh = generate.rectangle(5, 4, diagonal="crossed")
    matrix = dense(mesh, weights)
    assert torch.allclose(matrix, matrix.T, atol=1e-7)
    values = torch.linalg.eigvalsh(matrix)
    # L of a connected graph has the eigenvalue 0 once: L' = L - I has -1
    assert float(values[0]) == pytest.approx(-1, abs=1e-6)
    assert float(values[1]) > -1 + 1e-3
    assert float(values[-1]) < 1


def test_lengths_are_the_weights() -> None:
    mesh = generate.interval(2)
    mesh = mesh.moved(torch.tensor([[0.0], [0.25], [1.0]], dtype=torch.float64))
    # degrees are 1/4, 1, 3/4
    assert dense(mesh, "length")[0, 1] == pytest.approx(-0.25 / 0.25**0.5)
    assert dense(mesh, "length")[1, 2] == pytest.approx(-0.75 / 0.75**0.5)
    assert dense(mesh, "none")[1, 2] == pytest.approx(-1 / 2**0.5)


def test_turning_and_scaling_change_nothing() -> None:
    mesh = generate.rectangle(4, 3)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    other = mesh.moved(7 * mesh.pos @ turn + 3)
    assert torch.allclose(scaled_laplacian(mesh), scaled_laplacian(other), atol=1e-6)


def test_terms_are_chebyshev_polynomials_of_the_matrix() -> None:
    mesh = generate.rectangle(5, 4)
    torch.manual_seed(0)
    x = torch.randn(mesh.num_nodes, 3, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(dense(mesh, "length"))
    for k, term in enumerate(chebyshev_terms(mesh, scaled_laplacian(mesh), x, 6)):
        filtered = torch.from_numpy(reference.chebval(values.numpy(), [0] * k + [1]))
        assert torch.allclose(term, vectors @ (filtered[:, None] * (vectors.T @ x)), atol=1e-6)


def test_a_node_hears_of_those_one_edge_less_than_the_order_away() -> None:
    mesh = generate.interval(12)
    torch.manual_seed(0)
    layer = ChebyshevConv(1, 2, order=4)
    x = torch.zeros(13, 1)
    x[0] = 1.0
    laplacian = scaled_laplacian(mesh)
    with torch.no_grad():
        heard = (layer(mesh, laplacian, x) - layer(mesh, laplacian, 0 * x)).abs().sum(dim=1)
    assert bool((heard[:4] > 0).all())
    assert not bool(heard[4:].any())


def test_errors() -> None:
    with pytest.raises(ValueError, match="weights must be one of length, inverse, none, got 'a'"):
        scaled_laplacian(generate.interval(2), "a")
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        ChebyshevConv(1, 1, 0)
