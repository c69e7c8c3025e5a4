"""Kept factors: the same matrices as without, at whatever positions, and never stale ones."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from strategies import random_mesh
from torch import Tensor
from torch.autograd import forward_ad

from meshlearn.fem import (
    FunctionSpace,
    assemble,
    assemble_linear,
    contraction,
    curl,
    div,
    dot,
    factors,
    grad,
    inner,
    sym,
)
from meshlearn.fem.factors import kept_factors
from meshlearn.mesh import Mesh


def diffusion(u: Any, v: Any, w: Any) -> Any:
    return w.k * dot(grad(u), grad(v)) + 0.3 * u * v


def elasticity(u: Any, v: Any, w: Any) -> Any:
    return w.k * inner(sym(grad(u)), sym(grad(v))) + w.k**2 * (div(u) * div(v)) + 2.0 * dot(u, v)


def saddle(u: Any, v: Any, w: Any) -> Any:
    return w.k * inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0])


CASES = {
    "P1": ("P1", diffusion),
    "P2": ("P2", diffusion),
    "vector": (("P1", 2), elasticity),
    "mini": ([("MINI", 2), "P1"], saddle),
    "RT": ("RT", lambda u, v, w: w.k * dot(u, v) + div(u) * div(v)),
    "N": ("N", lambda u, v, w: dot(u, v) + w.k * (curl(u) * curl(v))),
}
cases = pytest.mark.parametrize("name", CASES)


def example(seed: int = 1) -> Mesh:
    return random_mesh("triangle", [4, 3], seed)


def weights(mesh: Mesh, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1 + torch.rand(mesh.num_cells, generator=generator, dtype=torch.float64)


def matrix(name: str, mesh: Mesh, k: Tensor) -> Tensor:
    element, form = CASES[name]
    return assemble(form, FunctionSpace(mesh, element), k=k).values()


def fresh(name: str, mesh: Mesh, k: Tensor) -> Tensor:
    """Assembled on a mesh that nothing was kept for."""
    return matrix(name, Mesh.from_cells(mesh.pos.detach().clone(), mesh.cells), k)


def warmed(name: str) -> Mesh:
    mesh = example()
    for seed in range(3):
        matrix(name, mesh, weights(mesh, seed))
    return mesh


def assert_fresh(name: str, mesh: Mesh) -> None:
    k = weights(mesh, 9)
    torch.testing.assert_close(matrix(name, mesh, k), fresh(name, mesh, k), rtol=0, atol=1e-15)


@cases
def test_another_coefficient_gives_the_matrix_of_a_fresh_mesh(name: str) -> None:
    mesh = warmed(name)
    assert kept_factors(mesh) is not None
    assert_fresh(name, mesh)


def test_from_the_third_assembly_on_the_geometry_is_not_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return factors.factors(*args, **options)

    monkeypatch.setattr(contraction, "factors", counted)
    mesh = example()
    found = []
    for seed in range(4):
        matrix("P1", mesh, weights(mesh, seed))
        found.append(len(calls))
    assert found[0] > 0
    assert found[1:] == [2 * found[0]] * 3
    matrix("P1", mesh.moved(mesh.pos.clone()), weights(mesh, 4))
    assert len(calls) == 3 * found[0]


CHANGES: dict[str, Callable[[Mesh], Any]] = {
    "in place": lambda mesh: mesh.pos.mul_(1.25),
    "data": lambda mesh: mesh.pos.data.mul_(1.25),
    "numpy": lambda mesh: mesh.pos.numpy().__imul__(1.25),
    "one node": lambda mesh: mesh.pos[3].add_(1e-3),
    "assigned": lambda mesh: setattr(mesh, "pos", mesh.pos * 1.25),
}


@cases
@pytest.mark.parametrize("change", CHANGES)
def test_changed_positions_are_seen(name: str, change: str) -> None:
    mesh = warmed(name)
    before = matrix(name, mesh, weights(mesh, 9))
    CHANGES[change](mesh)
    for _ in range(3):
        assert_fresh(name, mesh)
    assert not torch.equal(before, matrix(name, mesh, weights(mesh, 9)))


@cases
def test_a_moved_copy_has_its_own(name: str) -> None:
    mesh = warmed(name)
    copy = mesh.moved(mesh.pos * 1.25)
    for each in (copy, mesh, copy, copy, copy, mesh):
        assert_fresh(name, each)


@cases
def test_gradients_of_positions_flow_after_warming(name: str) -> None:
    mesh = warmed(name)
    k = weights(mesh, 9)
    mesh.pos.requires_grad_()
    (slope,) = torch.autograd.grad(matrix(name, mesh, k).square().sum(), mesh.pos)
    other = example().moved(mesh.pos.detach().clone().requires_grad_())
    (expected,) = torch.autograd.grad(matrix(name, other, k).square().sum(), other.pos)
    torch.testing.assert_close(slope, expected, rtol=1e-13, atol=1e-13)
    assert kept_factors(mesh) is None


def test_gradients_of_the_coefficient_flow_through_kept_factors() -> None:
    mesh = warmed("P1")
    k = weights(mesh, 9).requires_grad_()
    (slope,) = torch.autograd.grad(matrix("P1", mesh, k).square().sum(), k)
    other = weights(mesh, 9).requires_grad_()
    (expected,) = torch.autograd.grad(fresh("P1", mesh, other).square().sum(), other)
    torch.testing.assert_close(slope, expected, rtol=1e-13, atol=1e-13)


def test_inference_mode_leaves_nothing_that_autograd_refuses() -> None:
    mesh = example()
    with torch.inference_mode():
        for seed in range(3):
            matrix("P1", mesh, weights(mesh, seed))
    for _ in range(3):
        k = weights(mesh, 9).requires_grad_()
        matrix("P1", mesh, k).sum().backward()
        assert k.grad is not None


def test_forward_mode_derivatives_are_not_kept() -> None:
    mesh = example()
    k, h = weights(mesh, 9), 1e-6
    space = FunctionSpace(mesh, "P1")

    def load(pos: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        return [assemble_linear(lambda v, w: w.k * v, moved, k=k) for _ in range(3)][-1]

    direction = torch.cos(mesh.pos)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(mesh.pos, direction)
        slope = forward_ad.unpack_dual(load(dual)).tangent
    difference = (load(mesh.pos + h * direction) - load(mesh.pos - h * direction)) / (2 * h)
    torch.testing.assert_close(slope, difference, rtol=1e-7, atol=1e-9)


def test_no_more_than_the_bound_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "KEPT_MB", 0)
    mesh = warmed("vector")
    kept = kept_factors(mesh)
    assert kept is not None
    assert kept.size == 0
    assert_fresh("vector", mesh)
    monkeypatch.undo()
    mesh = warmed("vector")
    kept = kept_factors(mesh)
    assert kept is not None
    assert 0 < kept.size <= factors.KEPT_MB * 2**20


def test_what_was_kept_goes_with_the_positions() -> None:
    mesh = example()
    copy = mesh.moved(mesh.pos * 1.25)
    for _ in range(3):
        matrix("P1", copy, weights(mesh, 1))
    kept = kept_factors(copy)
    assert kept is not None
    assert kept.size > 0
    positions = weakref.ref(copy.pos)
    del copy
    gc.collect()
    assert positions() is None
    assert kept.size == 0


def test_loads_and_tags_are_right_too() -> None:
    mesh = example()
    mesh = Mesh.from_cells(mesh.pos, mesh.cells, cell_tags={"part": torch.arange(5)})
    space = FunctionSpace(mesh, "P1")
    for scale in (1.0, 1.0, 1.0, 2.0):
        with torch.no_grad():
            mesh.pos.mul_(scale)
        area = mesh.volumes()
        whole = assemble_linear(lambda v, w: 1.0 * v, space)
        part = assemble_linear(lambda v, w: 1.0 * v, space, on="part")
        torch.testing.assert_close(whole.sum(), area.sum())
        torch.testing.assert_close(part.sum(), area[:5].sum())
