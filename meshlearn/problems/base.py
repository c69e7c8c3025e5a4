"""A problem: a mesh goes in, a solution with its figures of merit comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..fem import Field, FunctionSpace, errors
from ..mesh import Mesh
from .output import nodal_values, plot_fields, write_fields

Function = Callable[[Tensor], Tensor]
"""A torch function of positions `[m, d]` that returns `[m]`, or `[m, k]` for vectors."""


@dataclass(frozen=True)
class Solution:
    """A discrete solution of a problem.

    Attributes:
        field: the finite-element function, differentiable where the mesh or the data are.
        exact: the exact solution, where known.
    """

    field: Field
    exact: Function | None = None

    @property
    def mesh(self) -> Mesh:
        """The mesh it was solved on."""
        return self.field.space.mesh

    @property
    def u(self) -> Tensor:
        """Values at the nodes `[n]`, `[n, k]` of a vector."""
        return nodal_values(self.field)

    def errors(
        self, exact: Function | None = None, exact_gradient: Function | None = None
    ) -> dict[str, float]:
        """Errors against `exact` (the problem's own if not given).

        Returns:
            "l2" and "h1" (of the gradient) over the domain by high-order quadrature, "max" over
            the quadrature points and nodes.

        Raises:
            ValueError: the exact solution is not known.
        """
        exact = exact or self.exact
        if exact is None:
            raise ValueError("the exact solution of this problem is not known; give `exact`")
        with torch.no_grad():
            found = errors(self.field.space, self.field.dofs, exact, exact_gradient)
            difference = (self.u - exact(self.mesh.pos)).reshape(len(self.mesh.pos), -1)
            at_nodes = float(difference.norm(dim=1).max())
        return found | {"max": max(found["max"], at_nodes)}

    def write(self, path: str | Path) -> Path:
        """Write the mesh with the nodal field `u` (VTU or another format, by suffix)."""
        return write_fields(self.mesh, path, {"u": self.u})

    def plot(self, path: str | Path) -> Path:
        """Draw the nodal values (the length of a vector) into a PNG."""
        label = "u" if self.u.dim() == 1 else "|u|"
        return plot_fields(self.mesh, path, {"": self.u}, label)


class Problem(ABC):
    """Base of all problems that `adapt` can work on; subclasses give `solve`.

    Attributes:
        exact: the exact solution `[m, d] -> [m]` or `[m, k]`, or None.
    """

    exact: Function | None = None

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
        with torch.no_grad():
            sample = self.exact(mesh.pos[:1])
            name = f"P{degree}"
            space = FunctionSpace(mesh, name if sample.dim() == 1 else (name, sample.shape[1]))
            dofs = space.interpolate(self.exact)
        return Solution(Field(space, dofs), self.exact).errors()


def as_function(value: Function | float) -> Function:
    """A number as a constant scalar function."""
    if callable(value):
        return value
    constant = float(value)
    return lambda x: torch.full_like(x[:, 0], constant)


def as_vector_function(value: Function | Sequence[float] | Tensor) -> Function:
    """A constant vector as a function `[m, d] -> [m, d]`."""
    if callable(value):
        return value
    constant = torch.as_tensor(value, dtype=torch.float64)
    return lambda x: constant.to(x).expand(len(x), len(constant))
