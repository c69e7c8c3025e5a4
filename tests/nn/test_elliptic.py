"""Elliptic rounds: with the fluxes of an equation they are a convergent iteration for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from meshlearn.fem import Dirichlet, FunctionSpace, assemble, dot, grad, solve
from meshlearn.fem.solve import LinearSolver
from meshlearn.mesh import Mesh, generate
from meshlearn.nn import EllipticNet, weak_form
from meshlearn.nn.elliptic import Solve

WIDTH = 4


class Law(nn.Module):
    """A = -k, the last field that is known in cells."""

    def forward(self, at_points: Tensor) -> Tensor:
        return -at_points[:, WIDTH : WIDTH + 1]


class Column(nn.Module):
    """The first column times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, h: Tensor) -> Tensor:
        return self.factor * h[:, :1]


class Repeat(nn.Module):
    """The features are the first input, and stay so."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x[:, :1].expand(-1, WIDTH)


def spread(mesh: Mesh) -> Solve:
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    solver = LinearSolver(matrix, [Dirichlet(space, "boundary", 0.0)])
    return lambda loads: solver.change(loads.flatten(1).double()).reshape(loads.shape).to(loads)


@pytest.mark.parametrize("length", [1.0, 40.0])
def test_rounds_iterate_to_the_solution_of_an_equation(length: float) -> None:
    mesh = generate.rectangle(8, 8)
    space, x = FunctionSpace(mesh, "P1"), mesh.centroids()
    k = 1 + 0.4 * (5 * x[:, 0]).sin() * (4 * x[:, 1]).cos()
    f, g = (3 * mesh.pos[:, 1]).cos(), mesh.pos[:, 0]
    rounds = 24
    net = EllipticNet(1, 1, 1, width=WIDTH, channels=1, rounds=rounds)
    net.length.fill_(length)
    net.encode = Repeat(1.0)
    net.fluxes = nn.ModuleList(Law() for _ in range(rounds))
    net.sources = nn.ModuleList(Column(length**2) for _ in range(rounds))
    net.updates = nn.ModuleList(Repeat(0.0) for _ in range(rounds - 1))
    form = weak_form(mesh)
    fields = (f[:, None].float(), k[form.cell, None].float(), g[:, None].float())
    with torch.no_grad():
        found = net(form, *fields, spread(mesh))[:, 0]
    matrix = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    load = form.load(form.values(f[:, None]))[:, 0]
    exact = solve(matrix, load, [Dirichlet(space, "boundary", lambda x: x[:, 0])])
    assert float((found - exact).abs().max()) < 1e-5


def test_without_fluxes_the_start_stays() -> None:
    mesh = generate.rectangle(4, 4)
    net = EllipticNet(2, 0, 1, width=8, channels=3, rounds=2)
    for layers in (*net.fluxes, *net.sources):
        for parameter in layers.parameters():
            nn.init.zeros_(parameter)
    form, start = weak_form(mesh), mesh.pos[:, :1].float()
    known = torch.zeros(len(form.cell), 0)
    found = net(form, mesh.pos.float(), known, start, lambda loads: loads)
    assert torch.equal(found, start)


def test_turning_the_mesh_changes_nothing() -> None:
    mesh = generate.rectangle(5, 4)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    turned = mesh.moved(mesh.pos @ turn.T)
    torch.manual_seed(0)
    net = EllipticNet(1, 1, 1, width=8, channels=3, rounds=3)
    with torch.no_grad():
        for parameter in net.fluxes.parameters():
            parameter.mul_(3)
        fields = (mesh.pos[:, :1].sin().float(), mesh.centroids()[:, 1:].float(), mesh.pos[:, 1:])
        found = [
            net(weak_form(m), *fields[:2], fields[2].float(), spread(m)) for m in (mesh, turned)
        ]
    assert float((found[0] - fields[2]).abs().max()) > 0.02
    assert torch.allclose(found[0], found[1], atol=1e-5)
