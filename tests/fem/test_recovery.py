"""Recovered gradients and Hessians: exact for quadratics, second order, and honest errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from convergence import last_order
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    hexahedron_meshes,
    mixed_meshes,
    quad_meshes,
    random_delaunay,
    random_mesh,
    renumbered,
    tetra_meshes,
    triangle_meshes,
)
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem.recovery import l2_error_estimate, recover
from meshlearn.mesh import Mesh, MeshError, generate

seeds = st.integers(0, 2**32 - 1)
large_enough = st.one_of(
    triangle_meshes(min_cells=3, stretch=30.0),
    quad_meshes(min_cells=3, stretch=30.0),
    tetra_meshes(min_cells=3, max_cells=4, stretch=30.0),
    hexahedron_meshes(min_cells=3, max_cells=4, stretch=30.0),
    mixed_meshes(min_cells=3, max_cells=4, stretch=30.0),
)


def quadratic(mesh: Mesh, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nodal values, gradients and Hessians of a random quadratic, of size 1 on the mesh."""
    draw = torch.Generator().manual_seed(seed)
    d = mesh.dim
    centre = mesh.pos.mean(dim=0)
    to_unit = torch.linalg.inv(torch.linalg.cholesky(torch.cov(mesh.pos.T).reshape(d, d)))
    hessian = torch.randn(d, d, dtype=torch.float64, generator=draw)
    hessian = to_unit.T @ (hessian + hessian.T) @ to_unit
    slope = to_unit.T @ torch.randn(d, dtype=torch.float64, generator=draw)
    x = mesh.pos - centre
    values = 0.7 + x @ slope + torch.einsum("ni,ij,nj->n", x, hessian, x) / 2
    return values, x @ hessian + slope, hessian.expand(len(x), d, d)


def along_edges(mesh: Mesh, error: Tensor) -> float:
    """Largest change that an error in the derivatives makes along an edge (invariant)."""
    first, second = mesh.topology.edges.unbind(dim=1)
    edge = mesh.pos[second] - mesh.pos[first]
    if error.dim() == 2:
        return float((error[first] * edge).sum(dim=1).abs().max())
    return float(torch.einsum("ei,eij,ej->e", edge, error[first], edge).abs().max())


@settings(max_examples=60)
@given(large_enough, seeds)
def test_quadratics_are_exact_up_to_the_boundary(mesh: Mesh, seed: int) -> None:
    """Also on cells thirty times as long as high."""
    values, gradient, hessian = quadratic(mesh, seed)
    found = recover(mesh, values)
    assert along_edges(mesh, found.gradient - gradient) < 1e-9
    assert along_edges(mesh, found.hessian - hessian) < 1e-9
    assert torch.equal(found.hessian, found.hessian.transpose(1, 2))


@pytest.mark.parametrize(("aspect", "turned"), [(1e6, False), (1e3, True)])
@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
def test_quadratics_are_exact_in_boundary_layers(cell: str, aspect: float, turned: bool) -> None:
    d = 2 if cell in ("triangle", "quad") else 3
    unit = random_mesh(cell, [4] * d, 0, jitter=0.1, shuffle=False)
    flat = torch.eye(d, dtype=torch.float64)
    flat[-1, -1] = 1 / aspect
    turn = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64)).Q
    mesh = unit.moved(unit.pos @ flat @ turn.T if turned else unit.pos @ flat)
    values, gradient, hessian = quadratic(mesh, 1)
    found = recover(mesh, values)
    tolerance = 1e-7 if turned else 1e-9  # turned, thin cells have fewer digits themselves
    assert along_edges(mesh, found.gradient - gradient) < tolerance
    assert along_edges(mesh, found.hessian - hessian) < tolerance


