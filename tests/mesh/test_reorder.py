"""Renumbering: the same mesh up to the permutation, and back again, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import strategies
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

import meshlearn as ml
from meshlearn import fem
from meshlearn.mesh.reorder import inverse, morton_order, rcm_order

SEEDS = st.integers(0, 2**16)
METHODS = st.sampled_from(["rcm", "morton"])
MESHES = st.one_of(
    strategies.any_meshes(tags=True),
    strategies.line_meshes(),
)


def with_fields(mesh: ml.Mesh, seed: int) -> ml.Mesh:
    """Fields of all kinds, a point tag, and attributes that only PyG knows."""
    generator = torch.Generator().manual_seed(seed)
    mesh = mesh.moved(mesh.pos)
    for kind, count in (
        ("node", mesh.num_nodes),
        ("cell", mesh.num_cells),
        ("facet", mesh.topology.num_facets),
    ):
        mesh.set_field(f"{kind}_values", torch.rand(count, 2, generator=generator), kind)
    mesh["edge_attr"] = mesh.pos[mesh.edge_index[0]] - mesh.pos[mesh.edge_index[1]]
    mesh["label"] = "a name"
    return mesh


def bandwidth(mesh: ml.Mesh) -> int:
    sender, receiver = mesh.edge_index
    return int((sender - receiver).abs().max())


@given(MESHES, METHODS, SEEDS)
@settings(max_examples=40)
def test_same_mesh_up_to_the_permutation(mesh: ml.Mesh, method: str, seed: int) -> None:
    mesh = with_fields(mesh, seed)
    found = mesh.reordered(method)
    node, cell = found.original_node, found.original_cell
    new = inverse(node)
    assert torch.equal(found.pos, mesh.pos[node])
    assert torch.allclose(found.volumes(), mesh.volumes()[cell], rtol=1e-12, atol=0)
    assert torch.equal(found.node_values, mesh.node_values[node])
    assert torch.equal(found.cell_values, mesh.cell_values[cell])
    assert found.cells.keys() == mesh.cells.keys()
    assert torch.equal(found["cell_type"], mesh["cell_type"])
    assert torch.equal(new[mesh.boundary_nodes].sort().values, found.boundary_nodes)
    for name, facets in mesh.facet_tags.items():
        assert torch.equal(node[found.facet_tags[name]], facets)
    for name, cells in mesh.cell_tags.items():
        assert torch.equal(cell[found.cell_tags[name]], cells)
    # The value of each facet is still that of the facet with the same corners.
    facet = mesh.topology.find_facets(node[found.topology.facets])
    assert torch.equal(found.facet_values, mesh.facet_values[facet])
    sender, receiver = found.edge_index
    assert torch.equal(found.edge_attr, found.pos[sender] - found.pos[receiver])
    found.validate()


@given(MESHES, st.lists(METHODS, min_size=1, max_size=3), SEEDS)
@settings(max_examples=40)
def test_the_original_comes_back_exactly(mesh: ml.Mesh, methods: list[str], seed: int) -> None:
    mesh = with_fields(mesh, seed)
    found = mesh
    for method in methods:
        found = found.reordered(method)
    assert found.reordered("original") == mesh


@given(strategies.triangle_meshes(min_cells=2, max_cells=6), METHODS)
@settings(max_examples=15)
def test_equal_solves(mesh: ml.Mesh, method: str) -> None:
    found = mesh.reordered(method)

    def solved(on: ml.Mesh) -> torch.Tensor:
        space = fem.FunctionSpace(on, "P1")
        matrix = fem.assemble(lambda u, v, w: fem.dot(fem.grad(u), fem.grad(v)), space)
        load = fem.assemble_linear(lambda v, w: w.x[:, 0] * v, space)
        return fem.solve(matrix, load, bcs=[fem.Dirichlet(space, "boundary", 1.0)])

    back = torch.empty(mesh.num_nodes, dtype=torch.float64)
    back[found.original_node] = solved(found)
    assert torch.allclose(back, solved(mesh), rtol=1e-10, atol=1e-10)


def test_neighbours_come_near() -> None:
    mesh = strategies.random_delaunay([30, 30], seed=3)
    rcm, morton = mesh.reordered("rcm"), mesh.reordered("morton")
    assert bandwidth(mesh) > 800
    # A breadth-first walk of a square of 31 x 31 nodes has levels of about 31 nodes.
    assert bandwidth(rcm) < 120

    def mean(m: ml.Mesh) -> float:
        return float((m.edge_index[0] - m.edge_index[1]).abs().double().mean())

    assert mean(rcm) < mean(mesh) / 8
    assert mean(morton) < mean(mesh) / 4
    first = rcm.cells["triangle"].amin(dim=1)
    assert bool((first.diff() >= 0).all())


def test_rcm_of_a_path_has_bandwidth_one() -> None:
    mesh = strategies.random_mesh("line", [20], seed=1)
    assert bandwidth(mesh) > 1
    assert bandwidth(mesh.reordered("rcm")) == 1
    assert sorted(rcm_order(mesh).tolist()) == list(range(mesh.num_nodes))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_morton_order_is_that_of_interleaved_bits(d: int) -> None:
    axes = torch.meshgrid(*[torch.arange(8)] * d, indexing="ij")
    pos = torch.stack([x.reshape(-1) for x in axes], dim=1).double()
    order = morton_order(pos)
    code = [
        sum(
            ((int(x) >> bit) & 1) << (d * bit + axis)
            for bit in range(3)
            for axis, x in enumerate(p)
        )
        for p in pos[order]
    ]
    assert code == list(range(8**d))


def test_points_at_one_place_keep_their_order() -> None:
    assert morton_order(torch.zeros(5, 2, dtype=torch.float64)).tolist() == [0, 1, 2, 3, 4]


def test_a_graph_that_replaced_the_mesh_s_own_is_renumbered() -> None:
    mesh = with_fields(ml.generate.rectangle(3, 3), 0)
    given_edges = torch.tensor([[0, 5, 2], [3, 1, 7]])
    mesh.edge_index = given_edges
    mesh["edge_attr"] = torch.arange(3.0)
    found = mesh.reordered("rcm")
    assert torch.equal(found.original_node[found.edge_index], given_edges)
    assert torch.equal(found.edge_attr, mesh.edge_attr)
    assert found.reordered("original") == mesh


def test_moved_copies_keep_the_map(tmp_path: Path) -> None:
    mesh = ml.generate.rectangle(4, 4)
    found = mesh.reordered("morton")
    moved = found.moved(2 * found.pos)
    assert torch.equal(moved.reordered("original").pos, 2 * mesh.pos)
    found.write(tmp_path / "m.vtu")
    assert ml.read(tmp_path / "m.vtu").reordered("original").cells.keys() == mesh.cells.keys()
    assert torch.equal(ml.read(tmp_path / "m.vtu").reordered("original").pos, mesh.pos)


def test_reading_in_another_order(tmp_path: Path) -> None:
    mesh = strategies.random_delaunay([6, 6], seed=0)
    mesh.write(tmp_path / "m.vtu")
    found = ml.read(tmp_path / "m.vtu", reorder="rcm")
    assert found == ml.read(tmp_path / "m.vtu").reordered("rcm")
    assert "original_node" not in ml.read(tmp_path / "m.vtu").node_fields


def test_reordered_meshes_batch() -> None:
    meshes = [ml.generate.rectangle(2, 3).reordered("rcm"), ml.generate.rectangle(3, 2)]
    meshes[1] = meshes[1].reordered("morton")
    batch = Batch.from_data_list(meshes)
    assert batch.to_data_list()[1].reordered("original") == ml.generate.rectangle(3, 2)
    with pytest.raises(ml.MeshError, match="reorder them before they are batched"):
        batch.reordered("rcm")


def test_bad_input() -> None:
    mesh = ml.generate.rectangle(2, 2)
    with pytest.raises(ml.MeshError, match="order must be one of rcm, morton, original, got 'xyz'"):
        mesh.reordered("xyz")
    with pytest.raises(ml.MeshError, match="no original numbers"):
        mesh.reordered("original")
