"""Ready problems: a mesh goes in, a solution with its errors comes out."""

from __future__ import annotations

from .advection import Advection
from .advection_diffusion import AdvectionDiffusion
from .base import Problem, Solution
from .burgers import Burgers, travelling_front
from .elasticity import Elasticity
from .heat import Heat
from .library import PROBLEMS, named_problem
from .poisson import Helmholtz, Poisson
from .series import Series
from .shallow_water import ShallowWater
from .swirl import rotation, swirl

__all__ = [
    "PROBLEMS",
    "Advection",
    "AdvectionDiffusion",
    "Burgers",
    "Elasticity",
    "Heat",
    "Helmholtz",
    "Poisson",
    "Problem",
    "Series",
    "ShallowWater",
    "Solution",
    "named_problem",
    "rotation",
    "swirl",
    "travelling_front",
]
