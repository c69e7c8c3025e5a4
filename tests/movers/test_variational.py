"""The variational mover: the four rules of the contract, published facts, honest reports."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, renumbered

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Field, Function, Gradient, ball
from meshlearn.movers import Variational

RING = ball((0.5, 0.5), radius=0.15**0.5, amplitude=10, width=200)


@st.composite
def monitors(draw: st.DrawFn) -> Function:
    """Sums of anisotropic Gaussians with contrasts up to 100, or an anisotropic metric."""
    seed = draw(st.integers(0, 10_000))
    peaks = draw(st.integers(1, 4))
    height = draw(st.floats(1.0, 100.0))
    tensor = draw(st.booleans())

    def density(x: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        d = x.shape[1]
        total = torch.ones_like(x[:, 0])
        for _ in range(peaks):
            centre = torch.randn(d, generator=generator, dtype=torch.float64)
            form = 3 * torch.randn(d, d, generator=generator, dtype=torch.float64)
            total = total + height * torch.exp(-(((x - centre) @ form) ** 2).sum(dim=1))
        if not tensor:
            return total
        direction = torch.randn(d, generator=generator, dtype=torch.float64)
        direction = direction / direction.norm()
        outer = direction[:, None] * direction[None, :]
        return torch.eye(d, dtype=torch.float64) + (total - 1)[:, None, None] * outer

    return Function(density)


@given(any_meshes(tags=True), monitors(), st.sampled_from([0.05, 1 / 3]))
@settings(max_examples=60)
def test_no_cell_is_ever_inverted_and_the_domain_stays_the_domain(
    mesh: Mesh, monitor: Function, theta: float
) -> None:
    before = mesh.pos.clone()
    result = Variational(theta=theta, max_iterations=30).move(mesh, monitor)
    moved, report = result.mesh, result.report
    assert report.inverted_cells == 0
    assert len(moved.inverted_cells()) == 0
    assert torch.equal(mesh.pos, before)  # the input is untouched
    assert report.boundary_error < 1e-12
    assert report.volume_error < 1e-8
    assert report.min_volume_ratio > 0
    assert moved.topology is mesh.topology
    assert moved.facet_tags.keys() == mesh.facet_tags.keys()
    assert report.converged == (report.residual <= 1e-6)


@given(any_meshes())
@settings(max_examples=30)
def test_a_uniform_monitor_leaves_every_mesh_where_it_is(mesh: Mesh) -> None:
    result = Variational().move(mesh, Constant(3.0))
    size = float((mesh.volumes().abs() ** (1 / mesh.dim)).min())
    assert result.report.max_displacement <= 1e-9 * size
    assert result.report.converged
    assert result.report.iterations == 0


@pytest.mark.parametrize("cell", ["triangle", "quad"])
@pytest.mark.parametrize("fixed", [(), ("left",), ("left", "right", "bottom", "top")])
@pytest.mark.parametrize("angle", [0.0, 0.7853981633974483])
def test_sides_and_area_are_preserved(cell: str, fixed: tuple[str, ...], angle: float) -> None:
    mesh = generate.rectangle(10, 10, cell=cell)
    turn = _rotation(angle)
    mesh = mesh.moved(mesh.pos @ turn.T)
    monitor = Function(lambda x: RING.function(x @ turn))
    result = Variational().move(mesh, monitor, fixed=fixed)
    assert result.report.boundary_error < 1e-14
    assert float(result.mesh.volumes().sum()) == pytest.approx(1.0, abs=1e-12)
    for name in fixed:
        nodes = mesh.tagged_nodes(name)
        assert torch.equal(result.mesh.pos[nodes], mesh.pos[nodes])
    assert result.report.max_displacement > 0.01


def test_translation_rotation_scale_and_numbering_carry_over() -> None:
    mesh = generate.rectangle(8, 8)
    base = Variational(tol=1e-12).move(mesh, RING).mesh.pos
    turn = 3.0 * _rotation(0.4)
    offset = torch.tensor([5.0, -2.0], dtype=torch.float64)
    there = mesh.moved(mesh.pos @ turn.T + offset)
    back = torch.linalg.inv(turn)
    monitor = Function(lambda x: RING.function((x - offset) @ back.T))
    mapped = Variational(tol=1e-12).move(there, monitor).mesh.pos
    assert float((mapped - (base @ turn.T + offset)).abs().max()) < 1e-5
    other, number, _ = renumbered(mesh, seed=3)
    shuffled = Variational(tol=1e-12).move(other, RING).mesh.pos
    assert float((shuffled[number] - base).abs().max()) < 1e-5


def test_a_symmetric_problem_gives_a_symmetric_mesh() -> None:
    mesh = generate.rectangle(8, 8, diagonal="crossed")
    pos = Variational(tol=1e-12).move(mesh, RING).mesh.pos
    for mirrored in (pos * torch.tensor([-1, 1]) + torch.tensor([1, 0]), pos.flip(1)):
        distance = torch.cdist(mirrored, pos).amin(dim=1)
        assert float(distance.max()) < 1e-6


def test_a_ring_and_then_a_constant_returns_to_the_start() -> None:
    # The optimum of a constant monitor is the reference mesh, wherever the search begins.
    mesh = generate.rectangle(10, 10)
    there = Variational().move(mesh, RING).mesh
    back = Variational(tol=1e-10).move(mesh, Constant(), start=there)
    assert back.report.converged
    assert float((back.mesh.pos - mesh.pos).abs().max()) < 1e-3


def test_a_warm_start_needs_no_more_iterations_than_a_cold_one() -> None:
    mesh = generate.rectangle(20, 20)
    cold = Variational().move(mesh, RING)
    warm = Variational().move(mesh, RING, start=cold.mesh)
    assert cold.report.converged
    assert warm.report.converged
    assert warm.report.iterations <= cold.report.iterations
    assert warm.report.iterations <= 2


def test_equidistribution_improves_as_measured_by_the_prototype() -> None:
    # reference figures, ring 1 + 10 sech^2(100 (r^2 - 1/16)), theta 0.1: std/mean 0.26-0.27
    mesh = generate.rectangle(32, 32)
    monitor = ball((0.5, 0.5), radius=0.25, amplitude=10, width=100)
    report = Variational(theta=0.1).move(mesh, monitor).report
    assert report.converged
    assert report.equidistribution_before > 1.0
    assert report.equidistribution_after < 0.28
    assert report.max_min_after < 3.0
    looser = Variational(theta=1 / 3).move(mesh, monitor).report
    assert looser.min_quality > report.min_quality


def test_a_metric_aligns_the_cells_with_its_stretching() -> None:
    mesh = generate.rectangle(16, 16, diagonal="crossed")
    stretch = torch.diag(torch.tensor([25.0, 1.0], dtype=torch.float64))
    blend = Function(
        lambda x: (
            torch.eye(2, dtype=x.dtype)
            + torch.exp(-(((x[:, 0] - 0.5) / 0.1) ** 2))[:, None, None] * (stretch - torch.eye(2))
        )
    )
    moved = Variational().move(mesh, blend).mesh
    edges = moved.pos[moved.cells["triangle"]]
    middle = (edges.mean(dim=1)[:, 0] - 0.5).abs() < 0.05
    extent = edges.amax(dim=1) - edges.amin(dim=1)
    assert float((extent[middle, 1] / extent[middle, 0]).mean()) > 1.5


def test_a_monitor_from_a_field_is_interpolated_where_the_nodes_go() -> None:
    mesh = generate.rectangle(20, 20)
    u = torch.tanh(20 * (mesh.pos[:, 0] - 0.5))
    monitor = Gradient(mesh, u, amplitude=20)
    result = Variational().move(mesh, monitor)
    assert result.report.equidistribution_after < 0.6 * result.report.equidistribution_before
    near = (result.mesh.pos[:, 0] - 0.5).abs() < 0.1
    assert int(near.sum()) > 1.5 * int(((mesh.pos[:, 0] - 0.5).abs() < 0.1).sum())


def test_giving_up_is_reported_and_the_mesh_is_still_valid() -> None:
    result = Variational(max_iterations=2).move(generate.rectangle(20, 20), RING)
    assert not result.report.converged
    assert result.report.reason == "stopped after 2 iterations"
    assert result.report.residual > 1e-6
    assert result.report.inverted_cells == 0


def test_progress_is_called_once_an_iteration() -> None:
    seen: list[int] = []
    result = Variational().move(
        generate.rectangle(10, 10), RING, progress=lambda k, residual: seen.append(k)
    )
    assert seen == list(range(1, result.report.iterations + 1))


def test_a_3d_move_with_multigrid_agrees_with_the_factorisation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mesh = generate.box(8, 8, 8)
    monitor = ball((0.5, 0.5, 0.5), radius=0.3, amplitude=5, width=20)
    direct = Variational(tol=1e-10).move(mesh, monitor)
    monkeypatch.setattr("meshlearn.movers.preconditioner.DIRECT_3D", 10)
    multigrid = Variational(tol=1e-10).move(mesh, monitor)
    assert direct.report.converged
    assert multigrid.report.converged
    assert float((direct.mesh.pos - multigrid.mesh.pos).abs().max()) < 1e-4
    assert torch.equal(multigrid.mesh.pos, Variational(tol=1e-10).move(mesh, monitor).mesh.pos)


def test_a_batch_moves_as_one_disjoint_mesh() -> None:
    from torch_geometric.data import Batch

    meshes = [generate.rectangle(6, 6), generate.rectangle(8, 8, cell="quad")]
    batch = Batch.from_data_list(meshes)
    result = Variational(tol=1e-10).move(batch, RING)
    assert result.report.inverted_cells == 0
    parts = result.mesh.to_data_list()
    for mesh, part in zip(meshes, parts, strict=True):
        alone = Variational(tol=1e-10).move(mesh, RING).mesh
        assert float((alone.pos - part.pos).abs().max()) < 1e-3
    values = Field(batch, RING(batch))
    assert Variational().move(batch, values).report.inverted_cells == 0


def test_wrong_arguments_and_monitors_are_named() -> None:
    mesh = generate.rectangle(4, 4)
    with pytest.raises(MeshError, match="theta must be in"):
        Variational(theta=0.0)
    with pytest.raises(MeshError, match="p must be above 1"):
        Variational(p=1.0)
    with pytest.raises(MeshError, match="not finite and positive at"):
        Variational().move(mesh, Function(lambda x: x[:, 0] - 0.5))
    with pytest.raises(MeshError, match="start must be a moved copy"):
        Variational().move(mesh, RING, start=generate.rectangle(5, 4))
    with pytest.raises(MeshError, match="it has other nodes or cells"):
        Variational().move(mesh, RING, start=generate.rectangle(4, 4, diagonal="right"))
    turned = mesh.moved(mesh.pos * torch.tensor([-1.0, 1.0]))
    with pytest.raises(MeshError, match="cells are inverted before the move"):
        Variational().move(turned, RING)


def _rotation(angle: float) -> torch.Tensor:
    a = torch.tensor(angle, dtype=torch.float64)
    return torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
