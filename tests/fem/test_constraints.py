"""Boundary conditions: Dirichlet, Neumann, Robin, periodic and slip, alone and together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    LinearSolver,
    Periodic,
    Slip,
    assemble,
    assemble_linear,
    div,
    dot,
    errors,
    grad,
    inner,
    newton,
    solve,
    sym,
)
from meshlearn.fem.elimination import Rows, reduction
from meshlearn.mesh import Mesh, MeshError, generate

CPU = torch.device("cpu")
SIDES = {"left": 0, "right": 0}


def rotated(mesh: Mesh, seed: int = 0) -> tuple[Mesh, Tensor]:
    """The mesh turned by an arbitrary rotation (or reflection) Q."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(mesh.dim, mesh.dim, generator=generator, dtype=torch.float64)
    q, _ = torch.linalg.qr(matrix - 0.5)
    q[:, 0] *= torch.sign(torch.linalg.det(q))
    return mesh.moved(mesh.pos @ q.T), q


def laplace(space: FunctionSpace, mass: float = 0.0) -> Tensor:
    return assemble(lambda u, v, w: dot(grad(u), grad(v)) + mass * (u * v), space)


def side_of(mesh: Mesh, tag: str) -> tuple[int, float]:
    """Which coordinate is constant on a side of a box, and where."""
    at = mesh.pos[mesh.facet_tags[tag].reshape(-1)]
    axis = int((at.amax(dim=0) - at.amin(dim=0)).argmin())
    return axis, float(at[0, axis])


# -- Neumann and Robin: terms of the forms ---------------------------------------------------------


@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_neumann_is_a_facet_term(cell: Any) -> None:
    """u = x + 2 y is found exactly from its flux."""
    space = FunctionSpace(generate.rectangle(3, 4, cell=cell), "P1")
    slope = [1.0, 2.0]
    b = assemble_linear(lambda v, w: dot(w.n, slope) * v, space, on="boundary")
    u = solve(laplace(space), b, [Dirichlet(space, "left", lambda x: 2 * x[:, 1])])
    assert torch.allclose(u, space.interpolate(lambda x: x[:, 0] + 2 * x[:, 1]), atol=1e-13)


def test_robin_is_a_facet_term() -> None:
    """-u'' = 0, u'(0) = 3 (u - 1) at x = 0 and u(1) = 2: u = (5 + 3 x) / 4."""
    space = FunctionSpace(generate.rectangle(4, 3), "P1")
    A = laplace(space) + assemble(lambda u, v, w: 3.0 * (u * v), space, on="left")
    b = assemble_linear(lambda v, w: 3.0 * v, space, on="left")
    u = solve(A, b, [Dirichlet(space, "right", 2.0)])
    assert torch.allclose(u, (5 + 3 * space.dof_points[:, 0]) / 4, atol=1e-13)


def test_traction_on_an_elastic_bar() -> None:
    """Uniaxial tension: u = (x, -nu y) s / E in plane stress."""
    space = FunctionSpace(generate.rectangle(4, 2), ("P1", 2))
    nu = 0.3

    def stress(u: Any) -> Any:
        return (1 - nu) * sym(grad(u)), nu * div(u)

    A = assemble(
        lambda u, v, w: (inner(stress(u)[0], sym(grad(v))) + stress(u)[1] * div(v)) / (1 - nu**2),
        space,
    )
    b = assemble_linear(lambda v, w: 0.1 * dot(w.n, v), space, on="right")
    bcs = [Dirichlet(space, "left", 0.0, [0]), Dirichlet(space, "bottom", 0.0, [1])]
    u = solve(A, b, bcs).reshape(-1, 2)
    expected = space.dof_points[::2] * 0.1 * torch.tensor([1.0, -nu])
    assert torch.allclose(u, expected, atol=1e-13)


