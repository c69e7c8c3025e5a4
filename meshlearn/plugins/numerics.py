"""The work that a plug-in hands over when meshlearn runs in its own process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..fem import FunctionSpace
from ..fem.recovery import l2_error_estimate, recover
from ..fem.transfer import Transfer
from ..mesh import Mesh, MeshError
from ..monitors import Monitor
from .arrays import Array, Arrays, FieldValues, FloatArray, oriented
from .relocate import Wish, field_monitor, relocate

if TYPE_CHECKING:
    from ..fem.transfer import Method

_CURVED, _STRAIGHT = 0.25, 1e-6
"""A degree of freedom may be so far from ours, over the distance to its neighbour. Cells of the
code may be curved, ours are straight; from degree 3 on, other places are another element."""


def to_mesh(arrays: Arrays) -> Mesh:
    """The mesh, with the code's vertex numbers as node field `numbering`.

    Cells are turned round where the code numbers them the other way; nodes keep their order. In a
    periodic mesh the node field `periodic` has for each node the first of its images.

    Raises:
        MeshError: a mesh that cannot be moved.
    """
    fields = {"numbering": arrays.numbering}
    if arrays.pairs is not None:
        fields["periodic"] = np.arange(len(arrays.points))
        fields["periodic"][arrays.pairs[:, 1]] = arrays.pairs[:, 0]
    return Mesh.from_cells(
        arrays.points,
        oriented(arrays.cells, arrays.points),
        facet_tags=arrays.facet_tags,
        cell_tags=arrays.cell_tags,
        point_tags=arrays.point_tags,
        node_fields=fields,
        allow=("duplicate", "hanging"),  # they work in the code that the mesh comes from
    )


class Local:
    """Moves, estimates and transfers in this process.

    Args:
        arrays: the mesh at the start, whose relative cell sizes count.
        wish: how it is to be moved.
    """

    def __init__(self, arrays: Arrays, wish: Wish) -> None:
        self.mesh = to_mesh(arrays)
        self.wish = wish
        self._pairs = None if arrays.pairs is None else torch.from_numpy(arrays.pairs)

    def move(self, current: FloatArray, guide: Any) -> tuple[FloatArray, dict[str, Any]]:
        """Positions `[n, d]` and report of one move.

        Args:
            current: positions `[n, d]` where the move starts.
            guide: nodal values there `[n]` or `[n, k]`, or a `Monitor`.
        """
        start = self.mesh.moved(current)
        if isinstance(guide, Monitor):
            monitor = guide
        else:
            monitor = field_monitor(start, torch.from_numpy(guide), self.wish)
        moved, report = relocate(self.mesh, monitor, self.wish, start=start, pairs=self._pairs)
        return moved.pos.numpy(), report

    def estimate(
        self, candidates: Iterable[FloatArray], background: FloatArray, values: FloatArray
    ) -> list[float]:
        """Estimated L2 error of linear interpolation on each of some meshes.

        Args:
            candidates: positions `[n, d]` of each.
            background: positions `[n, d]` where the values are.
            values: `[n]` or `[n, k]`; several columns count relative to their range.
        """
        return estimates(self.mesh, candidates, background, values)

    def transfer(
        self, field: FieldValues, old: FloatArray, new: FloatArray, method: str
    ) -> FloatArray:
        """Values of a function `[m, components]` on the mesh at `new` that lived on it at `old`."""
        return transferred(self.mesh.moved(old), self.mesh.moved(new), field, method)

    def close(self) -> None:
        """Nothing to end."""


def estimates(
    mesh: Mesh, candidates: Iterable[FloatArray], background: FloatArray, values: FloatArray
) -> list[float]:
    """See `Local.estimate`; `mesh` has the cells."""
    behind = mesh.moved(background)
    columns = torch.from_numpy(values.reshape(len(values), -1))
    scale = columns.amax(dim=0) - columns.amin(dim=0) if columns.shape[1] > 1 else torch.ones(1)
    hessians = [
        recover(behind, columns[:, k]).hessian / scale[k]
        for k in range(columns.shape[1])
        if scale[k] > 0
    ]
    return [
        float(np.sqrt(sum(l2_error_estimate(mesh.moved(at), behind, h) ** 2 for h in hessians)))
        for at in candidates
    ]


def transferred(old: Mesh, new: Mesh, field: FieldValues, method: str) -> FloatArray:
    """Values of a function on a moved copy of its mesh `[m, components]`.

    Args:
        old: the mesh that the function lives on.
        new: the moved copy.
        field: degrees of freedom by their places, whatever their numbering.
        method: "interpolate", "project" or "conservative", see `meshlearn.fem.transfer`.

    Raises:
        MeshError: an element without point values of ours, or places that are not its own.
    """
    space = FunctionSpace(old, field.element)
    ours = _matched(space.dof_points, field)
    values = torch.empty(field.values.shape, dtype=torch.float64)
    values[ours] = torch.from_numpy(np.ascontiguousarray(field.values, dtype=np.float64))
    chosen: Method = method  # type: ignore[assignment]  # Transfer checks it
    target = space.on(new)
    carry = Transfer(space, target, chosen)
    out = torch.stack([carry(column) for column in values.unbind(dim=1)], dim=1)
    if method == "interpolate":
        stay = (space.dof_points == target.dof_points).all(dim=1)
        out[stay] = values[stay]
    found: Array = out[ours].numpy()
    return found


def _matched(points: Tensor, field: FieldValues) -> Tensor:
    """Our degree of freedom at the place of each of the code's `[m]`."""
    at = points.numpy()
    tree = cKDTree(at)
    found = tree.query(field.points, k=[1, 2] if len(at) > 1 else [1])
    distance, index = np.asarray(found[0]), np.asarray(found[1])
    wrong = len(np.unique(index[:, 0])) < len(at) or len(at) != len(field.points)
    near = _CURVED if field.element in ("P0", "P1", "P2") else _STRAIGHT
    if wrong or (len(at) > 1 and (distance[:, 0] > near * distance[:, 1]).any()):
        raise MeshError(
            f"the {len(field.points)} places where the function has its values are not the "
            f"{len(at)} of {field.element} elements; transfer it with the code's own interpolation"
        )
    return torch.from_numpy(index[:, 0])
