"""Poisson's equation, -lap u = f, and its Helmholtz-type relative, -lap u + c u = f."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ..fem import Dirichlet, Field, FunctionSpace, assemble, assemble_linear, dot, grad, solve
from ..fem.reference import Scalar, laplacian_of
from ..mesh import CELL_TYPES, Mesh, MeshError
from .base import Problem, Solution, as_function


class Helmholtz(Problem):
    """-lap u + c u = f in the domain, u = g on its boundary (c >= 0: no waves).

    Args:
        source: f, torch function `[m, d] -> [m]`, or a number.
        boundary: g, likewise.
        reaction: c.
        exact: the exact solution, where known.
    """

    def __init__(
        self,
        source: Scalar | float,
        boundary: Scalar | float = 0.0,
        reaction: float = 1.0,
        exact: Scalar | None = None,
    ) -> None:
        self.source, self.boundary, self.reaction = as_function(source), boundary, reaction
        self.exact = exact

    @classmethod
    def manufactured(cls, exact: Scalar, reaction: float = 1.0) -> Self:
        """The problem that `exact` solves: source by automatic differentiation, g = exact."""

        def source(x: Tensor) -> Tensor:
            return -laplacian_of(exact)(x) + reaction * exact(x)

        problem = cls.__new__(cls)
        Helmholtz.__init__(problem, source, exact, reaction, exact)
        return problem

    def solve(self, mesh: Mesh, degree: int = 1) -> Solution:
        """Lagrange elements of degree 1, 2 or (on simplices) 3; triangles and quads may mix.

        The solution is differentiable in the node positions of the mesh.

        Raises:
            MeshError: no such element on these cells, a negative c, or a source that is not finite.
        """
        if self.reaction < 0:
            raise MeshError(f"the reaction coefficient must not be negative, got {self.reaction}")
        space = FunctionSpace(mesh, f"P{degree}")
        # Twice the degree of the products along each axis, so that quads and hexahedra are exact.
        simple = all(CELL_TYPES[cell].is_simplex for cell in mesh.cells)
        order = None if simple else 2 * degree * mesh.dim
        matrix = assemble(
            lambda u, v, w: dot(grad(u), grad(v)) + self.reaction * (u * v), space, degree=order
        )
        # Sources with layers deserve more than the element's own order.
        right = assemble_linear(lambda v, w: self._load(w.x) * v, space, degree=2 * degree + 4)
        bc = Dirichlet(space, "boundary", self.boundary)
        dofs = solve(matrix, right, [bc], tol=1e-12)
        return Solution(Field(space, dofs), self.exact)

    def _load(self, x: Tensor) -> Tensor:
        values = self.source(x)
        if not bool(torch.isfinite(values).all()):
            raise MeshError("the source is not finite in the domain")
        return values


class Poisson(Helmholtz):
    """-lap u = f in the domain, u = g on its boundary.

    Args:
        source: f, torch function `[m, d] -> [m]`, or a number.
        boundary: g, likewise.
        exact: the exact solution, where known.
    """

    def __init__(
        self,
        source: Scalar | float,
        boundary: Scalar | float = 0.0,
        exact: Scalar | None = None,
    ) -> None:
        super().__init__(source, boundary, 0.0, exact)

    @classmethod
    def manufactured(cls, exact: Scalar, reaction: float = 0.0) -> Self:
        """The problem that `exact` solves: source by automatic differentiation, g = exact."""
        return super().manufactured(exact, reaction)
