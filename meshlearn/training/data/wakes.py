r"""Velocities behind a cylinder that sheds vortices, on one mesh, at various Reynolds numbers.

    u_t + (u . grad) u - nu lap u + grad p = 0,   div u = 0

in the channel of the DFG benchmark (see `problems.flow_cases`), Reynolds number 60 to 140 of the
mean velocity. Taylor-Hood elements and BDF2; the flow starts from rest, and states are kept when
the vortices shed. Of each state the velocities of the nodes are kept.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ...fem import Dirichlet, FunctionSpace
from ...mesh import Mesh, generate
from ...problems.flow_cases import DIAMETER, cylinder_flow
from ...problems.unsteady_flow import UnsteadyNavierStokes

Rng = np.random.Generator
REYNOLDS = (60.0, 140.0)
STEP = 0.02
"""Time between states: a sixteenth of a period at Reynolds number 100, about."""
_PEAK = 1.5
_BEFORE = 3.0
"""Time until states are kept."""


def wake_mesh(nodes: int) -> Mesh:
    """The channel with about so many nodes, finer at the cylinder."""
    h = 0.041 * math.sqrt(750 / nodes)
    return generate.channel_with_cylinder(h=h, h_cylinder=h / 2.5)


def wake(
    rng: Rng, nodes: int, steps: int, dt: float, refine: int
) -> tuple[Mesh, float, Tensor, Dirichlet]:
    """A run of a random Reynolds number.

    Args:
        rng: it comes from here.
        nodes: of the mesh, about.
        steps: states after the first one.
        dt: time between them.
        refine: time steps for each of them.

    Returns:
        The mesh, the viscosity, the states `[steps + 1, n, 2]` and the given velocities.
    """
    mesh = wake_mesh(nodes)
    viscosity = 2 / 3 * _PEAK * DIAMETER / rng.uniform(*REYNOLDS)
    flow = UnsteadyNavierStokes(cylinder_flow(_PEAK, viscosity))
    before = math.ceil(_BEFORE / dt)
    run = flow.solve(mesh, (before + steps) * dt, (before + steps) * refine, every=refine)
    states = torch.stack([run[k].u for k in range(before, before + steps + 1)])
    space = FunctionSpace(mesh, ("P1", 2))
    sides = ("inlet", "walls", "cylinder")
    dofs = torch.unique(torch.cat([Dirichlet(space, side, 0.0).dofs for side in sides]))
    return mesh, viscosity, states, Dirichlet(space, dofs, states[0].reshape(-1)[dofs])