def test_quadratics_are_exact_in_1d() -> None:
    mesh = random_mesh("line", [7], 0)
    values, gradient, hessian = quadratic(mesh, 0)
    found = recover(mesh, values)
    torch.testing.assert_close(found.gradient, gradient, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.hessian, hessian, rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_scale_does_not_matter(scale: float) -> None:
    mesh = random_mesh("triangle", [4, 4], 0)
    small = mesh.moved(mesh.pos * scale)
    values, gradient, hessian = quadratic(mesh, 0)
    found = recover(small, values)
    torch.testing.assert_close(found.gradient * scale, gradient, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.hessian * scale**2, hessian, rtol=0, atol=1e-8)


@given(
    st.one_of(triangle_meshes(max_cells=2), tetra_meshes(max_cells=2), quad_meshes(max_cells=2)),
    seeds,
)
def test_linear_fields_are_exact_on_the_smallest_meshes(mesh: Mesh, seed: int) -> None:
    """Down to one cell, where the quadratic is not determined."""
    draw = torch.Generator().manual_seed(seed)
    slope = torch.randn(mesh.dim, dtype=torch.float64, generator=draw)
    found = recover(mesh, mesh.pos @ slope + 2)
    assert along_edges(mesh, found.gradient - slope) < 1e-9
    assert along_edges(mesh, found.hessian) < 1e-9


def test_constant_fields_have_no_derivatives() -> None:
    mesh = random_mesh("tetra", [3, 3, 3], 0)
    found = recover(mesh, torch.full((mesh.num_nodes,), 3.7))
    assert not found.gradient.any()
    assert not found.hessian.any()


def wave(x: Tensor) -> Tensor:
    return torch.sin(3 * x[:, 0] + 0.5) * torch.cos(2 * x[:, 1:]).prod(dim=1)


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (lambda n: random_mesh("triangle", [n, n], n, shuffle=False, jitter=0.2), (24, 48)),
        (lambda n: generate.rectangle(n, n, cell="quad"), (24, 48)),
        (lambda n: generate.box(n, n, n), (8, 16)),
    ],
    ids=["triangle", "quad", "tetra"],
)
def test_gradients_converge_at_second_order_and_hessians_at_first(make, sizes) -> None:  # type: ignore[no-untyped-def]
    """In the largest error over all nodes, and over those of the boundary alone."""

    def errors(n: int) -> dict[str, float]:
        mesh = make(n)
        x = mesh.pos.clone().requires_grad_()
        (slope,) = torch.autograd.grad(wave(x).sum(), x, create_graph=True)
        rows = [torch.autograd.grad(s.sum(), x, retain_graph=True)[0] for s in slope.unbind(dim=1)]
        found = recover(mesh, wave(mesh.pos))
        gradient = (found.gradient - slope.detach()).norm(dim=1)
        hessian = torch.linalg.matrix_norm(found.hessian - torch.stack(rows, dim=1))
        boundary = mesh.boundary_nodes
        return {
            "gradient": float(gradient.max()),
            "gradient at the boundary": float(gradient[boundary].max()),
            "hessian": float(hessian.max()),
        }

    order = last_order(errors, sizes)
    assert order["gradient"] > 1.7
    assert order["gradient at the boundary"] > 1.7
    assert order["hessian"] > 0.7


@pytest.mark.parametrize("cell", ["triangle", "tetra", "mixed3"])
def test_recovery_does_not_depend_on_the_numbering(cell: str) -> None:
    mesh = random_mesh(cell, [4, 4, 3][: 2 + (cell != "triangle")], 0)
    other, node, _ = renumbered(mesh, 1)
    moved_values = torch.empty(mesh.num_nodes, dtype=torch.float64)
    moved_values[node] = wave(mesh.pos)
    ours, theirs = recover(mesh, wave(mesh.pos)), recover(other, moved_values)
    torch.testing.assert_close(theirs.gradient[node], ours.gradient, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(theirs.hessian[node], ours.hessian, rtol=1e-6, atol=1e-6)


def test_recovery_of_a_batch_is_that_of_its_meshes() -> None:
    """Meshes that lie on each other do not see each other."""
    meshes = [random_delaunay([4, 4], k) for k in range(3)]
    values = [wave(mesh.pos) * (k + 1) for k, mesh in enumerate(meshes)]
    together = recover(Batch.from_data_list(meshes), torch.cat(values))
    apart = [recover(mesh, value) for mesh, value in zip(meshes, values, strict=True)]
    torch.testing.assert_close(together.gradient, torch.cat([r.gradient for r in apart]))
    torch.testing.assert_close(together.hessian, torch.cat([r.hessian for r in apart]))


def test_recovery_is_linear_and_takes_float32() -> None:
    mesh = random_mesh("quad", [4, 4], 0)
    u = wave(mesh.pos).float()
    found = recover(mesh, u)
    assert found.gradient.dtype == torch.float64
    tripled = recover(mesh, -3 * u.double()).gradient
    torch.testing.assert_close(tripled, -3 * found.gradient, rtol=0, atol=1e-10)


def test_wrong_values_are_refused() -> None:
    mesh = random_mesh("triangle", [3, 3], 0)
    n = mesh.num_nodes
    with pytest.raises(MeshError, match=rf"one value per node, \[{n}\], got \[{n}, 2\]"):
        recover(mesh, torch.zeros(n, 2))
    values = torch.zeros(n)
    values[5] = torch.nan
    with pytest.raises(MeshError, match="not finite at node 5"):
        recover(mesh, values)


# -- error estimate ----------------------------------------------------------------------------


def test_the_estimate_bounds_the_interpolation_error_of_a_quadratic() -> None:
    """On an interval it is exactly the largest error of each cell: f'' h^2 / 8."""
    mesh = generate.interval(5, 0.0, 2.0)
    hessian = torch.full((6, 1, 1), 3.0, dtype=torch.float64)
    expected = 3 * 0.4**2 / 8 * 2**0.5  # constant, on a domain of length 2
    assert l2_error_estimate(mesh, mesh, hessian) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_the_estimate_follows_the_error_on_other_meshes(cell: str) -> None:
    """One Hessian judges all: the estimate of a mesh twice as fine is a quarter."""
    d = 2 if cell == "triangle" else 3
    fine = random_mesh(cell, [8] * d, 0, shuffle=False)
    hessian = recover(fine, wave(fine.pos)).hessian
    estimates = [
        l2_error_estimate(random_mesh(cell, [n] * d, 1, shuffle=False, jitter=0), fine, hessian)
        for n in (3, 6)
    ]
    assert np.log2(estimates[0] / estimates[1]) == pytest.approx(2, abs=0.25)
