"""Linear elasticity, -div sigma = f with sigma = lambda tr(eps) I + 2 mu eps, eps = sym(grad u)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from ..fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    assemble,
    assemble_linear,
    dot,
    grad,
    inner,
    solve,
    sym,
    trace,
)
from ..fem.reference import gradient_of, laplacian_of
from ..fem.solve import Method
from ..mesh import Mesh, MeshError
from .base import Function, Problem, Solution, as_vector_function
from .output import chosen, plot_fields, write_fields

Plane = Literal["strain", "stress"]
Vector = Sequence[float] | Tensor | Function
Displacement = float | Sequence[float | Function | None] | Function


@dataclass(frozen=True)
class Material:
    """An isotropic linear elastic material.

    Attributes:
        young: Young's modulus, a number or one per cell `[n_cells]`.
        poisson: Poisson's ratio, likewise.
        plane: what a 2D mesh stands for: a long body ("strain") or a thin sheet ("stress").
    """

    young: float | Tensor = 1.0
    poisson: float | Tensor = 0.3
    plane: Plane = "strain"

    def lame(self) -> tuple[Any, Any]:
        """Lame's constants lambda and mu of the body in 3D."""
        e, nu = self.young, self.poisson
        return e * nu / ((1 + nu) * (1 - 2 * nu)), e / (2 * (1 + nu))

    def in_plane(self, dim: int) -> tuple[Any, Any]:
        """lambda and mu that act in a mesh of this dimension."""
        lam, mu = self.lame()
        if dim == 2 and self.plane == "stress":
            lam = 2 * lam * mu / (lam + 2 * mu)
        return lam, mu

    def stress(self, slope: Tensor, poisson: float | Tensor, lam: Any, mu: Any) -> Tensor:
        """Stress `[m, 3, 3]` from displacement gradients `[m, d, d]` and 3D constants."""
        strain = (slope + slope.transpose(1, 2)) / 2
        d = strain.shape[1]
        strain = torch.nn.functional.pad(strain, (0, 3 - d, 0, 3 - d))
        total = torch.diagonal(strain, dim1=1, dim2=2).sum(dim=1)
        unit = torch.eye(3).to(strain)
        if d == 2 and self.plane == "stress":
            across = -poisson / (1 - poisson) * total
            strain = strain + across[:, None, None] * torch.diag(unit[2])
            total = total + across
        mu = mu[:, None, None] if isinstance(mu, Tensor) else mu
        return (lam * total)[:, None, None] * unit + 2 * mu * strain


@dataclass(frozen=True)
class ElasticSolution(Solution):
    """Displacements `u [n, d]` of an elastic body.

    Attributes:
        material: of the body.
    """

    material: Material = Material()

    @property
    def stress(self) -> Tensor:
        """Mean stress in each cell `[n_cells, 3, 3]`, out-of-plane components included."""
        mesh, material = self.mesh, self.material
        lam, mu = (_per_cell(c, mesh) for c in material.lame())
        nu = _per_cell(material.poisson, mesh)
        cells = FunctionSpace(mesh, ("P0", 9))
        total = assemble_linear(
            lambda v, w: dot(material.stress(grad(w.u), w.nu, w.lam, w.mu).flatten(1), v),
            cells,
            degree=2 * self.field.space.degree,
            u=self.field,
            lam=lam,
            mu=mu,
            nu=nu,
        )
        return total.reshape(-1, 3, 3) / mesh.volumes().abs()[:, None, None]

    @property
    def von_mises(self) -> Tensor:
        """Von Mises equivalent of the mean stress in each cell `[n_cells]`."""
        stress = self.stress
        mean = torch.diagonal(stress, dim1=1, dim2=2).mean(dim=1)
        deviator = stress - mean[:, None, None] * torch.eye(3).to(stress)
        return (1.5 * (deviator**2).sum(dim=(1, 2))).sqrt()

    def write(self, path: str | Path) -> Path:
        """Write the mesh with the nodal `u` and the cell fields `stress` and `von_mises`."""
        cell = {"stress": self.stress.flatten(1), "von_mises": self.von_mises}
        return write_fields(self.mesh, path, {"u": self.u}, cell)

    def plot(self, path: str | Path, field: str = "u", scale: float = 1.0) -> Path:
        """Draw the deformed body into a PNG.

        Args:
            path: ends in .png.
            field: "u" (the length of the displacement) or "von_mises".
            scale: how much larger displacements are drawn than they are.
        """
        deformed = self.mesh.moved((self.mesh.pos + scale * self.u).detach())
        known = {"u": self.u} if field == "u" else {"u": self.u, "von_mises": self.von_mises}
        label = {"u": "|u|", "von_mises": "von Mises stress"}.get(field, field)
        return plot_fields(deformed, path, {"": chosen(field, known)}, label)


