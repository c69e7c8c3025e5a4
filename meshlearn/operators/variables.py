"""What an operator reads and returns: named finite-element fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..fem import FunctionSpace
from ..mesh import Mesh, MeshError

ELEMENTS = ("P0", "P1", "P2")


@dataclass(frozen=True)
class Variable:
    """A named field of an operator.

    Attributes:
        name: key of the field.
        element: "P0", "P1" or "P2".
        components: 0 for a scalar, else the number of components of a vector.

    Raises:
        MeshError: an unknown element, or fewer than 0 components.
    """

    name: str
    element: str = "P1"
    components: int = 0

    def __post_init__(self) -> None:
        if self.element not in ELEMENTS:
            raise MeshError(
                f"field {self.name!r} must be of {', '.join(ELEMENTS)}, got {self.element!r}"
            )
        if self.components < 0:
            raise MeshError(f"field {self.name!r} cannot have {self.components} components")

    @classmethod
    def of(cls, given: Variable | str | Sequence[Any]) -> Variable:
        """A variable from itself, its name, or (name, element, components)."""
        if isinstance(given, Variable):
            return given
        return cls(given) if isinstance(given, str) else cls(*given)

    @property
    def width(self) -> int:
        """Columns of the field, 1 for a scalar."""
        return max(self.components, 1)

    def space(self, mesh: Mesh) -> FunctionSpace:
        """The space of the field; its degrees of freedom are the rows of `[n, k]` one by one."""
        spec = (self.element, self.components) if self.components else self.element
        return FunctionSpace(mesh, spec)

    def sites(self, mesh: Mesh) -> int:
        """Rows of the field."""
        return self.space(mesh).num_dofs // self.width

    def columns(self, mesh: Mesh, values: Tensor) -> Tensor:
        """Values `[n]`, `[n, k]` or `[n * k]` as `[n, width]`.

        Raises:
            MeshError: they do not fit the mesh.
        """
        count = self.sites(mesh)
        if values.numel() != count * self.width or values.dim() < 1 or values.dim() > 2:
            wanted = [count, self.components] if self.components else [count]
            raise MeshError(
                f"field {self.name!r} ({self.element}) must be {wanted} on this mesh, "
                f"got {list(values.shape)}"
            )
        return values.reshape(count, self.width)

    def shaped(self, columns: Tensor) -> Tensor:
        """Columns `[n, width]` as the field is given to the outside, `[n]` or `[n, k]`."""
        return columns if self.components else columns[:, 0]


def columns_of(variables: Sequence[Variable]) -> list[tuple[Variable, slice]]:
    """Each variable with its columns in a table of all, side by side."""
    ends = list(accumulate((v.width for v in variables), initial=0))
    return [(v, slice(*ends[k : k + 2])) for k, v in enumerate(variables)]


def checked_fields(
    mesh: Mesh, variables: Sequence[Variable], fields: Mapping[str, Tensor]
) -> list[Tensor]:
    """The columns `[n, width]` of each variable.

    Raises:
        MeshError: a field is missing, does not fit, or is not finite.
    """
    found = []
    for variable in variables:
        if variable.name not in fields:
            known = ", ".join(fields) or "none"
            raise MeshError(f"the operator needs a field {variable.name!r}; there are {known}")
        columns = variable.columns(mesh, fields[variable.name])
        if not bool(torch.isfinite(columns).all()):
            raise MeshError(f"field {variable.name!r} has values that are not finite")
        found.append(columns)
    return found


def joined(variable: Variable, meshes: Sequence[Mesh], values: Sequence[Tensor]) -> Tensor:
    """Fields of single meshes as the field of their batch.

    In a batch the nodes of all meshes come before the edges of all.

    Args:
        variable: of the field.
        meshes: in the order of the batch.
        values: of each.
    """
    columns = [variable.columns(m, v) for m, v in zip(meshes, values, strict=True)]
    if variable.element != "P2":
        return variable.shaped(torch.cat(columns))
    nodes = [c[: m.num_nodes] for m, c in zip(meshes, columns, strict=True)]
    others = [c[m.num_nodes :] for m, c in zip(meshes, columns, strict=True)]
    return variable.shaped(torch.cat([*nodes, *others]))
