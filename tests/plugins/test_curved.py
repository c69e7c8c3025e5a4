"""Curved cells follow their vertices: exact for affine maps, exact on sides that stay, valid."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlearn.plugins.arrays import Arrays, FloatArray, Geometry, PluginError
from meshlearn.plugins.curved import follow, reference_vertices, shortened

CELLS = ("line", "triangle", "quad", "tetra", "hexahedron")


def lattice(cell: str, degree: int) -> FloatArray:
    dim = reference_vertices(cell).shape[1]
    points = np.array(list(product(range(degree + 1), repeat=dim)))
    if cell in ("triangle", "tetra"):
        points = points[points.sum(axis=1) <= degree]
    return points / degree


def one_cell(cell: str, degree: int, bend: float = 0.0) -> Arrays:
    """The reference cell itself, its inner geometry nodes pushed by a bump that spares vertices."""
    vertices, places = reference_vertices(cell), lattice(cell, degree)
    bump = (places * (1 - places)).sum(axis=1, keepdims=True)
    nodes = np.arange(len(places))[None]
    geometry = Geometry(places + bend * bump, {cell: nodes}, {cell: places})
    cells = {cell: np.arange(len(vertices))[None]}
    return Arrays(vertices, cells, np.arange(len(vertices)), geometry=geometry)


@given(st.sampled_from(CELLS), st.integers(1, 4), st.integers(0, 2**31))
def test_an_affine_move_of_the_vertices_is_one_of_all_nodes(
    cell: str, degree: int, seed: int
) -> None:
    arrays = one_cell(cell, degree)
    assert arrays.geometry is not None
    d = arrays.points.shape[1]
    rng = np.random.default_rng(seed)
    matrix, shift = rng.normal(size=(d, d)), rng.normal(size=d)
    moved = follow(arrays, arrays.points @ matrix + shift)
    assert np.allclose(moved, arrays.geometry.coordinates @ matrix + shift, atol=1e-12)


@given(st.integers(2, 4), st.integers(0, 2**31))
def test_a_side_whose_ends_stay_keeps_its_curve_and_vertices_are_exact(
    degree: int, seed: int
) -> None:
    arrays = one_cell("triangle", degree, bend=0.1)
    assert arrays.geometry is not None
    pos = arrays.points.copy()
    pos[2] += 0.1 * np.random.default_rng(seed).normal(size=2)
    moved, places = follow(arrays, pos), arrays.geometry.reference["triangle"]
    side = places[:, 1] == 0
    assert np.array_equal(moved[side], arrays.geometry.coordinates[side])
    for vertex, place in enumerate(reference_vertices("triangle")):
        assert np.array_equal(moved[(places == place).all(axis=1)][0], pos[vertex])


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
def test_a_move_that_would_turn_a_cell_is_shortened(cell: str) -> None:
    arrays = one_cell(cell, 2, bend=0.15)
    assert arrays.geometry is not None
    pos = arrays.points.copy()
    pos[-1] = arrays.points.mean(axis=0) - 0.4 * (arrays.points[-1] - arrays.points.mean(axis=0))
    found = shortened(arrays, pos)
    assert not np.array_equal(found, pos)
    assert np.array_equal(shortened(arrays, found), found)
    small = arrays.points + 1e-3 * (pos - arrays.points)
    assert np.array_equal(shortened(arrays, small), small)


def test_straight_cells_pass_as_they_are() -> None:
    arrays = Arrays(np.eye(2), {"triangle": np.zeros((1, 3), int)}, np.arange(2))
    pos = np.ones((2, 2))
    assert shortened(arrays, pos) is pos
    assert follow(arrays, pos) is pos


def test_what_is_not_supported() -> None:
    folded = one_cell("triangle", 2, bend=-3.0)
    with pytest.raises(PluginError, match="turned inside out before the move"):
        shortened(folded, folded.points)
    with pytest.raises(PluginError, match="curved wedge cells are not supported"):
        reference_vertices("wedge")
    nodes = np.arange(5)[None]
    serendipity = Geometry(np.zeros((5, 2)), {"triangle": nodes}, {"triangle": np.zeros((5, 2))})
    arrays = Arrays(
        reference_vertices("triangle"),
        {"triangle": np.arange(3)[None]},
        np.arange(3),
        geometry=serendipity,
    )
    with pytest.raises(PluginError, match="not a complete Lagrange element"):
        shortened(arrays, arrays.points)
