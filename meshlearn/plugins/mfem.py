"""MFEM, by PyMFEM: a serial `mfem.ser.Mesh` in place; functions are `GridFunction`.

    from meshlearn.plugins import mfem as adaptation
    adaptation.adapt(mesh, u)

Spaces and grid functions keep their numbers; assemble forms anew. A mesh with nodes (after
`SetCurvature`, or a periodic one) moves by them.
"""

from __future__ import annotations

import ctypes
from functools import cached_property
from typing import TYPE_CHECKING, Any

import mfem.ser as mfem
import numpy as np

from . import common
from .arrays import (
    Array,
    Arrays,
    FieldValues,
    FloatArray,
    Geometry,
    IntArray,
    PluginError,
    by_number,
    nodal,
)
from .periodic import facets_at, pairs_of, split, vertex_points

if TYPE_CHECKING:
    from ..mesh import Mesh

_CELLS = {
    (1, 2): "line",
    (2, 3): "triangle",
    (2, 4): "quad",
    (3, 4): "tetra",
    (3, 5): "pyramid",
    (3, 6): "wedge",
    (3, 8): "hexahedron",
}
"""By dimension and number of vertices."""


class _Host(common.Host):
    code = "MFEM"

    def __init__(self, mesh: Any) -> None:
        if not isinstance(mesh, mfem.Mesh):
            raise PluginError(f"expected a mesh of mfem.ser, got {type(mesh).__name__}")
        if mesh.Nonconforming():
            raise PluginError(
                "the mesh is nonconforming: its hanging nodes must stay on their edges, which no "
                "mover knows; adapt the conforming mesh before it is refined"
            )
        self._mesh = mesh

    def arrays(self) -> Arrays:
        mesh = self._mesh
        linear = mfem.H1_FECollection(1, mesh.Dimension())
        space = mfem.FiniteElementSpace(mesh, linear)
        cells, order = _by_type(space.GetElementToDofTable(), mesh.Dimension())
        numbering, pairs = np.arange(mesh.GetNV(), dtype=np.int64), None
        geometry = self._geometry(order)
        by_point = cells
        if geometry is None:
            points = self._vertices().reshape(mesh.SpaceDimension(), -1).T.copy()
        elif _is_discontinuous(mesh.GetNodes()):
            points, by_point, numbering = split(cells, geometry)
            pairs = pairs_of(numbering)
        else:
            points = vertex_points(cells, geometry, mesh.GetNV())
        places = np.concatenate(list(order.values()))
        facet_tags: dict[str, list[IntArray]] = {}
        sides = {} if not mesh.GetNBE() else _by_width(space.GetBdrElementToDofTable())
        for rows, vertices in sides.values():
            numbers = np.asarray(mesh.GetBdrAttributeArray())[rows]
            if geometry is not None and len(points) > mesh.GetNV():
                which, vertices = facets_at(cells, by_point, vertices)
                numbers = numbers[which]
            for name, nodes in by_number(numbers, vertices).items():
                facet_tags.setdefault(name, []).append(nodes)
        return Arrays(
            points,
            by_point,
            numbering,
            facet_tags={name: _stacked(parts) for name, parts in facet_tags.items()},
            cell_tags=by_number(
                np.asarray(mesh.GetAttributeArray())[places], np.arange(len(places))
            ),
            pairs=pairs,
            geometry=geometry,
        )

    def write(self, coordinates: FloatArray) -> None:
        nodes = self._mesh.GetNodes()
        if nodes is None:
            self._set_vertices(coordinates.T.reshape(-1))
        else:
            by_vdim = nodes.FESpace().GetOrdering() == mfem.Ordering.byVDIM
            nodes.GetDataArray()[:] = (coordinates if by_vdim else coordinates.T).reshape(-1)
            self._mesh.NodesUpdated()

    def snapshot(self) -> Array:
        nodes = self._mesh.GetNodes()
        return self._vertices() if nodes is None else np.array(nodes.GetDataArray())

    def restore(self, state: Array) -> None:
        nodes = self._mesh.GetNodes()
        if nodes is None:
            self._set_vertices(state)
        else:
            nodes.GetDataArray()[:] = state
            self._mesh.NodesUpdated()

    def nodal(self, function: Any) -> FloatArray:
        if not isinstance(function, mfem.GridFunction):
            return nodal(function, len(self._numbering))
        name = self._space(function).FEColl().Name()
        if not name.startswith(("H1_", "Linear", "Quadratic")):
            raise PluginError(
                f"functions of {name} have no values at the vertices; project one to H1 first"
            )
        return self._table(function)[self._numbering]  # the first degrees of freedom of H1

    def values(self, function: Any) -> FieldValues:
        space = self._space(function)
        name = space.FEColl().Name()
        degree = space.GetMaxElementOrder()
        if (name[:3], degree) not in (("H1_", 1), ("H1_", 2), ("L2_", 0)):
            raise PluginError(
                f"functions of {name} are not transferred, only of H1 of degree 1 or 2 and of "
                "L2 of degree 0; use the code's own FindPointsGSLIB or ProjectCoefficient"
            )
        dim = self._mesh.SpaceDimension()
        where = mfem.FiniteElementSpace(self._mesh, space.FEColl(), dim)
        places = mfem.GridFunction(where)
        self._mesh.GetNodes(places)
        at = np.array(places.GetDataArray()).reshape(dim, -1).T
        return FieldValues(f"P{degree}", at.copy(), self._table(function))

    def set_values(self, function: Any, values: FloatArray) -> None:
        by_vdim = self._space(function).GetOrdering() == mfem.Ordering.byVDIM
        function.GetDataArray()[:] = (values if by_vdim else values.T).reshape(-1)

    def coefficients(self, function: Any) -> Array:
        self._space(function)
        vector: Array = function.GetDataArray()
        return vector

    @cached_property
    def _numbering(self) -> IntArray:
        """Vertex of each point `[n]`; no move changes it."""
        return self.arrays().numbering

    def _geometry(self, order: dict[str, IntArray]) -> Geometry | None:
        nodes = self._mesh.GetNodes()
        if nodes is None:
            return None
        space = nodes.FESpace()
        name = space.FEColl().Name()
        if not name.startswith(("H1_", "L2_", "Linear", "Quadratic", "Cubic")) or "Pos" in name:
            raise PluginError(
                f"nodes of {name} are not positions of points; call SetCurvature(order) first"
            )
        begin, columns = _rows(space.GetElementToDofTable())
        local, places = {}, {}
        for cell, elements in order.items():
            element = space.GetFE(int(elements[0]))
            width = element.GetDof()
            local[cell] = columns[begin[elements][:, None] + np.arange(width)].astype(np.int64)
            places[cell] = _reference(element, self._mesh.Dimension())
        return Geometry(self._table(nodes), local, places)

    def _space(self, function: Any) -> Any:
        if not isinstance(function, mfem.GridFunction):
            raise PluginError(f"expected a GridFunction of MFEM, got {type(function).__name__}")
        space = function.FESpace()
        if space.GetNE() != self._mesh.GetNE() or space.GetNV() != self._mesh.GetNV():
            raise PluginError("the GridFunction belongs to another mesh")
        return space

    @staticmethod
    def _table(function: Any) -> FloatArray:
        """Coefficients of each scalar degree of freedom, a copy `[m, components]`."""
        space = function.FESpace()
        data, width = np.array(function.GetDataArray()), space.GetVDim()
        if space.GetOrdering() == mfem.Ordering.byVDIM:
            return data.reshape(-1, width)
        return data.reshape(width, -1).T.copy()

    def _vertices(self) -> Array:
        """All x, then all y, ..."""
        vector = mfem.Vector()
        self._mesh.GetVertices(vector)
        return np.array(vector.GetDataArray())

    def _set_vertices(self, values: Array) -> None:
        self._mesh.SetVertices(mfem.Vector(np.ascontiguousarray(values)))
        self._mesh.NodesUpdated()


