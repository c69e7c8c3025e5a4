"""Pictures of meshes with pyvista: PNG off screen, a window, or a GIF that moves.

They are drawn in the room of the mesh, so that solutions of problems can draw themselves.
"""

from __future__ import annotations

from .mesh.animation import animate, check_gif
from .mesh.drawing import Panel, check_png, has_display, save, show

__all__ = ["Panel", "animate", "check_gif", "check_png", "has_display", "save", "show"]
