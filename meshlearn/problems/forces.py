"""Figures of merit of flows: forces, their coefficients, pressure differences, frequencies.

Forces come from the momentum equations tested with functions that are 1 on the body and 0 at all
other nodes (the volume integral): they converge twice as fast as integrals of the stress along the
body. V. John, "Higher order finite element methods and multigrid solvers in a benchmark problem for
the 3D Navier-Stokes equations", Int. J. Numer. Methods Fluids 40 (2002) 775-798.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fem import FunctionSpace
from ..fem.facets import tagged_facets
from ..mesh import MeshError
from .flow import FlowSolution


def force(solution: FlowSolution, tag: str) -> Tensor:
    """Force of the fluid on the facets of a tag, per density `[d]`.

    Raises:
        MeshError: no such tag.
    """
    return reaction_force(solution.field.space, solution.reactions, tag)


def drag_lift(
    solution: FlowSolution, tag: str, speed: float = 1.0, length: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Coefficients 2 F / (speed^2 length) of the force along x and along y.

    Args:
        solution: the flow.
        tag: facets of the body.
        speed: reference velocity.
        length: reference length, in 3D an area.
    """
    x, y = (2 * force(solution, tag)[:2] / (speed**2 * length)).unbind()
    return x, y


def pressure_difference(
    solution: FlowSolution, front: Sequence[float], back: Sequence[float]
) -> Tensor:
    """Pressure at one point less that at another."""
    points = torch.tensor([list(front), list(back)], dtype=torch.float64)
    pressure = solution.pressure
    first, second = pressure.space.evaluate(pressure.dofs, points)
    return first - second


def reaction_force(space: FunctionSpace, reactions: Tensor, tag: str) -> Tensor:
    """Force on the facets of a tag `[d]` from the reactions of the velocities `[num_dofs]`."""
    dofs = space.facet_dofs(tagged_facets(space.mesh, tag), block=0)
    component = space.component(dofs, block=0)
    return -reactions.new_zeros(space.mesh.dim).index_add(0, component, reactions[dofs])


def frequency(times: Tensor, signal: Tensor) -> float:
    """Frequency of an oscillation: cycles between its first and last rise through its middle.

    Args:
        times: `[k]`.
        signal: `[k]`, at least two cycles of a settled oscillation.

    Raises:
        MeshError: fewer than two rises.
    """
    about = signal - (signal.max() + signal.min()) / 2
    rise = torch.nonzero((about[:-1] < 0) & (about[1:] >= 0)).squeeze(1)
    if len(rise) < 2:
        raise MeshError("the signal does not rise twice through its middle; record a longer time")
    share = about[rise] / (about[rise] - about[rise + 1])
    at = times[rise] + share * (times[rise + 1] - times[rise])
    return float((len(rise) - 1) / (at[-1] - at[0]))
