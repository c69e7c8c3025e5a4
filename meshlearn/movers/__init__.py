"""Movers: mesh and monitor in, a valid mesh of the same topology and domain out."""

from __future__ import annotations

from .adapt import AdaptResult, Step, adapt
from .base import Mover
from .guard import guard
from .report import MoveReport, MoveResult
from .variational import Variational

__all__ = [
    "AdaptResult",
    "MoveReport",
    "MoveResult",
    "Mover",
    "Step",
    "Variational",
    "adapt",
    "guard",
]
