"""Connectivity against brute force, networkx and scikit-fem, and how meshes share it."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_meshes, line_meshes, random_mesh, renumbered

from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate
from meshlearn.mesh.geometry import facet_normals

meshes = any_meshes(max_cells=3)


def cell_list(mesh: Mesh) -> list[tuple[str, list[int]]]:
    """Type and nodes of each cell in canonical order."""
    cells: list[tuple[str, list[int]]] = [("", [])] * mesh.num_cells
    for name, nodes in mesh.cells.items():
        for row, index in zip(nodes.tolist(), mesh.cell_ids[name].tolist(), strict=True):
            cells[index] = (name, row)
    return cells


def brute_force_edges(mesh: Mesh) -> set[tuple[int, int]]:
    return {
        (min(nodes[a], nodes[b]), max(nodes[a], nodes[b]))
        for name, nodes in cell_list(mesh)
        for a, b in CELL_TYPES[name].edges
    }


def brute_force_facets(mesh: Mesh) -> dict[frozenset[int], list[int]]:
    """Cells of each facet."""
    found = defaultdict(list)
    for cell, (name, nodes) in enumerate(cell_list(mesh)):
        for facet in CELL_TYPES[name].facets:
            found[frozenset(nodes[k] for k in facet)].append(cell)
    return dict(found)


def facet_sets(mesh: Mesh) -> list[frozenset[int]]:
    return [frozenset(facet) for facet in mesh.topology.facets.tolist()]


# -- edges -------------------------------------------------------------------------------------


@given(meshes)
def test_edges_are_those_of_the_cells(mesh: Mesh) -> None:
    edges = [tuple(edge) for edge in mesh.topology.edges.tolist()]
    assert edges == sorted(brute_force_edges(mesh))


@given(meshes)
def test_edge_index_holds_both_directions_sorted_by_receiver(mesh: Mesh) -> None:
    sender, receiver = mesh.edge_index
    pairs = list(zip(receiver.tolist(), sender.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert {(b, a) for a, b in pairs} == set(pairs)
    assert {(min(p), max(p)) for p in pairs} == brute_force_edges(mesh)
    assert mesh.edge_index.dtype == torch.int64
    assert mesh.num_edges == len(pairs)


@given(meshes)
def test_rowptr_cuts_the_edges_by_receiver(mesh: Mesh) -> None:
    rowptr, (_, receiver) = mesh.rowptr, mesh.edge_index
    assert rowptr[0] == 0
    assert rowptr[-1] == len(receiver)
    degrees = torch.bincount(receiver, minlength=mesh.num_nodes)
    assert torch.equal(rowptr.diff(), degrees)
    graph = nx.Graph(brute_force_edges(mesh))
    assert degrees.tolist() == [graph.degree[node] for node in range(mesh.num_nodes)]
    assert nx.is_connected(graph)


def test_the_number_of_cells_at_an_edge_does_not_matter() -> None:
    """256 cells at one edge: as many as make a byte zero again."""
    angle = torch.linspace(0, 2 * torch.pi, 257, dtype=torch.float64)[:-1]
    pos = torch.cat([torch.zeros(1, 2), torch.stack([angle.cos(), angle.sin()], dim=1)])
    rim = torch.arange(256)
    fan = torch.stack([torch.zeros(256, dtype=torch.int64), 1 + rim, 1 + (rim + 1) % 256], dim=1)
    wheel = Mesh.from_cells(pos, {"triangle": fan})
    assert len(wheel.topology.edges) == 512
    assert wheel.rowptr[1] == 256
    # As a column of wedges its axis is an edge of 256 cells.
    low = torch.cat([pos, torch.zeros(257, 1)], dim=1)
    column = torch.cat([low, low + torch.tensor([0, 0, 1.0])])
    mesh = Mesh.from_cells(column, {"wedge": torch.cat([fan, fan + 257], dim=1)})
    assert len(mesh.topology.edges) == 2 * 512 + 257
    assert sorted(mesh.edge_index[0][mesh.rowptr[0] : mesh.rowptr[1]].tolist()) == [
        *range(1, 257),
        257,
    ]


# -- facets ------------------------------------------------------------------------------------


@given(st.one_of(meshes, line_meshes()))
def test_facets_and_their_cells_match_brute_force(mesh: Mesh) -> None:
    topology, expected = mesh.topology, brute_force_facets(mesh)
    found = facet_sets(mesh)
    assert len(set(found)) == len(found) == topology.num_facets
    pairs = [sorted(c for c in pair if c >= 0) for pair in topology.facet_cells.tolist()]
    assert dict(zip(found, pairs, strict=True)) == expected
    assert (topology.facet_cells[:, 0] >= 0).all()


@given(meshes)
def test_facets_point_out_of_their_first_cell(mesh: Mesh) -> None:
    """As the facet's own cell lists it (up to where the cycle starts)."""
    cells = cell_list(mesh)
    for nodes, (first, _) in zip(
        mesh.topology.facets.tolist(), mesh.topology.facet_cells.tolist(), strict=True
    ):
        name, corners = cells[first]
        listed = [tuple(corners[k] for k in facet) for facet in CELL_TYPES[name].facets]
        assert tuple(dict.fromkeys(nodes)) in listed