# -- periodic --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "element"),
    [
        (generate.rectangle(4, 3), "P1"),
        (generate.rectangle(4, 3), "P2"),
        (generate.rectangle(4, 3), "P3"),
        (generate.rectangle(4, 3), "CR"),
        (generate.rectangle(4, 3, cell="quad"), "Q2"),
        (generate.box(2, 3, 2), "P2"),
    ],
)
def test_periodic_sides_have_equal_values(mesh: Mesh, element: str) -> None:
    mesh, _ = rotated(mesh)
    space = FunctionSpace(mesh, element)
    names = [("left", "right"), ("bottom", "top"), ("front", "back")][: mesh.dim]
    bcs = [Periodic(space, *pair) for pair in names]
    b = assemble_linear(lambda v, w: (w.x[:, 0] ** 2 + w.x[:, 1]) * v, space)
    u = solve(laplace(space, 1.0), b, bcs)
    for first, second in names:
        here = torch.unique(torch.cat([mesh.facet_tags[first].reshape(-1)]))
        at = mesh.pos[here]
        there = torch.unique(mesh.facet_tags[second].reshape(-1))
        step = mesh.pos[there].mean(dim=0) - at.mean(dim=0)
        partner = torch.cdist(at + step, mesh.pos[there]).argmin(dim=1)
        if element != "CR":
            assert float((u[here] - u[there[partner]]).abs().max()) < 1e-13
    for bc in bcs:
        assert torch.equal(u[bc.first], u[bc.second])


def test_periodic_solution_is_that_of_the_ring() -> None:
    """A solution that is periodic in both directions converges with the order of the element."""

    def exact(x: Tensor) -> Tensor:
        return torch.sin(2 * math.pi * x[:, 0] + 0.3) * torch.cos(2 * math.pi * x[:, 1])

    found = []
    for n in (8, 16):
        space = FunctionSpace(generate.rectangle(n, n), "P2")
        b = assemble_linear(lambda v, w: (8 * math.pi**2 + 1) * exact(w.x) * v, space, degree=6)
        bcs = [Periodic(space, "left", "right"), Periodic(space, "bottom", "top")]
        found.append(errors(space, solve(laplace(space, 1.0), b, bcs), exact)["l2"])
    assert abs(math.log2(found[0] / found[1]) - 3) < 0.1


def test_periodic_by_rotation_of_vectors() -> None:
    """A quarter of a ring under pressure: displacements turn with the side."""
    square = generate.rectangle(3, 4, lower=(1.0, 0.0), upper=(2.0, 1.0))
    radius, angle = square.pos[:, 0], square.pos[:, 1] * math.pi / 2
    mesh = square.moved(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1))
    space = FunctionSpace(mesh, ("P1", 2))
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    A = assemble(lambda u, v, w: inner(sym(grad(u)), sym(grad(v))), space)
    b = assemble_linear(lambda v, w: -1.0 * dot(w.n, v), space, on="left")
    fixed = Dirichlet(space, "right", 0.0)
    bc = Periodic(space, "bottom", "top", image=lambda x: x @ turn.T, rotation=turn)
    u = solve(A, b, [bc, fixed]).reshape(-1, 2)
    assert torch.equal(u[bc.second], u[bc.first] @ turn.T)
    inside = mesh.facet_tags["left"].unique()
    radial = (u[inside] * mesh.pos[inside]).sum(dim=1)
    assert float(radial.std() / radial.mean()) < 0.05


def test_periodic_with_dirichlet_on_the_other_sides() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P2")
    bcs = [
        Periodic(space, "left", "right"),
        Dirichlet(space, "bottom", 0.0),
        Dirichlet(space, "top", 1.0),
    ]
    u = solve(laplace(space), torch.zeros(space.num_dofs, dtype=torch.float64), bcs)
    assert torch.allclose(u, space.dof_points[:, 1], atol=1e-13)


def test_dirichlet_on_one_of_two_periodic_sides_holds_on_both() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    b = assemble_linear(lambda v, w: 1.0 * v, space)
    u = solve(laplace(space), b, [Periodic(space, "left", "right"), Dirichlet(space, "right", 2.0)])
    both = Dirichlet(space, ["left", "right"], 2.0)
    assert torch.allclose(u, solve(laplace(space), b, [both]), atol=1e-13)


def test_periodic_block_of_a_mixed_space() -> None:
    """Poiseuille flow driven by a body force."""
    space = FunctionSpace(generate.rectangle(3, 4), [("P2", 2), "P1"])
    A = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )
    b = assemble_linear(lambda v, w: 2.0 * v[0][0], space)
    bcs = [
        Periodic(space, "left", "right"),
        Periodic(space, "left", "right", block=1),
        Dirichlet(space, ["bottom", "top"], 0.0),
        Dirichlet(space, space.sub(1)[:1], 0.0),
    ]
    u = solve(A, b, bcs)
    y = space.dof_points[:, 1]
    velocity = u[space.sub(0)].reshape(-1, 2)
    profile = (y * (1 - y))[space.sub(0)].reshape(-1, 2)[:, 0]
    assert torch.allclose(velocity[:, 0], profile, atol=1e-13)
    assert float(velocity[:, 1].abs().max()) < 1e-13