class Elasticity(Problem):
    """An elastic body in 2D (plane strain or plane stress, unit thickness) or 3D.

    Args:
        young: Young's modulus E, a number or one per cell `[n_cells]`.
        poisson: Poisson's ratio, likewise.
        plane: "strain" or "stress", for meshes in 2D.
        body: force per volume, a vector or a function `[m, d] -> [m, d]`.
        tractions: force per area on facet tags, likewise.
        displacements: what is prescribed on facet tags ("boundary": everywhere): a number for all
            components, one number, function `[m, d] -> [m]` or None (free) a component, or a
            function `[m, d] -> [m, d]`.
        exact: the exact displacements, where known.

    Example: a sheet held on the left and pulled down on the right.

    >>> import meshlearn as ml
    >>> sheet = ml.problems.Elasticity(
    ...     young=100.0, plane="stress", displacements={"left": 0.0}, tractions={"right": (0, -1)}
    ... )
    >>> solution = sheet.solve(ml.generate.rectangle(8, 8), degree=2)
    >>> bool(solution.u[:, 1].min() < -0.03)
    True
    """

    def __init__(
        self,
        young: float | Tensor = 1.0,
        poisson: float | Tensor = 0.3,
        plane: Plane = "strain",
        *,
        body: Vector | None = None,
        tractions: Mapping[str, Vector] | None = None,
        displacements: Mapping[str, Displacement] | None = None,
        exact: Function | None = None,
    ) -> None:
        if plane not in ("strain", "stress"):
            raise MeshError(f"plane must be 'strain' or 'stress', got {plane!r}")
        self.material = Material(young, poisson, plane)
        self.body, self.tractions = body, dict(tractions or {})
        self.displacements = dict(displacements or {})
        self.exact = exact

    @classmethod
    def manufactured(
        cls,
        exact: Function,
        dim: int,
        young: float = 1.0,
        poisson: float = 0.3,
        plane: Plane = "strain",
    ) -> Self:
        """The problem that `exact` solves, with its values on the whole boundary."""
        lam, mu = Material(young, poisson, plane).in_plane(dim)
        part = [partial(_component, exact, k) for k in range(dim)]

        def divergence(x: Tensor) -> Tensor:
            slopes = [gradient_of(p)(x)[:, k] for k, p in enumerate(part)]
            return torch.stack(slopes).sum(dim=0)

        def body(x: Tensor) -> Tensor:
            laplacian = torch.stack([laplacian_of(p)(x) for p in part], dim=1)
            return -mu * laplacian - (lam + mu) * gradient_of(divergence)(x)

        given = {"boundary": exact}
        return cls(young, poisson, plane, body=body, displacements=given, exact=exact)

    def solve(self, mesh: Mesh, degree: int = 1, method: Method = "auto") -> ElasticSolution:
        """Lagrange elements of one degree; differentiable in positions and material.

        Args:
            mesh: the mesh.
            degree: of the elements.
            method: of the linear system, see `LinearSolver`: large ones are solved by "amg".

        Raises:
            MeshError: a 1D mesh, an unknown tag, or nothing that holds the body.
        """
        if mesh.dim not in (2, 3):
            raise MeshError("elasticity needs a mesh in 2D or 3D")
        if not self.displacements:
            raise MeshError("the body is not held anywhere; give displacements={tag: value}")
        space = FunctionSpace(mesh, (f"P{degree}", mesh.dim))
        lam, mu = (_per_cell(c, mesh) for c in self.material.in_plane(mesh.dim))
        matrix = assemble(
            lambda u, v, w: (
                2 * w.mu * inner(sym(grad(u)), sym(grad(v)))
                + w.lam * (trace(grad(u)) * trace(grad(v)))
            ),
            space,
            lam=lam,
            mu=mu,
        )
        right = matrix.values().new_zeros(space.num_dofs)
        loads = ([("cells", self.body)] if self.body is not None else []) + [
            *self.tractions.items()
        ]
        for on, load in loads:
            force = as_vector_function(load)
            right = right + assemble_linear(
                lambda v, w, force=force: dot(force(w.x), v), space, on=on, degree=2 * degree + 2
            )
        dofs = solve(matrix, right, self._conditions(space), method, space=space)
        return ElasticSolution(Field(space, dofs), self.exact, self.material)

    def _conditions(self, space: FunctionSpace) -> list[Dirichlet]:
        out = []
        for tag, value in self.displacements.items():
            if callable(value) or isinstance(value, int | float):
                out.append(Dirichlet(space, tag, value))
                continue
            if len(value) != space.mesh.dim:
                raise MeshError(
                    f"the displacement on {tag!r} needs {space.mesh.dim} components, "
                    f"got {len(value)}"
                )
            out += [
                Dirichlet(space, tag, part, components=[k])
                for k, part in enumerate(value)
                if part is not None
            ]
        return out


def _component(function: Function, k: int, x: Tensor) -> Tensor:
    return function(x)[:, k]


def _per_cell(constant: float | Tensor, mesh: Mesh) -> float | Tensor:
    if isinstance(constant, Tensor):
        return constant.to(mesh.pos).expand(mesh.num_cells)
    return constant
