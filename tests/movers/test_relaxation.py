"""Laplacian and spring movers: the contract, and equidistribution in one coordinate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh, renumbered

from meshlearn.fem.p1 import simplices, stiffness
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import Laplacian, Spring
from meshlearn.movers.constraints import freedom
from meshlearn.movers.relaxation import Relaxation

MOVERS = [Laplacian(), Spring("lineal"), Spring("torsional")]


def hill(x: torch.Tensor) -> torch.Tensor:
    return 1 + 8 * torch.exp(-20 * ((x - 0.4) ** 2).sum(dim=1))


@given(any_meshes(tags=True), st.sampled_from(MOVERS))
@settings(max_examples=40)
def test_the_contract_holds_on_every_mesh(mesh: Mesh, mover: Relaxation) -> None:
    limited = type(mover)(max_iterations=5)
    moved = limited.move(mesh, Function(hill)).report
    assert moved.inverted_cells == 0
    assert moved.boundary_error < 1e-12
    assert moved.volume_error < 1e-8
    still = limited.move(mesh, Constant(2.0)).report
    size = float((mesh.volumes().abs() ** (1 / mesh.dim)).min())
    assert still.max_displacement <= 1e-8 * size
    assert still.converged


def test_the_laplacian_equidistributes_along_one_coordinate() -> None:
    mesh = generate.rectangle(40, 4)
    report = Laplacian().move(mesh, Function(lambda x: 1 + 4 * x[:, 0])).report
    assert report.converged
    assert report.equidistribution_after < 0.05 < report.equidistribution_before


@pytest.mark.parametrize("mover", MOVERS)
def test_nodes_gather_where_the_monitor_is_high(mover: Relaxation) -> None:
    mesh = generate.rectangle(16, 16)
    report = mover.move(mesh, Function(hill)).report
    assert report.converged
    assert report.equidistribution_after < 0.75 * report.equidistribution_before


@pytest.mark.parametrize("mover", MOVERS)
def test_the_numbering_does_not_matter(mover: Relaxation) -> None:
    mesh = generate.rectangle(8, 8)
    other, number, _ = renumbered(mesh, seed=5)
    one, two = mover.move(mesh, Function(hill)), mover.move(other, Function(hill))
    assert float((two.mesh.pos[number] - one.mesh.pos).abs().max()) < 1e-9


@pytest.mark.parametrize("mover", MOVERS)
@pytest.mark.parametrize(
    "mesh", [generate.rectangle(12, 12), generate.l_shape(6), generate.box(4, 4, 4)], ids=str
)
def test_the_result_is_the_balance_of_the_plain_iteration(mover: Relaxation, mesh: Mesh) -> None:
    """x <- x + (K(m(x))^-1 K(1) X - x) / 2, with dense matrices, ends where the mover does."""
    monitor = Function(lambda x: 1 + 3 * torch.exp(-8 * ((x - 0.3) ** 2).sum(dim=1)))
    report = mover.move(mesh, monitor)
    assert report.report.converged
    operator, basis = mover.operator(mesh), freedom(mesh).basis().toarray()
    size = mesh.dim
    load = operator(torch.ones(mesh.num_nodes, dtype=torch.float64)) @ mesh.pos.numpy()
    pos = mesh.pos.numpy().copy()
    for _ in range(40):
        value = monitor(mesh.moved(torch.from_numpy(pos)))
        matrix = operator(value / value.mean())
        system = basis.T @ np.kron(matrix.toarray(), np.eye(size)) @ basis
        step = np.linalg.solve(system, basis.T @ (load - matrix @ pos).reshape(-1))
        pos = pos + 0.5 * (basis @ step).reshape(pos.shape)
    assert np.abs(report.mesh.pos.numpy() - pos).max() < 1e-5
    assert report.report.iterations < 20


@pytest.mark.parametrize("mover", MOVERS)
@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "wedge"])
def test_the_operator_is_symmetric_and_takes_constants_to_zero(
    mover: Relaxation, cell: str
) -> None:
    mesh = random_mesh(cell, [3] * (2 if cell in ("triangle", "quad") else 3), seed=2)
    value = hill(mesh.pos)
    matrix = mover.operator(mesh)(value).toarray()
    assert np.allclose(matrix, matrix.T)
    assert np.abs(matrix.sum(axis=1)).max() < 1e-9 * np.abs(matrix).max()
    eigenvalues = np.linalg.eigvalsh(matrix)
    assert eigenvalues[0] > -1e-9 * eigenvalues[-1]
    assert eigenvalues[1] > 1e-6 * eigenvalues[-1]  # connected


def test_diffusion_is_that_of_linear_elements_and_lineal_springs_are_edges() -> None:
    mesh = random_mesh("triangle", [4, 4], seed=5)
    value = hill(mesh.pos)
    nodes = simplices(mesh)
    diffusion = stiffness(mesh.pos, nodes, value[nodes].mean(dim=1))
    assert abs(Laplacian().operator(mesh)(value) - diffusion).max() < 1e-12
    edges = mesh.topology.edges
    length = (mesh.pos[edges[:, 0]] - mesh.pos[edges[:, 1]]).norm(dim=1)
    matrix = Spring("lineal").operator(mesh)(value).toarray()
    found = -matrix[edges[:, 0].numpy(), edges[:, 1].numpy()]
    wanted = length.mean() / length * value[edges].mean(dim=1)
    assert np.allclose(found, wanted.numpy())


def test_where_the_balance_is_tangled_it_stops_soon_and_says_so() -> None:
    """Steep densities pull nodes over the re-entrant corner of an L."""
    mesh = generate.l_shape(10)
    corner = Function(lambda x: 1 + 50 * torch.exp(-(x.norm(dim=1) ** 2) / 0.02))
    result = Spring("lineal").move(mesh, corner)
    assert not result.report.converged
    assert result.report.reason == "no valid step brings the nodes nearer to balance"
    assert result.report.iterations < 60
    assert result.report.inverted_cells == 0
    assert result.report.equidistribution_after < result.report.equidistribution_before


def test_giving_up_says_so() -> None:
    report = Spring(max_iterations=2).move(generate.rectangle(8, 8), Function(hill)).report
    assert not report.converged
    assert report.reason == "stopped after 2 iterations"


def test_wrong_options_are_named() -> None:
    with pytest.raises(MeshError, match="damping must be in"):
        Laplacian(damping=0.0)
    with pytest.raises(MeshError, match="kind must be"):
        Spring("rubber")  # type: ignore[arg-type]
