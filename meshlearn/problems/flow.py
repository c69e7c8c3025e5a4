"""What incompressible flow problems share: their data, spaces, conditions and solution.

Pressures and forces are per density. The weak form is

    nu (grad u, grad v) - (p, div v) - (q, div u) + ((u . grad) u, v) = (f, v),

so that a side without a velocity is an outlet that lets the flow out: nu du/dn = p n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..fem import Dirichlet, Field, FunctionSpace, div, dot, errors, grad, inner, integrate
from ..fem.elimination import reduction
from ..mesh import CELL_TYPES, Mesh, MeshError
from .base import Function, as_vector_function
from .output import chosen, nodal_values, plot_fields, write_fields

Element = Literal["taylor-hood", "mini"]
"""Velocities of degree 2 with pressures of degree 1, or of degree 1 with a bubble on simplices."""
Velocity = float | Sequence[float | Function | None] | Function

_ELEMENTS = {"taylor-hood": "P2", "mini": "MINI"}
_CLOSED = 1e-10


def creeping(nu: float | Tensor, u: Any, v: Any) -> Any:
    """Viscosity, pressure and incompressibility: Stokes' form."""
    (velocity, p), (w, q) = u, v
    return nu * inner(grad(velocity), grad(w)) - p * div(w) - q * div(velocity)


def convection(along: Any, velocity: Any, w: Any) -> Any:
    """((along . grad) velocity, w)."""
    return dot(dot(grad(velocity), along), w)


@dataclass(frozen=True)
class Flow:
    """Data of an incompressible flow.

    Attributes:
        viscosity: nu, kinematic.
        velocities: what is given on facet tags ("boundary": everywhere): a number for all
            components, one number, function `[m, d] -> [m]` or None (free) a component, or a
            function `[m, d] -> [m, d]`; later ones win at corners. Other sides are outlets.
        body: force per mass, a vector or a function `[m, d] -> [m, d]`.
    """

    viscosity: float | Tensor
    velocities: Mapping[str, Velocity]
    body: Sequence[float] | Tensor | Function | None = None

    def __post_init__(self) -> None:
        if not self.viscosity > 0:
            raise MeshError(f"the viscosity must be positive, got {self.viscosity}")
        if not self.velocities:
            raise MeshError("no side has a velocity; give velocities={tag: value}")


@dataclass(frozen=True)
class FlowSolution:
    """Velocity and pressure.

    Attributes:
        field: the mixed finite-element function.
        reactions: what the momentum equations leave at each degree of freedom `[num_dofs]`: the
            forces by which the sides hold the fluid.
    """

    field: Field
    reactions: Tensor

    @property
    def mesh(self) -> Mesh:
        """The mesh it was solved on."""
        return self.field.space.mesh

    @property
    def u(self) -> Tensor:
        """Velocities at the nodes `[n, d]`."""
        return nodal_values(self.field, 0)

    @property
    def p(self) -> Tensor:
        """Pressures at the nodes `[n]`."""
        return nodal_values(self.field, 1)

    @cached_property
    def velocity(self) -> Field:
        """Velocity on a space of its own."""
        return self._block(0)

    @cached_property
    def pressure(self) -> Field:
        """Pressure on a space of its own."""
        return self._block(1)

    def _block(self, index: int) -> Field:
        space = self.field.space
        block = space.blocks[index]
        dofs = self.field.dofs[block.offset : block.offset + block.size]
        return Field(FunctionSpace(space.mesh, space.specs[index]), dofs)

    def errors(self, velocity: Function, pressure: Function) -> dict[str, float]:
        """L2 and H1 errors of the velocity, L2 error of the pressure apart from its mean.

        Returns:
            "velocity_l2", "velocity_h1" and "pressure_l2".
        """
        u, p = self.velocity, self.pressure
        of_velocity = errors(u.space, u.dofs, velocity)
        gap = integrate(lambda w: w.p - pressure(w.x), self.mesh, degree=8, p=p)
        shift = float(gap) / float(self.mesh.volumes().abs().sum())
        of_pressure = errors(p.space, p.dofs - shift, pressure)
        return {
            "velocity_l2": of_velocity["l2"],
            "velocity_h1": of_velocity["h1"],
            "pressure_l2": of_pressure["l2"],
        }

    def write(self, path: str | Path) -> Path:
        """Write the mesh with the nodal fields `u` and `p` (VTU or another format, by suffix)."""
        return write_fields(self.mesh, path, {"u": self.u, "p": self.p})

    def plot(self, path: str | Path, field: str = "speed") -> Path:
        """Draw the nodal "speed" or "pressure" into a PNG."""
        known = {"speed": self.u.norm(dim=1), "pressure": self.p}
        return plot_fields(self.mesh, path, {"": chosen(field, known)}, field)


