"""Nodes of meshes whose cells have coordinates of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import meshlearn as ml
from meshlearn.plugins.arrays import Geometry, PluginError
from meshlearn.plugins.periodic import corner_columns, facets_at, pairs_of, split, vertex_points


def rolled(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square of triangles whose right side is its left one, cells shuffled.

    Returns:
        Cells by vertex, cells by point, points.
    """
    mesh = ml.generate.rectangle(n, n)
    points, cells = mesh.pos.numpy(), mesh.cells["triangle"].numpy()
    cells = np.random.default_rng(seed).permutation(cells)
    image = np.arange(len(points))
    for k in np.flatnonzero(points[:, 0] == 1):
        image[k] = np.flatnonzero((points[:, 0] == 0) & (points[:, 1] == points[k, 1]))[0]
    _, vertex = np.unique(image, return_inverse=True)
    return vertex.reshape(-1)[cells], cells, points


@given(st.integers(3, 6), st.integers(0, 2**31))
def test_vertices_split_into_the_points_they_came_from(n: int, seed: int) -> None:
    by_vertex, cells, points = rolled(n, seed)
    nodes = np.arange(cells.size).reshape(cells.shape)
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    geometry = Geometry(points[cells].reshape(-1, 2), {"triangle": nodes}, {"triangle": places})
    found, split_cells, vertex = split({"triangle": by_vertex}, geometry)
    assert len(found) == len(points)
    assert np.array_equal(found[split_cells["triangle"]], points[cells])
    assert np.array_equal(vertex[split_cells["triangle"]], by_vertex)
    pairs = pairs_of(vertex)
    assert pairs is not None
    assert len(pairs) == n + 1
    assert np.allclose(np.abs(found[pairs[:, 0]] - found[pairs[:, 1]]), [1, 0])


@given(st.integers(3, 6), st.integers(0, 2**31))
def test_facets_are_found_on_every_side(n: int, seed: int) -> None:
    by_vertex, cells, points = rolled(n, seed)
    right = np.stack(
        [np.flatnonzero(points[:, 0] == 1)[:-1], np.flatnonzero(points[:, 0] == 1)[1:]]
    )
    vertex = np.empty(len(points), int)
    vertex[cells] = by_vertex
    rows, facets = facets_at({"triangle": by_vertex}, {"triangle": cells}, vertex[right.T])
    assert np.array_equal(np.bincount(rows), [2] * n)  # on the right and on the left
    assert np.array_equal(np.sort(vertex[facets]), np.sort(vertex[right.T][rows]))
    assert set(points[facets][..., 0].reshape(-1)) == {0.0, 1.0}


def test_without_images_there_are_no_pairs() -> None:
    assert pairs_of(np.array([2, 0, 1])) is None


def test_vertices_of_a_curved_mesh() -> None:
    places = np.array([[0.5, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 0.5], [0.0, 0.0]])
    assert corner_columns("triangle", places).tolist() == [5, 1, 3]
    geometry = Geometry(places * 2, {"triangle": np.arange(6)[None]}, {"triangle": places})
    cells = {"triangle": np.array([[2, 0, 1]])}
    assert vertex_points(cells, geometry, 3).tolist() == [[2, 0], [0, 2], [0, 0]]
    with pytest.raises(PluginError, match="no values at the vertices"):
        corner_columns("triangle", places * 0.8 + 0.05)
