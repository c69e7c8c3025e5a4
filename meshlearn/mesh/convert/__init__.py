"""Conversion between `Mesh` and the mesh classes of other libraries, nothing lost in silence."""

from __future__ import annotations

from .with_meshio import from_meshio, to_meshio
from .with_networkx import to_networkx
from .with_pyvista import from_pyvista, to_pyvista
from .with_skfem import from_skfem, to_skfem

__all__ = [
    "from_meshio",
    "from_pyvista",
    "from_skfem",
    "to_meshio",
    "to_networkx",
    "to_pyvista",
    "to_skfem",
]
