"""Integrals over inner facets: identities that hold exactly, and discontinuous Galerkin methods."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    Field,
    FormError,
    FunctionSpace,
    assemble,
    assemble_linear,
    avg,
    curl,
    div,
    dot,
    errors,
    grad,
    inner,
    integrate,
    jump,
    newton,
    side,
    solve,
)
from meshlearn.fem.interior import facet_pairs
from meshlearn.mesh import Mesh, generate


def both_kinds() -> Mesh:
    """Two quads and two triangles, nodes in an order of no use."""
    pos = [[0, 0], [1, 0], [2, 0.2], [0, 1], [1, 1.1], [2, 1], [3, 0.5]]
    order = torch.tensor([4, 2, 6, 0, 5, 3, 1])
    where = torch.empty(7, 2, dtype=torch.float64)
    where[order] = torch.tensor(pos, dtype=torch.float64)
    cells = {
        "quad": order[torch.tensor([[0, 1, 4, 3]])],
        "triangle": order[torch.tensor([[1, 2, 5], [1, 5, 4], [2, 6, 5]])],
    }
    return Mesh.from_cells(where, cells)


def shaken(mesh: Mesh) -> Mesh:
    """A mesh without symmetries: nodes displaced smoothly."""
    move = torch.sin(3 * mesh.pos @ torch.ones(mesh.dim, mesh.dim, dtype=torch.float64).tril() + 1)
    return mesh.moved(mesh.pos + 0.04 * move)


MESHES = {
    "triangle": shaken(generate.rectangle(3, 4)),
    "quad": shaken(generate.rectangle(3, 2, cell="quad")),
    "tetra": shaken(generate.box(2, 2, 2)),
    "both": both_kinds(),
}


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("element", ["P1", "P2"])
def test_jump_of_a_continuous_function_vanishes(name: str, element: str) -> None:
    space = FunctionSpace(MESHES[name], element)
    A = assemble(lambda u, v, w: jump(u) * jump(v), space, on="interior")
    assert float(A.values().abs().max()) < 1e-15
    b = assemble_linear(lambda v, w: w.x[:, 0] * jump(v), space, on="interior")
    assert float(b.abs().max()) < 1e-15
    u = Field(space, torch.rand(space.num_dofs, dtype=torch.float64))
    total = integrate(lambda w: jump(w.u) ** 2, space.mesh, on="interior", u=u)
    assert float(total) < 1e-28


@pytest.mark.parametrize("name", MESHES)
def test_average_of_a_continuous_function_is_its_value(name: str) -> None:
    space = FunctionSpace(MESHES[name], "P2")
    u = space.interpolate(lambda x: x[:, 0] * x[:, 1] + 2 * x[:, 0])

    def difference(w: Any) -> Tensor:
        return (avg(w.u) - (w.x[:, 0] * w.x[:, 1] + 2 * w.x[:, 0])) ** 2

    if name in ("triangle", "tetra"):
        total = integrate(difference, space.mesh, on="interior", u=Field(space, u))
        assert float(total) < 1e-28
    b = assemble_linear(lambda v, w: avg(v), space, on="interior")
    length = integrate(lambda w: 1.0, space.mesh, on="interior")
    assert float(b.sum()) == pytest.approx(float(length), rel=1e-14)


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("element", ["P0", "P1DG", "P2DG"])
def test_divergence_theorem_cell_by_cell(name: str, element: str) -> None:
    """int grad(v).q + v div q over cells = int v q.n (boundary) + int [v] q.n (inner facets)."""
    mesh = MESHES[name]
    space = FunctionSpace(mesh, element)
    ramp = torch.arange(1.0, mesh.dim + 1, dtype=torch.float64)

    def field(x: Tensor) -> Tensor:
        return x * ramp + 1.0

    inside = assemble_linear(
        lambda v, w: dot(field(w.x), grad(v)) + float(ramp.sum()) * v, space, degree=8
    )
    around = assemble_linear(
        lambda v, w: dot(field(w.x), w.n) * v, space, on="boundary", degree=8
    ) + assemble_linear(lambda v, w: dot(field(w.x), w.n) * jump(v), space, on="interior", degree=8)
    assert torch.allclose(inside, around, atol=1e-13)


@pytest.mark.parametrize("name", MESHES)
def test_product_rule_of_jumps(name: str) -> None:
    """int grad(u v).c = int u v c.n (boundary) + int ([u]{v} + {u}[v]) c.n (inner facets)."""
    mesh = MESHES[name]
    space = FunctionSpace(mesh, "P1DG")
    c = torch.arange(1.0, mesh.dim + 1, dtype=torch.float64)
    inside = assemble(lambda u, v, w: dot(c, grad(u)) * v + u * dot(c, grad(v)), space, degree=6)
    around = assemble(
        lambda u, v, w: dot(c, w.n) * (u * v), space, on="boundary", degree=6
    ) + assemble(
        lambda u, v, w: dot(c, w.n) * (jump(u) * avg(v) + avg(u) * jump(v)),
        space,
        on="interior",
        degree=6,
    )
    assert torch.allclose(inside.to_dense(), around.to_dense(), atol=1e-13)


@pytest.mark.parametrize("name", ["triangle", "tetra"])
def test_greens_formula_of_gradients(name: str) -> None:
    """Of piecewise linear u: int grad u . grad v = int n.({grad u}[v] + [grad u]{v}) + boundary."""
    space = FunctionSpace(MESHES[name], "P1DG")
    inside = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    around = assemble(
        lambda u, v, w: dot(avg(grad(u)), w.n) * jump(v) + dot(jump(grad(u)), w.n) * avg(v),
        space,
        on="interior",
    ) + assemble(lambda u, v, w: dot(grad(u), w.n) * v, space, on="boundary")
    assert torch.allclose(inside.to_dense(), around.to_dense(), atol=1e-13)


def test_facets_of_hexahedra_match_in_any_orientation() -> None:
    mesh = shaken(generate.box(2, 2, 2, cell="hexahedron"))
    cells = mesh.cells["hexahedron"].clone()
    turn = torch.tensor([[1, 2, 3, 0, 5, 6, 7, 4], [3, 2, 6, 7, 0, 1, 5, 4]])
    for k in range(len(cells)):
        cells[k] = cells[k][turn[k % 2]]
    mesh = Mesh.from_cells(mesh.pos, {"hexahedron": cells})
    space = FunctionSpace(mesh, "P1")
    A = assemble(lambda u, v, w: jump(u) * jump(v), space, on="interior")
    assert float(A.values().abs().max()) < 1e-15


def test_every_inner_facet_is_there_once() -> None:
    for mesh in MESHES.values():
        found = torch.cat([pair.first.facets for pair in facet_pairs(mesh)])
        inner_facets = torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1)
        assert torch.equal(found.sort().values, inner_facets)


def test_normal_points_from_the_first_to_the_second_cell() -> None:
    mesh = MESHES["triangle"]
    centre = mesh.pos[mesh.cells["triangle"]].mean(dim=1)

    def agrees(w: Any) -> Tensor:
        step = torch.stack([side(w.cx, 1) - side(w.cx, 0), side(w.cy, 1) - side(w.cy, 0)], dim=1)
        return (dot(step, w.n) > 0).to(torch.float64)

    fields = {"cx": centre[:, 0], "cy": centre[:, 1]}
    good = integrate(agrees, mesh, on="interior", **fields)
    assert float(good) == pytest.approx(float(integrate(lambda w: 1.0, mesh, on="interior")))


def test_values_of_cells_have_two_sides() -> None:
    """Squared jumps of a value per cell, over a grid of unit squares."""
    mesh = generate.rectangle(2, 1, upper=(2.0, 1.0), cell="quad")
    k = torch.tensor([1.0, 4.0], dtype=torch.float64)
    total = integrate(lambda w: jump(w.k) ** 2 + avg(w.k) + w.c, mesh, on="interior", k=k, c=2.0)
    assert float(total) == pytest.approx(9 + 2.5 + 2)


def test_mean_size_of_two_cells() -> None:
    mesh = generate.rectangle(2, 1, upper=(2.0, 1.0), cell="quad")
    assert float(integrate(lambda w: w.h, mesh, on="interior")) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("mesh", "element"), [("triangle", "RT"), ("tetra", "RT"), ("triangle", "N"), ("tetra", "N")]
)
def test_continuous_components_of_vector_elements(mesh: str, element: str) -> None:
    """Normal (RT) and tangential (N) components do not jump."""
    space = FunctionSpace(MESHES[mesh], element)

    def normal(u: Any, w: Any) -> Any:
        return dot(jump(u), w.n)

    def form(u: Any, v: Any, w: Any) -> Any:
        if element == "RT":
            return normal(u, w) * normal(v, w)
        return dot(jump(u), jump(v)) - normal(u, w) * normal(v, w)

    A = assemble(form, space, on="interior", degree=4)
    assert float(A.values().abs().max()) < 1e-12
    other = assemble(lambda u, v, w: dot(jump(u), jump(v)), space, on="interior")
    assert float(other.values().abs().max()) > 1e-3


def test_operators_of_fields_act_on_both_sides() -> None:
    mesh = MESHES["triangle"]
    space = FunctionSpace(mesh, [("P2DG", 2), "RT"])
    u = torch.rand(space.num_dofs, dtype=torch.float64)

    def form(w: Any) -> Tensor:
        first, second = w.u
        gradients = avg(grad(first))
        return (
            (avg(div(first)) - gradients[:, 0, 0] - gradients[:, 1, 1]) ** 2
            + (avg(curl(first)) - gradients[:, 1, 0] + gradients[:, 0, 1]) ** 2
            + 0.0 * avg(div(second))
        )

    assert float(integrate(form, mesh, on="interior", u=Field(space, u))) < 1e-26


def test_linear_and_functional_agree_with_the_matrix() -> None:
    space = FunctionSpace(MESHES["quad"], ["P1DG", ("P2DG", 2)])
    u, v = torch.rand(2, space.num_dofs, dtype=torch.float64)

    def form(u: Any, v: Any, w: Any) -> Any:
        return jump(u[0]) * dot(avg(v[1]), w.n) + inner(avg(grad(u[1])), jump(grad(v[1])))

    A = assemble(form, space, on="interior", degree=6)
    b = assemble_linear(
        lambda v, w: form(w.u, v, w), space, on="interior", degree=6, u=Field(space, u)
    )
    total = integrate(
        lambda w: form(w.u, w.v, w),
        space.mesh,
        on="interior",
        degree=6,
        u=Field(space, u),
        v=Field(space, v),
    )
    assert torch.allclose(A @ u, b, atol=1e-13)
    assert float(total) == pytest.approx(float(v @ b), rel=1e-12)


def test_chunks_do_not_change_the_matrix() -> None:
    space = FunctionSpace(generate.rectangle(40, 40), "P1DG")

    def form(u: Any, v: Any, w: Any) -> Any:
        return w.x[:, 0] * jump(u) * jump(v)

    whole = assemble(form, space, on="interior")
    pieces = assemble(form, space, on="interior", memory_mb=1)
    assert torch.allclose(whole.values(), pieces.values(), atol=1e-14)


def test_plain_functions_have_no_value_on_inner_facets() -> None:
    space = FunctionSpace(MESHES["triangle"], "P1DG")
    with pytest.raises(FormError, match="use jump, avg or side"):
        assemble(lambda u, v, w: u * jump(v), space, on="interior")
    with pytest.raises(FormError, match="once on each function"):
        assemble(lambda u, v, w: jump(avg(u)) * jump(v), space, on="interior")
    with pytest.raises(FormError, match="act on inner facets"):
        assemble(lambda u, v, w: jump(u) * jump(v), space)
    with pytest.raises(FormError, match="take trial and test functions and fields"):
        integrate(lambda w: jump(w.x), space.mesh, on="interior")


# -- discontinuous Galerkin methods ----------------------------------------------------------------


def sipg(space: FunctionSpace, exact: Any, source: Any) -> Tensor:
    """Symmetric interior penalty method for -lap u = f with weak boundary values."""
    penalty = 8.0 * space.degree**2

    def inside(u: Any, v: Any, w: Any) -> Any:
        return (
            penalty / w.h * (jump(u) * jump(v))
            - dot(avg(grad(u)), w.n) * jump(v)
            - dot(avg(grad(v)), w.n) * jump(u)
        )

    def border(u: Any, v: Any, w: Any) -> Any:
        return penalty / w.h * (u * v) - dot(grad(u), w.n) * v - dot(grad(v), w.n) * u

    A = (
        assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
        + assemble(inside, space, on="interior")
        + assemble(border, space, on="boundary")
    )
    b = assemble_linear(lambda v, w: source(w.x) * v, space, degree=6) + assemble_linear(
        lambda v, w: exact(w.x) * (penalty / w.h * v - dot(grad(v), w.n)),
        space,
        on="boundary",
        degree=6,
    )
    return solve(A, b)


@pytest.mark.parametrize(
    ("meshes", "element", "order"),
    [
        ([generate.rectangle(n, n) for n in (8, 16)], "P1DG", 2),
        ([generate.rectangle(n, n) for n in (4, 8)], "P2DG", 3),
        ([generate.rectangle(n, n, cell="quad") for n in (8, 16)], "P1DG", 2),
        ([generate.box(n, n, n) for n in (4, 8)], "P1DG", 2),
    ],
    ids=["P1", "P2", "Q1", "tetra"],
)
def test_interior_penalty_converges_with_the_order_of_the_element(
    meshes: list[Mesh], element: str, order: int
) -> None:
    def exact(x: Tensor) -> Tensor:
        return torch.sin(2 * x[:, 0] + x[:, 1]) * torch.exp(x[:, -1])

    def source(x: Tensor) -> Tensor:
        s, c = torch.sin(2 * x[:, 0] + x[:, 1]), torch.cos(2 * x[:, 0] + x[:, 1])
        along = 2 * c if x.shape[1] == 2 else 0 * c
        return (5 * s - along - s) * torch.exp(x[:, -1])

    found = []
    for mesh in meshes:
        space = FunctionSpace(mesh, element)
        found.append(errors(space, sipg(space, exact, source), exact))
    assert math.log2(found[0]["l2"] / found[1]["l2"]) > order - 0.15
    assert abs(math.log2(found[0]["h1"] / found[1]["h1"]) - (order - 1)) < 0.1


def test_interior_penalty_is_exact_for_polynomials_of_the_space() -> None:
    for name in ("triangle", "tetra"):
        space = FunctionSpace(MESHES[name], "P2DG")
        u = sipg(space, lambda x: x[:, 0] ** 2 + x[:, 1], lambda x: torch.full_like(x[:, 0], -2.0))
        expected = space.interpolate(lambda x: x[:, 0] ** 2 + x[:, 1])
        assert torch.allclose(u, expected, atol=1e-11)


@pytest.mark.parametrize(("element", "order"), [("P1DG", 2), ("P2DG", 3)])
@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_upwind_advection_converges_with_the_order_of_the_element(
    element: str, order: int, cell: Any
) -> None:
    """b.grad u + u = f with a flow around a corner, upwind fluxes."""

    def flow(x: Tensor) -> Tensor:
        return torch.stack([1 + x[:, 1], 0.5 - 0.3 * x[:, 0]], dim=1)

    def exact(x: Tensor) -> Tensor:
        return torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1])

    def source(x: Tensor) -> Tensor:
        along = flow(x)
        slope = torch.stack(
            [
                3 * torch.cos(3 * x[:, 0]) * torch.cos(2 * x[:, 1]),
                -2 * torch.sin(3 * x[:, 0]) * torch.sin(2 * x[:, 1]),
            ],
            dim=1,
        )
        return (along * slope).sum(dim=1) + exact(x)

    def inside(u: Any, v: Any, w: Any) -> Any:
        through = dot(flow(w.x), w.n)
        return (through * avg(u) + 0.5 * through.abs() * jump(u)) * jump(v)

    found = []
    for n in (8, 16):
        space = FunctionSpace(generate.rectangle(n, n, cell=cell), element)
        A = (
            assemble(lambda u, v, w: u * v - u * dot(flow(w.x), grad(v)), space, degree=6)
            + assemble(inside, space, on="interior", degree=6)
            + assemble(
                lambda u, v, w: dot(flow(w.x), w.n).clamp(min=0) * (u * v),
                space,
                on="boundary",
                degree=6,
            )
        )
        b = assemble_linear(lambda v, w: source(w.x) * v, space, degree=6) + assemble_linear(
            lambda v, w: -dot(flow(w.x), w.n).clamp(max=0) * exact(w.x) * v,
            space,
            on="boundary",
            degree=6,
        )
        found.append(errors(space, solve(A, b), exact)["l2"])
    assert math.log2(found[0] / found[1]) > order - 0.15


def test_edge_stabilisation_of_continuous_elements() -> None:
    """Jumps of gradients couple cells across facets; a linear function has none."""
    space = FunctionSpace(MESHES["triangle"], "P1")
    S = assemble(lambda u, v, w: w.h**2 * dot(jump(grad(u)), jump(grad(v))), space, on="interior")
    linear = space.interpolate(lambda x: 3 * x[:, 0] - x[:, 1] + 1)
    assert float((S @ linear).abs().max()) < 1e-13
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    assert S.values().numel() > A.values().numel()
    u = solve(
        A + S, A @ linear, [Dirichlet(space, "boundary", lambda x: 3 * x[:, 0] - x[:, 1] + 1)]
    )
    assert torch.allclose(u, linear, atol=1e-12)


def test_burgers_with_a_nonlinear_flux() -> None:
    """Newton's method on u^2/2 fluxes (local Lax-Friedrichs): a smooth steady solution."""

    def exact(x: Tensor) -> Tensor:
        return 2 + torch.sin(x[:, 0])

    def inside(u: Any, v: Any, w: Any) -> Any:
        a, b = side(u, 0), side(u, 1)
        return ((a**2 + b**2) / 4 * w.n[:, 0] + 1.5 * w.n[:, 0].abs() * (a - b)) * jump(v)

    found = []
    for n in (8, 16):
        space = FunctionSpace(generate.rectangle(n, 1), "P1DG")
        forms = [
            (
                lambda u, v, w: -(u**2) / 2 * grad(v)[0] - exact(w.x) * torch.cos(w.x[:, 0]) * v,
                "cells",
            ),
            (inside, "interior"),
            (lambda u, v, w: u**2 / 2 * v, "right"),
            (lambda u, v, w: -(exact(w.x) ** 2) / 2 * v, "left"),
        ]
        start = torch.full((space.num_dofs,), 2.0, dtype=torch.float64)
        result = newton(forms, space, start=start, degree=6)
        found.append(errors(space, result.dofs, exact)["l2"])
        assert result.iterations <= 6
    assert math.log2(found[0] / found[1]) > 1.85


def test_gradients_in_nodes_and_fields() -> None:
    mesh = shaken(generate.rectangle(2, 2))
    space = FunctionSpace(mesh, "P1DG")

    def functional(pos: Tensor, k: Tensor, f: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)) + u * v, moved, k=k) + assemble(
            lambda u, v, w: (
                10.0 / w.h * avg(w.k) * (jump(u) * jump(v))
                - dot(avg(grad(u)), w.n) * jump(v)
                - dot(avg(grad(v)), w.n) * jump(u)
            ),
            moved,
            on="interior",
            k=k,
        )
        b = assemble_linear(lambda v, w: w.f * v, moved, f=Field(moved, f))
        u = solve(A, b)
        return integrate(
            lambda w: jump(w.u) ** 2 + avg(w.u) ** 2, moved.mesh, on="interior", u=Field(moved, u)
        )

    inputs = (
        mesh.pos.clone().requires_grad_(),
        (1 + torch.rand(mesh.num_cells, dtype=torch.float64)).requires_grad_(),
        torch.rand(space.num_dofs, dtype=torch.float64).requires_grad_(),
    )
    assert torch.autograd.gradcheck(functional, inputs, rtol=1e-6)
