"""Sparsity patterns: every local entry has its place, none is missing or double."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from strategies import random_mesh

import meshlearn as ml
from meshlearn.fem import FunctionSpace, assemble
from meshlearn.fem.assemble import cell_pattern
from meshlearn.fem.interior import interior_pattern
from meshlearn.fem.pattern import Pattern, build_pattern

PAIRS: list[tuple[Any, Any]] = [
    ("P1", "P1"),
    ("P2", "P1"),
    (("P2", 2), "P1"),
    ("P0", "RT"),
    ([("P2", 2), "P1"], [("P2", 2), "P1"]),
]


def check(pattern: Pattern, test: list[torch.Tensor], trial: list[torch.Tensor]) -> None:
    """Places name the rows and columns of their entries; all are used; columns are in order."""
    rows = torch.repeat_interleave(torch.arange(pattern.shape[0]), pattern.rowptr.diff())
    key = rows * pattern.shape[1] + pattern.columns
    assert bool((key.diff() > 0).all())
    for slots, v, u in zip(pattern.slots, test, trial, strict=True):
        at = slots.long()
        assert at.shape == (v.shape[1], u.shape[1], len(v))
        assert torch.equal(rows[at], v.T[:, None].expand(at.shape))
        assert torch.equal(pattern.columns[at], u.T[None].expand(at.shape))
    used = torch.cat([slots.reshape(-1) for slots in pattern.slots]).unique()
    assert torch.equal(used.long(), torch.arange(pattern.nnz))


@pytest.mark.parametrize("cell", ["triangle", "tetra", "mixed2"])
@pytest.mark.parametrize(("trial", "test"), PAIRS)
def test_patterns_of_cells(cell: str, trial: Any, test: Any) -> None:
    if cell == "mixed2" and "RT" in (trial, test):
        test = "P0"
    mesh = random_mesh(cell, [3, 2] if cell != "tetra" else [2, 1, 2], seed=8)
    u, v = FunctionSpace(mesh, trial), FunctionSpace(mesh, test)
    pattern = cell_pattern(u, v)
    assert pattern.shape == (v.num_dofs, u.num_dofs)
    check(pattern, [v.cell_dofs(cell) for cell in mesh.cells], [u.cell_dofs(c) for c in mesh.cells])


def test_pattern_of_linear_triangles_is_the_graph_with_its_diagonal() -> None:
    mesh = random_mesh("triangle", [4, 3], seed=1)
    space = FunctionSpace(mesh, "P1")
    pattern = cell_pattern(space, space)
    assert pattern.nnz == mesh.num_nodes + 2 * len(mesh.topology.edges)
    dense = pattern.matrix(torch.ones(pattern.nnz, dtype=torch.float64)).to_dense()
    senders, receivers = mesh.edge_index
    graph = torch.eye(mesh.num_nodes, dtype=torch.float64)
    graph[receivers, senders] = 1
    assert torch.equal(dense, graph)


def test_more_than_a_byte_of_cells_around_a_node() -> None:
    # Sums of shared cells must not overflow: 300 triangles meet in one node.
    n = 300
    angle = torch.arange(n, dtype=torch.float64) * 2 * torch.pi / n
    pos = torch.cat([torch.zeros(1, 2).double(), torch.stack([angle.cos(), angle.sin()], dim=1)])
    ring = torch.arange(n)
    fan = torch.stack([torch.zeros(n, dtype=torch.int64), ring + 1, (ring + 1) % n + 1], dim=1)
    mesh = ml.Mesh.from_cells(pos, {"triangle": fan})
    space = FunctionSpace(mesh, "P1")
    mass = assemble(lambda u, v, w: u * v, space)
    assert mass.values().shape[0] == 3 * n + 1 + 2 * n
    area = float(mesh.volumes().sum())
    assert float(mass.values().sum()) == pytest.approx(area, rel=1e-12)
    assert float(mass.to_dense()[0, 0]) == pytest.approx(area / 6, rel=1e-12)


def test_pattern_of_inner_facets() -> None:
    mesh = random_mesh("triangle", [3, 3], seed=2)
    space = FunctionSpace(mesh, "P0")
    pattern = interior_pattern(space, space)
    inner = int((mesh.topology.facet_cells[:, 1] >= 0).sum())
    assert pattern.nnz == mesh.num_cells + 2 * inner


def test_patterns_are_kept_with_the_topology() -> None:
    mesh = ml.generate.rectangle(3, 3)
    space = FunctionSpace(mesh, "P2")
    moved = space.on(mesh.moved(mesh.pos * 2))
    assert cell_pattern(space, space) is cell_pattern(moved, moved)


def test_equal_unknowns_in_two_tensors_are_symmetric_too() -> None:
    dofs = torch.tensor([[0, 1, 2], [2, 1, 3]])
    one = build_pattern([dofs], [dofs], (4, 4), torch.device("cpu"))
    two = build_pattern([dofs], [dofs.clone()], (4, 4), torch.device("cpu"))
    assert torch.equal(one.slots[0], two.slots[0])
    check(one, [dofs], [dofs])


def test_unknowns_without_cells_have_empty_rows() -> None:
    dofs = torch.tensor([[1, 3]])
    pattern = build_pattern([dofs], [dofs], (5, 5), torch.device("cpu"))
    assert pattern.rowptr.tolist() == [0, 0, 2, 2, 4, 4]
    assert pattern.columns.tolist() == [1, 3, 1, 3]
