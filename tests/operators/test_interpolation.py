"""Linear fields are exact whatever the weights; nothing jumps; the learned part sees curvature."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh, generate
from meshlearn.mesh.locate import Locator
from meshlearn.operators.interpolation import (
    LearnedInterpolation,
    Place,
    own_places,
    places,
    stencil,
)

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]
MESHES = {
    "irregular": generate.polygon(SQUARE, 0.2, seed=1),
    "quads": generate.rectangle(5, 4, cell="quad"),
    "stretched": generate.rectangle(4, 4, upper=(1.0, 0.01)),
    "box": generate.box(3, 2, 2),
}


def learned(mesh: Mesh, seed: int = 0) -> LearnedInterpolation:
    torch.manual_seed(seed)
    return LearnedInterpolation(mesh.dim)


def inside(mesh: Mesh, count: int, seed: int) -> Tensor:
    """Random points of a mesh `[count, d]`."""
    rng = torch.Generator().manual_seed(seed)
    simplices = Locator(mesh).simplices
    chosen = simplices[torch.randint(len(simplices), (count,), generator=rng)]
    weights = -torch.rand(chosen.shape, generator=rng, dtype=torch.float64).log()
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (weights[:, :, None] * mesh.pos[chosen]).sum(dim=1)


def interpolated(mesh: Mesh, values: Tensor, points: Tensor, seed: int = 0) -> Tensor:
    with torch.no_grad():
        where = stencil(mesh, points, places(mesh, points))
        return learned(mesh, seed)(values.float(), where)


@pytest.mark.parametrize("name", MESHES)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_linear_fields_are_exact_whatever_the_weights(name: str, seed: int) -> None:
    mesh = MESHES[name]
    points = inside(mesh, 20, seed)
    rng = torch.Generator().manual_seed(seed)
    slope = torch.randn(mesh.dim, 2, generator=rng, dtype=torch.float64)
    found = interpolated(mesh, mesh.pos @ slope + 1, points, seed)
    assert torch.allclose(found.double(), points @ slope + 1, atol=1e-5)


@pytest.mark.parametrize("name", MESHES)
def test_with_nothing_learned_it_is_the_finite_element_interpolant(name: str) -> None:
    mesh = MESHES[name]
    points, values = inside(mesh, 30, 0), (3 * mesh.pos).sin().sum(dim=1, keepdim=True)
    model = learned(mesh)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    locator = Locator(mesh)
    exact = locator.interpolate(values, locator.find(points))
    found = model(values.float(), stencil(mesh, points, places(mesh, points)))
    assert torch.allclose(found.double(), exact, atol=1e-6)


def test_it_is_continuous_where_points_change_cells() -> None:
    mesh = MESHES["irregular"]
    t = torch.linspace(0, 1, 4001).double()[:, None]
    points = torch.tensor([0.05, 0.12]) + t * torch.tensor([0.9, 0.71])
    found = interpolated(mesh, (8 * mesh.pos[:, :1]).sin(), points)
    cells = Locator(mesh).find(points).simplex
    assert int((cells.diff() != 0).sum()) > 8
    assert float(found.diff(dim=0).abs().max()) < 0.01


def test_what_is_learned_depends_on_curvature_only() -> None:
    mesh = MESHES["irregular"]
    points = inside(mesh, 40, 3)
    square = mesh.pos.square()
    locator = Locator(mesh)
    plain = locator.interpolate(square, locator.find(points))
    found = interpolated(mesh, square, points).double()
    assert float((found - plain).abs().max()) > 1e-3
    tilted = interpolated(mesh, square + 5 * mesh.pos + 2, points).double()
    assert torch.allclose(tilted - found, 5 * points + 2, atol=1e-5)


def test_it_learns_to_interpolate_better_than_linearly() -> None:
    """Waves in random directions, on a mesh and at points of its own each."""
    torch.manual_seed(0)
    model = LearnedInterpolation(2)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)

    def case(seed: int) -> tuple[Tensor, Tensor]:
        mesh = generate.polygon(SQUARE, 0.15, seed=seed)
        points = inside(mesh, 200, seed)
        rng = torch.Generator().manual_seed(seed)
        turn = 2 * math.pi * torch.rand(8, generator=rng).double()
        wave = 8 * torch.stack([turn.cos(), turn.sin()])
        where = stencil(mesh, points, places(mesh, points))
        exact = (points @ wave).sin()
        found = model((mesh.pos @ wave).sin().float(), where).double()
        locator = Locator(mesh)
        plain = locator.interpolate((mesh.pos @ wave).sin(), locator.find(points))
        return (found - exact).square().mean(), (plain - exact).square().mean()

    for step in range(120):
        error, _ = case(step % 12)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    with torch.no_grad():
        rows = torch.stack([torch.stack(case(seed)) for seed in range(100, 106)]).mean(dim=0)
    assert float(rows[0]) < 0.3 * float(rows[1])


def test_numbering_and_batches_do_not_matter() -> None:
    mesh = generate.polygon(SQUARE, 0.25, seed=2)
    points = inside(mesh, 25, 0)
    other, node, _ = renumbered(mesh, seed=3)
    values = (4 * mesh.pos).sin()
    moved = torch.empty_like(values)
    moved[node] = values
    one, two = interpolated(mesh, values, points), interpolated(other, moved, points)
    assert torch.allclose(one, two, atol=1e-5)
    box = generate.rectangle(3, 4)
    pair, begin = Batch.from_data_list([box, mesh]), box.num_nodes
    at = places(mesh, points)
    where = stencil(pair, points, Place(at.corners + begin, at.weights))
    both = torch.cat([torch.zeros(begin, 2, dtype=torch.float64), values]).float()
    with torch.no_grad():
        assert torch.allclose(learned(mesh)(both, where), one, atol=1e-6)


def test_the_nodes_of_a_mesh_lie_at_themselves() -> None:
    mesh = generate.rectangle(4, 3)
    here = own_places(mesh)
    assert torch.equal(here.corners[:, 0], torch.arange(mesh.num_nodes))
    where = stencil(mesh, mesh.pos, here)
    # one corner each: as many entries as edges
    assert len(where.edges) == mesh.topology.edge_index.shape[1]
    found = learned(mesh)(mesh.pos.float(), where)
    assert torch.allclose(found, mesh.pos.float(), atol=1e-6)