@given(meshes)
def test_triangles_among_quads_repeat_their_last_node(mesh: Mesh) -> None:
    widths = {len(facet) for name in mesh.cells for facet in CELL_TYPES[name].facets}
    facets = mesh.topology.facets
    assert facets.shape[1] == max(widths)
    distinct = torch.tensor([len(set(facet)) for facet in facets.tolist()])
    assert set(distinct.tolist()) <= widths
    if len(widths) == 2:
        short = facets[distinct == 3]
        assert torch.equal(short[:, 2], short[:, 3])


@given(meshes)
def test_cell_facets_follow_the_local_order(mesh: Mesh) -> None:
    for name, facets in mesh.topology.cell_facets.items():
        local = CELL_TYPES[name].facets
        assert facets.shape == (len(mesh.cells[name]), len(local))
        for nodes, row in zip(mesh.cells[name].tolist(), facets.tolist(), strict=True):
            assert [frozenset(nodes[k] for k in f) for f in local] == [
                frozenset(mesh.topology.facets[i].tolist()) for i in row
            ]


@given(meshes)
def test_neighbours_are_mutual(mesh: Mesh) -> None:
    expected = {
        (cell, facet): ({*pair} - {cell} or {-1}).pop()
        for facet, pair in brute_force_facets(mesh).items()
        for cell in pair
    }
    cells = cell_list(mesh)
    for name, neighbours in mesh.topology.cell_neighbours.items():
        for cell, row in zip(mesh.cell_ids[name].tolist(), neighbours.tolist(), strict=True):
            for facet, other in zip(CELL_TYPES[name].facets, row, strict=True):
                assert other == expected[cell, frozenset(cells[cell][1][k] for k in facet)]


@pytest.mark.parametrize("name", ["triangle", "quad", "tetra", "hexahedron"])
@pytest.mark.parametrize("seed", range(3))
def test_facets_agree_with_skfem(name: str, seed: int) -> None:
    mesh = random_mesh(name, [4, 3, 3][: CELL_TYPES[name].dim], seed, hole=True)
    theirs = mesh.to_skfem()
    expected = {
        frozenset(facet): sorted(c for c in pair if c >= 0)
        for facet, pair in zip(theirs.facets.T.tolist(), theirs.f2t.T.tolist(), strict=True)
    }
    assert expected == dict(
        zip(
            facet_sets(mesh),
            [sorted(c for c in p if c >= 0) for p in mesh.topology.facet_cells.tolist()],
            strict=True,
        )
    )
    assert mesh.boundary_nodes.tolist() == sorted(theirs.boundary_nodes().tolist())
    assert {facet_sets(mesh)[i] for i in mesh.topology.boundary_facets.tolist()} == {
        frozenset(theirs.facets[:, i].tolist()) for i in theirs.boundary_facets().tolist()
    }


@given(st.one_of(meshes, line_meshes()))
def test_boundary_is_what_has_one_cell(mesh: Mesh) -> None:
    outer = {facet for facet, cells in brute_force_facets(mesh).items() if len(cells) == 1}
    found = facet_sets(mesh)
    boundary = mesh.topology.boundary_facets.tolist()
    assert boundary == sorted(boundary)
    assert {found[i] for i in boundary} == outer
    assert mesh.boundary_nodes.tolist() == sorted(set().union(*outer))


@given(any_meshes(max_cells=3, jitter=0.0, stretch=1.0))
def test_boundary_is_closed(mesh: Mesh) -> None:
    """Each node (2D) or edge (3D) of the boundary belongs to an even number of its facets."""
    count: dict[frozenset[int], int] = defaultdict(int)
    for facet in mesh.topology.facets[mesh.topology.boundary_facets].tolist():
        corners = list(dict.fromkeys(facet))
        ends = [(c,) for c in corners] if mesh.dim == 2 else pairwise([*corners, corners[0]])
        for end in ends:
            count[frozenset(end)] += 1
    assert all(times % 2 == 0 for times in count.values())
    normals = facet_normals(mesh, mesh.topology.boundary_facets)
    torch.testing.assert_close(
        normals.sum(dim=0), torch.zeros(mesh.dim, dtype=torch.float64), rtol=0, atol=1e-12
    )


