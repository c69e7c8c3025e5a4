"""Movers: mesh and monitor in, a valid mesh of the same topology and domain out."""

from __future__ import annotations

from .adapt import AdaptResult, Step, adapt
from .base import Mover
from .displace import Displacer, DisplaceReport, DisplaceResult
from .elastic import Elastic
from .guard import guard
from .laplacian import Laplacian
from .optimise import Optimise, OptimiseReport, OptimiseResult
from .report import MoveReport, MoveResult
from .spring import Spring
from .variational import Variational
from .winslow import Winslow

__all__ = [
    "AdaptResult",
    "DisplaceReport",
    "DisplaceResult",
    "Displacer",
    "Elastic",
    "Laplacian",
    "MoveReport",
    "MoveResult",
    "Mover",
    "Optimise",
    "OptimiseReport",
    "OptimiseResult",
    "Spring",
    "Step",
    "Variational",
    "Winslow",
    "adapt",
    "guard",
]
