"""P1 matrices: against scikit-fem, on linear functions, and under symmetries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skfem import Basis, BilinearForm
from skfem.helpers import dot, grad
from strategies import any_meshes, line_meshes, random_mesh, renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem.p1 import (
    basis_gradients,
    lumped_mass,
    simplex_volumes,
    simplices,
    stiffness,
)
from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate

meshes = st.one_of(any_meshes(), line_meshes())
one_type = pytest.mark.parametrize("name", ["line", "triangle", "tetra"])


@BilinearForm
def laplace(u, v, w):  # type: ignore[no-untyped-def]
    return dot(grad(u), grad(v))


@BilinearForm
def mass(u, v, w):  # type: ignore[no-untyped-def]
    return u * v


def example(name: str) -> Mesh:
    return random_mesh(name, [4, 3, 2][: CELL_TYPES[name].dim], 3, stretch=2.0)


def on(mesh: Mesh, vector: Tensor) -> Tensor:
    return mesh.pos @ vector


@given(meshes)
def test_simplices_fill_the_cells(mesh: Mesh) -> None:
    """Each with nodes of its own cell; flat-sided cells are filled exactly."""
    nodes = simplices(mesh)
    assert nodes.shape[1] == mesh.dim + 1
    start = 0
    for name, cell in mesh.cells.items():
        count = len(CELL_TYPES[name].simplices)
        block = nodes[start : start + count * len(cell)].reshape(len(cell), -1)
        assert all(
            set(row) == set(corners)
            for row, corners in zip(block.tolist(), cell.tolist(), strict=True)
        )
        start += count * len(cell)
    assert start == len(nodes)


@given(any_meshes(jitter=0.0))
def test_volumes_of_simplices_add_up(mesh: Mesh) -> None:
    volume = simplex_volumes(mesh.pos, simplices(mesh))
    assert (volume > 0).all()
    torch.testing.assert_close(volume.sum(), mesh.volumes().sum(), rtol=1e-12, atol=0)


@given(meshes)
def test_gradients_of_the_basis(mesh: Mesh) -> None:
    """They sum to zero, and reproduce the gradients of the coordinates."""
    nodes = simplices(mesh)
    gradient = basis_gradients(mesh.pos, nodes)
    scale = gradient.norm(dim=2).amax(dim=1)
    assert (gradient.sum(dim=1).norm(dim=1) <= 1e-12 * scale).all()
    relative = mesh.pos[nodes] - mesh.pos[nodes[:, :1]]
    identity = torch.einsum("sia,sib->sab", relative, gradient)
    expected = torch.eye(mesh.dim, dtype=torch.float64).expand_as(identity)
    torch.testing.assert_close(identity, expected, rtol=0, atol=1e-9)


@one_type
def test_lumped_mass_is_the_row_sum_of_the_mass_matrix(name: str) -> None:
    mesh = example(name)
    theirs = mesh.to_skfem()
    matrix = mass.assemble(Basis(theirs, type(theirs).elem()))
    np.testing.assert_allclose(
        lumped_mass(mesh).numpy(), np.asarray(matrix.sum(axis=1)).ravel(), rtol=1e-12
    )


@given(any_meshes(jitter=0.1))
def test_lumped_mass_is_positive_and_sums_to_the_volume(mesh: Mesh) -> None:
    found = lumped_mass(mesh)
    assert (found > 0).all()
    expected = simplex_volumes(mesh.pos, simplices(mesh)).sum()
    torch.testing.assert_close(found.sum(), expected, rtol=1e-12, atol=0)


def test_lumped_mass_has_derivatives() -> None:
    mesh = example("triangle")
    pos = mesh.pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lumped_mass(mesh.moved(x)), (pos,))


@one_type
def test_stiffness_is_that_of_skfem(name: str) -> None:
    mesh = example(name)
    theirs = mesh.to_skfem()
    matrix = laplace.assemble(Basis(theirs, type(theirs).elem()))
    ours = stiffness(mesh.pos, simplices(mesh))
    assert ours.shape == matrix.shape
    difference = np.abs((ours - matrix).toarray()).max()
    assert difference < 1e-12 * np.abs(matrix.toarray()).max()


@given(st.one_of(any_meshes(jitter=0.0), line_meshes()), st.integers(0, 2**32 - 1))
def test_energy_of_a_linear_field(mesh: Mesh, seed: int) -> None:
    """u' L u = |grad u|^2 |domain|; constants have none; interior rows vanish."""
    slope = torch.randn(
        mesh.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    nodes = simplices(mesh)
    matrix, u = stiffness(mesh.pos, nodes), on(mesh, slope).numpy()
    volume = float(simplex_volumes(mesh.pos, nodes).abs().sum())
    assert u @ (matrix @ u) == pytest.approx(float(slope @ slope) * volume, rel=1e-9)
    size = np.abs(matrix).sum(axis=1)
    assert (np.abs(matrix @ np.ones(len(u))) <= 1e-12 * size).all()
    inner = np.setdiff1d(np.arange(len(u)), mesh.boundary_nodes.numpy())
    assert (np.abs(matrix @ u)[inner] <= 1e-10 * size[inner] * np.abs(u).max()).all()
    assert np.abs((matrix - matrix.T).toarray()).max() <= 1e-12 * size.max()


def test_stiffness_is_positive_semidefinite_with_one_null_vector() -> None:
    for name in ("mixed2", "mixed3"):
        mesh = random_mesh(name, [3, 3, 2][: 2 + (name == "mixed3")], 0)
        values = np.linalg.eigvalsh(stiffness(mesh.pos, simplices(mesh)).toarray())
        assert abs(values[0]) < 1e-12 * values[-1]
        assert values[1] > 1e-6 * values[-1]


def test_matrices_do_not_depend_on_the_numbering() -> None:
    mesh = random_mesh("tetra", [3, 2, 2], 0)
    other, node, _ = renumbered(mesh, 1)
    torch.testing.assert_close(lumped_mass(other)[node], lumped_mass(mesh))
    number = node.numpy()
    theirs = stiffness(other.pos, simplices(other)).toarray()[np.ix_(number, number)]
    np.testing.assert_allclose(
        theirs, stiffness(mesh.pos, simplices(mesh)).toarray(), rtol=1e-10, atol=1e-12
    )


def test_matrices_of_a_batch_are_block_diagonal() -> None:
    parts = [random_mesh("triangle", [2, 3], k) for k in range(2)]
    batch = Batch.from_data_list(parts)
    torch.testing.assert_close(lumped_mass(batch), torch.cat([lumped_mass(m) for m in parts]))
    matrix = stiffness(batch.pos, simplices(batch)).toarray()
    n = parts[0].num_nodes
    assert (matrix[:n, n:] == 0).all()
    np.testing.assert_allclose(
        matrix[n:, n:], stiffness(parts[1].pos, simplices(parts[1])).toarray(), atol=1e-14
    )


def test_surfaces_are_refused() -> None:
    ball = generate.ball(1)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan"])
    with pytest.raises(MeshError, match="2D cells in 3D"):
        lumped_mass(surface)
