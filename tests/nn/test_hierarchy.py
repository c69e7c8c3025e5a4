"""Hierarchies: interpolation, adjoints, nested meshes, batches, caching; the network on them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from strategies import any_meshes, random_mesh, renumbered
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.nn import (
    Hierarchy,
    MultiscaleNet,
    coarsened_hierarchy,
    nested_hierarchy,
    segments,
)
from meshlearn.nn.hierarchy import METHODS, WEIGHTS, _prolongation


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", WEIGHTS)
@given(mesh=any_meshes())
@settings(max_examples=10, deadline=None)
def test_constants_stay_and_restriction_is_the_adjoint(
    method: str, weights: str, mesh: Mesh
) -> None:
    scale = coarsened_hierarchy(mesh, 3, method=method, weights=weights)
    assert len(scale) == 3
    assert scale.levels[0].num_nodes == mesh.num_nodes
    for p, fine, coarse in zip(
        scale.prolongations, scale.levels[:-1], scale.levels[1:], strict=True
    ):
        ones = torch.ones(coarse.num_nodes, 2, dtype=torch.float64)
        assert torch.allclose(p.prolong(ones), torch.ones(fine.num_nodes, 2).double(), atol=1e-10)
        x = torch.randn(coarse.num_nodes, dtype=torch.float64)
        y = torch.randn(fine.num_nodes, dtype=torch.float64)
        assert torch.allclose(p.prolong(x) @ y, x @ p.transpose(y), atol=1e-10)
        assert (coarse.edge_index[1].diff() >= 0).all()
        if weights == "uniform":
            steady = p.restrict(torch.ones(fine.num_nodes, dtype=torch.float64))
            assert torch.allclose(steady, torch.ones_like(steady))


@pytest.mark.parametrize("name", ["triangle", "quad", "tetra", "hexahedron", "line"])
def test_linear_weights_reproduce_linear_functions(name: str) -> None:
    d = {"line": 1, "triangle": 2, "quad": 2}.get(name, 3)
    mesh = random_mesh(name, [10, 10, 8][:d] if d > 1 else [40], jitter=0.2)
    p = coarsened_hierarchy(mesh, 2, weights="linear").prolongations[0]
    error = (p.prolong(p.place(mesh.pos)) - mesh.pos).abs().amax(dim=1)
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    assert error[inner].max() < 1e-9
    assert (error < 1e-9).double().mean() > 0.9


def test_levels_shrink_and_keep_the_boundary() -> None:
    mesh = generate.rectangle(40, 40)
    scale = coarsened_hierarchy(mesh, 4)
    sizes = [level.num_nodes for level in scale.levels]
    assert all(3 < a / b < 5 for a, b in pairwise(sizes))
    border = torch.zeros(mesh.num_nodes, dtype=torch.bool)
    border[mesh.boundary_nodes] = True
    kept = border[scale.prolongations[0].picked].sum()
    assert 160 / 3 <= kept <= 160 / 2  # of 160 in a ring, every second or third
    assert repr(scale).startswith("Hierarchy(1,681 > ")
    places = scale.positions(mesh.pos)
    assert [len(x) for x in places] == sizes


def test_uniform_hierarchies_are_shared_by_moved_meshes() -> None:
    mesh = generate.rectangle(6, 6)
    moved = mesh.moved(2 * mesh.pos)
    assert coarsened_hierarchy(mesh) is coarsened_hierarchy(moved)
    assert coarsened_hierarchy(mesh, 2) is not coarsened_hierarchy(mesh, 3)
    linear = coarsened_hierarchy(mesh, weights="linear")
    assert linear is not coarsened_hierarchy(mesh, weights="linear")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_batch_is_a_loop(method: str, weights: str) -> None:
    meshes = [generate.rectangle(7, 5), generate.rectangle(1, 1), generate.disk(4)]
    whole = coarsened_hierarchy(Batch.from_data_list(meshes), 3, method=method, weights=weights)
    parts = [coarsened_hierarchy(m, 3, method=method, weights=weights) for m in meshes]
    for level in range(3):
        sizes = [h.levels[level].num_nodes for h in parts]
        shift = torch.tensor([0, *sizes]).cumsum(0)
        edges = [h.levels[level].edge_index + s for h, s in zip(parts, shift[:-1], strict=True)]
        assert torch.equal(whole.levels[level].edge_index, torch.cat(edges, dim=1))
    for level in range(2):
        weight = torch.cat([h.prolongations[level].weight for h in parts])
        assert torch.allclose(whole.prolongations[level].weight, weight, atol=1e-12)


def parents_of(fine: Mesh, coarse: Mesh) -> torch.Tensor:
    """Table of a grid of half the spacing, by the positions."""
    table = []
    for x in fine.pos:
        near = torch.nonzero((coarse.pos - x).abs().amax(dim=1) < 1e-9)[:, 0].tolist()
        if not near:
            edges = coarse.topology.edges
            middle = coarse.pos[edges].mean(dim=1)
            near = edges[(middle - x).abs().amax(dim=1) < 1e-9][0].tolist()
        table.append([*near, -1][:2])
    return torch.tensor(table)


def test_nested_meshes_interpolate_linear_functions_of_the_coarse_cells_exactly() -> None:
    meshes = [generate.rectangle(n, n) for n in (8, 4, 2)]
    scale = nested_hierarchy(meshes)
    x = meshes[1].pos
    bend = (x[:, 0] - 0.5).abs()  # linear on every coarse cell
    assert torch.allclose(scale.prolongations[0].prolong(bend), (meshes[0].pos[:, 0] - 0.5).abs())
    for p, mesh in zip(scale.prolongations, meshes[1:], strict=True):
        assert torch.allclose(p.place(meshes[0].pos if mesh is meshes[1] else x), mesh.pos)
    tables = [parents_of(a, b) for a, b in pairwise(meshes)]
    from_tables = nested_hierarchy(meshes, tables)
    values = torch.randn(meshes[1].num_nodes, 3, dtype=torch.float64)
    one, two = (h.prolongations[0].prolong(values) for h in (scale, from_tables))
    assert torch.allclose(one, two, atol=1e-12)


def test_meshes_that_do_not_match_and_batches_of_them() -> None:
    fine, coarse = (
        [generate.disk(6), generate.rectangle(7, 5)],
        [generate.disk(3), generate.rectangle(2, 3)],
    )
    whole = nested_hierarchy([Batch.from_data_list(fine), Batch.from_data_list(coarse)])
    alone = [nested_hierarchy(list(pair)) for pair in zip(fine, coarse, strict=True)]
    values = [torch.randn(m.num_nodes, dtype=torch.float64) for m in coarse]
    found = whole.prolongations[0].prolong(torch.cat(values))
    wanted = torch.cat([h.prolongations[0].prolong(v) for h, v in zip(alone, values, strict=True)])
    assert torch.allclose(found, wanted, atol=1e-12)
    place = alone[1].prolongations[0].place(fine[1].pos)
    assert (place - coarse[1].pos).abs().max() < 0.2


def test_bad_input_is_named() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="at least 1 level, got 0"):
        coarsened_hierarchy(mesh, 0)
    with pytest.raises(MeshError, match="method must be one of"):
        coarsened_hierarchy(mesh, method="random")
    with pytest.raises(MeshError, match="weights must be one of"):
        coarsened_hierarchy(mesh, weights="cubic")
    with pytest.raises(MeshError, match="2 meshes need 1 tables, got 0"):
        nested_hierarchy([mesh, mesh], [])
    with pytest.raises(MeshError, match=r"parents must be \[n_fine, k\]"):
        nested_hierarchy([mesh, mesh], [torch.full((9, 1), -1)])
    with pytest.raises(MeshError, match="at least one mesh"):
        nested_hierarchy([])


def transported(scale: Hierarchy, other: Mesh, new: torch.Tensor) -> Hierarchy:
    """The hierarchy of the renumbered mesh: only the finest nodes have other numbers."""
    p = scale.prolongations[0]
    n, k = p.pattern.height, p.pattern.width
    dense = torch.zeros(n, k, dtype=torch.float64)
    dense[new[p.pattern.row], p.pattern.columns] = p.weight
    step = _prolongation(sp.csr_array(dense.numpy()), new[p.picked].numpy(), torch.device("cpu"))
    first = type(scale.levels[0])(other.edge_index, segments(other))
    return Hierarchy((first, *scale.levels[1:]), (step, *scale.prolongations[1:]))


@given(mesh=any_meshes(max_cells=3))
@settings(max_examples=8, deadline=None)
def test_the_network_is_equivariant_to_renumbering(mesh: Mesh) -> None:
    torch.manual_seed(0)
    other, new, _ = renumbered(mesh, 3)
    net = MultiscaleNet(2, 1, mesh.dim + 1, width=8)
    nodes = torch.randn(mesh.num_nodes, 2)
    moved = torch.empty_like(nodes)
    moved[new] = nodes
    scale = coarsened_hierarchy(mesh)
    found = net(other, moved, transported(scale, other, new))
    assert torch.allclose(found[new], net(mesh, nodes, scale), atol=1e-4)


def test_the_network_on_a_batch_is_a_loop_and_all_of_it_learns() -> None:
    torch.manual_seed(0)
    meshes = [generate.rectangle(7, 5), generate.disk(4)]
    net = MultiscaleNet(2, 3, width=8)
    nodes = [torch.randn(mesh.num_nodes, 2) for mesh in meshes]
    found = net(Batch.from_data_list(meshes), torch.cat(nodes))
    alone = [net(mesh, x) for mesh, x in zip(meshes, nodes, strict=True)]
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_network_reaches_across_the_mesh() -> None:
    torch.manual_seed(0)
    mesh = generate.interval(64)
    net = MultiscaleNet(1, 1, 2, width=8, levels=6)
    nodes = torch.zeros(mesh.num_nodes, 1, requires_grad=True)
    net(mesh, nodes)[0].sum().backward()
    assert nodes.grad[-1].abs() > 0


def test_a_hierarchy_of_another_depth_is_an_error() -> None:
    mesh = generate.rectangle(3, 3)
    with pytest.raises(ValueError, match="the network has 3 levels, the hierarchy 2"):
        MultiscaleNet(1, 1)(mesh, torch.zeros(16, 1), coarsened_hierarchy(mesh, 2))