def to_mesh(mesh: mfem.Mesh) -> Mesh:
    """The mesh; attributes are tags called by their number, vertices keep their numbers.

    A vertex of a periodic mesh is one node on each side; the node field `periodic` says which
    nodes are images of each other, `numbering` which vertex they are. A tag of a periodic side is
    on both sides.
    """
    found = common.to_mesh(_Host(mesh))
    assert found is not None
    return found


def set_positions(mesh: mfem.Mesh, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in place and in the numbering of `to_mesh`."""
    common.set_positions(_Host(mesh), pos)


def adapt(mesh: mfem.Mesh, guide: Any, **options: Any) -> common.Report:
    """Adapt a mesh in place.

    Args:
        mesh: a serial, conforming mesh.
        guide: a `GridFunction` of H1, nodal values `[n]` or `[n, k]`, or a `Monitor`.
        options: see `common.adapt`. Functions to `transfer` are grid functions of H1 of degree 1
            or 2, or L2 of degree 0.
    """
    return common.adapt(_Host(mesh), guide, **options)


def _rows(table: Any) -> tuple[IntArray, IntArray]:
    """Row starts and columns of a `Table`, copied."""
    begin = _integers(table.GetI(), table.Size() + 1)
    return begin, _integers(table.GetJ(), int(begin[-1]))


def _integers(pointer: Any, count: int) -> IntArray:
    address = ctypes.cast(int(pointer), ctypes.POINTER(ctypes.c_int))
    return np.ctypeslib.as_array(address, (count,)).astype(np.int64)


def _by_width(table: Any) -> dict[int, tuple[IntArray, IntArray]]:
    """Rows of a table by length: their numbers `[k]` and columns `[k, length]`."""
    begin, columns = _rows(table)
    length = np.diff(begin)
    out = {}
    for width in np.unique(length):
        rows = np.flatnonzero(length == width)
        out[int(width)] = rows, columns[begin[rows][:, None] + np.arange(width)]
    return out


def _by_type(table: Any, dim: int) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Vertices and element numbers of the cells of each type."""
    found = {_CELLS[dim, width]: rows for width, rows in _by_width(table).items()}
    cells = {cell: nodes for cell, (_, nodes) in found.items()}
    return cells, {cell: rows for cell, (rows, _) in found.items()}


def _is_discontinuous(nodes: Any) -> bool:
    return str(nodes.FESpace().FEColl().Name()).startswith("L2_")


def _reference(element: Any, dim: int) -> FloatArray:
    """Places of the nodes of an element in the reference cell `[m, dim]`."""
    rule = element.GetNodes()
    points = [rule.IntPoint(k) for k in range(rule.GetNPoints())]
    return np.array([[p.x, p.y, p.z][:dim] for p in points])


def _stacked(parts: list[IntArray]) -> IntArray:
    """Facets of one tag; among quads a triangle repeats its last node."""
    width = max(part.shape[1] for part in parts)
    wide = [np.pad(part, ((0, 0), (0, width - part.shape[1])), mode="edge") for part in parts]
    return np.concatenate(wide)
