"""`Mesh` -> `networkx.Graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .arrays import as_numpy

if TYPE_CHECKING:
    import networkx

    from ..mesh import Mesh


def to_networkx(mesh: Mesh) -> networkx.Graph[int]:
    """The undirected graph of the mesh: nodes 0 to n - 1 with a tuple `pos`, one edge per edge."""
    import networkx

    graph: networkx.Graph[int] = networkx.Graph()
    positions = as_numpy(mesh.pos).tolist()
    graph.add_nodes_from((i, {"pos": tuple(x)}) for i, x in enumerate(positions))
    graph.add_edges_from(as_numpy(mesh.topology.edges).tolist())
    return graph
