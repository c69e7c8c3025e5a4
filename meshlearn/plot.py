"""Pictures of meshes with pyvista: PNG off screen, or a window.

They are drawn in the room of the mesh, so that solutions of problems can draw themselves.
"""

from __future__ import annotations

from .mesh.drawing import Panel, check_png, has_display, save, show

__all__ = ["Panel", "check_png", "has_display", "save", "show"]
