"""Diffusion in other coordinates: consistency, monotone warps, the data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from meshlearn.fem import Dirichlet, FunctionSpace, assemble, dot, grad
from meshlearn.mesh import Mesh, generate
from meshlearn.training.data import Case, CovarianceSettings, DarcySettings, DiffusionSettings
from meshlearn.training.data.covariance import (
    log_of,
    pulled_back,
    solve_tensor,
    square_warp,
    tensor_of,
    warp,
    warped,
    with_tensor,
)

SMALL = CovarianceSettings(data=DiffusionSettings(nodes=80, load="smooth"), copies=2)


def smooth_case(mesh: Mesh) -> Case:
    """u = sin pi x sin 2 pi y with k = exp(x y): f by hand."""
    x, y = mesh.pos.T
    middle = mesh.centroids()
    s, c = (torch.pi * x).sin(), (torch.pi * x).cos()
    s2, c2 = (2 * torch.pi * y).sin(), (2 * torch.pi * y).cos()
    k, u = (x * y).exp(), s * s2
    slope = torch.pi * c * s2 * y + 2 * torch.pi * s * c2 * x
    f = k * (5 * torch.pi**2 * u - slope)
    held = Dirichlet(FunctionSpace(mesh, "P1"), "boundary", 0.0)
    inputs = {"log_k": middle[:, 0] * middle[:, 1], "f": f}
    return with_tensor(Case("smooth", mesh, inputs, {"u": u}, {"u": [held]}))


def l2(mesh: Mesh, values: torch.Tensor) -> float:
    mass = assemble(lambda u, v, w: u * v, FunctionSpace(mesh, "P1"))
    return float((values @ (mass @ values)) ** 0.5)


@pytest.mark.parametrize("draw", [square_warp, warp])
def test_solutions_of_the_warped_problem_are_the_warped_solution_to_second_order(draw) -> None:
    miss = []
    for n in (16, 32, 64):
        mesh = generate.rectangle(n, n)
        case = smooth_case(mesh)
        displacement = draw(mesh, np.random.default_rng(3), 0.5)
        other = warped(case, displacement)
        x, y = (mesh.pos + displacement).T
        exact = (torch.pi * x).sin() * (2 * torch.pi * y).sin()
        found = solve_tensor(mesh, other.inputs["log_tensor"], other.inputs["f"], other.bcs["u"])
        miss.append((l2(mesh, found - exact), l2(mesh, other.outputs["u"] - exact)))
    rates = np.log2(np.array(miss[0]) / np.array(miss[-1])) / 2
    assert (rates > 1.8).all(), (rates, miss)


def test_moving_the_nodes_and_changing_the_coefficient_are_one_thing() -> None:
    mesh = generate.rectangle(6, 6)
    displacement = square_warp(mesh, np.random.default_rng(0), 0.6)
    moved = mesh.moved(mesh.pos + displacement)
    rng = np.random.default_rng(1)
    tensor = tensor_of(torch.from_numpy(rng.normal(size=(mesh.num_cells, 3)) * 0.5))
    nodes = mesh.cells["triangle"]
    edges = [m.pos[nodes[:, 1:]] - m.pos[nodes[:, :1]] for m in (mesh, moved)]
    jacobian = torch.linalg.solve(edges[0], edges[1]).transpose(1, 2)
    stiffness = [
        assemble(lambda u, v, w: dot(dot(w.a, grad(u)), grad(v)), FunctionSpace(m, "P1"), a=a)
        for m, a in ((moved, tensor), (mesh, pulled_back(tensor, jacobian)))
    ]
    assert torch.allclose(stiffness[0].to_dense(), stiffness[1].to_dense(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("draw", [square_warp, warp])
def test_warps_keep_the_boundary_and_the_order(draw) -> None:
    mesh = generate.rectangle(10, 10)
    for seed in range(4):
        displacement = draw(mesh, np.random.default_rng(seed), 0.9)
        assert (displacement[mesh.boundary_nodes] == 0).all()
        assert float(displacement.norm(dim=1).max()) > 0.02
        moved = mesh.moved(mesh.pos + displacement)
        assert float(moved.volumes().min()) > 0
        step, image = (m.pos[1:] - m.pos[:-1] for m in (mesh, moved))
        assert float((step * image).sum(dim=1).min()) > 0  # monotone


def test_logarithm_and_tensor_are_inverse() -> None:
    log = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 3)))
    tensor = tensor_of(log)
    assert torch.allclose(log_of(tensor), log, atol=1e-10)
    assert torch.allclose(tensor, tensor.transpose(1, 2))
    diagonal = tensor_of(torch.tensor([[0.5, 0.0, -1.0]], dtype=torch.float64))[0]
    assert torch.allclose(diagonal.diagonal(), torch.tensor([0.5, -1.0]).double().exp())


def test_copies_follow_each_case_and_none_is_held_out(tmp_path: Path) -> None:
    train, held_out = SMALL.pool(2, tmp_path), SMALL.others().pool(2, tmp_path)
    assert (len(train), len(held_out)) == (6, 2)
    first, copy, second = train[0], train[1], train[3]
    assert copy.mesh == first.mesh != second.mesh
    assert (first.inputs["log_tensor"][:, 1] == 0).all()
    assert float(copy.inputs["log_tensor"][:, 1].abs().max()) > 0.1
    assert (held_out[0].inputs["log_tensor"][:, 1] == 0).all()
    assert held_out[0].mesh != first.mesh
    guess = train.baseline(first)["u"]
    assert 0.01 < float((guess - first.outputs["u"]).norm() / first.outputs["u"].norm()) < 1
    assert torch.equal(SMALL.pool(1, tmp_path / "again")[1].outputs["u"], copy.outputs["u"])
    assert SMALL.resized(100).data.nodes == 100


def test_on_domains_with_holes(tmp_path: Path) -> None:
    settings = CovarianceSettings(data=DarcySettings(nodes=300, variance=0.0), copies=1)
    plain, other = settings.pool(1, tmp_path)
    (held,) = other.bcs["u"]
    assert torch.equal(other.outputs["u"][held.dofs], held.values)
    assert not torch.equal(plain.outputs["u"], other.outputs["u"])
    again = solve_tensor(other.mesh, other.inputs["log_tensor"], other.inputs["f"], [held])
    miss = l2(other.mesh, again - other.outputs["u"]) / l2(other.mesh, other.outputs["u"])
    assert miss < 0.02
