"""Transfer between meshes: mass to round-off, bounds, order, identity, linear exactness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace, Transfer, assemble_linear, errors, integrate
from meshlearn.fem import transfer as transferred
from meshlearn.mesh import Mesh, MeshError, generate

SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
TRIANGLES = generate.polygon(SQUARE, h=0.07)
PAIRS_2D = [
    (TRIANGLES, generate.rectangle(13, 11)),
    (generate.rectangle(9, 9, cell="quad"), TRIANGLES),
    (TRIANGLES, generate.rectangle(9, 7, cell="quad")),
    (generate.l_shape(6), generate.l_shape(7, diagonal="crossed")),
]
PAIRS_3D = [
    (generate.box(4, 4, 4), generate.box(5, 3, 4)),
    (generate.box(3, 4, 3, cell="hexahedron"), generate.box(4, 4, 4)),
]


def smooth(x: Tensor) -> Tensor:
    return torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, -1])


def jump(x: Tensor) -> Tensor:
    return (((x - 0.4) ** 2).sum(dim=1) < 0.09).to(torch.float64)


def linear(x: Tensor) -> Tensor:
    return 1 + x[:, 0] - 2 * x[:, -1]


def integral(space: FunctionSpace, dofs: Tensor) -> float:
    return float(integrate(lambda w: w.u.value, space.mesh, u=Field(space, dofs)))


@pytest.mark.parametrize("elements", [("P1", "P1"), ("P0", "P0"), ("P0", "P1"), ("P1", "P0")])
@pytest.mark.parametrize("meshes", PAIRS_2D + PAIRS_3D)
@pytest.mark.parametrize("function", [smooth, jump])
def test_mass_to_round_off_and_bounds(
    meshes: tuple[Mesh, Mesh], elements: tuple[str, str], function: object
) -> None:
    source, target = (FunctionSpace(m, e) for m, e in zip(meshes, elements, strict=True))
    dofs = source.interpolate(function)
    least, largest = float(dofs.min()), float(dofs.max())
    move = Transfer(source, target)
    for bounds in (None, "local", (least, largest), (least - 1, largest + 2)):
        found = move(dofs, bounds)
        assert integral(target, found) == pytest.approx(
            integral(source, dofs), abs=1e-13, rel=1e-12
        )
        if bounds == "local" or bounds == (least, largest):
            assert float(found.min()) >= least - 1e-14
            assert float(found.max()) <= largest + 1e-14


def test_without_bounds_a_jump_overshoots_and_with_them_the_error_hardly_grows() -> None:
    source, target = FunctionSpace(TRIANGLES, "P1"), FunctionSpace(generate.rectangle(16, 16), "P1")
    dofs = source.interpolate(jump)
    move = Transfer(source, target)
    free, bound = move(dofs), move(dofs, "local")
    assert float(free.max()) > 1.05
    assert float(free.min()) < -0.05
    size = [errors(target, u, jump)["l2"] for u in (free, bound)]
    assert size[1] < 1.1 * size[0]
    # the lumped projection alone, without the limited fluxes, is more diffusive
    lumped = move._matrix @ dofs / assemble_linear(lambda v, w: v, target)
    assert size[1] < 0.98 * errors(target, lumped, jump)["l2"]


@pytest.mark.parametrize("elements", [("P1", "P1"), ("P1", "P2"), ("P2", "P1"), ("CR", "P1DG")])
@pytest.mark.parametrize("exact", [None, False])
@pytest.mark.parametrize("method", ["interpolate", "project", "conservative"])
def test_linear_functions_are_transferred_exactly(
    method: str, exact: bool | None, elements: tuple[str, str]
) -> None:
    for one, two in ((TRIANGLES, generate.rectangle(7, 8)), PAIRS_3D[0]):
        source, target = FunctionSpace(one, elements[0]), FunctionSpace(two, elements[1])
        found = transferred(Field(source, source.interpolate(linear)), target, method, exact=exact)
        assert torch.allclose(found, target.interpolate(linear), rtol=0, atol=1e-12)


def test_bounds_leave_linear_functions_alone() -> None:
    source, target = FunctionSpace(TRIANGLES, "P1"), FunctionSpace(generate.rectangle(7, 8), "P1")
    found = transferred(Field(source, source.interpolate(linear)), target, bounds="local")
    assert errors(target, found, linear)["l2"] < 5e-3  # but for clipped corners
    constant = transferred(Field(source, source.interpolate(2.5)), target, bounds="local")
    assert torch.allclose(constant, torch.full_like(constant, 2.5), atol=1e-13)


@pytest.mark.parametrize("method", ["interpolate", "project", "conservative"])
@pytest.mark.parametrize(
    ("mesh", "element"),
    [
        (TRIANGLES, "P1"),
        (TRIANGLES, "P0"),
        (TRIANGLES, "P3"),
        (generate.rectangle(4, 4, cell="quad"), "Q2"),
        (generate.box(2, 2, 2), "P2"),
        (generate.interval(9), "P1"),
    ],
)
def test_transfer_to_an_equal_mesh_is_the_identity(method: str, mesh: Mesh, element: str) -> None:
    space = FunctionSpace(mesh, element)
    copy = FunctionSpace(Mesh.from_cells(mesh.pos.clone(), mesh.cells), element)
    dofs = torch.sin(torch.arange(space.num_dofs, dtype=torch.float64))
    assert torch.allclose(Transfer(space, copy, method)(dofs), dofs, rtol=0, atol=1e-12)


def test_bounded_transfer_to_an_equal_mesh_keeps_within_bounds_and_close() -> None:
    space = FunctionSpace(TRIANGLES, "P1")
    dofs = space.interpolate(smooth)
    found = Transfer(space, space)(dofs, (float(dofs.min()), float(dofs.max())))
    assert torch.allclose(found, dofs, atol=1e-3)


@pytest.mark.parametrize("exact", [None, False])
@pytest.mark.parametrize("bounds", [None, "local"])
@pytest.mark.parametrize("method", ["interpolate", "project", "conservative"])
def test_second_order_accuracy(method: str, bounds: str | None, exact: bool | None) -> None:
    if bounds and method != "conservative":
        return
    size = []
    for n in (12, 24, 48):
        source = FunctionSpace(generate.polygon(SQUARE, h=1 / n), "P1")
        target = FunctionSpace(generate.rectangle(n + 1, n), "P1")
        move = Transfer(source, target, method, exact=exact)
        size.append(errors(target, move(source.interpolate(smooth), bounds), smooth)["l2"])
    assert math.log2(size[0] / size[2]) / 2 > 1.85


def test_the_exact_projection_beats_sampling_for_rough_fields() -> None:
    source = FunctionSpace(generate.rectangle(40, 40), "P0")
    target = FunctionSpace(generate.rectangle(7, 7, diagonal="right"), "P1")
    dofs = torch.sin(torch.arange(source.num_dofs, dtype=torch.float64) * 2.5)
    exact = Transfer(source, target, "project")(dofs)
    sampled = Transfer(source, target, "project", exact=False)(dofs)
    # (u - P u, v) = 0 against the same integrals on a common refinement
    fine = FunctionSpace(generate.rectangle(280, 280), "P1")
    x = fine.mesh.centroids()
    step = fine.mesh.volumes()
    miss = [
        float(((source.evaluate(dofs, x) - target.evaluate(u, x)) * step * x[:, 0]).sum())
        for u in (exact, sampled)
    ]
    assert abs(miss[0]) < 0.2 * abs(miss[1])


def test_curved_boundaries_keep_mass_constants_and_bounds() -> None:
    source = FunctionSpace(generate.disk(8), "P1")
    target = FunctionSpace(generate.disk(11), "P1")
    dofs = source.interpolate(jump)
    move = Transfer(source, target)
    for bounds in (None, "local", (0.0, 1.0)):
        found = move(dofs, bounds)
        assert integral(target, found) == pytest.approx(integral(source, dofs), rel=1e-12)
    assert float(move(dofs, "local").min()) >= 0
    assert float(move(dofs, "local").max()) <= 1
    project = Transfer(source, target, "project")
    assert torch.allclose(
        project(source.interpolate(3.0)), torch.full((target.num_dofs,), 3.0).double(), atol=1e-11
    )
    with pytest.raises(MeshError, match="outside the mesh"):
        Transfer(source, target, "interpolate", outside="raise")
    with pytest.raises(MeshError, match="no field within the bounds"):
        move(source.interpolate(3.0), (3.0, 3.0))


def test_vectors_are_transferred_component_by_component() -> None:
    one, two = TRIANGLES, generate.rectangle(8, 8)
    scalar = Transfer(FunctionSpace(one, "P1"), FunctionSpace(two, "P1"))
    vector = Transfer(FunctionSpace(one, ("P1", 2)), FunctionSpace(two, ("P1", 2)))
    parts = [FunctionSpace(one, "P1").interpolate(f) for f in (smooth, jump)]
    for bounds in (None, "local"):
        together = vector(torch.stack(parts, dim=1).reshape(-1), bounds).reshape(-1, 2)
        for k, part in enumerate(parts):
            assert torch.allclose(together[:, k], scalar(part, bounds), atol=1e-13)


def test_transfers_are_differentiable_in_the_field() -> None:
    source = FunctionSpace(generate.rectangle(3, 3, diagonal="right"), "P1")
    target = FunctionSpace(generate.rectangle(2, 2), "P1")
    dofs = source.interpolate(smooth).requires_grad_(True)
    for method in ("interpolate", "project", "conservative"):
        assert torch.autograd.gradcheck(Transfer(source, target, method), (dofs,))
    (slope,) = torch.autograd.grad(Transfer(source, target)(dofs, "local").sum(), dofs)
    assert bool(torch.isfinite(slope).all())


def test_fields_travel_there_and_back_many_times_without_losing_mass() -> None:
    one, two = FunctionSpace(TRIANGLES, "P1"), FunctionSpace(generate.rectangle(14, 14), "P1")
    forth, back = Transfer(one, two), Transfer(two, one)
    dofs = start = one.interpolate(lambda x: torch.exp(-30 * ((x - 0.5) ** 2).sum(dim=1)))
    for _ in range(20):
        dofs = back(forth(dofs, "local"), "local")
    assert integral(one, dofs) == pytest.approx(integral(one, start), rel=1e-12)
    assert float(dofs.min()) >= float(start.min())
    assert float(dofs.max()) > 0.7 * float(start.max())


def test_what_cannot_be_transferred_is_refused() -> None:
    mesh = generate.rectangle(2, 2)
    p1, p2 = FunctionSpace(mesh, "P1"), FunctionSpace(mesh, "P2")
    with pytest.raises(MeshError, match="one by one"):
        Transfer(FunctionSpace(mesh, ["P1", "P0"]), p1)
    with pytest.raises(MeshError, match="one by one"):
        Transfer(FunctionSpace(mesh, "RT"), p1)
    with pytest.raises(MeshError, match="0 and 2 components"):
        Transfer(p1, FunctionSpace(mesh, ("P1", 2)))
    with pytest.raises(MeshError, match="unknown method 'magic'"):
        Transfer(p1, p1, "magic")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="use project"):
        Transfer(p1, FunctionSpace(mesh, "MINI"), "interpolate")
    with pytest.raises(MeshError, match="bounds need method"):
        Transfer(p1, p2)(torch.zeros(9).double(), "local")
    with pytest.raises(MeshError, match="leaves the bounds"):
        Transfer(p1, p1)(torch.full((9,), 2.0).double(), (0.0, 1.0))
    with pytest.raises(MeshError, match="9 degrees of freedom"):
        Transfer(p1, p1)(torch.zeros(8).double())
