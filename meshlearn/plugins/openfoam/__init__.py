"""OpenFOAM: case directories, whose `polyMesh/points` are replaced.

    from meshlearn.plugins import openfoam
    openfoam.adapt("cavity", "U")

Files may be text or binary, compressed or not. Patches slide or stay by their type: walls stay
unless asked, 2-D cases (empty, wedge) move both sides alike, cyclic patches move together. Cells
may be polyhedra. OpenFOAM itself is not needed.
"""

from __future__ import annotations

from .api import adapt, check, set_positions, to_mesh
from .case import Case, read_case
from .fields import field_names
from .remap import remap

__all__ = [
    "Case",
    "adapt",
    "check",
    "field_names",
    "read_case",
    "remap",
    "set_positions",
    "to_mesh",
]