@dataclass(frozen=True)
class Discrete:
    """A flow on a mesh.

    Attributes:
        flow: the data.
        space: velocities (block 0) and pressures (block 1).
        conditions: given velocities and, in an enclosed flow, one pressure.
        enclosed: whether no fluid can leave, which leaves the pressure free by a constant.
        excess: what the given velocities let out per volume of an enclosed flow: 0 up to their
            interpolation error, which is taken from each cell alike.
    """

    flow: Flow
    space: FunctionSpace
    conditions: list[Dirichlet]
    enclosed: bool
    excess: Tensor | float = 0.0

    def load(self, v: Any, w: Any) -> Any:
        """Linear form of the body force, and of the excess."""
        body = self.flow.body
        force = as_vector_function([0.0] * self.space.mesh.dim if body is None else body)
        return dot(force(w.x), v[0]) - self.excess * v[1]

    def start(self) -> Tensor:
        """The fluid at rest except where velocities are given `[num_dofs]`."""
        return reduction(self.conditions, self.space.num_dofs, self.space.mesh.pos.device).given

    @property
    def load_degree(self) -> int:
        """Quadrature for the body force: two more than the elements' own, bubbles apart."""
        return 2 * min(self.space.degree, 3) + 2

    @property
    def degree(self) -> int:
        """Quadrature for convection: exact in Taylor-Hood elements, bubbles to their square."""
        degree = self.space.degree
        simplices = all(CELL_TYPES[cell].is_simplex for cell in self.space.mesh.cells)
        if degree > 2:
            return 2 * degree
        return 3 * degree - 1 if simplices else 3 * degree

    def with_mean_pressure(self, dofs: Tensor) -> Tensor:
        """Coefficients with the mean of an enclosed flow's pressure taken out."""
        if not self.enclosed:
            return dofs
        mesh, block = self.space.mesh, self.space.blocks[1]
        total = integrate(lambda w: w.state[1].value, mesh, state=Field(self.space, dofs))
        constant = torch.zeros_like(dofs)
        constant[block.offset :] = 1.0
        return dofs - total / mesh.volumes().abs().sum() * constant


def discretised(flow: Flow, mesh: Mesh, element: Element) -> Discrete:
    """Spaces and conditions of a flow on a mesh.

    Raises:
        MeshError: unknown tag or element, or values that do not fit.
    """
    if element not in _ELEMENTS:
        raise MeshError(f"unknown element {element!r}; there are {', '.join(_ELEMENTS)}")
    if mesh.dim not in (2, 3):
        raise MeshError("flow needs a mesh in 2D or 3D")
    space = FunctionSpace(mesh, [(_ELEMENTS[element], mesh.dim), "P1"])
    conditions = _conditions(space, flow.velocities)
    fixed = reduction(conditions, space.num_dofs, mesh.pos.device)
    free = torch.zeros_like(fixed.given).index_fill(0, fixed.free, 1.0)
    out = Discrete(flow, space, conditions, enclosed=False)
    with torch.no_grad():
        leak = integrate(
            lambda w: ((w.free[0].value * w.n) ** 2).sum(dim=1),
            mesh,
            on="boundary",
            free=Field(space, free),
        )
    if float(leak) > _CLOSED * mesh.dim:
        return out
    given = Field(space, fixed.given)
    flux = integrate(lambda w: dot(w.given[0].value, w.n), mesh, on="boundary", given=given)
    first = torch.tensor([space.blocks[1].offset], device=mesh.pos.device)
    pin = Dirichlet(space, first, 0.0, block=1)
    excess = flux / mesh.volumes().abs().sum()
    return replace(out, conditions=[*conditions, pin], enclosed=True, excess=excess)


def _conditions(space: FunctionSpace, velocities: Mapping[str, Velocity]) -> list[Dirichlet]:
    out = []
    for tag, value in velocities.items():
        if callable(value) or isinstance(value, int | float):
            out.append(Dirichlet(space, tag, value))
            continue
        if len(value) != space.mesh.dim:
            raise MeshError(
                f"the velocity on {tag!r} needs {space.mesh.dim} components, got {len(value)}"
            )
        out += [
            Dirichlet(space, tag, part, components=[k])
            for k, part in enumerate(value)
            if part is not None
        ]
    return out
