"""Ready problems: a mesh goes in, a solution with its errors comes out."""

from __future__ import annotations

from .advection import Advection
from .advection_diffusion import AdvectionDiffusion
from .base import Problem, Solution
from .burgers import Burgers, travelling_front
from .elasticity import Elasticity
from .flow import Flow, FlowSolution
from .flow_cases import cylinder_flow, lid_driven_cavity
from .flow_goals import force_estimate
from .forces import drag_lift, force, frequency, pressure_difference
from .heat import Heat
from .library import PROBLEMS, named_problem
from .moving import Moving, MovingAdvection, MovingBurgers
from .navier_stokes import NavierStokes
from .poisson import Helmholtz, Poisson
from .series import Series
from .shallow_water import ShallowWater
from .stokes import Stokes
from .swirl import rotation, swirl
from .unsteady_flow import FlowSeries, UnsteadyNavierStokes

__all__ = [
    "PROBLEMS",
    "Advection",
    "AdvectionDiffusion",
    "Burgers",
    "Elasticity",
    "Flow",
    "FlowSeries",
    "FlowSolution",
    "Heat",
    "Helmholtz",
    "Moving",
    "MovingAdvection",
    "MovingBurgers",
    "NavierStokes",
    "Poisson",
    "Problem",
    "Series",
    "ShallowWater",
    "Solution",
    "Stokes",
    "UnsteadyNavierStokes",
    "cylinder_flow",
    "drag_lift",
    "force",
    "force_estimate",
    "frequency",
    "lid_driven_cavity",
    "named_problem",
    "pressure_difference",
    "rotation",
    "swirl",
    "travelling_front",
]
