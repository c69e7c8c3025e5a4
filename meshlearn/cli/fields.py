"""Fields of a mesh by name: which can steer an adaptation, their colours, their transfer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.locate import Locator


def steering_fields(mesh: Mesh) -> list[str]:
    """Names of the nodal scalars and vectors of floating-point numbers (integers are markers)."""
    return [
        name
        for name, values in mesh.node_fields.items()
        if values.dim() <= 2 and values.is_floating_point()
    ]


def steering_values(mesh: Mesh, names: Sequence[str]) -> Tensor:
    """The components of some nodal fields `[n, k]`.

    Raises:
        MeshError: no such field, one that is not nodal, not a scalar or vector, or not finite.
    """
    columns = []
    for name in names:
        if name not in mesh.node_fields:
            kind = mesh.field_kinds.get(name)
            what = f"{name!r} is a {kind} field" if kind else f"there is no field {name!r}"
            raise MeshError(f"{what}; {_known('node', list(mesh.node_fields))}")
        if name not in steering_fields(mesh):
            raise MeshError(
                f"node field {name!r} of shape {list(mesh.node_fields[name].shape)} and type "
                f"{mesh.node_fields[name].dtype} is not a floating-point scalar or vector"
            )
        values = mesh.node_fields[name].to(torch.float64).reshape(mesh.num_nodes, -1)
        bad = ~torch.isfinite(values).all(dim=1)
        if bool(bad.any()):
            raise MeshError(
                f"field {name!r} is not finite at {int(bad.sum())} nodes, first node "
                f"{int(bad.nonzero()[0])}; correct the field"
            )
        columns.append(values)
    return torch.cat(columns, dim=1)


def named_field(mesh: Mesh, name: str) -> Tensor:
    """A node or cell field.

    Raises:
        MeshError: there is none of this name.
    """
    fields = {**mesh.cell_fields, **mesh.node_fields}
    if name not in fields:
        raise MeshError(f"there is no field {name!r}; {_known('node or cell', list(fields))}")
    return fields[name]


def colour(values: Tensor) -> Tensor:
    """One number per row of a field: itself, or the length of a vector."""
    values = values.abs() if values.is_complex() else values.to(torch.float64)
    flat = values.reshape(len(values), -1)
    return flat[:, 0] if flat.shape[1] == 1 else flat.norm(dim=1)


def transferred(mesh: Mesh, moved: Mesh) -> tuple[Mesh, list[str]]:
    """The moved mesh with nodal fields of real numbers interpolated to the new positions.

    Integers (markers), cell and facet fields stay with their node, cell or facet.

    Returns:
        The mesh, and the names of the fields that were interpolated.
    """
    names = [name for name, values in mesh.node_fields.items() if values.is_floating_point()]
    out = moved.moved(moved.pos)
    stay = (moved.pos == mesh.pos).all(dim=1)
    if not names or bool(stay.all()):
        return out, []
    locator = Locator(mesh)
    found = locator.find(moved.pos)
    for name in names:
        values = mesh.node_fields[name]
        new = locator.interpolate(values, found)
        new[stay] = values[stay]
        out.set_field(name, new, "node")
    return out, names


def _known(kind: str, names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names)) or "none"
    return f"the {kind} fields of the mesh are: {listed}"
