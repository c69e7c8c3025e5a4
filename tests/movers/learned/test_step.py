"""Steps of learned movers: shortened where cells would shrink too far, and no more than that."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn import Mesh, generate
from meshlearn.monitors import Constant, Field
from meshlearn.movers.constraints import freedom
from meshlearn.movers.learned.state import Problem
from meshlearn.movers.learned.step import advance, shortened

MESHES = {
    "triangles": lambda: generate.rectangle(16, 16),
    "quads": lambda: generate.rectangle(12, 12, cell="quad"),
    "box": lambda: generate.box(5, 5, 5),
}


def problem_on(mesh: Mesh) -> Problem:
    monitor = Field(mesh, torch.ones(len(mesh.pos), dtype=torch.float64))
    return Problem(mesh, monitor, freedom(mesh), 1.0)


def noise(mesh: Mesh, size: float, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return size * torch.randn(mesh.pos.shape, generator=draw, dtype=torch.float64)


def kick(mesh: Mesh, size: float) -> Tensor:
    """One node inside moves, the others stay."""
    out = torch.zeros_like(mesh.pos)
    out[((mesh.pos - 0.5) ** 2).sum(dim=1).argmin()] = size
    return out


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("few", [0.0, 0.005, 0.2, 1.0])
@pytest.mark.parametrize("size", [0.01, 0.1, 10.0])
def test_no_simplex_falls_below_a_tenth(name, few, size):
    mesh = MESHES[name]()
    problem = problem_on(mesh)
    pos = advance(problem, mesh.pos, noise(mesh, size), few)
    before, after = problem.energy.volumes(mesh.pos), problem.energy.volumes(pos)
    assert bool((after > 0.1 * before).all())


@pytest.mark.parametrize("name", MESHES)
def test_a_harmless_step_is_taken_whole(name):
    mesh = MESHES[name]()
    step = noise(mesh, 1e-3)
    factor, whole = shortened(problem_on(mesh), mesh.pos, step)
    assert bool((factor == 1).all())
    assert whole.tolist() == [1.0]


def test_one_bad_node_does_not_shorten_the_others():
    mesh = generate.rectangle(20, 20)
    step = noise(mesh, 1e-3) + kick(mesh, 0.2)
    factor, whole = shortened(problem_on(mesh), mesh.pos, step)
    assert whole.tolist() == [1.0]
    assert 0 < int((factor < 1).sum()) < 30


@pytest.mark.parametrize("name", MESHES)
def test_without_exceptions_the_whole_step_is_shortened(name):
    mesh = MESHES[name]()
    step = noise(mesh, 1e-3) + kick(mesh, 0.3)
    factor, whole = shortened(problem_on(mesh), mesh.pos, step, few=0.0)
    assert whole[0] < 1
    assert bool((factor == whole[0]).all())


def test_damage_that_spreads_shortens_the_whole_step():
    # A shift that ends abruptly: shortened node by node, its edge would move on ring by ring.
    mesh = generate.rectangle(60, 60)
    inner = ((mesh.pos - 0.5).abs() < 0.3).all(dim=1)
    step = torch.zeros_like(mesh.pos)
    step[inner, 0] = 0.05
    factor, whole = shortened(problem_on(mesh), mesh.pos, step, few=0.2)
    assert whole[0] < 1
    assert float((factor[inner] == whole[0]).double().mean()) > 0.5


@pytest.mark.parametrize("size", [0.02, 0.3, 1e9])
def test_graphs_of_a_batch_are_shortened_one_by_one(size):
    meshes = [generate.rectangle(8, 8), generate.rectangle(14, 9)]
    steps = [noise(meshes[0], 1e-3), noise(meshes[1], size)]
    alone = [
        shortened(problem_on(mesh), mesh.pos, step)
        for mesh, step in zip(meshes, steps, strict=True)
    ]
    batch = Batch.from_data_list(meshes)
    factor, whole = shortened(problem_on(batch), batch.pos, torch.cat(steps))
    assert torch.equal(factor, torch.cat([f for f, _ in alone]))
    assert torch.equal(whole, torch.cat([w for _, w in alone]))


def test_a_hopeless_step_is_given_up():
    mesh = generate.rectangle(6, 6)
    factor, whole = shortened(problem_on(mesh), mesh.pos, noise(mesh, 1e12))
    assert not factor.any()
    assert whole.tolist() == [0.0]


@pytest.mark.parametrize("name", MESHES)
def test_the_simplices_around_nodes(name):
    mesh = MESHES[name]()
    problem = Problem(mesh, Constant(), freedom(mesh), 1.0)
    chosen = torch.tensor([0, 7, 20])
    touching = torch.isin(problem.energy.nodes, chosen).any(dim=1)
    assert torch.equal(problem.around(chosen), torch.nonzero(touching).squeeze(1))


def test_a_step_is_differentiable_and_its_factors_are_constants():
    mesh = generate.rectangle(10, 10)
    problem, step = problem_on(mesh), noise(mesh, 0.2).requires_grad_(True)
    factor, _ = shortened(problem, mesh.pos, step)
    advance(problem, mesh.pos, step).sum().backward()
    assert step.grad is not None
    assert torch.equal(step.grad, factor[:, None].expand_as(step))