def test_first_unmatched_node_is_named() -> None:
    mesh = generate.rectangle(4, 4)
    right = mesh.facet_tags["right"].unique()
    lost = int(right[2])
    pos = mesh.pos.clone()
    pos[lost, 1] += 0.05
    space = FunctionSpace(mesh.moved(pos), "P1")
    with pytest.raises(MeshError, match=rf"node {lost} of 'right' has no partner on 'left'"):
        Periodic(space, "right", "left")


@pytest.mark.parametrize(
    ("element", "message"),
    [("RT", "scalar elements or vectors"), ("P1DG", "no degrees of freedom on 'left'")],
)
def test_elements_that_cannot_be_periodic(element: str, message: str) -> None:
    space = FunctionSpace(generate.rectangle(2, 2), element)
    with pytest.raises(MeshError, match=message):
        Periodic(space, "left", "right")


# -- slip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mesh", "element"),
    [
        (generate.rectangle(4, 3), ("P1", 2)),
        (generate.rectangle(4, 3), ("P2", 2)),
        (generate.rectangle(4, 3, cell="quad"), ("Q2", 2)),
        (generate.box(2, 2, 3), ("P1", 3)),
        (generate.box(2, 2, 2), ("P2", 3)),
    ],
)
def test_slip_on_a_rotated_box_is_dirichlet_on_a_straight_one(mesh: Mesh, element: Any) -> None:
    def force(x: Tensor) -> Tensor:
        return x**2 + torch.arange(x.shape[1], dtype=torch.float64)

    def solution(at: Mesh, f: Callable[[Tensor], Tensor], bcs: Callable[[Any], Any]) -> Tensor:
        space = FunctionSpace(at, element)
        A = assemble(lambda u, v, w: inner(sym(grad(u)), sym(grad(v))) + dot(u, v), space)
        b = assemble_linear(lambda v, w: dot(f(w.x), v), space, degree=4)
        return solve(A, b, bcs(space)).reshape(-1, at.dim)

    turned, q = rotated(mesh)
    slip = solution(turned, lambda x: force(x @ q) @ q.T, lambda s: [Slip(s, "boundary")])
    plain = solution(
        mesh,
        force,
        lambda s: [Dirichlet(s, t, 0.0, [side_of(mesh, t)[0]]) for t in mesh.facet_tags],
    )
    assert float((slip @ q - plain).abs().max()) < 1e-13


def test_normal_component_vanishes_to_rounding() -> None:
    mesh, q = rotated(generate.rectangle(5, 4))
    space = FunctionSpace(mesh, ("P2", 2))
    A = assemble(lambda u, v, w: inner(grad(u), grad(v)), space)
    b = assemble_linear(lambda v, w: 1.0 * v[0], space)
    slip = [Slip(space, "top"), Slip(space, "bottom"), Dirichlet(space, "left", 0.0)]
    u = solve(A, b, slip).reshape(-1, 2)
    on = space.facet_dofs(mesh.topology.find_facets(mesh.facet_tags["top"]))[::2] // 2
    assert float((u[on] @ q[:, 1]).abs().max()) < 1e-13
    assert float((u[on] @ q[:, 0]).abs().max()) > 1e-3


def test_slip_value_is_the_normal_component() -> None:
    """Uniform inflation of a rotated square, u = x: u.n = 1/2 on every side about its centre."""
    mesh, _ = rotated(generate.rectangle(3, 3, lower=(-0.5, -0.5), upper=(0.5, 0.5)))
    space = FunctionSpace(mesh, ("P1", 2))
    A = assemble(lambda u, v, w: inner(sym(grad(u)), sym(grad(v))), space)
    b = torch.zeros(space.num_dofs, dtype=torch.float64)
    u = solve(A, b, [Slip(space, "boundary", value=0.5)])
    assert torch.allclose(u, mesh.pos.reshape(-1), atol=1e-13)


