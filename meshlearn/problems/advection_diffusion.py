"""Steady advection and diffusion, -k lap u + b . grad u + c u = f."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from torch import Tensor

from ..fem import Dirichlet, Field, FunctionSpace, assemble, assemble_linear, dot, grad, solve
from ..fem.reference import gradient_of, laplacian_of
from ..mesh import Mesh, MeshError
from .base import Function, Problem, Solution, as_function, as_vector_function
from .supg import corner_slopes, stabilisation

Scheme = Literal["supg", "galerkin"]


class AdvectionDiffusion(Problem):
    """-k lap u + b . grad u + c u = f, u = g on all or some of the boundary, k du/dn = 0 elsewhere.

    Args:
        velocity: b, a vector or a torch function `[m, d] -> [m, d]`.
        diffusion: k > 0.
        source: f, a number or a function `[m, d] -> [m]`.
        boundary: g on the whole boundary, or `{facet tag: g}`; numbers or functions.
        reaction: c.
        scheme: "supg" (streamline-upwind Petrov-Galerkin, linear elements) or "galerkin", which
            oscillates where |b| h > 2 k.
        exact: the exact solution, where known.
    """

    def __init__(
        self,
        velocity: Function | Sequence[float],
        diffusion: float,
        source: Function | float = 0.0,
        boundary: Function | float | Mapping[str, Function | float] = 0.0,
        reaction: float = 0.0,
        scheme: Scheme = "supg",
        exact: Function | None = None,
    ) -> None:
        if not diffusion > 0:
            raise MeshError(f"the diffusion coefficient must be positive, got {diffusion}")
        if scheme not in ("supg", "galerkin"):
            raise MeshError(f"the scheme must be 'supg' or 'galerkin', got {scheme!r}")
        self.velocity, self.diffusion = as_vector_function(velocity), diffusion
        self.source, self.reaction, self.scheme = as_function(source), reaction, scheme
        self.boundary = boundary if isinstance(boundary, Mapping) else {"boundary": boundary}
        self.exact = exact

    @classmethod
    def manufactured(
        cls,
        exact: Function,
        velocity: Function | Sequence[float],
        diffusion: float,
        reaction: float = 0.0,
        scheme: Scheme = "supg",
    ) -> Self:
        """The problem that `exact` solves, with its values on the whole boundary."""
        flow = as_vector_function(velocity)

        def source(x: Tensor) -> Tensor:
            slope = gradient_of(exact)(x)
            along = (flow(x) * slope).sum(dim=1)
            return -diffusion * laplacian_of(exact)(x) + along + reaction * exact(x)

        return cls(velocity, diffusion, source, exact, reaction, scheme, exact)

    def solve(self, mesh: Mesh, degree: int = 1) -> Solution:
        """Lagrange elements; SUPG takes degree 1, where the strong residual has no Laplacian.

        Raises:
            MeshError: SUPG with another degree, or no value on any part of the boundary.
        """
        upwind = self.scheme == "supg"
        if upwind and degree != 1:
            raise MeshError("SUPG has linear elements; use degree=1 or scheme='galerkin'")
        space = FunctionSpace(mesh, f"P{degree}")
        k, c, flow = self.diffusion, self.reaction, self.velocity
        order, slopes = 2 * degree + 2, corner_slopes(mesh)
        matrix = assemble(
            lambda u, v, w: k * dot(grad(u), grad(v)) + (dot(flow(w.x), grad(u)) + c * u) * v,
            space,
            degree=order,
        )
        right = assemble_linear(lambda v, w: self.source(w.x) * v, space, degree=order + 2)
        if upwind:
            matrix = matrix + assemble(
                lambda u, v, w: (
                    stabilisation(flow(w.x), k, w.slopes)
                    * ((dot(flow(w.x), grad(u)) + c * u) * dot(flow(w.x), grad(v)))
                ),
                space,
                degree=order,
                slopes=slopes,
            )
            right = right + assemble_linear(
                lambda v, w: (
                    stabilisation(flow(w.x), k, w.slopes)
                    * self.source(w.x)
                    * dot(flow(w.x), grad(v))
                ),
                space,
                degree=order + 2,
                slopes=slopes,
            )
        bcs = [Dirichlet(space, tag, value) for tag, value in self.boundary.items()]
        return Solution(Field(space, solve(matrix, right, bcs)), self.exact)
