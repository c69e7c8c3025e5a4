"""meshlearn: an unstructured mesh is a graph, and an adapted mesh is one call away."""

from __future__ import annotations

from . import fem, mesh, monitors, movers, problems
from .mesh import LossWarning, Mesh, MeshError, generate
from .mesh.files import read, write
from .movers import adapt

__version__ = "0.1.0"

__all__ = [
    "LossWarning",
    "Mesh",
    "MeshError",
    "adapt",
    "fem",
    "generate",
    "mesh",
    "monitors",
    "movers",
    "problems",
    "read",
    "write",
]