def test_slip_on_a_curved_side_averages_normals() -> None:
    """Rigid rotation is a solution on a disk-like ring; averaged normals let it through nearly."""
    square = generate.rectangle(2, 32, lower=(1.0, 0.0), upper=(2.0, 1.0))
    radius, angle = square.pos[:, 0], square.pos[:, 1] * math.pi / 2
    mesh = square.moved(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1))
    space = FunctionSpace(mesh, ("P1", 2))
    spin = torch.stack([-mesh.pos[:, 1], mesh.pos[:, 0]], dim=1).reshape(-1)
    reduced = reduction([Slip(space, ["left", "right"])], space.num_dofs, CPU)
    assert float((reduced.imposed(spin) - spin).abs().max()) < 0.05
    inside = mesh.facet_tags["right"].unique()
    assert len(reduced.free) == space.num_dofs - 2 * len(inside)


def test_slip_with_dirichlet_inflow() -> None:
    """Plug flow along a rotated channel; the corners belong to both conditions."""
    mesh, q = rotated(generate.rectangle(4, 4))
    space = FunctionSpace(mesh, [("P2", 2), "P1"])
    A = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )
    along = q[:, 0].expand(1, 2)
    bcs = [
        Dirichlet(space, "left", lambda x: along.expand(len(x), 2)),
        Slip(space, ["bottom", "top"]),
    ]
    u = solve(A, torch.zeros(space.num_dofs, dtype=torch.float64), bcs)
    velocity = u[space.sub(0)].reshape(-1, 2)
    assert torch.allclose(velocity, along.expand_as(velocity), atol=1e-13)
    assert float(u[space.sub(1)].abs().max()) < 1e-12


def test_slip_with_periodic_ends() -> None:
    mesh, q = rotated(generate.rectangle(4, 3))
    space = FunctionSpace(mesh, ("P1", 2))
    A = assemble(lambda u, v, w: inner(sym(grad(u)), sym(grad(v))) + dot(u, v), space)
    b = assemble_linear(lambda v, w: dot(w.x, v), space)
    slip, ring = Slip(space, ["bottom", "top"]), Periodic(space, "left", "right")
    u, other = solve(A, b, [slip, ring]), solve(A, b, [ring, slip])
    assert torch.allclose(u, other, atol=1e-13)
    walls = mesh.facet_tags["bottom"].unique()
    assert float((u.reshape(-1, 2)[walls] @ q[:, 1]).abs().max()) < 1e-13
    assert torch.allclose(u.reshape(-1, 2)[ring.first], u.reshape(-1, 2)[ring.second], atol=1e-13)


def test_slip_needs_a_vector() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="slip needs 2 components"):
        Slip(FunctionSpace(mesh, "P1"), "left")
    with pytest.raises(MeshError, match="for RT elements"):
        Slip(FunctionSpace(mesh, "RT"), "left")


# -- elimination -----------------------------------------------------------------------------------


def linked(*equations: tuple[dict[int, float], float]) -> Any:
    """A condition made of equations {unknown: coefficient} = right."""

    class Condition:
        def rows(self) -> Rows:
            entries = [(r, j, c) for r, (e, _) in enumerate(equations) for j, c in e.items()]
            row, dof, value = zip(*entries, strict=True)
            return Rows(
                torch.tensor(row),
                torch.tensor(dof),
                torch.tensor(value, dtype=torch.float64),
                torch.tensor([r for _, r in equations], dtype=torch.float64),
            )

    return Condition()


def test_elimination_solves_any_set_of_equations() -> None:
    """Random dense and redundant equations: P y + g satisfies them, and P has full rank."""
    generator = torch.Generator().manual_seed(1)
    n = 12
    C = torch.rand(5, n, generator=generator, dtype=torch.float64) - 0.5
    C = torch.cat([C, C[:1] + 2 * C[3:4]])
    target = torch.rand(n, generator=generator, dtype=torch.float64)
    right = C @ target
    condition = linked(
        *((dict(enumerate(c.tolist())), float(r)) for c, r in zip(C, right, strict=True))
    )
    reduced = reduction([condition], n, CPU)
    assert len(reduced.free) == n - 5
    y = torch.rand(n - 5, generator=generator, dtype=torch.float64)
    assert torch.allclose(C @ reduced.expanded(y), right, atol=1e-12)
    assert torch.allclose(reduced.expanded(target[reduced.free]), target, atol=1e-12)


