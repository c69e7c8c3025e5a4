"""The Monge-Ampere mover: the rules of the contract, two methods to one mesh, honest fall-backs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh, renumbered

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Field, Function, ball
from meshlearn.movers import Laplacian, MongeAmpere, Variational
from meshlearn.movers.constraints import freedom
from meshlearn.movers.monge_ampere import is_convex
from meshlearn.movers.potential import Equation
from meshlearn.movers.potential_solvers import gmres

RING = ball((0.5, 0.5), radius=0.15**0.5, amplitude=10, width=200)
WIDE = ball((0.5, 0.5), radius=0.25, amplitude=10, width=100)


def gaussians(seed: int, d: int = 2, contrast: float = 25.0) -> Function:
    """1 plus up to six stretched Gaussians, half-widths 0.04 to 0.2, heights 2 to `contrast`."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 7, (1,), generator=generator))
    centres = torch.rand(count, d, generator=generator, dtype=torch.float64)
    heights = 2 + (contrast - 2) * torch.rand(count, generator=generator, dtype=torch.float64)
    sizes = 0.04 * 5 ** torch.rand(count, d, generator=generator, dtype=torch.float64)
    turns, _ = torch.linalg.qr(torch.randn(count, d, d, generator=generator, dtype=torch.float64))

    def density(x: torch.Tensor) -> torch.Tensor:
        offset = torch.einsum("nkd,kde->nke", x[:, None] - centres, turns) / sizes
        return 1 + (heights * torch.exp(-(offset**2).sum(dim=2) / 2)).sum(dim=1)

    return Function(density)


def square(h: float = 0.05) -> Mesh:
    return generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=h)


# -- what it solves ----------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
@pytest.mark.parametrize("metric", [False, True])
def test_the_derivative_is_that_of_the_residual(cell: str, metric: bool) -> None:
    d = 2 if cell in ("triangle", "quad") else 3
    mesh = random_mesh(cell, [4] * d, seed=2, shuffle=False)
    monitor = gaussians(3, d)
    if metric:
        scalar = monitor.function
        stretch = torch.diag(torch.arange(1.0, d + 1, dtype=torch.float64))
        monitor = Function(lambda x: scalar(x)[:, None, None] * stretch)
    equation = Equation(mesh, monitor, freedom(mesh))
    rng = np.random.default_rng(0)
    size = float(mesh.volumes().mean()) ** (2 / d)
    phi, direction = 0.02 * size * rng.standard_normal((2, equation.size))
    state = equation.evaluate(phi, 0.05, 0.7)
    assert state is not None
    there, back = (equation.evaluate(phi + s * 1e-4 * direction, 0.05, 0.7) for s in (1, -1))
    assert there is not None
    assert back is not None
    wanted = (there.residual - back.residual) / 2e-4
    found = equation.derivative(state)(direction)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_gmres_agrees_with_a_dense_solve() -> None:
    rng = np.random.default_rng(1)
    matrix = np.eye(30) + 0.1 * rng.standard_normal((30, 30))
    right = rng.standard_normal(30)
    found, count = gmres(lambda v: matrix @ v, lambda v: v / 1.1, right, 1e-12, 40)
    assert np.allclose(found, np.linalg.solve(matrix, right), atol=1e-10)
    assert count <= 30


def test_newton_and_relaxation_agree_to_a_millionth() -> None:
    # Two algorithms, with and without derivatives, for one discrete equation.
    for mesh, monitor in ((generate.rectangle(20, 20), WIDE), (square(), gaussians(4))):
        first = MongeAmpere().move(mesh, monitor)
        second = MongeAmpere(method="relaxation", max_iterations=1000).move(mesh, monitor)
        assert first.report.converged
        assert second.report.converged
        assert second.report.iterations > 2 * first.report.iterations
        assert first.report.max_displacement > 0.02
        assert float((first.mesh.pos - second.mesh.pos).abs().max()) < 1e-6


def test_without_stabilisation_structured_meshes_have_no_solution() -> None:
    # G does not see potentials that oscillate from node to node: what the second term is for.
    mesh = generate.rectangle(10, 10)
    bare = MongeAmpere(stabilisation=0.0, fallback=None, max_iterations=40).move(mesh, RING).report
    assert not bare.converged
    assert bare.residual > 1e-4
    assert MongeAmpere().move(mesh, RING).report.converged


