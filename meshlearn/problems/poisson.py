"""Poisson's equation, -lap u = f, and its Helmholtz-type relative, -lap u + c u = f."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from ..fem.reference import Scalar, laplacian_of, solve_reaction_diffusion
from ..mesh import Mesh
from .base import Problem, Solution


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
        self.source, self.boundary, self.reaction = _function(source), boundary, reaction
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
        """Lagrange elements of degree 1 or 2 on a mesh of one cell type."""
        field = solve_reaction_diffusion(mesh, self.source, self.boundary, self.reaction, degree)
        return Solution(field, self.exact)


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


def _function(value: Scalar | float) -> Scalar:
    if callable(value):
        return value
    constant = float(value)
    return lambda x: torch.full_like(x[:, 0], constant)
