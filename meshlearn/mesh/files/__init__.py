"""Mesh files: one module per family of formats, `read` and `write` in front.

| format | suffix | cells | facet tags | cell tags | point tags | fields |
|---|---|---|---|---|---|---|
| vtu, vtk | .vtu .vtk | all | yes | yes | yes | node, cell, facet |
| xdmf | .xdmf, .h5 beside it | all | yes | yes | yes | node, cell, facet |
| gmsh, gmsh22 | .msh | all | yes | yes | yes | node, cell (as float64) |
| abaqus | .inp | all | yes | yes | yes | no |
| medit | .mesh | all | yes (not of lines) | yes | yes | no |
| nastran | .bdf .nas .fem | all | yes (not of lines) | yes | no | no |
| su2 | .su2 | all | yes | no | no | no |
| obj | .obj | triangle, quad | no | yes | no | no |
| ply | .ply | triangle, quad | no | no | no | node, cell, scalars |
| stl | .stl | triangle | no | no | no | no |

Positions keep every bit, but for nastran (16 characters) and binary stl (float32). Gmsh has one
kind of group of points, so in a line mesh point tags become facet tags.

What a format cannot hold is named in one `LossWarning`. Other formats of meshio are read, and
written without tags.
"""

from __future__ import annotations

from .registry import FORMATS, Format, find_format, known_suffixes, read, write

__all__ = ["FORMATS", "Format", "find_format", "known_suffixes", "read", "write"]
