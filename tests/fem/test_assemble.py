"""Assembly: measures, batches, chunks, tags, symmetry, mixed cells, errors."""

from __future__ import annotations

from typing import Any

import pytest
import skfem
import torch
from fem_peers import SCALAR, jittered, peer, scipy_matrix
from strategies import random_mesh
from torch import Tensor
from torch_geometric.data import Batch

import meshlearn as ml
from meshlearn.fem import (
    Field,
    FunctionSpace,
    assemble,
    assemble_linear,
    div,
    dot,
    grad,
    inner,
    integrate,
    sym,
)
from meshlearn.fem.sparse import csr_values
from meshlearn.mesh import Mesh, MeshError

CELLS = ["triangle", "quad", "tetra", "hexahedron", "mixed2"]


def sample(cell: str, seed: int = 0) -> Mesh:
    """A small distorted mesh."""
    return random_mesh(cell, [3, 2] if cell in ("triangle", "quad", "mixed2") else [2, 2, 1], seed)


def stiffness(u: Any, v: Any, w: Any) -> Any:
    return dot(grad(u), grad(v))


@pytest.mark.parametrize("cell", CELLS)
def test_mass_of_one_is_the_measure_and_stiffness_kills_it(cell: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, "P1")
    one = torch.ones(space.num_dofs, dtype=torch.float64)
    measure = float(mesh.volumes().sum())
    mass = assemble(lambda u, v, w: u * v, space)
    assert float(one @ (mass @ one)) == pytest.approx(measure, rel=1e-12)
    assert float(assemble_linear(lambda v, w: 1.0 * v, space).sum()) == pytest.approx(measure)
    rigid = assemble(stiffness, space)
    assert float((rigid @ one).abs().max()) < 1e-12 * float(rigid.values().abs().max())
    x = mesh.pos[:, 0]
    assert float(x @ (rigid @ x)) == pytest.approx(measure, rel=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", ["P1", "P2", ("P1", 2)])
def test_a_batch_is_the_block_diagonal_of_its_meshes(cell: str, name: Any) -> None:
    meshes = [sample(cell, seed) for seed in (1, 2, 3)]

    def matrix(mesh: Mesh) -> Tensor:
        def form(u: Any, v: Any, w: Any) -> Any:
            return (1 + w.x[:, 0] ** 2) * (inner(grad(u), grad(v)) + inner(u, v))

        return assemble(form, FunctionSpace(mesh, name)).to_dense()

    together = matrix(Batch.from_data_list(meshes))
    # Unknowns of a batch are numbered kind by kind, so compare what does not depend on it.
    apart = torch.block_diag(*map(matrix, meshes))
    if name != "P2":
        torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-14)
    found, wanted = torch.linalg.eigvalsh(together), torch.linalg.eigvalsh(apart)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("cell", "name"), SCALAR)
def test_loads_agree_with_scikit_fem(cell: str, name: str) -> None:
    sizes = {"line": [4], "tetra": [2, 2, 1], "hexahedron": [2, 2, 1]}
    mesh = random_mesh(cell, sizes.get(cell, [3, 2]), 2)
    space = FunctionSpace(mesh, name)
    other = peer(space, 8)
    found = other.vector(assemble_linear(lambda v, w: w.x[:, 0] ** 3 * v, space, degree=8))
    wanted = skfem.LinearForm(lambda v, w: w.x[0] ** 3 * v).assemble(other.basis)
    assert abs(found - wanted).max() <= 1e-12 * abs(wanted).max()


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_the_divergence_of_raviart_thomas_functions_is_what_flows_out(cell: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, "RT")
    u = torch.randn(space.num_dofs, generator=torch.Generator().manual_seed(0)).double()
    flux = integrate(lambda w: dot(w.u, w.n), mesh, on="boundary", u=Field(space, u))
    assert float(assemble_linear(lambda v, w: 1.0 * div(v), space) @ u) == pytest.approx(
        float(flux), abs=1e-10
    )


