"""A problem: a mesh goes in, a solution with its figures of merit comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ..fem.reference import DiscreteField, Scalar, interpolate
from ..mesh import Mesh


@dataclass(frozen=True)
class Solution:
    """A discrete solution of a problem.

    Attributes:
        field: the finite-element function.
        exact: the exact solution, where known.
    """

    field: DiscreteField
    exact: Scalar | None = None

    @property
    def mesh(self) -> Mesh:
        """The mesh it was solved on."""
        return self.field.mesh

    @property
    def u(self) -> Tensor:
        """Values at the nodes `[n]`."""
        return self.field.nodal

    def errors(
        self, exact: Scalar | None = None, exact_gradient: Scalar | None = None
    ) -> dict[str, float]:
        """Errors "l2", "h1", "max" against `exact` (the problem's own if not given).

        Raises:
            ValueError: the exact solution is not known.
        """
        exact = exact or self.exact
        if exact is None:
            raise ValueError("the exact solution of this problem is not known; give `exact`")
        return self.field.errors(exact, exact_gradient)


class Problem(ABC):
    """Base of all problems; subclasses give `solve`.

    Attributes:
        exact: the exact solution `[m, d] -> [m]`, or None.
    """

    exact: Scalar | None = None

    @abstractmethod
    def solve(self, mesh: Mesh, degree: int = 1) -> Solution:
        """Solve on a mesh."""

    def interpolation_errors(self, mesh: Mesh, degree: int = 1) -> dict[str, float]:
        """Errors of the Lagrange interpolant of the exact solution, as `Solution.errors`.

        Raises:
            ValueError: the exact solution is not known.
        """
        if self.exact is None:
            raise ValueError("the exact solution of this problem is not known")
        return interpolate(mesh, self.exact, degree).errors(self.exact)
