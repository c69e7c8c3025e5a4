"""Elasticity: patch tests, orders, Cook's membrane, a cantilever, gradients, input errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convergence import half_and_half, jiggled, last_order
from torch import Tensor

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.mesh.files import read
from meshlearn.problems import Elasticity
from meshlearn.problems.elasticity import Plane

SQUARES = {
    "triangle": lambda: generate.rectangle(4, 3),
    "quad": lambda: generate.rectangle(4, 3, cell="quad"),
    "mixed": lambda: half_and_half(4),
}
CUBES = {
    "tetra": lambda: generate.box(2, 3, 2),
    "hexahedron": lambda: generate.box(2, 3, 2, cell="hexahedron"),
}


def flat(x: Tensor) -> Tensor:
    a, b = x.unbind(dim=1)
    return torch.stack([torch.sin(2 * a) * torch.cos(3 * b), a * torch.sin(2 * b) + b**3], dim=1)


def solid(x: Tensor) -> Tensor:
    a, b, c = x.unbind(dim=1)
    parts = [torch.sin(2 * a) * torch.cos(b), a * torch.sin(2 * c), a * b + torch.cos(2 * c)]
    return torch.stack(parts, dim=1)


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("cell", SQUARES)
@pytest.mark.parametrize("plane", ["strain", "stress"])
def test_patch_test_in_2d(cell: str, plane: Plane, degree: int) -> None:
    # Uniaxial tension, held by single components: constant stress, also on distorted cells.
    mesh = jiggled(SQUARES[cell](), 0.05)
    e, nu, pull = 7.0, 0.3, 2.0
    held = {"left": (0.0, None), "bottom": (None, 0.0)}
    sheet = Elasticity(e, nu, plane, displacements=held, tractions={"right": (pull, 0.0)})
    solution = sheet.solve(mesh, degree)
    along, across = (1 / e, -nu / e) if plane == "stress" else ((1 - nu**2) / e, -nu * (1 + nu) / e)
    expected = pull * mesh.pos * torch.tensor([along, across], dtype=torch.float64)
    assert (solution.u - expected).abs().max() < 1e-12
    stress = torch.zeros(3, 3, dtype=torch.float64)
    stress[0, 0] = pull
    stress[2, 2] = nu * pull if plane == "strain" else 0.0
    assert (solution.stress - stress).abs().max() < 1e-12
    mises = pull * (1 - nu + nu**2) ** 0.5 if plane == "strain" else pull
    assert (solution.von_mises - mises).abs().max() < 1e-12


@pytest.mark.parametrize("cell", CUBES)
def test_patch_test_in_3d(cell: str) -> None:
    mesh = jiggled(CUBES[cell](), 0.03)
    slope = torch.tensor([[1.0, 0.5, 0.0], [0.2, -0.7, 0.3], [0.1, 0.4, 0.6]], dtype=torch.float64)
    block = Elasticity(5.0, 0.25, displacements={"boundary": lambda x: x @ slope.T})
    solution = block.solve(mesh)
    assert (solution.u - mesh.pos @ slope.T).abs().max() < 1e-12
    strain = (slope + slope.T) / 2  # lambda = mu = 2
    stress = 2 * torch.trace(strain) * torch.eye(3, dtype=torch.float64) + 4 * strain
    assert (solution.stress - stress).abs().max() < 1e-12


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("plane", ["strain", "stress"])
def test_orders_in_2d(plane: Plane, degree: int) -> None:
    sheet = Elasticity.manufactured(flat, 2, young=2.0, plane=plane)
    order = last_order(lambda n: sheet.solve(generate.rectangle(n, n), degree).errors(), (16, 32))
    assert order["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["h1"] == pytest.approx(degree, abs=0.1)


def test_orders_in_3d() -> None:
    block = Elasticity.manufactured(solid, 3)
    order = last_order(lambda n: block.solve(generate.box(n, n, n)).errors(), (6, 9))
    assert order["l2"] == pytest.approx(2, abs=0.1)
    assert order["h1"] == pytest.approx(1, abs=0.1)


def cook(n: int, degree: int) -> float:
    """Vertical displacement of the middle of the loaded side."""
    square = generate.rectangle(n, n, cell="quad")
    x, y = square.pos.unbind(dim=1)
    mesh = square.moved(torch.stack([48 * x, 44 * x + (44 - 28 * x) * y], dim=1))
    membrane = Elasticity(
        1.0, 1 / 3, "stress", displacements={"left": 0.0}, tractions={"right": (0.0, 1 / 16)}
    )
    tip = int((mesh.pos - torch.tensor([48.0, 52.0])).norm(dim=1).argmin())
    return float(membrane.solve(mesh, degree).u[tip, 1])


def test_cooks_membrane() -> None:
    # R. D. Cook, J. Struct. Div. ASCE 100 (1974) 1851-1863: a plane-stress panel, E = 1, nu = 1/3,
    # shear force 1; the converged deflection quoted since is 23.96. The others are the published
    # ones of the bilinear quad with 2 x 2 quadrature points; ours integrates more exactly.
    assert cook(24, degree=2) == pytest.approx(23.96, rel=5e-4)
    for n, published in ((2, 11.845), (4, 18.299), (8, 22.079), (16, 23.430)):
        assert cook(n, degree=1) == pytest.approx(published, rel=5e-3)


def test_a_cantilever_bends_as_timoshenkos_beam() -> None:
    length, e, nu = 10.0, 1000.0, 0.3
    mesh = generate.rectangle(40, 4, upper=(length, 1.0))
    beam = Elasticity(
        e, nu, "stress", displacements={"left": 0.0}, tractions={"right": (0.0, -1.0)}
    )
    right = mesh.tagged_nodes("right")
    deflection = -float(beam.solve(mesh, degree=2).u[right, 1].mean())
    shear_modulus, inertia, correction = e / (2 * (1 + nu)), 1 / 12, 5 / 6
    theory = length**3 / (3 * e * inertia) + length / (correction * shear_modulus)
    assert deflection == pytest.approx(theory, rel=5e-3)


def test_gradients_to_material_and_nodes_are_those_of_finite_differences() -> None:
    mesh = jiggled(generate.rectangle(4, 3), 0.03)

    def functional(young: Tensor, pos: Tensor) -> Tensor:
        sheet = Elasticity(
            young,
            0.3,
            "stress",
            body=lambda x: torch.stack([x[:, 1], -(x[:, 0] ** 2)], dim=1),
            displacements={"left": 0.0},
            tractions={"right": (0.0, -1.0)},
        )
        solution = sheet.solve(mesh.moved(pos), degree=2)
        return (solution.u**2).sum() + solution.von_mises.sum()

    young = 1 + torch.rand(mesh.num_cells, dtype=torch.float64)
    start = [young.requires_grad_(True), mesh.pos.clone().requires_grad_(True)]
    slopes = torch.autograd.grad(functional(*start), start)
    for k, slope in enumerate(slopes):
        direction = torch.rand_like(slope) - 0.5
        step = 1e-5
        with torch.no_grad():
            up, down = (
                functional(
                    *[p + s * step * direction if j == k else p for j, p in enumerate(start)]
                )
                for s in (1, -1)
            )
        assert float((slope * direction).sum()) == pytest.approx(
            float(up - down) / (2 * step), rel=1e-6
        )


def test_displacement_and_stress_are_written(tmp_path: Path) -> None:
    mesh: Mesh = generate.rectangle(3, 3)
    sheet = Elasticity(displacements={"left": 0.0}, body=(0.0, -1.0))
    solution = sheet.solve(mesh)
    again = read(solution.write(tmp_path / "sheet.vtu"))
    assert torch.allclose(again.node_fields["u"][:, :2], solution.u, atol=0)
    assert torch.equal(again.cell_fields["von_mises"], solution.von_mises)


def test_input_errors_say_what_is_wrong() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="'strain' or 'stress'"):
        Elasticity(plane="bend")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="not held anywhere"):
        Elasticity().solve(mesh)
    with pytest.raises(MeshError, match="needs 2 components, got 3"):
        Elasticity(displacements={"left": (0.0, 0.0, 0.0)}).solve(mesh)
    with pytest.raises(MeshError, match="2D or 3D"):
        Elasticity(displacements={"left": 0.0}).solve(generate.interval(3))
