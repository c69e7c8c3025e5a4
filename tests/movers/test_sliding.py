"""Nodes that slide on curves and surfaces: on them, in order, and the domain keeps its measure."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import renumbered

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import (
    Circle,
    Curved,
    Laplacian,
    Optimise,
    Spring,
    Variational,
    Winslow,
)
from meshlearn.movers.constraints import freedom
from meshlearn.movers.freedom import TOLERANCE
from meshlearn.movers.guard import boundary_error, guard, volume_error
from meshlearn.movers.relaxation import Relaxation


def hill(*centre: float, width: float = 0.3, height: float = 20.0) -> Function:
    def density(x: torch.Tensor) -> torch.Tensor:
        away = (x - x.new_tensor(centre)).norm(dim=1)
        return 1 + height * torch.exp(-((away / width) ** 2))

    return Function(density)


CHANNEL = generate.channel_with_cylinder(h=0.06)
CYLINDER = CHANNEL.tagged_nodes("cylinder")
FRONT = hill(0.14, 0.2, width=0.05)
SIMPLE = [Winslow(), Laplacian(), Spring("lineal"), Spring("torsional")]


def test_nodes_gather_on_the_windward_side_of_a_cylinder() -> None:
    held = Variational(theta=0.1).move(CHANNEL, FRONT)
    result = Variational(theta=0.1).move(CHANNEL, FRONT, slide="curved")
    report = result.report
    assert report.converged
    assert report.inverted_cells == 0
    assert report.equidistribution_after < 0.9 * held.report.equidistribution_after
    assert report.boundary_error < 1e-12
    assert report.volume_error < TOLERANCE
    rim = result.mesh.pos[CYLINDER] - torch.tensor([0.2, 0.2])
    before = CHANNEL.pos[CYLINDER] - torch.tensor([0.2, 0.2])
    # the reconstruction is that near to the circle of the original nodes
    assert float((rim.norm(dim=1) - 0.05).abs().max()) < 1e-5 * 0.05
    assert int((rim[:, 0] < -0.02).sum()) > int((before[:, 0] < -0.02).sum())
    order = torch.atan2(before[:, 1], before[:, 0]).argsort()
    angle = torch.atan2(rim[order, 1], rim[order, 0])
    turns = (angle.roll(-1) - angle) % (2 * torch.pi)
    assert float(turns.sum()) == pytest.approx(2 * torch.pi)  # the order is kept


def test_a_given_circle_is_met_exactly() -> None:
    slide = {"cylinder": Circle((0.2, 0.2), 0.05)}
    result = Variational(theta=0.1).move(CHANNEL, FRONT, slide=slide)
    moved = (result.mesh.pos[CYLINDER] != CHANNEL.pos[CYLINDER]).any(dim=1)
    centre = torch.tensor([0.2, 0.2], dtype=torch.float64)
    rim = (result.mesh.pos[CYLINDER][moved] - centre).norm(dim=1)
    assert int(moved.sum()) > 10
    assert float((rim - 0.05).abs().max()) < 1e-15
    rebuilt = Variational(theta=0.1).move(CHANNEL, FRONT, slide={"cylinder": "curved"})
    assert float((rebuilt.mesh.pos - result.mesh.pos).abs().max()) < 1e-3


@pytest.mark.parametrize("mesh", [CHANNEL, generate.disk(8), generate.annulus(4), generate.ball(4)])
def test_a_uniform_monitor_leaves_curved_domains_where_they_are(mesh: Mesh) -> None:
    for mover in (Variational(), Variational(theta=0.1)):
        report = mover.move(mesh, Constant(3.0), slide=Curved(angle=60)).report
        assert report.iterations == 0
        assert report.max_displacement == 0


def test_a_constant_brings_a_slid_mesh_back() -> None:
    disk = generate.disk(8)
    there = Variational().move(disk, hill(0.6, 0.3), slide="curved")
    assert there.report.max_displacement > 0.1
    back = Variational(tol=1e-11).move(disk, Constant(), slide="curved", start=there.mesh)
    assert back.report.converged
    assert float((back.mesh.pos - disk.pos).abs().max()) < 1e-3


def test_sliding_turns_shifts_and_scales_with_the_mesh_whatever_the_numbering() -> None:
    disk = generate.annulus(4)
    base = Variational(tol=1e-11).move(disk, hill(0.7, 0.3), slide="curved").mesh.pos
    turn = 2.5 * torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    shift = torch.tensor([3.0, -1.0], dtype=torch.float64)
    back = torch.linalg.inv(turn)
    monitor = Function(lambda x: hill(0.7, 0.3).function((x - shift) @ back.T))
    there = disk.moved(disk.pos @ turn.T + shift)
    mapped = Variational(tol=1e-11).move(there, monitor, slide="curved").mesh.pos
    assert float((mapped - (base @ turn.T + shift)).abs().max()) < 1e-5
    other, number, _ = renumbered(disk, seed=2)
    shuffled = Variational(tol=1e-11).move(other, hill(0.7, 0.3), slide="curved").mesh.pos
    assert float((shuffled[number] - base).abs().max()) < 1e-5


def test_a_symmetric_problem_stays_symmetric_on_a_disk() -> None:
    disk = generate.disk(6)
    pos = Variational(tol=1e-11).move(disk, hill(0.5, 0.0), slide="curved").mesh.pos
    mirrored = pos * torch.tensor([1.0, -1.0])
    assert float(torch.cdist(mirrored, pos).amin(dim=1).max()) < 1e-5


@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.sampled_from(["disk", "ring", "ball"]))
@settings(max_examples=25)
def test_whatever_is_proposed_ends_on_the_curves_within_the_tolerance(
    seed: int, size: float, shape: str
) -> None:
    mesh = {"disk": generate.disk(6), "ring": generate.annulus(3), "ball": generate.ball(3)}[shape]
    free = freedom(mesh, slide=Curved(angle=60))
    noise = torch.randn(
        mesh.pos.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    moved = mesh.moved(guard(mesh, mesh.pos + size * noise, free))
    assert len(moved.inverted_cells()) == 0
    assert boundary_error(mesh, moved.pos, free) < 1e-12
    assert volume_error(mesh, moved) <= TOLERANCE
    assert free.stretch is not None
    assert float(free.stretch.ratio(moved.pos).max()) <= free.stretch.limit


def test_a_ball_keeps_its_volume_and_its_sphere() -> None:
    ball = generate.ball(5)
    held = Variational(theta=0.1).move(ball, hill(0.6, 0.2, 0.1))
    result = Variational(theta=0.1).move(ball, hill(0.6, 0.2, 0.1), slide="curved")
    assert result.report.converged
    assert result.report.volume_error < TOLERANCE
    radius = result.mesh.pos[ball.boundary_nodes].norm(dim=1)
    assert float((radius - 1).abs().max()) < 5e-5
    assert result.report.equidistribution_after < 0.8 * held.report.equidistribution_after


def test_ridges_of_a_cylinder_slide_along_themselves_and_flat_ends_stay_flat() -> None:
    disk = generate.disk(6)
    wedge = torch.cat([disk.cells["triangle"], disk.cells["triangle"] + disk.num_nodes], dim=1)
    wedge = torch.cat([wedge, wedge + disk.num_nodes])
    pos = torch.cat(
        [torch.cat([disk.pos, torch.full_like(disk.pos[:, :1], z)], dim=1) for z in (0, 0.4, 0.8)]
    )
    mesh = Mesh.from_cells(pos, {"wedge": wedge})
    result = Variational(theta=0.1).move(mesh, hill(0.8, 0.3, 0.4), slide="curved")
    moved = result.mesh.pos
    assert result.report.boundary_error < 1e-12
    for z in (0.0, 0.8):
        assert float((moved[mesh.pos[:, 2] == z, 2] - z).abs().max()) < 1e-15
    rim = (mesh.pos[:, :2].norm(dim=1) - 1).abs() < 1e-9
    assert float((moved[rim][:, :2].norm(dim=1) - 1).abs().max()) < 1e-5
    ridge = rim & (mesh.pos[:, 2] == 0.8)
    assert float((moved - mesh.pos)[ridge].norm(dim=1).max()) > 0.02


def test_an_interface_between_materials_slides_on_its_circle_and_keeps_both_areas() -> None:
    disk = generate.disk(9)
    core = disk.centroids().norm(dim=1) < 5 / 9
    tags = {"core": torch.nonzero(core).squeeze(1), "shell": torch.nonzero(~core).squeeze(1)}
    mesh = Mesh.from_cells(disk.pos, disk.cells, cell_tags=tags)
    result = Variational(theta=0.1).move(mesh, hill(0.5, 0.2), slide="curved")
    assert result.report.volume_error < TOLERANCE  # of each part
    on = (disk.pos.norm(dim=1) - 5 / 9).abs() < 1e-9
    assert int(on.sum()) == 30
    assert float((result.mesh.pos[on].norm(dim=1) - 5 / 9).abs().max()) < 1e-6
    assert float((result.mesh.pos - mesh.pos)[on].norm(dim=1).max()) > 0.02


def test_a_straight_side_beside_an_arc_stays_straight() -> None:
    """Half a disk on a box: the nodes where arc and straight side meet are kept."""
    angle = torch.linspace(0, torch.pi, 13, dtype=torch.float64)
    arc = torch.stack([angle.cos(), 1 + angle.sin()], dim=1)
    corners = torch.cat([torch.tensor([[-1.0, -1.0], [1.0, -1.0]], dtype=torch.float64), arc])
    mesh = generate.polygon(corners.tolist(), h=0.26, seed=0)
    result = Variational(theta=0.1).move(mesh, hill(1.0, 1.0, width=0.5), slide="curved")
    for x in (-1.0, 1.0):
        side = (mesh.pos[:, 0] == x) & (mesh.pos[:, 1] <= 1)
        assert (result.mesh.pos[side, 0] == x).all()
        joint = (mesh.pos == torch.tensor([x, 1.0])).all(dim=1)
        assert torch.equal(result.mesh.pos[joint], mesh.pos[joint])
    assert result.report.boundary_error < 1e-12


def test_optimise_slides() -> None:
    disk = generate.disk(6)
    shaken = disk.moved(guard(disk, disk.pos + 0.05 * torch.randn_like(disk.pos), freedom(disk)))
    held, slid = (Optimise().move(shaken, slide=slide) for slide in ("flat", "curved"))
    assert slid.report.min_quality >= held.report.min_quality - 1e-9
    assert float((slid.mesh.pos[disk.boundary_nodes].norm(dim=1) - 1).abs().max()) < 1e-5


@pytest.mark.parametrize("mover", SIMPLE)
def test_simple_movers_slide_on_the_cylinder_within_the_tolerance(
    mover: Winslow | Relaxation,
) -> None:
    result = mover.move(CHANNEL, FRONT, slide="curved")
    report = result.report
    assert report.inverted_cells == 0
    assert report.boundary_error < 1e-12
    assert report.volume_error <= TOLERANCE
    centre = torch.tensor([0.2, 0.2], dtype=torch.float64)
    rim = result.mesh.pos[CYLINDER] - centre
    before = CHANNEL.pos[CYLINDER] - centre
    assert float((rim.norm(dim=1) - 0.05).abs().max()) < 1e-5 * 0.05
    assert int((rim != before).any(dim=1).sum()) > 10
    assert float((rim - before).norm(dim=1).max()) > 0.005
    stretch = freedom(CHANNEL, slide="curved").stretch
    assert stretch is not None
    assert float(stretch.ratio(result.mesh.pos).max()) <= stretch.limit
    order = torch.atan2(before[:, 1], before[:, 0]).argsort()
    angle = torch.atan2(rim[order, 1], rim[order, 0])
    turns = (angle.roll(-1) - angle) % (2 * torch.pi)
    assert float(turns.sum()) == pytest.approx(2 * torch.pi)  # the order is kept
    held = CHANNEL.tagged_nodes("walls")
    assert torch.equal(result.mesh.pos[held, 1], CHANNEL.pos[held, 1])


@pytest.mark.parametrize("mover", [m for m in SIMPLE if isinstance(m, Relaxation)])
@pytest.mark.parametrize("domain", ["disk", "annulus", "channel"])
def test_springs_and_diffusion_spread_better_when_they_slide(
    mover: Relaxation, domain: str
) -> None:
    mesh, monitor = {
        "disk": (generate.disk(8), hill(1.0, 0.0, width=0.5)),
        "annulus": (generate.annulus(4), hill(0.7, 0.3)),
        "channel": (CHANNEL, FRONT),
    }[domain]
    held = mover.move(mesh, monitor).report
    slid = mover.move(mesh, monitor, slide="curved").report
    assert slid.equidistribution_after < held.equidistribution_after
    assert slid.inverted_cells == 0
    assert slid.volume_error <= TOLERANCE


@pytest.mark.parametrize("mover", SIMPLE)
def test_simple_movers_leave_curved_domains_where_they_are_for_a_uniform_monitor(
    mover: Winslow | Relaxation,
) -> None:
    for mesh in (CHANNEL, generate.disk(6), generate.ball(3)):
        report = mover.move(mesh, Constant(3.0), slide=Curved(angle=60)).report
        assert report.converged
        assert report.max_displacement < 1e-9


@pytest.mark.parametrize("mover", SIMPLE)
def test_simple_movers_slide_on_a_sphere(mover: Winslow | Relaxation) -> None:
    ball = generate.ball(4)
    short = copy.copy(mover)
    short.max_iterations = 10
    result = short.move(ball, hill(0.6, 0.2, 0.1), slide="curved")
    assert result.report.inverted_cells == 0
    assert result.report.volume_error <= TOLERANCE
    radius = result.mesh.pos[ball.boundary_nodes].norm(dim=1)
    assert float((radius - 1).abs().max()) < 2e-4
    assert float((result.mesh.pos - ball.pos)[ball.boundary_nodes].norm(dim=1).max()) > 0.01


def test_ways_to_slide_are_named() -> None:
    with pytest.raises(MeshError, match="slide names 'hole', which is no facet tag; there are"):
        freedom(CHANNEL, slide={"hole": "curved"})
    with pytest.raises(MeshError, match="a geometry is given by tag"):
        freedom(CHANNEL, slide=Circle((0, 0), 1.0))  # type: ignore[arg-type]
    with pytest.raises(MeshError, match=r"node \d+ of 'cylinder' at .* from the geometry given"):
        freedom(CHANNEL, slide={"cylinder": Circle((0.2, 0.2), 0.06)})
    with pytest.raises(MeshError, match="the geometry of 'cylinder' must take points"):
        freedom(CHANNEL, slide={"cylinder": lambda x: x[:, :1]})