@pytest.mark.parametrize(("n", "spread"), [(32, 0.08), (64, 0.041), (99, 0.026)])
def test_equidistribution_gets_better_with_the_mesh(n: int, spread: float) -> None:
    # The prototype's ring: std/mean 0.074 with 1,054 nodes and 0.025 with 9,774 (gmsh meshes).
    report = MongeAmpere().move(generate.rectangle(n, n), WIDE).report
    assert report.converged
    assert report.equidistribution_after < spread


def test_random_monitors_on_an_unstructured_square() -> None:
    # The prototype on 30 such monitors: spread 0.049 (median) and 0.084 (largest), none inverted.
    mesh = square(0.0345)
    reports = [MongeAmpere().move(mesh, gaussians(seed)).report for seed in range(10)]
    spread = sorted(report.equidistribution_after for report in reports)
    assert all(report.converged for report in reports)
    assert all(report.mover == "MongeAmpere" for report in reports)
    assert spread[5] < 0.049
    assert spread[-1] < 0.084
    others = [Variational(theta=0.1).move(mesh, gaussians(seed)).report for seed in range(2)]
    for report, other in zip(reports, others, strict=False):
        assert report.equidistribution_after < other.equidistribution_after / 2


def test_steep_bells_are_reached_by_powers() -> None:
    # The prototype's hard bell, a = 50: it needed 105 iterations.
    report = MongeAmpere().move(generate.rectangle(32, 32), ball((0.5, 0.5), 0.0, 50, 100)).report
    assert report.converged
    assert report.equidistribution_before > 2.5
    assert report.equidistribution_after < 0.1
    assert report.iterations < 40


def test_tetrahedra() -> None:
    mesh = generate.box(8, 8, 8)
    blob = ball((0.5, 0.5, 0.5), 0.0, amplitude=10, width=10)
    result = MongeAmpere().move(mesh, blob)
    assert result.report.converged
    assert result.report.equidistribution_after < 0.2
    assert result.report.equidistribution_before > 4 * result.report.equidistribution_after
    rough = random_mesh("tetra", [7, 7, 7], seed=1, jitter=0.15, stretch=1.0, shuffle=False)
    centre, size = rough.pos.mean(dim=0), float(rough.volumes().sum()) ** (1 / 3)
    near = Function(lambda x: 1 + 8 * torch.exp(-(((x - centre) / size / 0.3) ** 2).sum(dim=1)))
    report = MongeAmpere(fallback=None).move(rough, near).report
    assert report.residual < 1e-8
    assert report.equidistribution_after < report.equidistribution_before / 2
    assert report.inverted_cells == 0


def test_multigrid_gives_the_mesh_of_the_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = generate.rectangle(24, 24)
    direct = MongeAmpere().move(mesh, WIDE)
    monkeypatch.setattr("meshlearn.movers.potential_solvers._DIRECT_2D", 10)
    multigrid = MongeAmpere().move(mesh, WIDE)
    assert multigrid.report.converged
    assert float((direct.mesh.pos - multigrid.mesh.pos).abs().max()) < 1e-7
    assert torch.equal(multigrid.mesh.pos, MongeAmpere().move(mesh, WIDE).mesh.pos)


def test_an_interval_is_equidistributed() -> None:
    report = MongeAmpere().move(generate.interval(40), ball((0.5,), 0.2, 10, 50)).report
    assert report.converged
    assert report.max_min_after < 1.05


# -- the rules of the contract -----------------------------------------------------------------


@given(any_meshes(tags=True), st.integers(0, 10_000), st.sampled_from([5.0, 1e4]))
@settings(max_examples=25)
def test_no_cell_is_ever_inverted_and_the_domain_stays_the_domain(
    mesh: Mesh, seed: int, contrast: float
) -> None:
    before = mesh.pos.clone()
    quick = Variational(max_iterations=10)
    mover = MongeAmpere(max_iterations=20, fallback=quick)
    result = mover.move(mesh, gaussians(seed, mesh.dim, contrast))
    report = result.report
    assert len(result.mesh.inverted_cells()) == report.inverted_cells == 0
    assert torch.equal(mesh.pos, before)
    assert report.boundary_error < 1e-12
    assert report.volume_error < 1e-8
    if report.converged and report.mover == "MongeAmpere":
        assert report.residual <= 1e-8
        assert report.equidistribution_after <= 0.2


