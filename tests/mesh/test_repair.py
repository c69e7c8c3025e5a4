"""Repairs on request: they mend what they say, keep all else, and leave sound meshes alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh

from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate
from meshlearn.mesh.repair import REPAIRS, apply_repairs, reorient

seeds = st.integers(0, 2**32 - 1)


def blocks(mesh: Mesh) -> list[tuple[str, torch.Tensor]]:
    """One block for each cell, in canonical order."""
    rows = {
        int(index): (name, row[None])
        for name, nodes in mesh.cells.items()
        for index, row in zip(mesh.cell_ids[name], nodes, strict=True)
    }
    return [rows[k] for k in range(mesh.num_cells)]


@given(any_meshes(tags=True, max_cells=3))
def test_sound_meshes_stay_as_they_are(mesh: Mesh) -> None:
    assert apply_repairs(mesh, REPAIRS) == mesh


def test_unknown_repairs_are_refused() -> None:
    with pytest.raises(MeshError, match="cannot repair 'hanging'; repairs are orphan, duplicate"):
        Mesh.from_cells([[0.0], [1]], {"line": [[0, 1]]}, repair=["orphan", "hanging"])


# -- orphan nodes ------------------------------------------------------------------------------


@given(any_meshes(tags=True, max_cells=3), seeds)
def test_orphans_are_dropped_and_the_rest_is_renumbered(mesh: Mesh, seed: int) -> None:
    rng = np.random.default_rng(seed)
    new = np.sort(rng.choice(mesh.num_nodes + 5, mesh.num_nodes, replace=False))
    number = torch.from_numpy(new)
    pos = torch.rand(mesh.num_nodes + 5, mesh.dim, dtype=torch.float64)
    pos[number] = mesh.pos
    heat = torch.rand(len(pos), 2)
    repaired = Mesh.from_cells(
        pos,
        [(name, number[nodes]) for name, nodes in blocks(mesh)],
        facet_tags={name: number[nodes] for name, nodes in mesh.facet_tags.items()},
        cell_tags=mesh.cell_tags,
        node_fields={"heat": heat},
        cell_fields={"index": torch.arange(mesh.num_cells)},
        repair=["orphan"],
    )
    expected = mesh.clone()
    expected.set_field("heat", heat[number], "node")
    expected.set_field("index", torch.arange(mesh.num_cells), "cell")
    assert repaired == expected


def test_point_tags_lose_orphans() -> None:
    mesh = Mesh.from_cells(
        [[5.0, 5], [0, 0], [1, 0], [0, 1]],
        {"triangle": [[1, 2, 3]]},
        point_tags={"centre": [0], "some": [0, 3, 1]},
        repair=["orphan"],
    )
    assert mesh.num_nodes == 3
    assert {k: sorted(v.tolist()) for k, v in mesh.point_tags.items()} == {
        "centre": [],
        "some": [0, 2],
    }


# -- duplicate nodes ---------------------------------------------------------------------------


@given(any_meshes(tags=True, max_cells=3))
def test_cells_apart_are_joined_again(mesh: Mesh) -> None:
    """Every cell gets nodes of its own (triangle soup); merging restores the connectivity."""
    soup, start, pos = [], 0, []
    for name, nodes in blocks(mesh):
        soup.append((name, torch.arange(start, start + nodes.shape[1])[None]))
        pos.append(mesh.pos[nodes[0]])
        start += nodes.shape[1]
    source = torch.cat([nodes[0] for _, nodes in blocks(mesh)])
    merged = Mesh.from_cells(
        torch.cat(pos), soup, node_fields={"was": source}, repair=["duplicate"]
    )
    assert merged.num_nodes == mesh.num_nodes
    was = merged.node_fields["was"]
    for name, nodes in merged.cells.items():
        assert torch.equal(was[nodes], mesh.cells[name])
    assert torch.equal(merged.pos, mesh.pos[was])
    assert len(merged.boundary_nodes) == len(mesh.boundary_nodes)


def test_the_first_of_equal_nodes_stays() -> None:
    mesh = Mesh.from_cells(
        [[0.0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 1], [1, 0]],
        {"triangle": [[0, 1, 2], [4, 5, 3]]},
        facet_tags={"joint": [[3, 4]]},
        point_tags={"p": [6]},
        node_fields={"u": np.arange(7.0)},
        repair=["duplicate", "orphan"],
    )
    assert mesh.cells["triangle"].tolist() == [[0, 1, 2], [1, 3, 2]]
    assert mesh.node_fields["u"].tolist() == [0, 1, 2, 5]
    assert mesh.facet_tags["joint"].tolist() == [[2, 1]]
    assert mesh.point_tags["p"].tolist() == [1]


def test_nearly_equal_nodes_are_not_merged() -> None:
    pos = torch.tensor([[0.0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    pos[4] = pos[4].nextafter(torch.tensor(2.0))
    mesh = Mesh.from_cells(
        pos,
        {"triangle": [[0, 1, 2], [4, 5, 3]]},
        repair=["duplicate"],
        allow=["hanging"],
    )
    assert mesh.num_nodes == 5


def test_merging_the_nodes_of_one_cell_is_reported_as_degenerate() -> None:
    with pytest.raises(MeshError, match="degenerate"):
        Mesh.from_cells([[0.0, 0], [1, 0], [1, 0]], {"triangle": [[0, 1, 2]]}, repair=["duplicate"])


# -- inverted cells ----------------------------------------------------------------------------

REFLECTED = {
    "line": [1, 0],
    "triangle": [1, 0, 2],
    "quad": [1, 0, 3, 2],
    "tetra": [1, 0, 2, 3],
    "hexahedron": [1, 0, 3, 2, 5, 4, 7, 6],
    "wedge": [1, 0, 2, 4, 3, 5],
    "pyramid": [1, 0, 3, 2, 4],
}


@given(any_meshes(tags=True, max_cells=3), seeds)
def test_cells_turned_round_are_turned_back(mesh: Mesh, seed: int) -> None:
    """The same cells: equal facets, tags and (now positive) volumes."""
    rng = np.random.default_rng(seed)
    turned = [
        (name, nodes[:, REFLECTED[name]] if rng.random() < 0.5 else nodes)
        for name, nodes in blocks(mesh)
    ]
    repaired = Mesh.from_cells(
        mesh.pos,
        turned,
        facet_tags=mesh.facet_tags,
        cell_tags=mesh.cell_tags,
        repair=["inverted"],
    )
    torch.testing.assert_close(repaired.volumes(), mesh.volumes())
    assert torch.equal(repaired.topology.edges, mesh.topology.edges)
    assert [set(f) for f in repaired.topology.facets.tolist()] == [
        set(f) for f in mesh.topology.facets.tolist()
    ]
    assert repaired.facet_tags.keys() == mesh.facet_tags.keys()
    for name, nodes in mesh.cells.items():
        assert torch.equal(repaired.cells[name].sort().values, nodes.sort().values)


@pytest.mark.parametrize("name", CELL_TYPES)
def test_a_mirrored_mesh_is_turned_round(name: str) -> None:
    mesh = random_mesh(name, [2, 2, 2][: CELL_TYPES[name].dim], 0)
    pos = mesh.pos.clone()
    pos[:, 0] *= -1
    mirrored = mesh.moved(pos)
    assert len(mirrored.inverted_cells()) == mesh.num_cells
    back = reorient(mirrored)
    torch.testing.assert_close(back.volumes(), mesh.volumes())
    back.validate()
    assert len(mirrored.inverted_cells()) == mesh.num_cells  # the input is not touched


def test_partly_inverted_cells_stay_an_error() -> None:
    pos = [[0.0, 0], [1, 0], [0.3, 0.3], [0, 1]]
    with pytest.raises(MeshError, match=r"1 of 1 cells are inverted .*nodes \[0, 1, 2, 3\]"):
        Mesh.from_cells(pos, {"quad": [[0, 1, 2, 3]]}, repair=["inverted"])


def test_surfaces_have_no_sign_to_repair() -> None:
    ball = generate.ball(2)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    sphere[::2] = sphere[::2].flip(1)
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan", "inverted"])
    assert surface.num_cells == len(sphere)


def test_all_repairs_together() -> None:
    """An orphan, a seam of duplicates and a cell turned round, in a file with tags."""
    mesh = Mesh.from_cells(
        [[9.0, 9], [0, 0], [1, 0], [0, 1], [0, 1], [1, 0], [1, 1]],
        {"triangle": [[1, 2, 3], [5, 4, 6]]},
        facet_tags={"wall": [[1, 2], [5, 6]]},
        cell_tags={"second": [1]},
        repair=["inverted", "orphan", "duplicate"],
    )
    assert mesh.num_nodes == 4
    assert mesh.volumes().tolist() == [0.5, 0.5]
    assert mesh.facet_tags["wall"].tolist() == [[0, 1], [1, 3]]
    assert mesh.cell_tags["second"].tolist() == [1]
    assert len(mesh.topology.boundary_facets) == 4


def test_facet_fields_stop_a_repair() -> None:
    mesh = Mesh.from_cells([[0.0], [1], [2]], {"line": [[0, 1]]}, allow=["orphan"])
    mesh.set_field("flux", [1.0, 2.0], "facet")
    with pytest.raises(MeshError, match="facet fields do not survive a repair"):
        apply_repairs(mesh, ["orphan"])