def varying(u: Any, v: Any, w: Any) -> Any:
    return (1 + w.x[:, 0]) * (inner(grad(u), grad(v)) + w.k * inner(u, v)) + w.f * inner(u, v)


def constant(u: Any, v: Any, w: Any) -> Any:
    return w.k * (div(u) * div(v) + inner(sym(grad(u)), sym(grad(v)))) + 2.0 * inner(u, v)


@pytest.mark.parametrize("form", [varying, constant])
def test_chunks_change_nothing(form: Any) -> None:
    mesh = jittered(ml.generate.rectangle(90, 90))
    space = FunctionSpace(mesh, ("P2", 2))
    fields = {
        "k": torch.linspace(1, 2, mesh.num_cells, dtype=torch.float64),
        "f": Field(FunctionSpace(mesh, "P1"), mesh.pos[:, 1].clone()),
    }
    whole = assemble(form, space, memory_mb=4000, **fields).values()
    pieces = assemble(form, space, memory_mb=1, **fields).values()
    assert float((whole - pieces).abs().max()) <= 1e-14 * float(whole.abs().max())
    load = [
        assemble_linear(lambda v, w: w.k * w.x[:, 0] * v[1], space, memory_mb=mb, **fields)
        for mb in (1, 4000)
    ]
    assert float((load[0] - load[1]).abs().max()) <= 1e-14 * float(load[1].abs().max())


def test_gradients_pass_through_chunks() -> None:
    mesh = jittered(ml.generate.rectangle(60, 60))
    weights = torch.linspace(-1, 1, 3, dtype=torch.float64)

    def slope(memory_mb: int) -> Tensor:
        pos = mesh.pos.clone().requires_grad_()
        space = FunctionSpace(mesh.moved(pos), "P2")
        form = assemble_linear(
            lambda v, w: torch.sin(3 * w.x[:, 0]) * v, space, memory_mb=memory_mb
        )
        matrix = assemble(stiffness, space, memory_mb=memory_mb)
        total = csr_values(matrix).square().sum()
        (total + (form * weights[torch.arange(len(form)) % 3]).sum()).backward()
        assert pos.grad is not None
        return pos.grad

    torch.testing.assert_close(slope(1), slope(4000), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["P1", "P2", ("P2", 3), "RT", "N"])
def test_half_of_a_symmetric_form_stands_for_the_whole(name: Any) -> None:
    mesh = sample("tetra")
    space, same = FunctionSpace(mesh, name), FunctionSpace(mesh, name)
    k = torch.rand(mesh.num_cells, dtype=torch.float64)

    def form(u: Any, v: Any, w: Any) -> Any:
        return w.k * inner(u, v) + 3.0 * (inner(u, v) if name in ("RT", "N") else _slopes(u, v))

    # With another object as test space nothing is known of the symmetry.
    half, whole = assemble(form, space, k=k).values(), assemble(form, space, same, k=k).values()
    assert float((half - whole).abs().max()) < 1e-13 * float(whole.abs().max())


def _slopes(u: Any, v: Any) -> Any:
    return inner(grad(u), grad(v)) + (0.5 * div(u) * div(v) if u.shape else 0)


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
def test_symmetric_forms_have_symmetric_matrices(cell: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, ("P2", mesh.dim))
    matrix = scipy_matrix(
        assemble(
            lambda u, v, w: (
                (2 + w.x[:, 0]) * div(u) * div(v) + 0.3 * inner(sym(grad(u)), sym(grad(v)))
            ),
            space,
        )
    )
    assert abs(matrix - matrix.T).max() < 1e-13 * abs(matrix).max()


def test_a_gradient_form_is_not_symmetric_and_its_transpose_is_its_mirror() -> None:
    mesh = sample("triangle")
    space = FunctionSpace(mesh, "P2")
    wind = assemble(lambda u, v, w: grad(u)[0] * v, space)
    mirror = assemble(lambda u, v, w: grad(v)[0] * u, space)
    a, b = scipy_matrix(wind), scipy_matrix(mirror)
    assert abs(a - b.T).max() < 1e-14
    assert abs(a - a.T).max() > 1e-3


