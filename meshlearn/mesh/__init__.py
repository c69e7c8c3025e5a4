"""The mesh is the graph: the mesh object, its topology, geometry, quality, files, generators."""

from __future__ import annotations

from .cells import CELL_TYPES, CellType
from .errors import LossWarning, MeshError
from .locate import Location, Locator
from .mesh import Mesh
from .topology import Topology

__all__ = [
    "CELL_TYPES",
    "CellType",
    "Location",
    "Locator",
    "LossWarning",
    "Mesh",
    "MeshError",
    "Topology",
]
