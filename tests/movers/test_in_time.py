"""Meshes that follow a solution in time: gains, mass, no tangling, no jitter, messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.generate import rectangle
from meshlearn.monitors import Constant, Hessian, Monitor
from meshlearn.movers import MovingSeries, adapt_in_time
from meshlearn.problems import Moving, Poisson, swirl, travelling_front
from meshlearn.problems.moving import Stepped
from meshlearn.problems.swirl import bump, slotted_disc


def at_rest(problem: Any, mesh: Mesh, end: float, steps: int, **options: Any) -> MovingSeries:
    """The same method on the mesh as it is."""
    return adapt_in_time(
        problem, mesh, end, steps, monitor=lambda m, u: Constant(), settle=0, **options
    )


def worst(series: MovingSeries) -> float:
    return max(series[k].errors()["l2"] for k in range(1, len(series)))


@pytest.mark.slow
def test_a_burgers_front_is_followed_over_100_steps() -> None:
    front, mesh = travelling_front(0.006), rectangle(14, 14)
    fixed = at_rest(front, mesh, 2.0, 100, keep=20, every=100)
    moved = adapt_in_time(front, mesh, 2.0, 100, every=5, keep=20)
    assert worst(moved) <= 0.6 * worst(fixed)
    assert moved[-1].errors()["l2"] <= 0.6 * fixed[-1].errors()["l2"]
    assert moved.mass_defect < 1e-10
    assert all(step.inverted_cells == 0 for step in moved.steps)
    assert len(moved.steps) == 100


@pytest.mark.slow
def test_a_hump_in_the_swirl_comes_back_over_100_steps() -> None:
    hump, mesh = swirl(bump, period=1.0), rectangle(12, 12)
    moved = adapt_in_time(hump, mesh, 1.0, 100, every=5, keep=100)
    # The mesh at rest gets as many steps as the moving one took.
    taken = sum(step.substeps for step in moved.steps)
    fixed = at_rest(hump, mesh, 1.0, taken, keep=taken, every=taken)
    assert {step.substeps for step in fixed.steps} == {1}
    assert taken < 300
    assert moved[-1].errors()["l2"] <= 0.6 * fixed[-1].errors()["l2"]
    masses = torch.stack([step.mass for step in moved.steps])
    assert (masses - masses[0]).abs().max() < 1e-10
    assert moved.mass_defect < 1e-10
    assert all(step.inverted_cells == 0 for step in moved.steps)


def test_rezoning_conserves_mass() -> None:
    hump, mesh = swirl(bump, period=1.0), rectangle(8, 8)
    moved = adapt_in_time(hump, mesh, 0.04, 4, method="rezone", every=2, keep=2)
    assert moved.mass_defect < 1e-15
    assert [len(moved), len(moved.steps)] == [3, 4]
    assert moved.times.tolist() == pytest.approx([0, 0.02, 0.04])


class Still(Moving):
    """Nothing happens: the nodal values of a function, on any mesh."""

    def start(self, mesh: Mesh) -> Field:
        space = FunctionSpace(mesh, "P1")
        return Field(space, space.interpolate(bump))

    def step(self, field: Field, mesh: Mesh, time: float, dt: float) -> Stepped:
        return Stepped(self.start(mesh), torch.zeros(1, dtype=torch.float64))


def test_memory_and_pace_keep_the_nodes_from_jittering() -> None:
    # The monitor of a coarse mesh depends on where its nodes are, so that goals differ for ever.
    def wandering(**options: float) -> float:
        moved = adapt_in_time(Still(), rectangle(12, 12), 1.0, 10, **options)  # type: ignore[arg-type]
        pos = torch.stack([m.pos for m in moved.meshes])
        return float((pos[1:] - pos[:-1]).norm(dim=2)[-5:].mean())

    hasty, calm = wandering(memory=0.0, pace=1.0), wandering()
    assert calm < 0.3 * hasty
    assert calm < 0.15 / 12


class Frozen(Moving):
    """Only projections change the state."""

    def start(self, mesh: Mesh) -> Field:
        space = FunctionSpace(mesh, "P1")
        return Field(space, space.interpolate(slotted_disc))

    def step(self, field: Field, mesh: Mesh, time: float, dt: float) -> Stepped:
        return Stepped(field, torch.zeros(1, dtype=torch.float64))


def test_rezoning_keeps_bounds_and_mass_if_asked_to() -> None:
    options: dict[str, Any] = {"method": "rezone", "settle": 0}
    free, bounded = (
        adapt_in_time(Frozen(), rectangle(10, 10), 1.0, 3, bounds=bounds, **options)
        for bounds in (None, "local")
    )
    assert free.fields[-1].dofs.min() < -1e-3
    assert bounded.fields[-1].dofs.min() >= 0
    assert bounded.fields[-1].dofs.max() <= 1
    assert max(free.mass_defect, bounded.mass_defect) < 1e-14


def test_a_uniform_monitor_leaves_the_mesh_at_rest() -> None:
    mesh = rectangle(6, 6)
    series = at_rest(travelling_front(0.05), mesh, 0.1, 3)
    assert all(torch.equal(m.pos, mesh.pos) for m in series.meshes)
    assert series.mesh.topology is mesh.topology


def test_options_reach_the_mover_and_progress_is_told() -> None:
    seen: list[float] = []
    mesh = rectangle(8, 8)
    kinds: list[Monitor] = []

    def build(background: Mesh, u: Tensor) -> Monitor:
        kinds.append(Hessian(background, u, kind="metric"))
        return kinds[-1]

    series = adapt_in_time(
        travelling_front(0.02),
        mesh,
        0.1,
        4,
        monitor=build,
        every=2,
        settle=1,
        fixed=["boundary"],
        progress=lambda step: seen.append(step.time),
    )
    assert len(kinds) == 3  # one to settle, two on the way
    assert seen == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert [step.report is None for step in series.steps] == [False, True, False, True]
    assert torch.equal(series.mesh.pos[mesh.boundary_nodes], mesh.pos[mesh.boundary_nodes])
    assert not torch.equal(series.mesh.pos, mesh.pos)
    # Halfway between two goals the nodes are halfway.
    pos = [m.pos for m in series.meshes]
    assert torch.allclose(pos[1] - pos[0], pos[2] - pos[1], atol=1e-14)


def test_periodic_sides_follow_each_other_and_layers_stay() -> None:
    flat = rectangle(10, 10)
    low = torch.nonzero(flat.centroids()[:, 1] < 0.2).squeeze(1)
    mesh = Mesh.from_cells(
        flat.pos, flat.cells, facet_tags=flat.facet_tags, cell_tags={"layer": low}
    )
    left, right = (mesh.tagged_nodes(name) for name in ("left", "right"))
    left, right = (nodes[mesh.pos[nodes, 1].argsort()] for nodes in (left, right))
    options: dict[str, Any] = {"every": 2, "settle": 1, "pace": 1.0, "rigid": ["layer"]}
    series = adapt_in_time(travelling_front(0.05), mesh, 0.2, 4, periodic=["left:right"], **options)
    apart = adapt_in_time(travelling_front(0.05), mesh, 0.2, 4, **options)
    for moved in series.meshes:
        assert float((moved.pos[left, 1] - moved.pos[right, 1]).abs().max()) < 1e-14
        layer = mesh.tagged_nodes("layer")
        assert torch.equal(moved.pos[layer], mesh.pos[layer])
    assert float((series.mesh.pos - mesh.pos)[left].abs().max()) > 1e-3
    assert float((apart.mesh.pos[left, 1] - apart.mesh.pos[right, 1]).abs().max()) > 1e-3
    assert all(step.inverted_cells == 0 for step in series.steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "`every` must be at least 1"),
        ({"keep": 2}, "`every` must divide the 3 steps"),
        ({"memory": 1.0}, "memory must be at least 0 and below 1"),
        ({"pace": 0.0}, "pace must be above 0 and at most 1"),
        ({"method": "jump"}, 'method must be "ale" or "rezone"'),
        ({"bounds": "local"}, 'use method="rezone"'),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MeshError, match=message):
        adapt_in_time(travelling_front(0.05), rectangle(3, 3), 0.1, 3, **options)


def test_other_problems_are_refused() -> None:
    with pytest.raises(MeshError, match="Poisson cannot step on a moving mesh"):
        adapt_in_time(Poisson(1.0), rectangle(3, 3), 0.1, 3)  # type: ignore[arg-type]
