"""Goal-oriented error of a steady flow: cells' shares in the error of a force on a body.

The adjoint problem is that of Newton's linearisation at the discrete flow, in elements of the next
degree; the force is the residual of the momentum equations tested with functions that are 1 on the
body, see `forces` (a closed one: where sides meet, that depends on the mesh). Becker & Rannacher,
Acta Numerica 10 (2001); Braack & Richter, Comput. Fluids 35 (2006), for the same benchmark.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..fem import (
    Dirichlet,
    Estimate,
    Field,
    FunctionSpace,
    goal_estimate,
    reinterpolate,
    residual,
)
from ..fem.facets import tagged_facets
from ..mesh import MeshError
from .flow import FlowSolution, convection, discretised
from .navier_stokes import NavierStokes, momentum, tangent


def force_estimate(
    problem: NavierStokes,
    solution: FlowSolution,
    tag: str,
    component: int = 0,
    scale: float = 1.0,
) -> Estimate:
    """Estimated error of a component of the force on the facets of a tag.

    Args:
        problem: the flow, without a body force.
        solution: of the problem, with Taylor-Hood elements.
        tag: facets of the body.
        component: of the force; 0 for drag, 1 for lift.
        scale: factor of the force, 2 / (speed^2 length) for coefficients as `forces.drag_lift`.

    Returns:
        Signed contributions of the cells, and their sum, the exact force less the discrete one.

    Raises:
        MeshError: a body force, other elements, or an enclosed flow without outlet.
    """
    space = solution.field.space
    if problem.body is not None:
        raise MeshError("force_estimate is for flows without a body force")
    if space.blocks[0].name != "P2":
        raise MeshError("force_estimate needs a flow with Taylor-Hood elements")
    discrete = discretised(problem, solution.mesh, "taylor-hood")
    if discrete.enclosed:
        raise MeshError("force_estimate cannot fix the pressure of a flow without an outlet")

    def load(v: Any, w: Any) -> Any:
        # With Newton's linearisation on the other side the residual is that of the flow itself.
        return convection(w.u[0], w.u[0], v[0])

    # 1 on the body in the flow's own elements: in others the force would be another functional.
    dofs = space.facet_dofs(tagged_facets(space.mesh, tag), block=0)
    dofs = dofs[space.component(dofs, block=0) == component]
    body = Field(space, torch.zeros_like(solution.field.dofs).index_fill(0, dofs, 1.0))

    def figure(field: Field) -> Tensor:
        form, degree = partial(momentum, discrete), 3 * field.space.degree - 1
        rest = residual(form, field.space, field.dofs, degree=degree)
        return -scale * (rest @ reinterpolate(body, field.space))

    def conditions(target: FunctionSpace) -> list[Dirichlet]:
        return [
            Dirichlet(target, side, 0.0, components=[k])
            for side, value in problem.velocities.items()
            for k in range(space.mesh.dim)
            if not isinstance(value, tuple | list) or value[k] is not None
        ]

    still = Field(space, solution.field.dofs.detach())
    slope = partial(tangent, discrete)
    return goal_estimate(space, still.dofs, slope, load, figure, conditions, u=still)
