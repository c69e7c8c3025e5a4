"""The channel with a cylinder from blocks, without gmsh: rays around the cylinder, then a grid."""

from __future__ import annotations

import numpy as np

from ..mesh import Mesh
from . import _grid

_LENGTH, _HEIGHT = 2.2, 0.41
_CENTRE, _RADIUS = (0.2, 0.2), 0.05


def channel_blocks(n: int = 16, layers: int = 6, downstream: int = 20) -> Mesh:
    """Mesh the channel of the DFG 2D benchmark by blocks of triangles with even spacing.

    Rays from `4 n` nodes on the cylinder run to the square of the channel's height around it,
    another block fills the rest. Nothing is refined: a mesh to adapt.

    Args:
        n: cells from the lower to the upper wall.
        layers: cells from the cylinder to the square.
        downstream: cells from the square to the outlet.

    Returns:
        A triangle mesh with the sides `inlet`, `outlet`, `walls` and `cylinder`.
    """
    n = _grid.count("n", n, least=2)
    layers, downstream = _grid.count("layers", layers), _grid.count("downstream", downstream)
    side = np.linspace(0.0, _HEIGHT, n + 1)
    low, high = np.zeros(n), np.full(n, _HEIGHT)
    up, down = side[:-1], side[:0:-1]
    edges = [(up, low), (high, up), (down, high), (low, down)]
    outer = np.concatenate([np.column_stack(edge) for edge in edges])
    angle = -3 * np.pi / 4 + 2 * np.pi * np.arange(4 * n) / (4 * n)
    inner = np.array(_CENTRE) + _RADIUS * np.column_stack([np.cos(angle), np.sin(angle)])
    share = np.linspace(0, 1, layers + 1)[:, None, None]
    rays = _grid.node_grid([layers + 1, 4 * n])
    turned = np.roll(rays, -1, axis=1)
    around = np.stack([rays[:-1], rays[1:], turned[1:], turned[:-1]], axis=-1).reshape(-1, 4)

    x = np.linspace(_HEIGHT, _LENGTH, downstream + 1)[1:]
    beyond = np.stack(np.meshgrid(x, side, indexing="ij"), axis=-1).reshape(-1, 2)
    new = rays.size + _grid.node_grid([downstream, n + 1])
    block = np.concatenate([rays[-1, n : 2 * n + 1][None], new])
    behind = np.stack([block[:-1, :-1], block[1:, :-1], block[1:, 1:], block[:-1, 1:]], axis=-1)

    pos = np.concatenate([((1 - share) * inner + share * outer).reshape(-1, 2), beyond])
    cells = _split(pos, np.concatenate([around, behind.reshape(-1, 4)]))
    facets = _grid.boundary_edges(cells)
    middle = pos[facets].mean(axis=1)
    close = 1e-9
    inlet, outlet = middle[:, 0] < close, middle[:, 0] > _LENGTH - close
    walls = (middle[:, 1] < close) | (middle[:, 1] > _HEIGHT - close)
    tags = {
        "inlet": facets[inlet],
        "outlet": facets[outlet],
        "walls": facets[walls],
        "cylinder": facets[~(inlet | outlet | walls)],
    }
    return Mesh.from_cells(pos, {"triangle": cells}, facet_tags=tags)


def _split(pos: _grid.Floats, quads: _grid.Ints) -> _grid.Ints:
    """Two triangles from each quad, along its shorter diagonal."""
    first = np.linalg.norm(pos[quads[:, 0]] - pos[quads[:, 2]], axis=1)
    second = np.linalg.norm(pos[quads[:, 1]] - pos[quads[:, 3]], axis=1)
    short = (first <= second * (1 + 1e-9))[:, None, None]
    one, other = (_grid.triangles(quads, way).reshape(-1, 2, 3) for way in ("right", "left"))
    return np.where(short, one, other).reshape(-1, 3)
