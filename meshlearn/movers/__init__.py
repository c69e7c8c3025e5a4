"""Movers: mesh and monitor in, a valid mesh of the same topology and domain out."""

from __future__ import annotations

from .adapt import AdaptResult, FromSolution, Step, adapt
from .base import Mover
from .constraints import Curved
from .displace import Displacer, DisplaceReport, DisplaceResult
from .elastic import Elastic
from .geometry import Circle, Cylinder, Sphere, from_gmsh
from .guard import guard
from .in_time import MovingSeries, TimeStep, adapt_in_time
from .laplacian import Laplacian
from .learned import MoverNet, UniversalMover
from .monge_ampere import MongeAmpere
from .named import MOVERS
from .optimise import Optimise, OptimiseReport, OptimiseResult
from .periodic import Periodic
from .report import MoveReport, MoveResult
from .spring import Spring
from .variational import Variational
from .winslow import Winslow

__all__ = [
    "AdaptResult",
    "Circle",
    "Curved",
    "Cylinder",
    "DisplaceReport",
    "DisplaceResult",
    "Displacer",
    "Elastic",
    "FromSolution",
    "Laplacian",
    "MOVERS",
    "MongeAmpere",
    "MoveReport",
    "MoveResult",
    "Mover",
    "MoverNet",
    "MovingSeries",
    "Optimise",
    "OptimiseReport",
    "OptimiseResult",
    "Periodic",
    "Sphere",
    "Spring",
    "Step",
    "TimeStep",
    "UniversalMover",
    "Variational",
    "Winslow",
    "adapt",
    "adapt_in_time",
    "from_gmsh",
    "guard",
]