def test_spaces_that_differ() -> None:
    mesh = sample("triangle")
    trial, test = FunctionSpace(mesh, "P2"), FunctionSpace(mesh, "P0")
    found = assemble(lambda u, v, w: u * v, trial, test)
    assert found.shape == (mesh.num_cells, trial.num_dofs)
    u = trial.interpolate(lambda x: x[:, 0] ** 2)
    exact = float(integrate(lambda w: w.x[:, 0] ** 2, mesh))
    assert float((found @ u).sum()) == pytest.approx(exact, rel=1e-12)


def test_cell_tags_add_up() -> None:
    square = jittered(ml.generate.rectangle(6, 5))
    left = square.centroids()[:, 0] < 0.5
    mesh = Mesh.from_cells(
        square.pos,
        square.cells,
        cell_tags={
            "left": torch.nonzero(left).squeeze(1),
            "right": torch.nonzero(~left).squeeze(1),
        },
    )
    space = FunctionSpace(mesh, "P2")
    k = torch.rand(mesh.num_cells, dtype=torch.float64)

    def form(u: Any, v: Any, w: Any) -> Any:
        return w.k * dot(grad(u), grad(v))

    parts = [assemble(form, space, on=on, k=k).values() for on in ("left", "right", "cells")]
    torch.testing.assert_close(parts[0] + parts[1], parts[2], rtol=1e-13, atol=1e-14)
    area = float(integrate(lambda w: 1.0, mesh, on="left"))
    assert area == pytest.approx(float(mesh.volumes()[left].sum()), rel=1e-13)


def test_values_per_cell_follow_the_canonical_order_on_mixed_cells() -> None:
    mesh = sample("mixed2")
    k = torch.rand(mesh.num_cells, dtype=torch.float64)
    found = integrate(lambda w: w.k * 1.0, mesh, k=k)
    assert float(found) == pytest.approx(float(k @ mesh.volumes()), rel=1e-13)


def test_fields_and_sizes() -> None:
    mesh = jittered(ml.generate.rectangle(4, 4))
    space = FunctionSpace(mesh, "P2")
    f = Field(space, space.interpolate(lambda x: x[:, 0] * x[:, 1]))
    assert float(integrate(lambda w: w.f, mesh, f=f)) == pytest.approx(0.25, rel=1e-12)
    slope = integrate(lambda w: dot(grad(w.f), grad(w.f)), mesh, f=f)
    assert float(slope) == pytest.approx(2 / 3, rel=1e-12)
    right = ml.generate.rectangle(2, 2)
    assert float(integrate(lambda w: w.h, right)) == pytest.approx(0.5**0.5, rel=1e-12)


def test_an_empty_form_of_a_mixed_block_is_zero() -> None:
    mesh = sample("triangle")
    space = FunctionSpace(mesh, [("P2", 2), "P1"])
    matrix = assemble(lambda u, v, w: u[1] * v[1], space)
    n = len(space.sub(0))
    dense = matrix.to_dense()
    assert float(dense[:n].abs().max()) == 0
    assert float(dense[n:, n:].sum()) == pytest.approx(float(mesh.volumes().sum()), rel=1e-12)


def test_errors() -> None:
    mesh, other = ml.generate.rectangle(2, 2), ml.generate.rectangle(2, 2)
    space = FunctionSpace(mesh, "P1")
    with pytest.raises(MeshError, match="trial and test space must be on the same mesh"):
        assemble(stiffness, space, FunctionSpace(other, "P1"))
    with pytest.raises(MeshError, match="there is no tag 'inlet' to integrate over; there are"):
        assemble(stiffness, space, on="inlet")
    with pytest.raises(AttributeError, match=r"the form asks for w\.k, but there are only x, h, n"):
        assemble(lambda u, v, w: w.k * u * v, space)
    with pytest.raises(MeshError, match=r"w\.n is defined on facets only"):
        assemble(lambda u, v, w: w.n[:, 0] * u * v, space)
