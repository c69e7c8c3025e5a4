"""Cell fields carried to a moved mesh of the same cells.

The mesh that moves is cut into simplices. A field that is linear in each cell (its mean and its
least-squares gradient) is integrated over the intersections of old and new simplices: exactly
conservative, and exact for linear fields away from the boundary's own rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from ...fem import FunctionSpace
from ...fem.transfer import Transfer
from ...mesh import Mesh, MeshError
from ...mesh.locate import Locator
from ..arrays import FloatArray, IntArray
from ..numerics import to_mesh
from .case import Case
from .cells import cut
from .fields import CellField, gradients, with_values

Method = Literal["interpolate", "conservative"]


def remap(
    old: Case, new: Case, fields: list[CellField], method: Method = "conservative"
) -> list[FloatArray]:
    """Cell values on the moved mesh `[n_cells, 1 or 3]` of each field.

    Args:
        old: the case before.
        new: the same with other points.
        fields: on `old`.
        method: "conservative" keeps the integral; "interpolate" takes the linear field of the cell
            in which a new centre lies.

    Raises:
        MeshError: an unknown method, or a conservative transfer of an axisymmetric case.
    """
    if method not in ("interpolate", "conservative"):
        raise MeshError(f'the method is "interpolate" or "conservative", not {method!r}')
    if method == "interpolate":
        return _interpolated(old, new, fields)
    if any(patch.type == "wedge" for patch in old.mesh.patches):
        raise MeshError(
            'axisymmetric cases have no conservative transfer; use method="interpolate"'
        )
    carry = _Carry(old, new)
    return [carry(field) for field in fields]


def _interpolated(old: Case, new: Case, fields: list[CellField]) -> list[FloatArray]:
    """The linear field of the cell in which each new centre lies."""
    locator = Locator(to_mesh(old.arrays()))
    after = new.mesh.cell_geometry[0]
    found = locator.find(torch.from_numpy(_flat(new, after)))
    home = old.moving.parent[locator.parent[found.simplex].numpy()]
    reach = after - old.mesh.cell_geometry[0][home]
    return [
        f.values[home] + np.einsum("icd,id->ic", gradients(old.mesh, f)[home], reach)
        for f in fields
    ]


class _Carry:
    """The transfer of linear functions on old simplices to means on new cells."""

    def __init__(self, old: Case, new: Case) -> None:
        self._old = old
        if old.plane is None:  # tetrahedra about centres have the volumes that OpenFOAM counts
            before, after = cut(old.mesh), cut(new.mesh)
            simplices, self._parent = before.cells, before.parent
        else:
            before, after = old.moving, new.moving
            locator = Locator(to_mesh(old.arrays()))
            simplices = {"triangle": locator.simplices.numpy()}
            self._parent = before.parent[locator.parent.numpy()]
        allow = ("duplicate", "hanging", "orphan")
        self._from = Mesh.from_cells(before.pos, simplices, allow=allow)
        target = self._from.moved(torch.from_numpy(after.pos))
        self._space = FunctionSpace(self._from, "P1DG")
        self._transfer = Transfer(self._space, FunctionSpace(target, "P0"))
        self._share = target.volumes().numpy()

    def __call__(self, field: CellField) -> FloatArray:
        parent, count = self._parent, self._old.mesh.num_cells
        slope = _flat_slopes(self._old, gradients(self._old.mesh, field))
        # the mean over the simplices of a cell is the value of the cell
        centre = _means(self._from.centroids().numpy(), self._from.volumes().numpy(), parent, count)
        dofs = self._space.dof_points.numpy()
        of = np.repeat(parent, dofs.shape[1] + 1)
        said = field.values[of] + np.einsum("icd,id->ic", slope[of], dofs - centre[of])
        columns = [self._transfer(torch.from_numpy(c.copy())).numpy() for c in said.T]
        return _means(np.stack(columns, axis=1), self._share, parent, count)


def _means(values: FloatArray, weight: FloatArray, group: IntArray, count: int) -> FloatArray:
    total = np.bincount(group, weight, count)
    sums = [np.bincount(group, weight * column, count) / total for column in values.T]
    return np.stack(sums, axis=1)


def remapped_files(
    old: Case, new: Case, fields: list[CellField], method: Method
) -> list[tuple[CellField, bytes]]:
    """The files of fields with the values that `remap` gives."""
    values = remap(old, new, fields, method)
    return [
        (replace(field, values=rows), with_values(field, rows))
        for field, rows in zip(fields, values, strict=True)
    ]


def _flat(case: Case, points: FloatArray) -> FloatArray:
    """Places in the coordinates of the mesh that moves."""
    if case.plane is None:
        return points
    return np.einsum("ad,nd->na", case.plane.axes[0], points - case.plane.origin)


def _flat_slopes(case: Case, slopes: FloatArray) -> FloatArray:
    if case.plane is None:
        return slopes
    return np.einsum("ad,ncd->nca", case.plane.axes[0], slopes)