@given(any_meshes())
@settings(max_examples=25)
def test_a_constant_monitor_moves_nothing(mesh: Mesh) -> None:
    result = MongeAmpere().move(mesh, Constant(3.0))
    assert result.report.iterations == 0
    assert torch.equal(result.mesh.pos, mesh.pos)


def test_translation_rotation_scale_and_numbering_carry_over() -> None:
    mesh = generate.rectangle(8, 8)
    base = MongeAmpere().move(mesh, WIDE).mesh.pos
    a = torch.tensor(0.4, dtype=torch.float64)
    turn = 3 * torch.stack([torch.stack([a.cos(), -a.sin()]), torch.stack([a.sin(), a.cos()])])
    offset = torch.tensor([5.0, -2.0], dtype=torch.float64)
    back = torch.linalg.inv(turn)
    monitor = Function(lambda x: WIDE.function((x - offset) @ back.T))
    mapped = MongeAmpere().move(mesh.moved(mesh.pos @ turn.T + offset), monitor).mesh.pos
    assert float((mapped - (base @ turn.T + offset)).abs().max()) < 1e-7
    other, number, _ = renumbered(mesh, seed=3)
    shuffled = MongeAmpere().move(other, WIDE).mesh.pos
    assert float((shuffled[number] - base).abs().max()) < 1e-7


def test_a_symmetric_problem_gives_a_symmetric_mesh() -> None:
    mesh = generate.rectangle(12, 12, diagonal="crossed")
    pos = MongeAmpere().move(mesh, WIDE).mesh.pos
    for mirrored in (pos * torch.tensor([-1, 1]) + torch.tensor([1, 0]), pos.flip(1)):
        assert float(torch.cdist(mirrored, pos).amin(dim=1).max()) < 1e-7


@pytest.mark.parametrize("mesh", [generate.rectangle(16, 16), generate.box(5, 5, 5)])
def test_a_warm_start_needs_no_more_iterations_than_a_cold_one(mesh: Mesh) -> None:
    monitor = ball((0.4,) * mesh.dim, 0.2, 5, 30)
    cold = MongeAmpere().move(mesh, monitor)
    warm = MongeAmpere().move(mesh, monitor, start=cold.mesh)
    assert cold.report.iterations > 2
    assert warm.report.iterations <= 1
    assert float((warm.mesh.pos - cold.mesh.pos).abs().max()) < 1e-6
    elsewhere = ball((0.42,) * mesh.dim, 0.2, 5, 30)
    near = MongeAmpere().move(mesh, elsewhere, start=cold.mesh).report
    assert near.iterations <= MongeAmpere().move(mesh, elsewhere).report.iterations


def test_periodic_sides_move_together() -> None:
    mesh = generate.rectangle(20, 20)

    def around(x: torch.Tensor) -> torch.Tensor:
        return 1 + 8 * torch.exp(20 * (torch.cos(2 * torch.pi * (x - 0.1)) - 1)).sum(dim=1)

    result = MongeAmpere().move(mesh, Function(around), periodic=["left:right", "bottom:top"])
    assert result.report.converged
    assert result.report.max_displacement > 0.02
    left, right = mesh.tagged_nodes("left"), mesh.tagged_nodes("right")
    left = left[mesh.pos[left, 1].argsort()]
    right = right[mesh.pos[right, 1].argsort()]
    height = result.mesh.pos[:, 1]
    assert float((height[left] - height[right]).abs().max()) < 1e-14


def test_curved_convex_sides() -> None:
    mesh = generate.disk(10)
    monitor = ball((0.3, 0.0), 0.3, 5, 20)
    still = MongeAmpere().move(mesh, monitor)
    slid = MongeAmpere().move(mesh, monitor, slide="curved")
    for result in (still, slid):
        assert result.report.mover == "MongeAmpere"
        assert result.report.converged
    rim = mesh.boundary_nodes
    assert torch.equal(still.mesh.pos[rim], mesh.pos[rim])
    assert float((slid.mesh.pos[rim] - mesh.pos[rim]).norm(dim=1).max()) > 0.01
    assert float((slid.mesh.pos[rim].norm(dim=1) - 1).abs().max()) < 1e-3


