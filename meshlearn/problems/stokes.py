"""Stokes' equations, -nu lap u + grad p = f, div u = 0."""

from __future__ import annotations

from ..fem import Field, assemble, assemble_linear, multiply, solve
from ..fem.solve import Method
from ..mesh import Mesh
from .flow import Element, Flow, FlowSolution, creeping, discretised


class Stokes(Flow):
    """Creeping flow in 2D or 3D.

    Args:
        viscosity: nu, kinematic.
        velocities: what is given on facet tags ("boundary": everywhere): a number for all
            components, one number, function `[m, d] -> [m]` or None (free) a component, or a
            function `[m, d] -> [m, d]`; later ones win at corners. Sides without are outlets; where
            there is none, the mean of the pressure is 0.
        body: force per mass, a vector or a function `[m, d] -> [m, d]`.

    Example: a channel.

    >>> import meshlearn as ml
    >>> profile = lambda x: x[:, 1] * (1 - x[:, 1])
    >>> channel = ml.problems.Stokes(
    ...     0.5, {"left": (profile, 0.0), "bottom": 0.0, "top": 0.0}
    ... )
    >>> solution = channel.solve(ml.generate.rectangle(8, 8))
    >>> round(float(solution.p.max()), 6)
    1.0
    """

    def solve(
        self, mesh: Mesh, element: Element = "taylor-hood", method: Method = "auto"
    ) -> FlowSolution:
        """Velocity and pressure on a mesh; differentiable in positions and data.

        Args:
            mesh: the mesh.
            element: see `flow.Element`.
            method: of the linear system, see `LinearSolver`: large ones are solved by "block".

        Raises:
            MeshError: unknown tag or element, or values that do not fit.
        """
        problem = discretised(self, mesh, element)
        space = problem.space
        matrix = assemble(lambda u, v, w: creeping(self.viscosity, u, v), space)
        right = assemble_linear(problem.load, space, degree=problem.load_degree)
        dofs = problem.with_mean_pressure(solve(matrix, right, problem.conditions, method))
        return FlowSolution(Field(space, dofs), multiply(matrix, dofs) - right)
