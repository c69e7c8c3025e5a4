"""Monitors: where the nodes should go."""

from __future__ import annotations

from . import metric
from .base import Constant, Function, Monitor, Sample
from .distance import WallDistance, wall_distance
from .field import Field
from .formulas import ball, ring
from .indicator import Indicator
from .solution import ArcLength, Gradient, Hessian

__all__ = [
    "ArcLength",
    "Constant",
    "Field",
    "Function",
    "Gradient",
    "Hessian",
    "Indicator",
    "Monitor",
    "Sample",
    "WallDistance",
    "ball",
    "metric",
    "ring",
    "wall_distance",
]
