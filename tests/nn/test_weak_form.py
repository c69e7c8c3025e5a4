"""Values, gradients and their adjoints at quadrature points: matrices of finite elements."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from strategies import random_mesh, triangle_meshes
from torch_geometric.data import Batch

from meshlearn.fem import FunctionSpace, assemble, assemble_linear, dot, grad, multiply
from meshlearn.mesh import Mesh, generate
from meshlearn.nn import weak_form

SPACES = [("triangle", "P1", 2), ("triangle", "P2", 2), ("tetra", "P1", 3), ("tetra", "P2", 3)]


@pytest.mark.parametrize(("cell", "element", "dim"), SPACES)
def test_stiffness_is_the_divergence_of_gradients(cell: str, element: str, dim: int) -> None:
    mesh = random_mesh(cell, [3] * dim, seed=1)
    space, form = FunctionSpace(mesh, element), weak_form(mesh, element)
    u = torch.randn(space.num_dofs, 2, dtype=torch.float64, generator=torch.manual_seed(0))
    k = 1 + torch.arange(mesh.num_cells).double()
    matrix = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    found = form.divergence(k[form.cell][:, None] * form.gradients(u))
    assert torch.allclose(found, multiply(matrix, u), rtol=1e-11, atol=1e-10)
    one = torch.ones(len(form.cell), 1).double()
    load = assemble_linear(lambda v, w: v, space)
    assert torch.allclose(form.load(one)[:, 0], load, atol=1e-14)


@given(triangle_meshes())
def test_linear_functions_and_adjoints(mesh: Mesh) -> None:
    form = weak_form(mesh)
    x = mesh.pos
    slope = form.gradients(x)
    for axis in range(2):
        expected = torch.eye(2).double()[axis].expand(len(form.cell), 2)
        assert torch.allclose(slope[axis], expected, atol=1e-8)
    assert torch.allclose(form.values(x), mesh.centroids()[form.cell], atol=1e-10)
    assert float(form.weight.sum()) == pytest.approx(float(mesh.volumes().abs().sum()))
    generator = torch.manual_seed(0)
    flux = torch.randn(2, len(form.cell), 2, dtype=torch.float64, generator=generator)
    both = (form.divergence(flux) * x).sum(), (flux * slope * form.weight[:, None]).sum()
    assert float(both[0]) == pytest.approx(float(both[1]), rel=1e-8, abs=1e-9)


def test_quadrilaterals_and_batches() -> None:
    quads = generate.rectangle(3, 2, cell="quad")
    form = weak_form(quads)
    product = quads.pos.prod(dim=1, keepdim=True)
    at = form.values(quads.pos)
    assert torch.allclose(form.values(product), at.prod(dim=1, keepdim=True), atol=1e-13)
    assert torch.allclose(form.gradients(product)[:, :, 0], at.flip(1).T, atol=1e-12)
    meshes = [quads, generate.rectangle(2, 2, cell="quad", upper=(2.0, 1.0))]
    batch = Batch.from_data_list(meshes)
    flux = [weak_form(m).gradients(m.pos.sin()) for m in meshes]
    alone = [weak_form(m).divergence(f) for m, f in zip(meshes, flux, strict=True)]
    together = weak_form(batch)
    found = together.divergence(together.gradients(batch.pos.sin()))
    assert torch.allclose(found, torch.cat(alone), atol=1e-12)
