"""Random domains and meshes to train movers on: seeded, of every kind the movers must serve."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch

from ...mesh import Mesh, generate
from ..shapes import edge_length, ring_area

Rng = np.random.Generator


def random_mesh(rng: Rng, dim: int, nodes: int) -> Mesh:
    """A random mesh of a random domain, about `nodes` nodes.

    In 2D: squares (structured or not), convex and star-shaped polygons, L-shapes, plates with
    holes and channels with a body; in 3D: boxes of Kuhn tetrahedra, sheared and graded, and balls.
    One mesh in three is graded by a smooth map.
    """
    kinds = (
        (_square, _square, _grid, *(4 * (_polygon,)), _l_shape, _plate, _channel)
        if dim == 2
        else (_box, _box, _ball)
    )
    mesh = kinds[rng.integers(len(kinds))](rng, nodes)
    if rng.random() < 1 / 3:
        mesh = mesh.moved(_graded(mesh.pos.numpy(), rng))
    return mesh


def _square(rng: Rng, nodes: int) -> Mesh:
    sides = np.array([1.0, rng.uniform(0.6, 1.0) if rng.random() < 0.5 else 1.0])
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * sides
    return generate.polygon(
        corners, h=edge_length(sides.prod(), nodes), seed=int(rng.integers(2**31))
    )


def _grid(rng: Rng, nodes: int) -> Mesh:
    n = max(4, round(math.sqrt(nodes)) - 1)
    diagonals: tuple[Literal["left", "right", "crossed"], ...] = ("left", "right", "crossed")
    diagonal = diagonals[rng.integers(3)]
    n = round(n / math.sqrt(2)) if diagonal == "crossed" else n
    return generate.rectangle(n, n, diagonal=diagonal)


def _polygon(rng: Rng, nodes: int) -> Mesh:
    corners = generate.random_polygon(int(rng.integers(3, 13)), seed=int(rng.integers(2**31)))
    return generate.polygon(
        corners, h=edge_length(ring_area(corners.numpy()), nodes), seed=int(rng.integers(2**31))
    )


def _l_shape(rng: Rng, nodes: int) -> Mesh:
    a, b = rng.uniform(0.3, 0.7, 2)
    corners = np.array([[0, 0], [1, 0], [1, a], [b, a], [b, 1], [0, 1]])
    return generate.polygon(
        corners, h=edge_length(ring_area(corners), nodes), seed=int(rng.integers(2**31))
    )


def _plate(rng: Rng, nodes: int) -> Mesh:
    spots = np.array([[0.27, 0.27], [0.73, 0.27], [0.73, 0.73], [0.27, 0.73]])
    chosen = rng.permutation(4)[: rng.integers(1, 5)]
    holes = [
        _ring(rng, spots[k] + rng.uniform(-0.05, 0.05, 2), rng.uniform(0.06, 0.15)) for k in chosen
    ]
    area = 1 - sum(ring_area(hole) for hole in holes)
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    return generate.polygon(square, edge_length(area, nodes), holes, seed=int(rng.integers(2**31)))


def _channel(rng: Rng, nodes: int) -> Mesh:
    length = rng.uniform(2, 4)
    body = _ring(rng, np.array([rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.65)]), 0.12)
    corners = np.array([[0, 0], [length, 0], [length, 1], [0, 1]])
    return generate.polygon(
        corners, edge_length(length - ring_area(body), nodes), [body], seed=int(rng.integers(2**31))
    )


def _box(rng: Rng, nodes: int) -> Mesh:
    sides = rng.uniform(0.5, 1.0, 3)
    n = (nodes / sides.prod()) ** (1 / 3)
    a, b, c = (max(3, round(n * side) - 1) for side in sides)
    return generate.box(a, b, c, upper=tuple(sides))


def _ball(rng: Rng, nodes: int) -> Mesh:
    return generate.ball(max(3, round((3 * nodes / 10) ** (1 / 3))))


def _ring(rng: Rng, centre: np.ndarray, radius: float) -> np.ndarray:
    """A circle of 16 corners, or a star of 5 to 8."""
    if rng.random() < 0.5:
        angle = 2 * np.pi * np.arange(16) / 16
        return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    corners = generate.random_polygon(
        int(rng.integers(5, 9)), seed=int(rng.integers(2**31)), radius=radius
    )
    return centre + corners.numpy()


def _graded(pos: np.ndarray, rng: Rng) -> torch.Tensor:
    """Coordinates mapped one by one, monotone and fixing the ends: x + a sin(k pi x) / (k pi)."""
    low, span = pos.min(axis=0), np.ptp(pos, axis=0)
    t = (pos - low) / span
    frequency = np.pi * rng.integers(1, 3, pos.shape[1])
    # Only boxes keep their shape; other domains become curved ones, which is as good.
    t = t + rng.uniform(-0.45, 0.45, pos.shape[1]) * np.sin(frequency * t) / frequency
    return torch.from_numpy(low + span * t)
