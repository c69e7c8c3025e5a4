"""Error estimates: exact where theory says so, bounded elsewhere; the L-shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    assemble,
    assemble_linear,
    dot,
    errors,
    grad,
    recover_gradient,
    recovery_estimate,
    residual_estimate,
    solve,
)
from meshlearn.fem.p1 import lumped_mass
from meshlearn.fem.reference import laplacian_of
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Field as FieldMonitor
from meshlearn.monitors import Function
from meshlearn.movers import Variational
from meshlearn.problems import named_problem

SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
Scalar = Callable[[Tensor], Tensor]


def waves(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x).prod(dim=1)


def solution(space: FunctionSpace, exact: Scalar, k: float = 1.0, c: float = 0.0) -> Tensor:
    matrix = assemble(lambda u, v, w: k * dot(grad(u), grad(v)) + c * u * v, space)
    right = assemble_linear(lambda v, w: source(exact, k, c)(w.x) * v, space, degree=8)
    return solve(matrix, right, [Dirichlet(space, "boundary", exact)])


def source(exact: Scalar, k: float = 1.0, c: float = 0.0) -> Scalar:
    return lambda x: -k * laplacian_of(exact)(x) + c * exact(x)


# -- recovery-based ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "meshes", "tolerance"),
    [
        ("P1", [generate.rectangle(n, n) for n in (8, 16, 32)], 0.01),
        ("P1", [generate.rectangle(n, n, diagonal="crossed") for n in (8, 16, 32)], 0.02),
        ("P1", [generate.polygon(SQUARE, h=h) for h in (0.1, 0.05, 0.025)], 0.02),
        ("P2", [generate.rectangle(n, n) for n in (4, 8, 16)], 0.03),
        ("P2", [generate.polygon(SQUARE, h=h) for h in (0.1, 0.05)], 0.03),
        ("Q1", [generate.rectangle(n, n, cell="quad") for n in (8, 16, 32)], 0.02),
        ("Q2", [generate.rectangle(n, n, cell="quad") for n in (8, 16, 32)], 0.05),
        ("P1", [generate.box(n, n, n) for n in (4, 8, 12)], 0.1),
        ("Q1", [generate.box(n, n, n, cell="hexahedron") for n in (12, 24)], 0.1),
    ],
)
def test_the_recovery_estimate_is_asymptotically_exact_on_smooth_solutions(
    element: str, meshes: list[Mesh], tolerance: float
) -> None:
    index = []
    for mesh in meshes:
        space = FunctionSpace(mesh, element)
        dofs = solution(space, waves)
        index.append(recovery_estimate(space, dofs).effectivity(errors(space, dofs, waves)["h1"]))
    assert abs(index[-1] - 1) < tolerance
    assert abs(index[-1] - 1) <= abs(index[0] - 1) + 0.01


@pytest.mark.parametrize("element", ["P1", "P2", "Q1", "Q2"])
def test_recovery_is_exact_for_polynomials_of_one_degree_more(element: str) -> None:
    # On symmetric patches the sampled gradients of the interpolant are exact for degree + 1.
    cell = "quad" if element[0] == "Q" else "triangle"
    space = FunctionSpace(generate.rectangle(6, 6, cell=cell), element)
    degree = space.degree
    dofs = space.interpolate(lambda x: x[:, 0] ** degree + x[:, 1] ** degree)
    found = recover_gradient(space, dofs)
    x = found.space.dof_points[::2]
    exact = degree * x ** (degree - 1)
    assert torch.allclose(found.dofs.reshape(-1, 2), exact, atol=1e-10)


def test_the_recovered_gradient_superconverges_inside() -> None:
    size = []
    for n in (8, 16):
        space = FunctionSpace(generate.rectangle(n, n), "P1")
        found = recover_gradient(space, solution(space, waves))
        x = space.mesh.pos
        inner = ((x > 0.2) & (x < 0.8)).all(dim=1)
        point = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(waves(point).sum(), point)
        size.append(float((found.dofs.reshape(-1, 2) - slope)[inner].abs().max()))
    assert math.log2(size[0] / size[1]) > 1.7


def test_vectors_are_recovered_component_by_component_and_squares_add_up() -> None:
    mesh = generate.rectangle(6, 5)
    scalar, vector = FunctionSpace(mesh, "P1"), FunctionSpace(mesh, ("P1", 2))
    one = scalar.interpolate(waves)
    two = scalar.interpolate(lambda x: torch.cos(x[:, 0] * 3))
    both = torch.stack([one, two], dim=1).reshape(-1)
    parts = [recovery_estimate(scalar, u).cells for u in (one, two)]
    together = recovery_estimate(vector, both).cells
    assert torch.allclose(together**2, parts[0] ** 2 + parts[1] ** 2, rtol=1e-12)


def test_estimates_weigh_with_the_conductivity() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    dofs = space.interpolate(waves)
    plain = recovery_estimate(space, dofs)
    for k in (4.0, torch.full((space.mesh.num_cells,), 4.0), lambda x: 4 + 0 * x[:, 0]):
        assert torch.allclose(recovery_estimate(space, dofs, k).cells, 2 * plain.cells)


def test_indicators_sum_to_the_total_and_are_differentiable() -> None:
    mesh = generate.rectangle(3, 3)
    dofs = FunctionSpace(mesh, "P1").interpolate(waves)

    def total(pos: Tensor, u: Tensor, recovered: bool) -> Tensor:
        space = FunctionSpace(mesh.moved(pos), "P1")
        found = recovery_estimate(space, u) if recovered else residual_estimate(space, u, 1.0)
        assert torch.allclose((found.cells**2).sum().sqrt(), found.total)
        return found.total

    for recovered in (True, False):
        pair = (mesh.pos.clone().requires_grad_(True), dofs.clone().requires_grad_(True))
        assert torch.autograd.gradcheck(
            lambda p, u, r=recovered: total(p, u, r), pair, eps=1e-6, atol=1e-5
        )


# -- residual ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "mesh", "k", "c"),
    [
        ("P1", generate.rectangle(8, 8), 1.0, 0.0),
        ("P1", generate.rectangle(32, 32), 1.0, 0.0),
        ("P1", generate.polygon(SQUARE, h=0.05), 1.0, 0.0),
        ("P1", generate.polygon(SQUARE, h=0.05), 100.0, 0.0),
        ("P1", generate.polygon(SQUARE, h=0.05), 1.0, 1e4),
        ("P1", generate.polygon(SQUARE, h=0.05), 1e-3, 1.0),
        ("P2", generate.rectangle(8, 8), 1.0, 1.0),
        ("P3", generate.rectangle(8, 8), 1.0, 0.0),
        ("Q1", generate.rectangle(16, 16, cell="quad"), 1.0, 0.0),
        ("Q2", generate.rectangle(8, 8, cell="quad"), 1.0, 0.0),
        ("P1", generate.box(6, 6, 6), 1.0, 0.0),
        ("Q1", generate.box(4, 4, 4, cell="hexahedron"), 1.0, 0.0),
    ],
)
def test_the_residual_estimate_is_reliable_with_bounded_effectivity(
    element: str, mesh: Mesh, k: float, c: float
) -> None:
    space = FunctionSpace(mesh, element)
    dofs = solution(space, waves, k, c)
    size = errors(space, dofs, waves)
    energy = math.sqrt(k * size["h1"] ** 2 + c * size["l2"] ** 2)
    found = residual_estimate(space, dofs, source(waves, k, c), k, c)
    assert 1 < found.effectivity(energy) < 15


def test_residual_and_jumps_of_an_exact_solution_vanish() -> None:
    def exact(x: Tensor) -> Tensor:
        return x[:, 0] ** 2 - 2 * x[:, 0] * x[:, 1]

    def k(x: Tensor) -> Tensor:
        return 1 + x[:, 1]

    # -div((1 + y) (2x - 2y, -2x)) + 3 u = -2 (1 + y) + 2x + 3 u
    def f(x: Tensor) -> Tensor:
        return -2 * (1 + x[:, 1]) + 2 * x[:, 0] + 3 * exact(x)

    for mesh, element in ((generate.rectangle(5, 4), "P2"), (generate.rectangle(3, 3), "P3")):
        space = FunctionSpace(mesh, element)
        found = residual_estimate(
            space,
            space.interpolate(exact),
            f,
            k,
            3.0,
            neumann={"right": lambda x: k(x) * (2 * x[:, 0] - 2 * x[:, 1])},
        )
        assert float(found.total) < 1e-11
    wrong = residual_estimate(space, space.interpolate(exact), f, k, 3.0, neumann={"right": 0.0})
    touched = torch.nonzero(wrong.cells > 1e-9).squeeze(1)
    at_right = space.mesh.topology.facet_cells[
        space.mesh.topology.find_facets(space.mesh.facet_tags["right"]), 0
    ]
    assert torch.equal(touched, at_right.sort().values)


def test_data_by_cell_are_seen_from_their_own_side() -> None:
    mesh = generate.rectangle(4, 4)
    k = torch.where(mesh.centroids()[:, 0] < 0.5, 1.0, 3.0).to(torch.float64)
    space = FunctionSpace(mesh, "P1")
    # flux-continuous: slope 3 where k = 1, slope 1 where k = 3
    dofs = space.interpolate(lambda x: torch.where(x[:, 0] < 0.5, 3 * x[:, 0], 1 + x[:, 0]))
    assert float(residual_estimate(space, dofs, 0.0, k).total) < 1e-12
    assert float(residual_estimate(space, dofs, 0.0, 1.0).total) > 0.1


def test_elements_without_an_estimate_are_refused() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "CR")
    dofs = torch.zeros(space.num_dofs, dtype=torch.float64)
    with pytest.raises(MeshError, match="gradients are recovered for one of"):
        recovery_estimate(space, dofs)
    with pytest.raises(MeshError, match="one continuous scalar Lagrange element"):
        residual_estimate(space, dofs, 0.0)
    with pytest.raises(MeshError, match="too small"):
        recover_gradient(FunctionSpace(generate.rectangle(1, 1), "P1"), torch.zeros(4).double())


# -- the L-shape ---------------------------------------------------------------------------------

CORNER = named_problem("corner", generate.l_shape(2)).exact


def l_shape_error(mesh: Mesh) -> tuple[FunctionSpace, Tensor, float]:
    assert CORNER is not None
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    right = torch.zeros(space.num_dofs, dtype=torch.float64)
    dofs = solve(matrix, right, [Dirichlet(space, "boundary", CORNER)])
    return space, dofs, errors(space, dofs, CORNER)["h1"]


def rates(meshes: list[Mesh]) -> list[float]:
    size = [l_shape_error(mesh)[2] for mesh in meshes]
    return [math.log2(a / b) for a, b in itertools.pairwise(size)]


def test_uniform_refinement_of_the_l_shape_converges_at_two_thirds() -> None:
    assert all(abs(r - 2 / 3) < 0.05 for r in rates([generate.l_shape(n) for n in (8, 16, 32, 64)]))


def test_grading_towards_the_corner_restores_the_order() -> None:
    meshes = []
    for n in (8, 16, 32, 64):
        mesh = generate.l_shape(n)
        far = mesh.pos.abs().amax(dim=1, keepdim=True)  # maps the L-shape to itself
        meshes.append(mesh.moved(mesh.pos * far**0.8))
    found = rates(meshes)
    assert found[0] > 0.9
    assert found[-1] > 0.95


def test_moving_the_nodes_restores_the_order() -> None:
    # For P1 in H1 the best density is |H| to the power 1, here r^(2/3 - 2), cut off at the corner.
    meshes = []
    for n in (8, 16, 32):
        least = 0.2 * n**-1.5

        def density(x: Tensor, least: float = least) -> Tensor:
            return ((x**2).sum(dim=1) + least**2) ** (-2 / 3)

        meshes.append(Variational().move(generate.l_shape(n), Function(density)).mesh)
    assert min(rates(meshes)) > 0.85


def test_one_move_by_the_residual_estimate_gains_order_on_the_l_shape() -> None:
    before, after = [], []
    for n in (8, 16, 32):
        mesh = generate.l_shape(n)
        space, dofs, size = l_shape_error(mesh)
        density = residual_estimate(space, dofs, 0.0).cells / mesh.volumes()  # ~ |H|
        nodal = assemble_linear(lambda v, w: w.k * v, space, k=density) / lumped_mass(mesh)
        moved = Variational().move(mesh, FieldMonitor(mesh, nodal / nodal.mean())).mesh
        before.append(size)
        after.append(l_shape_error(moved)[2])
    assert all(math.log2(a / b) > 0.75 for a, b in itertools.pairwise(after))
    assert after[-1] < 0.7 * before[-1]


def test_estimators_see_the_corner() -> None:
    assert CORNER is not None
    space, dofs, size = l_shape_error(generate.l_shape(16))
    for found in (recovery_estimate(space, dofs), residual_estimate(space, dofs, 0.0)):
        assert 1 < found.effectivity(size) < 5
        worst = space.mesh.centroids()[found.cells.argmax()]
        assert float(worst.norm()) < 1 / 16