def test_a_batch_is_solved_mesh_by_mesh_in_one_call() -> None:
    from torch_geometric.data import Batch

    meshes = [generate.rectangle(12, 12), generate.rectangle(10, 10, diagonal="crossed")]
    batch = Batch.from_data_list(meshes)
    result = MongeAmpere().move(batch, WIDE)
    for mesh, part in zip(meshes, result.mesh.to_data_list(), strict=True):
        alone = MongeAmpere().move(mesh, WIDE)
        assert float((alone.mesh.pos - part.pos).abs().max()) < 1e-6


def test_a_monitor_from_a_field_is_interpolated_where_the_nodes_go() -> None:
    mesh = square()
    field = Field(mesh, WIDE(mesh))
    report = MongeAmpere().move(mesh, field).report
    assert report.converged
    assert report.equidistribution_after < 0.1


# -- what it does not do, it says --------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "convex"),
    [
        (generate.rectangle(3, 3), True),
        (generate.box(2, 2, 2), True),
        (generate.box(2, 2, 2, cell="hexahedron"), True),
        (generate.disk(4), True),
        (generate.interval(4), True),
        (generate.l_shape(3), False),
        (generate.annulus(3), False),
    ],
)
def test_convex_domains_are_told_from_others(mesh: Mesh, convex: bool) -> None:
    assert is_convex(mesh) == convex
    bent = mesh.pos.clone()
    bent[:, 0] += 2.0 * bent[:, -1] ** 2
    if mesh.dim > 1:
        assert not is_convex(mesh.moved(bent))


def test_other_domains_are_left_to_another_mover_by_name() -> None:
    for mesh in (generate.l_shape(8), generate.annulus(4)):
        result = MongeAmpere().move(mesh, ball((0.3, 0.3), 0.2, 5, 30))
        wanted = "MongeAmpere (fell back to Variational: the domain is not convex)"
        assert result.report.mover == wanted
        alone = Variational(theta=0.1).move(mesh, ball((0.3, 0.3), 0.2, 5, 30))
        assert torch.equal(result.mesh.pos, alone.mesh.pos)
        assert result.report.converged == alone.report.converged
    other = MongeAmpere(fallback=Laplacian()).move(generate.l_shape(4), Constant())
    assert other.report.mover == "MongeAmpere (fell back to Laplacian: the domain is not convex)"


def test_interfaces_are_left_to_another_mover_by_name() -> None:
    mesh = generate.rectangle(8, 8)
    half = mesh.centroids()[:, 0] < 0.5
    tags = {"a": torch.nonzero(half).squeeze(1), "b": torch.nonzero(~half).squeeze(1)}
    parts = Mesh.from_cells(mesh.pos, {"triangle": mesh.cells["triangle"]}, cell_tags=tags)
    report = MongeAmpere().move(parts, WIDE).report
    assert (
        report.mover == "MongeAmpere (fell back to Variational: nodes inside the domain are held)"
    )


def test_where_it_stalls_it_says_so() -> None:
    mesh = generate.rectangle(16, 16)
    stalled = MongeAmpere(max_iterations=2).move(mesh, WIDE).report
    assert stalled.mover == "MongeAmpere (fell back to Variational: stopped after 2 iterations)"
    alone = MongeAmpere(max_iterations=2, fallback=None).move(mesh, WIDE).report
    assert alone.mover == "MongeAmpere"
    assert not alone.converged
    assert alone.reason.startswith("stopped after 2 iterations")
    assert alone.residual > 1e-8


def test_a_monitor_too_sharp_for_the_cells_is_not_called_converged() -> None:
    report = MongeAmpere().move(generate.box(6, 6, 6), ball((0.5,) * 3, 0.3, 10, 20)).report
    assert report.residual <= 1e-8
    assert report.equidistribution_after > 0.2
    assert not report.converged
    assert "the cells hold unequal shares" in report.reason


def test_progress_is_called_once_an_iteration() -> None:
    seen: list[int] = []
    report = (
        MongeAmpere()
        .move(generate.rectangle(12, 12), WIDE, progress=lambda k, residual: seen.append(k))
        .report
    )
    assert seen == list(range(1, report.iterations + 1))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(MeshError, match='method must be "newton" or "relaxation"'):
        MongeAmpere(method="picard")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="tol must be positive"):
        MongeAmpere(tol=0.0)
    with pytest.raises(MeshError, match="stabilisation must not be negative"):
        MongeAmpere(stabilisation=-1.0)
    with pytest.raises(MeshError, match="not finite and positive at"):
        MongeAmpere().move(generate.rectangle(4, 4), Function(lambda x: x[:, 0] - 0.5))
