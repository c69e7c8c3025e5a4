"""Tags from markers, orientation and checks of values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import meshlearn as ml
from meshlearn.mesh.cells import CELL_TYPES
from meshlearn.plugins.arrays import PluginError, by_number, nodal, oriented, positions

ONE = {
    "triangle": [[0, 0], [1, 0], [0, 1]],
    "quad": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "tetra": [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "hexahedron": [
        *([0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]),
        *([0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]),
    ],
    "wedge": [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]],
    "pyramid": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]],
}


@pytest.mark.parametrize("cell", ONE)
def test_mirrored_cells_are_turned_and_others_stay(cell: str) -> None:
    points = np.array(ONE[cell], dtype=float)
    nodes = np.arange(CELL_TYPES[cell].num_nodes)[None]
    assert np.array_equal(oriented({cell: nodes}, points)[cell], nodes)
    mirrored = points * np.array([-1.0, *[1.0] * (points.shape[1] - 1)])
    turned = oriented({cell: nodes}, mirrored)
    assert np.array_equal(np.sort(turned[cell]), nodes)
    mesh = ml.Mesh.from_cells(mirrored, turned)
    assert float(mesh.volumes().sum()) == pytest.approx(
        float(ml.Mesh.from_cells(points, {cell: nodes}).volumes().sum())
    )


def test_surfaces_have_no_side() -> None:
    nodes = np.array([[0, 2, 1]])
    assert oriented({"triangle": nodes}, np.eye(3))["triangle"] is nodes


@given(st.lists(st.integers(-2, 5), min_size=1, max_size=30))
def test_every_marked_entity_is_in_one_tag(numbers: list[int]) -> None:
    markers, entities = np.array(numbers), np.arange(len(numbers))
    tags = by_number(markers, entities, ["inlet", "", "wall", "wall"])
    together = np.concatenate(list(tags.values()))
    assert np.array_equal(np.sort(together), entities)
    names = {1: "inlet", 3: "wall", 4: "wall"}
    for name, rows in tags.items():
        assert {names.get(int(m), str(m)) for m in markers[rows]} == {name}


def test_values_at_nodes() -> None:
    assert nodal(np.ones((4, 1)), 4).shape == (4,)
    assert nodal(torch.ones(4, 2), 4).shape == (4, 2)
    with pytest.raises(PluginError, match="each of 4 nodes, got shape"):
        nodal(np.ones(3), 4)
    with pytest.raises(PluginError, match="not finite at node 2"):
        nodal([0.0, 1.0, np.inf], 3)
    with pytest.raises(PluginError, match="complex"):
        nodal(np.ones(3, complex), 3)


def test_positions_are_checked() -> None:
    assert positions([[0, 1]], (1, 2)).dtype == np.float64
    with pytest.raises(PluginError, match=r"must be \[2, 2\], got \[2, 3\]"):
        positions(np.zeros((2, 3)), (2, 2))
    with pytest.raises(PluginError, match="node 1 is not finite"):
        positions([[0.0, 1.0], [np.nan, 0.0]], (2, 2))
