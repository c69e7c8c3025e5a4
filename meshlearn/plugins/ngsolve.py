"""NGSolve: an `ngsolve.Mesh` in place; functions are any `CoefficientFunction`.

    from meshlearn.plugins import ngsolve as adaptation
    adaptation.adapt(mesh, gfu)

Spaces, grid functions and forms stay as they are, degrees of freedom keep their numbers. A curved
mesh is curved again after the move, to its geometry. Assemble forms and set boundary values anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ngsolve as ngs
import numpy as np

from . import common
from .arrays import Array, Arrays, FieldValues, FloatArray, IntArray, PluginError, by_number, nodal
from .parallel import gather_numbered, gather_rows, is_root, rows_before

if TYPE_CHECKING:
    from ..mesh import Mesh

_TYPES = {
    10: ("triangle", 3),
    11: ("quad", 4),
    20: ("tetra", 4),
    22: ("pyramid", 5),
    23: ("wedge", 6),
    25: ("hexahedron", 8),
}
"""Netgen's numbers of first-order elements."""
_RULES = (ngs.TRIG, ngs.QUAD, ngs.TET, ngs.PYRAMID, ngs.PRISM, ngs.HEX)


class _Host(common.Host):
    code = "NGSolve"

    def __init__(self, mesh: Any) -> None:
        if not isinstance(mesh, ngs.Mesh) or mesh.dim not in (2, 3):
            raise PluginError(
                f"expected a 2D or 3D mesh of NGSolve, got {type(mesh).__name__}"
                + (f" of dimension {mesh.dim}" if isinstance(mesh, ngs.Mesh) else "")
            )
        self._mesh, self._ng = mesh, mesh.ngmesh
        if len(self._points) != mesh.nv:
            raise PluginError(
                f"the mesh has {len(self._points)} points but {mesh.nv} vertices: make it from "
                "first-order elements and curve it with mesh.Curve(order)"
            )
        parallel = mesh.comm.size > 1
        self.comm = mesh.comm.mpi4py if parallel else None
        self._numbers = np.arange(mesh.nv, dtype=np.int64)
        self._count = mesh.nv
        if parallel:
            found, self._count = ngs.H1(mesh, order=1).ParallelDofs().EnumerateGlobally()
            self._numbers = np.array(list(found), dtype=np.int64)

    @property
    def _points(self) -> FloatArray:
        """A view of the coordinates of this rank."""
        points: FloatArray = self._ng.Coordinates()
        return points

    def arrays(self) -> Arrays | None:
        mesh, ng = self._mesh, self._ng
        volume = ng.Elements2D() if mesh.dim == 2 else ng.Elements3D()
        surface = ng.Elements1D() if mesh.dim == 2 else ng.Elements2D()
        kinds, nodes, index = self._elements(volume.NumPy())
        _, facet_nodes, facet_index = self._elements(surface.NumPy())
        pairs = mesh.GetPeriodicNodePairs(ngs.VERTEX)
        self._refuse_periodic(len(pairs))
        points = gather_numbered(self.comm, self._numbers, self._points, self._count)
        if points is None or kinds is None or nodes is None or index is None:
            return None
        assert facet_nodes is not None
        assert facet_index is not None
        cells, order = {}, []
        for number, (name, width) in _TYPES.items():
            rows = np.flatnonzero(kinds == number)
            if len(rows):
                cells[name] = np.ascontiguousarray(nodes[rows, :width])
                order.append(rows)
        if self.comm is not None:  # an interface may be on two ranks
            facet_nodes, facet_index = _once(facet_nodes, facet_index)
        return Arrays(
            points,
            cells,
            np.arange(len(points)),
            facet_tags=by_number(facet_index, facet_nodes, self._boundary_names()),
            cell_tags=by_number(
                index[np.concatenate(order)], np.arange(len(index)), mesh.GetMaterials()
            ),
            pairs=np.array([pair for pair, _ in pairs], dtype=np.int64) if pairs else None,
        )

    def write(self, coordinates: FloatArray) -> None:
        self._place(coordinates[self._numbers])
        if self._mesh.GetCurveOrder() > 1 and len(self._points):
            self._check_curved()

    def snapshot(self) -> Array:
        return self._points.copy()

    def restore(self, state: Array) -> None:
        self._place(state)

    def nodal(self, function: Any) -> FloatArray | None:
        if not isinstance(function, ngs.CoefficientFunction):
            return nodal(function, self._count) if is_root(self.comm) else None
        if function.is_complex:
            raise PluginError("the function is complex: give its real part, or its modulus")
        columns = [self._at_vertices(part) for part in _components(function)]
        here = np.stack(columns, axis=1)
        return gather_numbered(self.comm, self._numbers, here, self._count)

    def values(self, function: Any) -> FieldValues | None:
        scalars = [self._vector(part) for part in _scalars(function)]
        table = np.stack([vector for _, vector in scalars], axis=1)
        if scalars[0][0] == "P1":
            values = gather_numbered(self.comm, self._numbers, table, self._count)
            places = gather_numbered(self.comm, self._numbers, self._points, self._count)
        else:
            values = gather_rows(self.comm, table)
            places = gather_rows(self.comm, self._centres())
        if values is None or places is None:
            return None
        return FieldValues(scalars[0][0], places, values)

    def set_values(self, function: Any, values: FloatArray) -> None:
        for part, column in zip(_scalars(function), values.T, strict=True):
            element, vector = self._vector(part)
            if element == "P1":
                vector[:] = column[self._numbers]
            else:
                begin = rows_before(self.comm, len(vector))
                vector[:] = column[begin : begin + len(vector)]

    def coefficients(self, function: Any) -> Array:
        _scalars(function)  # what it cannot transfer it need not keep
        vector: Array = function.vec.FV().NumPy()
        return vector

    def _place(self, points: FloatArray) -> None:
        self._points[:] = points
        self._ng.Update()  # the search tree of point evaluation too
        if self._mesh.GetCurveOrder() > 1:
            self._mesh.Curve(self._mesh.GetCurveOrder())

    def _elements(self, table: Array) -> tuple[Array | None, IntArray | None, IntArray | None]:
        """Types, global nodes and indices of a Netgen table of all ranks, on rank 0."""
        local = table["nodes"].astype(np.int64) - 1
        width = local.shape[1] if "type" in (table.dtype.names or ()) else 2
        local = local[:, :width]
        padded = np.concatenate([self._numbers, [-1]])  # 0, no node, became -1
        nodes = padded[local]
        types = table["type"] if width > 2 else np.zeros(len(table), np.uint8)
        if self.comm is not None:  # ranks without quads have narrower tables
            widest = self.comm.allreduce(nodes.shape[1], op=_max())
            nodes = np.pad(nodes, ((0, 0), (0, widest - nodes.shape[1])), constant_values=-1)
        index = table["index"].astype(np.int64)
        return tuple(gather_rows(self.comm, each) for each in (types, nodes, index))  # type: ignore[return-value]

    def _boundary_names(self) -> list[str]:
        if self._mesh.dim == 2:
            return list(self._mesh.GetBoundaries())
        count = self._ng.GetNFaceDescriptors()
        return [self._ng.FaceDescriptor(k).bcname for k in range(1, count + 1)]

    def _refuse_periodic(self, count: int) -> None:
        if self.comm is not None and self.comm.allreduce(count) > 0:
            raise PluginError("periodic meshes of NGSolve are supported on one rank only")

    def _check_curved(self) -> None:
        """Raise where curving again has turned a cell inside out."""
        mesh, order = self._mesh, self._mesh.GetCurveOrder()
        rules = {kind: ngs.IntegrationRule(kind, 2 * order) for kind in _RULES}
        places = mesh.MapToAllElements(rules, ngs.VOL)
        jacobians = np.asarray(ngs.Det(ngs.specialcf.JacobianMatrix(mesh.dim))(places))
        if (jacobians <= 0).any():
            raise PluginError(
                f"{int((jacobians <= 0).sum())} quadrature points have a negative Jacobian after "
                f"curving the moved mesh to order {order}; keep the curved boundary's layer with "
                "fixed=, or adapt the mesh before curving it"
            )

    def _at_vertices(self, scalar: Any) -> Array:
        if isinstance(scalar, ngs.GridFunction) and scalar.space.type == "h1ho":
            return np.array(scalar.vec.FV().NumPy()[: self._mesh.nv])
        linear = ngs.GridFunction(ngs.H1(self._mesh, order=1))
        linear.Set(scalar)
        return np.array(linear.vec.FV().NumPy())

    def _vector(self, scalar: Any) -> tuple[str, Array]:
        """Element and coefficients of a function that can be transferred."""
        kind, order = scalar.space.type, scalar.space.globalorder
        if (kind, order) not in (("h1ho", 1), ("l2ho", 0)) or scalar.space.is_complex:
            raise PluginError(
                f"functions of {kind} spaces of order {order} are not transferred, only real ones "
                "of H1 of order 1 and L2 of order 0; for others Set() one on a copy of the mesh"
            )
        return ("P1" if kind == "h1ho" else "P0"), scalar.vec.FV().NumPy()

    def _centres(self) -> FloatArray:
        """Mean of the vertices of each cell of this rank, in NGSolve's order."""
        volume = self._ng.Elements2D() if self._mesh.dim == 2 else self._ng.Elements3D()
        nodes = volume.NumPy()["nodes"].astype(np.int64)
        there = nodes > 0
        points = np.where(there[:, :, None], self._points[nodes - 1], 0.0)
        centres: FloatArray = points.sum(axis=1) / there.sum(axis=1)[:, None]
        return centres