def euler_characteristic(mesh: Mesh) -> int:
    sizes = [mesh.num_nodes, len(mesh.topology.edges), mesh.num_cells]
    if mesh.dim == 3:
        sizes.insert(2, mesh.topology.num_facets)
    return sum((-1) ** k * size for k, size in enumerate(sizes))


@given(any_meshes(max_cells=3, holes=False))
def test_euler_characteristic_of_a_ball_is_one(mesh: Mesh) -> None:
    assert euler_characteristic(mesh) == 1


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (generate.disk(3), 1),
        (generate.annulus(3), 0),
        (generate.l_shape(2, cell="quad"), 1),
        (generate.ball(2), 1),
        (random_mesh("quad", [4, 4], 1, hole=True), 0),
        (random_mesh("hexahedron", [3, 3, 3], 1, hole=True), 2),  # the cavity is a sphere
        (random_mesh("mixed3", [4, 3, 3], 2, hole=True), 2),
    ],
)
def test_euler_characteristic_counts_holes(mesh: Mesh, expected: int) -> None:
    assert euler_characteristic(mesh) == expected


def test_a_facet_of_three_cells_is_an_error_that_names_them() -> None:
    pos = [[0.0, 0], [1, 0], [0, 1], [0, -1], [2, 1]]
    cells = {"triangle": [[0, 1, 2], [1, 0, 3], [0, 1, 4]]}
    with pytest.raises(MeshError, match=r"1 facets .* \[0, 1\] shared by cells \[0, 1, 2\]"):
        Mesh.from_cells(pos, cells)


# -- patches -----------------------------------------------------------------------------------


@given(meshes)
def test_patches_hold_the_cells_of_each_node(mesh: Mesh) -> None:
    expected: list[list[int]] = [[] for _ in range(mesh.num_nodes)]
    for cell, (_, nodes) in enumerate(cell_list(mesh)):
        for node in nodes:
            expected[node].append(cell)
    pointer, cells = mesh.topology.node_cells_ptr.tolist(), mesh.topology.node_cells.tolist()
    assert [cells[a:b] for a, b in pairwise(pointer)] == expected


# -- finding facets ----------------------------------------------------------------------------


