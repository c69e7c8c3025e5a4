"""The mesh object: construction, tags, fields, copies, equality, and life inside PyG."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch_geometric.transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCNConv

from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]]
TRIANGLES = [[0, 1, 2], [0, 2, 3]]
QUADS = [[1, 4, 5, 2]]
SOLIDS = ["tetra", "hexahedron", "mixed3", "wedge", "pyramid"]


def two_triangles_and_a_quad(**kwargs: Any) -> Mesh:
    return Mesh.from_cells(SQUARE, {"triangle": TRIANGLES, "quad": QUADS}, **kwargs)


def with_fields(mesh: Mesh, seed: int = 0) -> Mesh:
    """A copy with a field of each kind, of several shapes and types."""
    mesh, draw = mesh.clone(), torch.Generator().manual_seed(seed)
    mesh.set_field("velocity", torch.rand(mesh.num_nodes, mesh.dim, generator=draw), "node")
    mesh.set_field("material", torch.randint(9, (mesh.num_cells,), generator=draw), "cell")
    mesh.set_field("flux", torch.rand(mesh.topology.num_facets, 1, generator=draw), "facet")
    return mesh


def solids() -> list[Mesh]:
    """Meshes of different cell types, every other one with tags, all with fields."""
    return [
        with_fields(random_mesh(cell, [2, 2, 2], k, tags=k % 2 == 0), k)
        for k, cell in enumerate(SOLIDS)
    ]


# -- construction ------------------------------------------------------------------------------


def test_cells_are_kept_by_type_in_the_order_given() -> None:
    blocks = [("triangle", TRIANGLES[:1]), ("quad", QUADS), ("triangle", TRIANGLES[1:])]
    mesh = Mesh.from_cells(SQUARE, blocks)
    assert list(mesh.cells) == ["triangle", "quad"]
    assert mesh.cells["triangle"].tolist() == TRIANGLES
    assert mesh.cells["quad"].tolist() == QUADS
    assert {name: ids.tolist() for name, ids in mesh.cell_ids.items()} == {
        "triangle": [0, 2],
        "quad": [1],
    }
    assert mesh.volumes().tolist() == [0.5, 1.0, 0.5]
    assert (mesh.dim, mesh.cell_dim, mesh.num_nodes, mesh.num_cells) == (2, 2, 6, 3)


def test_order_of_blocks_makes_the_canonical_order() -> None:
    first = Mesh.from_cells(SQUARE, [("quad", QUADS), ("triangle", TRIANGLES)])
    assert first.volumes().tolist() == [1.0, 0.5, 0.5]
    assert first != two_triangles_and_a_quad()


@given(any_meshes(max_cells=3))
def test_cells_and_ids_rebuild_the_mesh(mesh: Mesh) -> None:
    rows = {
        int(index): (name, nodes[None])
        for name, block in mesh.cells.items()
        for index, nodes in zip(mesh.cell_ids[name], block, strict=True)
    }
    assert sorted(rows) == list(range(mesh.num_cells))
    assert Mesh.from_cells(mesh.pos, [rows[k] for k in range(mesh.num_cells)]) == mesh


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.uint64, ">i4", np.int16])
@pytest.mark.parametrize("real", [np.float32, np.float64, ">f8", np.int64])
def test_any_numpy_numbers_will_do(dtype: Any, real: Any) -> None:
    mesh = Mesh.from_cells(
        np.array(SQUARE, real), {"triangle": np.array(TRIANGLES, dtype), "quad": QUADS}
    )
    assert mesh == two_triangles_and_a_quad()
    assert mesh.pos.dtype == torch.float64
    assert mesh.cells["triangle"].dtype == torch.int64


def test_any_numpy_memory_will_do() -> None:
    pos = np.array(SQUARE)[::-1]  # negative strides
    cells = np.asfortranarray(5 - np.array(TRIANGLES))
    cells.flags.writeable = False
    mesh = Mesh.from_cells(pos, {"triangle": cells, "quad": 5 - np.array(QUADS)})
    torch.testing.assert_close(mesh.volumes(), two_triangles_and_a_quad().volumes())
    assert mesh.moved(pos[::-1]).pos.tolist() == SQUARE
    mesh.set_field("u", np.arange(6.0)[::-1], "node")
    assert mesh["u"].tolist() == [5, 4, 3, 2, 1, 0]


def test_the_mesh_owns_its_positions_and_cells() -> None:
    pos, cells = np.array(SQUARE), {"triangle": np.array(TRIANGLES), "quad": np.array(QUADS)}
    mesh = Mesh.from_cells(pos, cells)
    pos[:], cells["triangle"][:] = 0, 0
    assert mesh == two_triangles_and_a_quad()
    tensor = torch.tensor(SQUARE, dtype=torch.float64)
    mesh = Mesh.from_cells(tensor, {"triangle": TRIANGLES, "quad": QUADS})
    tensor.zero_()
    assert mesh == two_triangles_and_a_quad()


def test_positions_keep_their_gradient() -> None:
    pos = torch.tensor(SQUARE, dtype=torch.float64, requires_grad=True)
    mesh = Mesh.from_cells(pos, {"triangle": TRIANGLES, "quad": QUADS})
    (slope,) = torch.autograd.grad(mesh.volumes().sum(), pos)
    assert slope[4].tolist() == [0.5, -0.5]


@pytest.mark.parametrize("name", CELL_TYPES)
def test_a_mesh_of_each_type(name: str) -> None:
    mesh = random_mesh(name, [2, 2, 2][: CELL_TYPES[name].dim], 0)
    assert list(mesh.cells) == [name]
    assert mesh.dim == mesh.cell_dim == CELL_TYPES[name].dim
    assert (mesh.volumes() > 0).all()
    assert len(mesh.inverted_cells()) == 0


@pytest.mark.parametrize(
    ("pos", "cells", "message"),
    [
        ([[0.0, 0]], {}, r"the mesh is empty: 1 nodes and 0 cells"),
        (np.zeros((0, 2)), {"triangle": []}, r"the mesh is empty: 0 nodes and 0 cells"),
        (SQUARE, {"quad": np.zeros((0, 4), int)}, r"the mesh is empty: 6 nodes and 0 cells"),
        (np.zeros((3, 4)), {"triangle": [[0, 1, 2]]}, r"\[n_nodes, 1, 2 or 3\], got .*\[3, 4\]"),
        (np.zeros(3), {"triangle": [[0, 1, 2]]}, r"pos must be .* got shape \[3\]"),
        ("abc", {"triangle": [[0, 1, 2]]}, r"pos must be numbers"),
        (SQUARE, {"triangel": TRIANGLES}, r"unknown cell type 'triangel'; known are line, tri"),
        (SQUARE, {"triangle": QUADS}, r"'triangle' must be \[k, 3\], got \[1, 4\]"),
        (SQUARE, {"triangle": [0, 1, 2]}, r"'triangle' must be \[k, 3\], got \[3\]"),
        (SQUARE, {"triangle": [[0, 1, 2], [0, 1]]}, r"'triangle' must be numbers"),
        (SQUARE, {"triangle": [[0.0, 1, 2]]}, r"must be integer indices, got torch.float32"),
        (SQUARE, {"triangle": [[True, False, True]]}, r"must be integer indices, got torch.bool"),
        (SQUARE, {"triangle": TRIANGLES, "line": [[0, 1]]}, r"cells of dimension \[1, 2\] in 2D"),
        (SQUARE, {"tetra": [[0, 1, 2, 3]]}, r"cells of dimension \[3\] in 2D"),
        (SQUARE, {"triangle": [[0, 1, -1]]}, r"cell 0 names node -1, .* 6 nodes \(0 to 5\); 1 "),
        (
            SQUARE,
            [("triangle", TRIANGLES), ("quad", QUADS), ("triangle", [[0, 1, 2], [0, 6, 7]])],
            r"cell 4 names node 6, but there are 6 nodes \(0 to 5\); 2 such entries",
        ),
    ],
)
def test_what_cannot_be_a_mesh_is_refused(pos: Any, cells: Any, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        Mesh.from_cells(pos, cells)


# -- tags --------------------------------------------------------------------------------------


def test_tags_are_kept_by_name() -> None:
    mesh = two_triangles_and_a_quad(
        facet_tags={"wall": [[0, 1], [3, 0]], "inner": [[1, 2]], "none": []},
        cell_tags={"solid": [2, 0], "fluid": [1]},
        point_tags={"corner": [3], "both": [3, 0]},
    )
    assert {k: v.tolist() for k, v in mesh.facet_tags.items()} == {
        "wall": [[0, 1], [3, 0]],
        "inner": [[1, 2]],
        "none": [],
    }
    assert {k: v.tolist() for k, v in mesh.cell_tags.items()} == {"solid": [2, 0], "fluid": [1]}
    assert {k: v.tolist() for k, v in mesh.point_tags.items()} == {"corner": [3], "both": [3, 0]}


def test_an_entity_may_carry_several_tags() -> None:
    mesh = two_triangles_and_a_quad(
        facet_tags={"a": [[0, 1]], "b": [[1, 0]]}, cell_tags={"a": [0, 1], "b": [1]}
    )
    assert mesh.facet_tags["a"].tolist() == [[0, 1]]
    assert mesh.facet_tags["b"].tolist() == [[1, 0]]
    assert mesh.cell_tags["a"].tolist() == [0, 1]
    assert mesh.cell_tags["b"].tolist() == [1]


def test_tagged_facets_of_solids_are_triangles_or_quads() -> None:
    tetra = random_mesh("tetra", [1, 1, 1], shuffle=False, tags=True)
    assert tetra.facet_tags["left"].shape == (2, 3)
    box = random_mesh("hexahedron", [2, 2, 2], shuffle=False, tags=True)
    assert box.facet_tags["left"].shape == (4, 4)
    wedge = random_mesh("wedge", [1, 1, 1], shuffle=False, tags=True)
    assert wedge.facet_tags["left"].shape == (1, 4)
    assert wedge.facet_tags["top"].shape == (2, 3)
    both = Mesh.from_cells(
        wedge.pos, wedge.cells, facet_tags={"ends": [[0, 3, 1, 1], [0, 1, 5, 4]]}
    )
    assert both.facet_tags["ends"].tolist() == [[0, 3, 1, 1], [0, 1, 5, 4]]


def test_tags_given_out_can_be_written_to() -> None:
    mesh = two_triangles_and_a_quad(cell_tags={"a": [0, 1]}, point_tags={"p": [1]})
    mesh.cell_tags["a"][:] = 2
    mesh.cell_tags["b"] = torch.tensor([0])
    mesh.point_tags["p"][:] = 0
    assert {k: v.tolist() for k, v in mesh.cell_tags.items()} == {"a": [0, 1]}
    assert mesh.point_tags["p"].tolist() == [1]


def test_tagged_nodes_of_any_kind_of_tag() -> None:
    mesh = two_triangles_and_a_quad(
        facet_tags={"wall": [[3, 0], [0, 1]]}, cell_tags={"quad": [2]}, point_tags={"p": [5, 3, 5]}
    )
    assert mesh.tagged_nodes("wall").tolist() == [0, 1, 3]
    assert mesh.tagged_nodes("quad").tolist() == [1, 2, 4, 5]
    assert mesh.tagged_nodes("p").tolist() == [3, 5]
    assert mesh.tagged_nodes("boundary").tolist() == mesh.boundary_nodes.tolist()
    own = two_triangles_and_a_quad(facet_tags={"boundary": [[0, 1]]})
    assert own.tagged_nodes("boundary").tolist() == [0, 1]
    with pytest.raises(MeshError, match="there is no tag 'wal'; the mesh has 'wall', 'p', 'quad'"):
        mesh.tagged_nodes("wal")
    with pytest.raises(MeshError, match="the mesh has no tags"):
        two_triangles_and_a_quad().tagged_nodes("wall")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"facet_tags": {"a": [[0, 6]]}}, "facet tag 'a' names node 6, but there are 6 (0 to 5)"),
        ({"facet_tags": {"a": [[0, -1]]}}, "facet tag 'a' names node -1, but there are 6 (0 to 5)"),
        ({"facet_tags": {"a": [[0, 1, 2]]}}, "facet tag 'a' must be node indices"),
        ({"facet_tags": {"a": [0, 1]}}, "facet tag 'a' must be node indices"),
        ({"facet_tags": {"a": [[0.0, 1]]}}, "facet tag 'a' must be integer indices"),
        (
            {"facet_tags": {"ok": [[0, 1]], "a": [[1, 3], [0, 4]]}},
            "2 of the given facets are not facets of any cell: [[1, 3], [0, 4]]",
        ),
        ({"cell_tags": {"a": [3]}}, "cell tag 'a' names cell 3, but there are 3 (0 to 2)"),
        ({"cell_tags": {"a": [-1]}}, "cell tag 'a' names cell -1, but there are 3 (0 to 2)"),
        ({"cell_tags": {"a": [True, False, True]}}, "cell tag 'a' must be integer indices"),
        ({"cell_tags": {"": [0]}}, "the name of a cell tag must be a non-empty string, got ''"),
        ({"cell_tags": {3: [0]}}, "the name of a cell tag must be a non-empty string, got 3"),
        ({"point_tags": {"a": [[1]]}}, "point tag 'a' must be a list of indices, got [1, 1]"),
        ({"point_tags": {"a": 1}}, "point tag 'a' must be a list of indices, got []"),
    ],
)
def test_wrong_tags_are_refused(tags: Any, message: str) -> None:
    with pytest.raises(MeshError, match=re.escape(message)):
        two_triangles_and_a_quad(**tags)


# -- fields ------------------------------------------------------------------------------------


def test_fields_are_told_apart_by_kind_not_by_length() -> None:
    """A square of two triangles has 4 nodes; three rows are cells or nothing else."""
    line = Mesh.from_cells([[0.0], [1], [2]], {"line": [[0, 1], [1, 2]]})
    line.set_field("node_like", [1.0, 2, 3], "facet")  # 3 facets, and 3 nodes
    assert line.field_kinds == {"node_like": "facet"}
    assert not line.is_node_attr("node_like")
    mesh = two_triangles_and_a_quad(
        node_fields={"u": np.arange(6.0)}, cell_fields={"k": [[1, 2], [3, 4], [5, 6]]}
    )
    mesh.set_field("f", torch.zeros(mesh.topology.num_facets, 2, 2), "facet")
    assert list(mesh.node_fields) == ["u"]
    assert list(mesh.cell_fields) == ["k"]
    assert list(mesh.facet_fields) == ["f"]
    assert mesh.u.tolist() == mesh["u"].tolist() == list(range(6))
    assert mesh.is_node_attr("u")
    assert not mesh.is_node_attr("k")
    assert not mesh.is_edge_attr("f")


def test_a_field_is_replaced_with_its_kind() -> None:
    mesh = two_triangles_and_a_quad(node_fields={"u": np.arange(6.0)})
    mesh.set_field("u", [1.0, 2, 3], "cell")
    assert mesh.node_fields == {}
    assert mesh.cell_fields["u"].tolist() == [1, 2, 3]


def test_a_deleted_field_is_gone() -> None:
    mesh = two_triangles_and_a_quad(node_fields={"u": np.arange(6.0)})
    del mesh["u"]
    assert mesh.node_fields == {}
    assert "fields" not in repr(mesh)


@pytest.mark.parametrize(
    ("name", "values", "kind", "message"),
    [
        ("u", np.zeros(3), "node", "node field 'u' must have 6 rows, got shape [3]"),
        ("u", np.zeros(6), "cell", "cell field 'u' must have 3 rows, got shape [6]"),
        ("u", np.zeros(6), "facet", "facet field 'u' must have 8 rows, got shape [6]"),
        ("u", 1.0, "node", "node field 'u' must have 6 rows, got shape []"),
        ("u", np.zeros(6), "edge", "kind of field 'u' must be one of"),
        ("pos", np.zeros((6, 2)), "node", "a field cannot be called 'pos'"),
        ("edge_index", np.zeros(6), "node", "a field cannot be called 'edge_index'"),
        ("tagged_facets", np.zeros(6), "node", "a field cannot be called 'tagged_facets'"),
        ("u", ["a"] * 6, "node", "node field 'u' must be numbers"),
    ],
)
def test_wrong_fields_are_refused(name: str, values: Any, kind: str, message: str) -> None:
    mesh = two_triangles_and_a_quad()
    with pytest.raises(MeshError, match=re.escape(message)):
        mesh.set_field(name, values, kind)
    assert mesh == two_triangles_and_a_quad()


@pytest.mark.parametrize(
    "name", ["x", "y", "face", "cells", "quality", "edge_attr", "my_index", "a b/c", "num_cells"]
)
def test_field_names_with_a_meaning_elsewhere_survive_batching(name: str) -> None:
    """PyG guesses from names ("index", "face", "adj"): a declared field is never guessed at."""
    mesh = two_triangles_and_a_quad(node_fields={name: np.arange(6.0)})
    batch = Batch.from_data_list([mesh, mesh])
    assert batch.node_fields[name].tolist() == [*range(6), *range(6)]
    assert batch.to_data_list() == [mesh, mesh]
    assert batch.num_cells == 6


# -- printing, equality, copies ----------------------------------------------------------------


def test_repr_says_what_there_is() -> None:
    mesh = two_triangles_and_a_quad(
        facet_tags={"inlet": [[0, 1]]}, node_fields={"u": np.zeros(6), "v": np.zeros((6, 2))}
    )
    assert repr(mesh) == (
        "Mesh(2D; 6 nodes; 2 triangles; 1 quad; facet tags: inlet (1); node fields: u, v[2])"
    )
    assert repr(Batch.from_data_list([mesh] * 2)).startswith("MeshBatch(2D; 12 nodes; 4 triangles")


def test_equality_sees_every_part() -> None:
    tags: dict[str, Any] = {
        "facet_tags": {"a": [[0, 1]]},
        "cell_tags": {"c": [0]},
        "point_tags": {"p": [0]},
        "node_fields": {"u": np.zeros(6)},
        "cell_fields": {"k": np.zeros(3)},
    }
    mesh = two_triangles_and_a_quad(**tags)
    assert mesh == two_triangles_and_a_quad(**tags)
    others = [
        {"facet_tags": {"a": [[1, 0]]}},
        {"facet_tags": {"b": [[0, 1]]}},
        {"cell_tags": {"c": [1]}},
        {"cell_tags": {"c": [0], "d": [1]}},
        {"point_tags": {}},
        {"node_fields": {"u": np.ones(6)}},
        {"node_fields": {"u": np.zeros(6, np.float32)}},
        {"node_fields": {"u": np.zeros((6, 1))}},
        {"cell_fields": {"k": np.zeros(3), "m": np.zeros(3)}},
    ]
    for other in others:
        assert mesh != two_triangles_and_a_quad(**{**tags, **other}), other
    assert mesh != mesh.moved(mesh.pos.nextafter(mesh.pos + 1))
    turned = Mesh.from_cells(SQUARE, {"triangle": [[1, 2, 0], [0, 2, 3]], "quad": QUADS}, **tags)
    assert mesh != turned
    mesh.title = "a plate"
    assert mesh != two_triangles_and_a_quad(**tags)
    assert mesh != "mesh"
    assert mesh != 3


def test_kind_of_a_field_is_part_of_the_value() -> None:
    line = Mesh.from_cells([[0.0], [1], [2]], {"line": [[0, 1], [1, 2]]})
    first, second = line.clone(), line.clone()
    first.set_field("u", [1.0, 2, 3], "node")
    second.set_field("u", [1.0, 2, 3], "facet")
    assert first != second


def test_nan_equals_nan_in_fields() -> None:
    mesh = two_triangles_and_a_quad(node_fields={"u": [0.0, torch.nan, 2, 3, 4, 5]})
    assert mesh == mesh.clone()
    other = mesh.clone()
    other.u[1] = 1
    assert mesh != other


def test_undeclared_attributes_may_be_arrays() -> None:
    mesh = two_triangles_and_a_quad()
    mesh.history = np.arange(3)
    other = mesh.clone()
    assert mesh == other
    other.history = np.arange(4)
    assert mesh != other


def test_a_mesh_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(two_triangles_and_a_quad())


def test_clones_are_independent() -> None:
    mesh = with_fields(two_triangles_and_a_quad())
    for other in (mesh.clone(), copy.deepcopy(mesh), pickle.loads(pickle.dumps(mesh))):
        assert other == mesh
        assert type(other) is Mesh
        other.pos += 1
        other["velocity"] += 1
        other.set_field("new", np.zeros(6), "node")
        assert mesh == with_fields(two_triangles_and_a_quad())


def test_shallow_copies_have_their_own_names() -> None:
    mesh = two_triangles_and_a_quad()
    other = copy.copy(mesh)
    other.set_field("new", np.zeros(6), "node")
    assert mesh == two_triangles_and_a_quad()
    assert other.pos is mesh.pos


def test_pickles_hold_no_topology() -> None:
    mesh = random_mesh("tetra", [3, 3, 3], 0)
    before = len(pickle.dumps(mesh))
    _ = mesh.topology.facets, mesh.edge_index
    assert len(pickle.dumps(mesh)) == before
    again = pickle.loads(pickle.dumps(mesh))
    assert torch.equal(again.edge_index, mesh.edge_index)


def test_moving_leaves_the_input_alone_and_checks_shapes() -> None:
    mesh = with_fields(two_triangles_and_a_quad(facet_tags={"a": [[0, 1]]}))
    moved = mesh.moved((2 * mesh.pos).numpy().astype(np.float32))
    assert moved.pos.dtype == torch.float64
    assert moved.volumes().tolist() == [2.0, 2.0, 4.0]
    assert mesh.volumes().tolist() == [0.5, 0.5, 1.0]
    assert moved.moved(mesh.pos) == mesh
    assert moved["velocity"] is mesh["velocity"]
    with pytest.raises(MeshError, match=r"moved positions must be \[6, 2\], got \[5, 2\]"):
        mesh.moved(mesh.pos[:5])


def test_inverted_cells_of_the_shifted_square() -> None:
    """Counts published with the Movement library for a 3 x 3 square."""
    mesh = generate.rectangle(3, 3)
    node = int((mesh.pos - 1 / 3).norm(dim=1).argmin())
    for shift, count in (((0.2, 0.2), 1), ((0.5, 0.0), 2), ((0.5, 0.5), 3)):
        pos = mesh.pos.clone()
        pos[node] += torch.tensor(shift)
        assert len(mesh.moved(pos).inverted_cells()) == count


# -- batches -----------------------------------------------------------------------------------


def test_batches_come_apart_into_equal_meshes() -> None:
    meshes = solids()
    batch = Batch.from_data_list(meshes)
    assert isinstance(batch, Mesh)
    assert isinstance(batch, Batch)
    parts = batch.to_data_list()
    assert [type(part) for part in parts] == [Mesh] * len(meshes)
    assert parts == meshes
    assert batch[1] == meshes[1]
    assert batch[-2:] == meshes[-2:]


@settings(max_examples=25)
@given(
    st.lists(
        any_meshes(max_cells=2, tags=True).filter(lambda m: m.dim == 3), min_size=1, max_size=4
    )
)
def test_random_batches_come_apart_into_equal_meshes(meshes: list[Mesh]) -> None:
    meshes = [with_fields(mesh, seed) for seed, mesh in enumerate(meshes)]
    assert Batch.from_data_list(meshes).to_data_list() == meshes


def test_a_batch_is_one_disjoint_mesh() -> None:
    meshes = solids()
    batch = Batch.from_data_list(meshes)
    batch.validate()
    torch.testing.assert_close(batch.volumes(), torch.cat([m.volumes() for m in meshes]))
    assert batch.num_nodes == sum(m.num_nodes for m in meshes)
    assert batch.num_cells == sum(m.num_cells for m in meshes)
    starts = batch.ptr[:-1].tolist()
    shifted = list(zip(meshes, starts, strict=True))
    assert torch.equal(batch.edge_index, torch.cat([m.edge_index + s for m, s in shifted], dim=1))
    assert torch.equal(batch.boundary_nodes, torch.cat([m.boundary_nodes + s for m, s in shifted]))
    assert batch.topology.num_facets == sum(m.topology.num_facets for m in meshes)
    for name in CELL_TYPES:
        rows = [m.cells[name] + s for m, s in shifted if name in m.cells]
        if rows:
            assert torch.equal(batch.cells[name], torch.cat(rows))


def test_fields_of_a_batch_follow_each_other() -> None:
    meshes = solids()
    batch = Batch.from_data_list(meshes)
    for kind in ("node", "cell", "facet"):
        fields = getattr(batch, f"{kind}_fields")
        assert list(fields) == list(getattr(meshes[0], f"{kind}_fields"))
        for name, values in fields.items():
            assert torch.equal(values, torch.cat([mesh[name] for mesh in meshes]))


def test_facets_of_a_batch_are_in_the_order_of_its_facet_fields() -> None:
    """Also where one mesh has facets of three columns and the batch has four."""
    meshes = solids()
    for mesh in meshes:
        mesh.set_field("highest", mesh.pos[mesh.topology.facets].amax(dim=1), "facet")
    batch = Batch.from_data_list(meshes)
    assert torch.equal(batch["highest"], batch.pos[batch.topology.facets].amax(dim=1))


def test_equal_names_in_a_batch_are_one_tag() -> None:
    meshes = [random_mesh("tetra", [2, 2, 2], k, tags=True) for k in range(2)]
    meshes.append(Mesh.from_cells(meshes[0].pos, meshes[0].cells, cell_tags={"other": [3, 1]}))
    batch = Batch.from_data_list(meshes)
    starts = batch.ptr.tolist()
    left = [m.facet_tags["left"] + s for m, s in zip(meshes[:2], starts, strict=False)]
    assert torch.equal(batch.facet_tags["left"], torch.cat(left))
    offset = sum(m.num_cells for m in meshes[:2])
    assert batch.cell_tags["other"].tolist() == [offset + 3, offset + 1]
    assert list(batch.cell_tags) == ["low", "high", "other"]
    assert batch.to_data_list() == meshes


def test_tags_may_differ_from_mesh_to_mesh() -> None:
    one = two_triangles_and_a_quad(point_tags={"a": [0], "b": [1]})
    two = two_triangles_and_a_quad()
    three = two_triangles_and_a_quad(point_tags={"b": [2], "c": [], "a": [3]})
    batch = Batch.from_data_list([one, two, three])
    assert {k: v.tolist() for k, v in batch.point_tags.items()} == {
        "a": [0, 15],
        "b": [1, 14],
        "c": [],
    }
    assert batch.to_data_list() == [one, two, three]
    assert list(batch.to_data_list()[2].point_tags) == ["b", "c", "a"]


def test_one_mesh_makes_a_batch() -> None:
    mesh = with_fields(random_mesh("quad", [2, 2], 0, tags=True))
    assert Batch.from_data_list([mesh]).to_data_list() == [mesh]


def test_batches_of_batches() -> None:
    batch = Batch.from_data_list(solids())
    twice = Batch.from_data_list([batch, batch])
    assert twice.num_cells == 2 * batch.num_cells
    assert twice.cell_tags["low"].numel() == 2 * batch.cell_tags["low"].numel()
    torch.testing.assert_close(twice.volumes(), batch.volumes().repeat(2))
    assert twice.to_data_list() == [batch, batch]


def test_a_moved_batch_comes_apart_into_moved_meshes() -> None:
    meshes = solids()
    batch = Batch.from_data_list(meshes)
    moved = batch.moved(2 * batch.pos)
    assert moved.topology is batch.topology
    assert moved.to_data_list() == [mesh.moved(2 * mesh.pos) for mesh in meshes]


def test_a_batch_is_copied_and_pickled() -> None:
    batch = Batch.from_data_list(solids())
    for other in (batch.clone(), copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):
        assert other == batch
        assert other.to_data_list() == solids()


def test_a_field_of_two_kinds_in_a_batch_is_an_error() -> None:
    line = Mesh.from_cells([[0.0], [1], [2]], {"line": [[0, 1], [1, 2]]})
    first, second = line.clone(), line.clone()
    first.set_field("u", [1.0, 2, 3], "node")
    second.set_field("u", [1.0, 2, 3], "facet")
    with pytest.raises(MeshError, match="field 'u' is a facet field in some meshes of the batch"):
        _ = Batch.from_data_list([first, second]).field_kinds


def test_follow_batch_and_exclude_keys() -> None:
    meshes = solids()
    batch = Batch.from_data_list(meshes, follow_batch=["material"], exclude_keys=["velocity"])
    assert batch.material_batch.bincount().tolist() == [m.num_cells for m in meshes]
    assert batch.material_ptr.diff().tolist() == [m.num_cells for m in meshes]
    assert "velocity" not in batch.node_fields
    assert list(batch.cell_fields) == ["material"]


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loader_batches_meshes(workers: int) -> None:
    meshes = solids()
    loader = DataLoader(meshes, batch_size=2, num_workers=workers)
    assert [mesh for batch in loader for mesh in batch.to_data_list()] == meshes


# -- the mesh is a graph -----------------------------------------------------------------------


def test_graph_predicates() -> None:
    mesh = random_mesh("mixed2", [3, 3], 0)
    assert mesh.is_undirected()
    assert not mesh.is_directed()
    assert not mesh.has_self_loops()
    assert not mesh.has_isolated_nodes()
    assert T.AddSelfLoops()(mesh.clone()).has_self_loops()
    one_way = mesh.clone()
    one_way.edge_index = mesh.topology.edges.t()
    assert not one_way.is_undirected()


def test_transforms_see_the_edges() -> None:
    mesh = random_mesh("triangle", [3, 3], 0)
    sender, receiver = mesh.edge_index
    distance = T.Distance(norm=False, cat=False)(mesh.clone())
    assert isinstance(distance, Mesh)
    torch.testing.assert_close(
        distance.edge_attr[:, 0], (mesh.pos[sender] - mesh.pos[receiver]).norm(dim=1)
    )
    assert distance.is_edge_attr("edge_attr")
    relative = T.Cartesian(norm=False, cat=False)(mesh.clone())
    torch.testing.assert_close(relative.edge_attr, mesh.pos[sender] - mesh.pos[receiver])
    parts = Batch.from_data_list([distance, distance]).to_data_list()
    assert parts == [distance, distance]


@pytest.mark.parametrize(
    "transform",
    [
        T.LocalCartesian(),
        T.Spherical(),
        T.Center(),
        T.NormalizeScale(),
        T.LocalDegreeProfile(),
        T.AddRandomWalkPE(3),
        T.RandomRotate(30),
        T.ToUndirected(),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_transforms_give_meshes(transform: T.BaseTransform) -> None:
    mesh = random_mesh("tetra", [2, 2, 2], 0, tags=True)
    out = transform(mesh.clone())
    assert isinstance(out, Mesh)
    assert out.num_cells == mesh.num_cells
    assert out.facet_tags.keys() == mesh.facet_tags.keys()
    out.validate()


def test_a_transform_may_replace_the_graph() -> None:
    mesh = random_mesh("triangle", [3, 3], 0)
    own = mesh.edge_index
    looped = T.AddSelfLoops()(mesh.clone())
    assert looped.num_edges == mesh.num_edges + mesh.num_nodes
    assert torch.equal(mesh.edge_index, own)
    batch = Batch.from_data_list([looped, looped])
    assert batch.num_edges == 2 * looped.num_edges
    assert torch.equal(batch.to_data_list()[1].edge_index, looped.edge_index)


def test_layers_run_on_a_mesh_and_on_a_batch() -> None:
    meshes = [random_mesh("triangle", [3, 2], k) for k in range(3)]
    batch = Batch.from_data_list(meshes)
    layer = GCNConv(2, 4).double()
    together = layer(batch.pos, batch.edge_index)
    apart = torch.cat([layer(mesh.pos, mesh.edge_index) for mesh in meshes])
    torch.testing.assert_close(together, apart)


def test_face_is_that_of_pyg() -> None:
    mesh = random_mesh("triangle", [2, 2], 0)
    assert torch.equal(mesh.face, mesh.cells["triangle"].t())
    edges = T.FaceToEdge(remove_faces=False)(Data(pos=mesh.pos, face=mesh.face)).edge_index
    assert {tuple(e) for e in edges.t().tolist()} == {
        tuple(e) for e in mesh.edge_index.t().tolist()
    }
    assert random_mesh("quad", [2, 2], 0).face is None