def to_mesh(mesh: ngs.Mesh) -> Mesh | None:
    """The mesh; boundaries are facet tags, materials cell tags, vertices keep their numbers.

    In a parallel run the whole mesh on rank 0, None elsewhere; `numbering` is NGSolve's global one.
    """
    return common.to_mesh(_Host(mesh))


def set_positions(mesh: ngs.Mesh, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in place, and curve a curved mesh again.

    In a parallel run rank 0 gives the positions of the whole mesh.
    """
    common.set_positions(_Host(mesh), pos)


def adapt(mesh: ngs.Mesh, guide: Any, **options: Any) -> common.Report:
    """Adapt a mesh in place.

    Args:
        mesh: the mesh; parallel ones are gathered, moved on rank 0 and scattered.
        guide: a `CoefficientFunction`, nodal values `[n]` or `[n, k]`, or a `Monitor`.
        options: see `common.adapt`. Functions to `transfer` are grid functions of H1 of order 1 or
            L2 of order 0.
    """
    return common.adapt(_Host(mesh), guide, **options)


def _components(function: Any) -> list[Any]:
    if isinstance(function, ngs.GridFunction) and function.components:
        return list(function.components)
    return [function] if function.dim == 1 else [function[k] for k in range(function.dim)]


def _scalars(function: Any) -> list[Any]:
    """The scalar grid functions of a function that is to be transferred."""
    if not isinstance(function, ngs.GridFunction) or (function.dim > 1 and not function.components):
        raise PluginError("functions to transfer are grid functions, vectors of them of VectorH1")
    return _components(function)


def _once(nodes: IntArray, index: IntArray) -> tuple[IntArray, IntArray]:
    """Each facet of an index once."""
    keys = np.concatenate([index[:, None], np.sort(nodes, axis=1)], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    return nodes[first], index[first]


def _max() -> Any:
    from mpi4py import MPI

    return MPI.MAX