@given(meshes, st.integers(0, 2**32 - 1))
def test_facets_are_found_in_any_order_of_their_nodes(mesh: Mesh, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.integers(0, mesh.topology.num_facets, 10)
    nodes = mesh.topology.facets[torch.from_numpy(wanted)].numpy()
    assert mesh.topology.find_facets(
        torch.from_numpy(rng.permuted(nodes, axis=1))
    ).tolist() == list(wanted)


def test_triangles_are_found_with_three_or_four_columns() -> None:
    for mesh in (random_mesh("tetra", [2, 2, 2], 0), random_mesh("wedge", [2, 2, 2], 0)):
        nodes = torch.tensor([f for f in mesh.topology.facets.tolist() if len(set(f)) == 3])
        short = nodes[:, :3]
        wide = torch.cat([short, short[:, :1]], dim=1)
        found = mesh.topology.find_facets(short)
        assert torch.equal(mesh.topology.find_facets(wide), found)
        assert [set(f) for f in mesh.topology.facets[found].tolist()] == [
            set(f) for f in short.tolist()
        ]


def test_no_facets_are_found_among_none() -> None:
    mesh = random_mesh("triangle", [2, 2], 0)
    assert mesh.topology.find_facets(torch.empty(0, 2, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("triangle", [0, 8]),  # nodes of no common cell
        ("triangle", [0, 0]),
        ("quad", [0, 4]),  # a diagonal of a cell
        ("tetra", [0, 1, 26]),
        ("hexahedron", [0, 1, 2, 3]),
        ("hexahedron", [0, 1, 1, 1]),
        ("tetra", [0, 1, 4, 3]),  # four nodes on a mesh of triangles
    ],
)
def test_a_row_that_is_no_facet_is_named(name: str, row: list[int]) -> None:
    mesh = random_mesh(name, [2, 2, 2][: CELL_TYPES[name].dim], shuffle=False)
    good = mesh.topology.facets[:1]
    nodes = torch.tensor([row])
    if nodes.shape[1] == good.shape[1]:
        nodes = torch.cat([good, nodes])
    with pytest.raises(MeshError) as error:
        mesh.topology.find_facets(nodes)
    assert f"1 of the given facets are not facets of any cell: [{row}]" in str(error.value)


@pytest.mark.parametrize("name", ["triangle", "tetra"])
def test_nodes_out_of_range_are_no_facets(name: str) -> None:
    """Node n + 3 beside node 0 must not be taken for node 3 beside node 1."""
    mesh = random_mesh(name, [2, 2, 2][: CELL_TYPES[name].dim], shuffle=False)
    n = mesh.num_nodes
    for facet in mesh.topology.facets.sort(dim=1).values.tolist():
        beyond = [facet[0] - 1, facet[1] + n, *facet[2:]]
        if beyond[0] >= 0:
            with pytest.raises(MeshError, match="not facets"):
                mesh.topology.find_facets(torch.tensor([beyond]))


# -- sharing -----------------------------------------------------------------------------------


def test_moved_copies_share_the_topology() -> None:
    mesh = random_mesh("triangle", [3, 3], 0)
    moved = mesh.moved(mesh.pos + 1)
    again = moved.moved(moved.pos * 2)
    assert moved.topology is mesh.topology
    assert again.topology is mesh.topology
    assert again.edge_index is mesh.edge_index
    assert again.topology.facets is mesh.topology.facets


def test_clones_share_the_topology() -> None:
    mesh = random_mesh("triangle", [3, 3], 0)
    edges = mesh.edge_index
    assert mesh.clone().edge_index is edges
    assert mesh.__deepcopy__({}).edge_index is edges


def test_parts_are_computed_once() -> None:
    topology = random_mesh("mixed3", [2, 2, 2], 0).topology
    for part in ("edges", "edge_index", "rowptr", "facets", "facet_cells", "boundary_facets"):
        assert getattr(topology, part) is getattr(topology, part)
    for part in ("boundary_nodes", "node_cells", "node_cells_ptr", "cell_facets", "cells"):
        assert getattr(topology, part) is getattr(topology, part)


def test_device_copies_keep_what_was_computed() -> None:
    """The meta device stands for a GPU: everything moves but the values."""
    mesh = random_mesh("mixed3", [2, 2, 2], 0)
    topology, meta = mesh.topology, torch.device("meta")
    computed = (topology.edge_index, topology.facets, topology.boundary_nodes, topology.node_cells)
    other = topology.to(meta)
    assert other.device == meta
    assert topology.device == computed[0].device == torch.device("cpu")
    assert other is topology.to(meta)
    assert other.to(torch.device("cpu")) is topology
    copies = (other.edge_index, other.facets, other.boundary_nodes, other.node_cells)
    for copy, own in zip(copies, computed, strict=True):
        assert copy.device == meta
        assert copy.shape == own.shape
    for name, nodes in other.cells.items():
        assert nodes.device == other.cell_facets[name].device == meta
    assert (other.cell_dim, other.num_nodes, other.num_cells) == (3, mesh.num_nodes, mesh.num_cells)


def test_a_mesh_on_another_device_finds_its_topology_there() -> None:
    mesh = random_mesh("tetra", [2, 2, 2], 0, tags=True)
    own = mesh.edge_index
    moved = mesh.clone().to("meta")
    assert moved.pos.device == moved.edge_index.device == torch.device("meta")
    assert moved.edge_index.shape == own.shape
    assert mesh.edge_index is own
    assert moved.cells["tetra"].device == torch.device("meta")


# -- renumbering -------------------------------------------------------------------------------


@given(meshes, st.integers(0, 2**32 - 1))
def test_connectivity_does_not_depend_on_the_numbering(mesh: Mesh, seed: int) -> None:
    other, node, cell = renumbered(mesh, seed)
    assert {frozenset(node[e].tolist()) for e in mesh.topology.edges} == {
        frozenset(e) for e in other.topology.edges.tolist()
    }
    new_cell = torch.empty_like(cell)
    new_cell[cell] = torch.arange(len(cell))
    outside = torch.cat([new_cell, torch.tensor([-1])])  # index -1 stays -1
    ours = {
        frozenset(node[f].tolist()): frozenset(outside[c].tolist())
        for f, c in zip(mesh.topology.facets, mesh.topology.facet_cells, strict=True)
    }
    theirs = {
        frozenset(f): frozenset(c)
        for f, c in zip(
            other.topology.facets.tolist(), other.topology.facet_cells.tolist(), strict=True
        )
    }
    assert ours == theirs
    assert node[mesh.boundary_nodes].sort().values.tolist() == other.boundary_nodes.tolist()
