"""The regularised shape energy: exact gradient, its limit on valid meshes, its Laplacian."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from strategies import random_mesh

from meshlearn.mesh import Mesh, generate
from meshlearn.movers.shape_energy import ShapeEnergy

CELLS = ["triangle", "quad", "tetra", "hexahedron", "wedge", "pyramid", "mixed3"]


def sample(cell: str) -> Mesh:
    d = 2 if cell in ("triangle", "quad") else 3
    return random_mesh(cell, [3] * d, seed=4, jitter=0.1)


def noise(mesh: Mesh, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("size", "eps"), [(0.0, 1e-6), (0.3, 0.4), (0.3, 0.05)])
def test_gradient_is_the_derivative_of_the_energy(cell: str, size: float, eps: float) -> None:
    mesh = sample(cell)
    shape = ShapeEnergy(mesh, 0.3)
    x, v = mesh.pos + size * noise(mesh), noise(mesh, 1)
    assert bool((shape.determinants(x) < 0).any()) == (size > 0)  # tangled ones as well
    energy, gradient = shape.evaluate(x, eps)
    assert energy == pytest.approx(shape.energy(x, eps), rel=1e-14)

    def at(k: int, step: float = 1e-6) -> float:
        return shape.energy(x + k * step * v, eps)

    slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / 12e-6
    assert float((gradient * v).sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
def test_one_regular_cell_has_the_smallest_energy_there_is(cell: str) -> None:
    h = 3**0.5 / 2
    points = {
        "triangle": [[0, 0], [1, 0], [0.5, h]],
        "quad": [[0, 0], [1, 0], [1, 1], [0, 1]],
        "tetra": [[0, 0, 0], [1, 0, 0], [0.5, h, 0], [0.5, h / 3, (2 / 3) ** 0.5]],
        "hexahedron": [[float(k in s), float(k in t), float(k > 3)] for k in range(8)
                       for s, t in [((1, 2, 5, 6), (2, 3, 6, 7))]],
    }[cell]  # fmt: skip
    pos = torch.tensor(points, dtype=torch.float64)
    mesh = Mesh.from_cells(pos, {cell: torch.arange(len(pos))[None]})
    shape = ShapeEnergy(mesh, 0.5)
    energy, gradient = shape.evaluate(pos, 1e-8)
    assert shape.determinants(pos).tolist() == pytest.approx([1.0] * len(shape.nodes))
    assert energy == pytest.approx(1.5 * len(shape.nodes))
    assert float(gradient.abs().max()) < 1e-12
    assert shape.energy(pos + 0.05 * noise(mesh), 1e-8) > energy
    turned = torch.linalg.qr(noise(mesh)[: mesh.dim, : mesh.dim])[0]
    turned = turned * torch.sign(torch.linalg.det(turned))
    if mesh.dim == 3:  # the sign of a 2 x 2 determinant does not change with that of the matrix
        assert shape.energy(pos @ turned.T, 1e-8) == pytest.approx(energy)


def test_tangled_cells_have_a_finite_energy_that_grows_as_the_regularisation_falls() -> None:
    mesh = generate.rectangle(4, 4)
    x = mesh.pos + 0.3 * noise(mesh)
    shape = ShapeEnergy(mesh, 0.1)
    energies = [shape.energy(x, eps) for eps in (1.0, 0.1, 0.01, 1e-3)]
    assert np.isfinite(energies).all()
    assert energies == sorted(energies)


@pytest.mark.parametrize("cell", CELLS)
def test_the_laplacian_is_near_the_hessian(cell: str) -> None:
    mesh = sample(cell)
    shape = ShapeEnergy(mesh, 0.1)
    laplacian = shape.laplacian(mesh.pos, 1e-6)
    assert abs(laplacian - laplacian.T).max() < 1e-10
    assert np.abs(laplacian @ np.ones(mesh.num_nodes)).max() < 1e-9
    matrix = sp.kron(laplacian, sp.eye_array(mesh.dim))
    step, ratios = 1e-6, []
    for seed in range(20):
        v = noise(mesh, seed)
        gradients = [shape.evaluate(mesh.pos + k * step * v, 1e-6)[1] for k in (1, -1)]
        exact = float(((gradients[0] - gradients[1]) * v).sum()) / (2 * step)
        flat = v.numpy().reshape(-1)
        ratios.append(exact / float(flat @ (matrix @ flat)))
    assert min(ratios) > 0.3
    assert max(ratios) < 3


def test_it_stays_positive_on_tangled_meshes_and_lines() -> None:
    line = Mesh.from_cells(
        torch.linspace(0, 1, 8, dtype=torch.float64)[:, None],
        {"line": torch.stack([torch.arange(7), torch.arange(1, 8)], dim=1)},
    )
    for mesh in (generate.rectangle(4, 4), generate.box(2, 2, 2), line):
        shape = ShapeEnergy(mesh, 0.1)
        for seed in range(5):
            laplacian = shape.laplacian(mesh.pos + 0.5 * noise(mesh, seed), 0.1)
            assert np.linalg.eigvalsh(laplacian.toarray()).min() > -1e-8 * abs(laplacian).max()