def test_chains_are_followed() -> None:
    chain = [({k: 1.0, k + 1: -1.0}, 1.0) for k in range(8)]
    reduced = reduction([linked(*chain)], 9, CPU)
    assert len(reduced.free) == 1
    u = reduced.expanded(torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(u[:-1] - u[1:], torch.ones(8, dtype=torch.float64))


def test_congruence_is_that_of_dense_matrices() -> None:
    space = FunctionSpace(rotated(generate.rectangle(3, 2))[0], ("P1", 2))
    A = assemble(lambda u, v, w: inner(grad(u), grad(v)) + u[0] * v[1], space)
    bcs = [Slip(space, ["top", "bottom"]), Dirichlet(space, "left", 1.0, [0])]
    reduced = reduction(bcs, space.num_dofs, CPU)
    count = len(reduced.free)
    eye = torch.eye(count, dtype=torch.float64)
    P = reduced.expanded(eye) - reduced.expanded(torch.zeros_like(eye))
    row = torch.repeat_interleave(torch.arange(len(A)), A.crow_indices().diff())
    r, c, v = reduced.congruence(row, A.col_indices(), A.values())
    dense = torch.zeros(count * count, dtype=torch.float64).index_add(0, r * count + c, v)
    assert torch.allclose(dense.reshape(count, count), P.T @ A.to_dense() @ P, atol=1e-14)
    force = torch.rand(space.num_dofs, 2, dtype=torch.float64)
    assert torch.allclose(reduced.restricted(force), P.T @ force, atol=1e-14)


def test_contradictions_are_errors() -> None:
    with pytest.raises(MeshError, match="contradict each other"):
        reduction([linked(({0: 1.0, 1: 1.0}, 0.0), ({0: 2.0, 1: 2.0}, 1.0))], 3, CPU)


def test_symmetry_and_definiteness_are_kept() -> None:
    """The definite solver accepts the reduced matrix, multigrid-preconditioned too."""
    mesh, _ = rotated(generate.rectangle(6, 6))
    space = FunctionSpace(mesh, ("P1", 2))
    A = assemble(lambda u, v, w: inner(grad(u), grad(v)) + dot(u, v), space)
    b = assemble_linear(lambda v, w: dot(w.x, v), space)
    bcs = [Slip(space, "boundary")]
    assert LinearSolver(A, bcs)._system._is_symmetric(LinearSolver(A, bcs)._values)
    direct = solve(A, b, bcs)
    for method in ("amg", "cg"):
        assert torch.allclose(solve(A, b, bcs, method=method), direct, atol=1e-8)  # type: ignore[arg-type]


def test_several_right_hand_sides() -> None:
    mesh, _ = rotated(generate.rectangle(3, 3))
    space = FunctionSpace(mesh, ("P1", 2))
    A = assemble(lambda u, v, w: inner(grad(u), grad(v)) + dot(u, v), space)
    b = torch.rand(space.num_dofs, 3, dtype=torch.float64)
    bcs = [Slip(space, "top"), Dirichlet(space, "left", 1.0)]
    solver = LinearSolver(A, bcs)
    together = solver(b)
    for k in range(3):
        assert torch.allclose(together[:, k], solver(b[:, k]), atol=1e-14)


def test_newton_takes_all_conditions() -> None:
    mesh, q = rotated(generate.rectangle(4, 3))
    space = FunctionSpace(mesh, ("P1", 2))
    bcs = [Slip(space, ["bottom", "top"]), Periodic(space, "left", "right")]
    result = newton(
        lambda u, v, w: inner(grad(u), grad(v)) + dot(u, u) * dot(u, v) - dot(8 * q[:, 0], v),
        space,
        bcs,
        start=torch.ones(space.num_dofs, dtype=torch.float64),
        degree=4,
    )
    u = result.dofs.reshape(-1, 2)
    assert torch.allclose(u, (2 * q[:, 0]).expand_as(u), atol=1e-9)


def test_slip_is_differentiable_in_the_nodes() -> None:
    mesh, _ = rotated(generate.rectangle(2, 2))

    def functional(pos: Tensor) -> Tensor:
        space = FunctionSpace(mesh.moved(pos), ("P1", 2))
        A = assemble(lambda u, v, w: inner(grad(u), grad(v)) + dot(u, v), space)
        b = assemble_linear(lambda v, w: dot(w.x, v), space)
        u = solve(A, b, [Slip(space, "boundary", value=0.1)])
        return (u**3).sum()

    assert torch.autograd.gradcheck(functional, mesh.pos.clone().requires_grad_())
