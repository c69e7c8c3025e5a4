"""What is read off a flow's matrix: viscosity, reaction, mass matrices, whether it is enclosed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from strategies import random_mesh

from meshlearn import generate
from meshlearn.fem import Dirichlet, FunctionSpace, assemble, div, dot, grad, inner
from meshlearn.fem.elimination import reduction
from meshlearn.fem.saddle import Saddle
from meshlearn.fem.structure import is_saddle, saddle_of, to_scipy
from meshlearn.mesh import Mesh

ELEMENTS = ["P2", "MINI"]


def read(mesh: Mesh, element: str, nu: Any, sigma: float, sides: list[str], pin: bool) -> Saddle:
    space = FunctionSpace(mesh, [(element, mesh.dim), "P1"])

    def form(u: Any, v: Any, w: Any) -> Any:
        along = torch.stack([w.x[:, 1], -w.x[:, 0]], dim=1)  # free of divergence
        carried = dot(dot(grad(u[0]), along), v[0])
        flow = w.nu * inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0])
        return flow + carried + sigma * dot(u[0], v[0])

    matrix = assemble(form, space, nu=nu, degree=6)
    bcs = [Dirichlet(space, side, 0.0) for side in sides]
    if pin:
        bcs.append(Dirichlet(space, torch.tensor([space.blocks[1].offset]), 0.0, block=1))
    found = saddle_of(space, to_scipy(matrix), reduction(bcs, space.num_dofs, mesh.pos.device))
    assert found is not None
    return found


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("sigma", [0.0, 3.0, 1e4])
def test_viscosity_and_reaction_are_read_off(element: str, sigma: float) -> None:
    found = read(random_mesh("triangle", [8, 8], 1), element, 0.7, sigma, ["boundary"], True)
    assert abs(found.reaction - sigma) <= 1e-8 * max(sigma, 1.0)
    ratio = found.mass.sum() / found.thick.sum()
    assert abs(ratio - 0.7) < (1e-4 if sigma < 1e3 else 0.1)


def test_viscosity_is_read_off_cell_by_cell() -> None:
    mesh = generate.rectangle(12, 12)
    nu = torch.where(mesh.centroids()[:, 0] > 0.5, 50.0, 1.0).double()
    found = read(mesh, "P2", nu, 0.0, ["boundary"], True)
    of_node = found.mass.diagonal() / found.thick.diagonal()
    left, right = mesh.pos[:, 0].numpy() < 0.4, mesh.pos[:, 0].numpy() > 0.6
    assert np.allclose(of_node[left], 1.0, rtol=0.05)
    assert np.allclose(of_node[right], 50.0, rtol=0.05)


def test_what_is_carried_is_the_convection_of_linear_functions() -> None:
    mesh = random_mesh("triangle", [6, 6], 2)
    found = read(mesh, "P2", 0.7, 2.0, ["boundary"], True)
    space = FunctionSpace(mesh, "P1")

    def carried(p: Any, q: Any, w: Any) -> Any:
        along = torch.stack([w.x[:, 1], -w.x[:, 0]], dim=1)
        return dot(along, grad(p)) * q + 2.0 * (p * q)

    expected = to_scipy(assemble(carried, space, degree=6)).toarray()
    inside = np.setdiff1d(np.arange(mesh.num_nodes), mesh.boundary_nodes.numpy())
    assert found.carried is not None
    gap = (found.carried.toarray() - expected)[inside]
    assert abs(gap).max() < 1e-3 * abs(expected).max()  # nu is read off to so much


@pytest.mark.parametrize("cell", ["triangle", "tetra", "quad"])
def test_bounds_of_the_mass_matrix_hold(cell: str) -> None:
    mesh = random_mesh(cell, [4, 3, 2][: 3 if cell == "tetra" else 2], 3)
    space = FunctionSpace(mesh, [("P2", mesh.dim), "P1"])
    matrix = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )
    reduced = reduction([Dirichlet(space, "boundary")], space.num_dofs, mesh.pos.device)
    found = saddle_of(space, to_scipy(matrix), reduced)
    assert found is not None
    mass = found.mass.toarray()
    values = np.linalg.eigvals(mass / np.diag(mass)[:, None]).real
    assert found.bounds[0] <= values.min() <= values.max() <= found.bounds[1]


def test_closed_and_open_flows_are_told_apart() -> None:
    mesh = generate.rectangle(4, 4)
    assert read(mesh, "MINI", 1.0, 0.0, ["boundary"], True).closed
    assert not read(mesh, "MINI", 1.0, 0.0, ["left", "top", "bottom"], False).closed


def test_which_spaces_are_flows() -> None:
    flat, solid = generate.rectangle(2, 2), generate.box(2, 2, 2)
    assert is_saddle(FunctionSpace(flat, [("P2", 2), "P1"]))
    assert is_saddle(FunctionSpace(solid, [("MINI", 3), "P1"]))
    for space in (
        FunctionSpace(flat, "P2"),
        FunctionSpace(flat, ("P2", 2)),
        FunctionSpace(flat, [("P2", 3), "P1"]),
        FunctionSpace(flat, [("P2", 2), ("P1", 2)]),
        FunctionSpace(flat, ["RT", "P0"]),
        FunctionSpace(flat, [("P2", 2), "P1", "P1"]),
    ):
        assert not is_saddle(space)
