"""The nodes of second-order cells that are not vertices: which vertices each one is between.

Codes list these nodes in different orders. So each place in a cell gets the edge, face or middle
that its nodes are nearest to, over all cells of a block: the same for every cell, curved or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..mesh import MeshError
from ..mesh.cells import CELL_TYPES
from .arrays import FloatArray, IntArray

Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Between:
    """Nodes that follow others.

    Attributes:
        node: each node once `[m]`.
        vertices: what it is the mean of, padded by repeating the whole list `[m, w]`.
        weights: of each `[m, w]`, sum 1.
    """

    node: IntArray
    vertices: IntArray
    weights: FloatArray

    def follow(self, points: FloatArray, moved: FloatArray) -> FloatArray:
        """Positions `[N, d]` in which these nodes move by the mean of their vertices.

        Args:
            points: of all nodes before `[N, d]`.
            moved: the same with the vertices moved.
        """
        step = np.einsum("mw,mwd->md", self.weights, (moved - points)[self.vertices])
        out = moved.copy()
        out[self.node] = points[self.node] + step
        return out


def places(cell: str, points: FloatArray, nodes: IntArray) -> Places:
    """Local vertices that each further node of a cell is between.

    Args:
        cell: first-order type.
        points: of all nodes `[N, d]`.
        nodes: of the cells `[k, m]`, vertices first.

    Raises:
        MeshError: cells of third or higher order.
    """
    corners = CELL_TYPES[cell].num_nodes
    extra = nodes.shape[1] - corners
    known = _candidates(cell, extra)
    if known is None:
        raise MeshError(
            f"{cell} cells of {nodes.shape[1]} nodes are not supported, only of first and second "
            "order"
        )
    at = points[nodes]
    size = np.ptp(at[:, :corners], axis=1).max(axis=1)
    cost = np.empty((extra, len(known)))
    for k, local in enumerate(known):
        middle = at[:, list(local)].mean(axis=1)
        apart = np.linalg.norm(at[:, corners:] - middle[:, None], axis=2)
        cost[:, k] = (apart / size[:, None]).mean(axis=0)
    _, chosen = linear_sum_assignment(cost)
    return tuple(known[k] for k in chosen)


def between(blocks: list[tuple[str, IntArray]], points: FloatArray) -> Between:
    """All nodes of second-order blocks that are not vertices.

    Args:
        blocks: first-order type and nodes `[k, m]`, vertices first.
        points: of all nodes `[N, d]`.

    Raises:
        MeshError: see `places`.
    """
    node, vertices, weights = [], [], []
    width = max((CELL_TYPES[cell].num_nodes for cell, _ in blocks), default=1)
    for cell, nodes in blocks:
        corners = CELL_TYPES[cell].num_nodes
        for k, local in enumerate(places(cell, points, nodes) if nodes.shape[1] > corners else ()):
            columns = np.resize(np.array(local), width)  # repeats, with no weight
            node.append(nodes[:, corners + k])
            vertices.append(nodes[:, columns])
            share = np.where(np.arange(width) < len(local), 1 / len(local), 0.0)
            weights.append(np.tile(share, (len(nodes), 1)))
    if not node:
        return Between(np.empty(0, np.int64), np.empty((0, 1), np.int64), np.empty((0, 1)))
    unique, first = np.unique(np.concatenate(node), return_index=True)
    return Between(unique, np.concatenate(vertices)[first], np.concatenate(weights)[first])


def _candidates(cell: str, extra: int) -> Places | None:
    """Edges, faces and the middle of a cell, as many as it has further nodes."""
    kind = CELL_TYPES[cell]
    quads = tuple(facet for facet in kind.facets if len(facet) == 4)
    triangles = tuple(facet for facet in kind.facets if len(facet) == 3)
    middle = (tuple(range(kind.num_nodes)),) if kind.dim > 1 else ()
    further = [group for group in (quads, triangles, middle) if group and kind.dim > 1]
    for count in range(len(further) + 1):
        for groups in combinations(further, count):
            found: Places = (*kind.edges, *(place for group in groups for place in group))
            if len(found) == extra:
                return found
    return None
