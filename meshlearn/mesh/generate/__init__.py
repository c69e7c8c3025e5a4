"""Meshes made here: structured grids, mapped shapes, polygons and benchmark geometries.

Structured and mapped meshes need nothing else; `polygon` and the benchmark geometries need gmsh,
which is imported when one of them is called.
"""

from __future__ import annotations

from .channel import channel_blocks
from .gmsh_models import (
    backward_facing_step,
    channel_with_cylinder,
    channel_with_cylinder_3d,
    naca,
    pipe_bend,
)
from .polygons import polygon, random_polygon
from .shapes import annulus, ball, disk, l_shape
from .structured import box, interval, rectangle

__all__ = [
    "interval",
    "rectangle",
    "box",
    "disk",
    "annulus",
    "l_shape",
    "ball",
    "channel_blocks",
    "polygon",
    "random_polygon",
    "channel_with_cylinder",
    "channel_with_cylinder_3d",
    "naca",
    "backward_facing_step",
    "pipe_bend",
]
