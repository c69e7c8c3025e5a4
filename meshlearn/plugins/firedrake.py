"""Firedrake: a serial `firedrake.Mesh` in place; functions are `firedrake.Function`.

    from meshlearn.plugins import firedrake as adaptation
    adaptation.adapt(mesh, u)

Written against the documented interface of Firedrake 2025 to 2026 (`coordinates.dat`,
`cell_node_map`, `exterior_facets`); no test of this package runs it. Function spaces, functions and
degrees of freedom stay as they are. Periodic meshes, whose coordinates are discontinuous, and
curved ones move by their coordinates. Parallel meshes are refused.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import firedrake as fd
import numpy as np

from . import common
from .arrays import Array, Arrays, FieldValues, FloatArray, Geometry, IntArray, PluginError, nodal
from .host import called
from .periodic import corner_columns, facets_at, pairs_of, split, vertex_points

if TYPE_CHECKING:
    from ..mesh import Mesh

_CELLS = {
    "interval": "line",
    "triangle": "triangle",
    "quadrilateral": "quad",
    "tetrahedron": "tetra",
    "hexahedron": "hexahedron",
}
_CONTINUOUS = ("Lagrange", "CG", "Q")
_DISCONTINUOUS = ("Discontinuous Lagrange", "DG", "DQ")


class _Host(common.Host):
    code = "Firedrake"

    def __init__(self, mesh: Any) -> None:
        if not hasattr(mesh, "coordinates") or not hasattr(mesh, "exterior_facets"):
            raise PluginError(f"expected a mesh of Firedrake, got {type(mesh).__name__}")
        if mesh.comm.size > 1:
            raise PluginError(
                f"the mesh is on {mesh.comm.size} ranks: this plug-in moves serial meshes only"
            )
        name = called(called(mesh, "ufl_cell"), "cellname")
        if name not in _CELLS:
            raise PluginError(f"cells of type {name} are not supported, only {', '.join(_CELLS)}")
        self._mesh, self._cell = mesh, _CELLS[name]
        self._dim = int(called(mesh, "topological_dimension"))

    def arrays(self) -> Arrays:
        coordinates, linear = self._mesh.coordinates, self._linear()
        space, cell = coordinates.function_space(), self._cell
        places = _places(space)
        nodes = np.asarray(space.cell_node_map().values, dtype=np.int64)
        geometry = Geometry(
            np.array(coordinates.dat.data_ro, dtype=np.float64).reshape(space.node_count, -1),
            {cell: nodes},
            {cell: places},
        )
        columns = corner_columns(cell, _places(linear))
        by_vertex = np.asarray(linear.cell_node_map().values, dtype=np.int64)[:, columns]
        by_point, pairs = by_vertex, None
        numbering = np.arange(linear.node_count, dtype=np.int64)
        periodic = _family(space)[0] in _DISCONTINUOUS
        if periodic:
            points, found, numbering = split({cell: by_vertex}, geometry)
            by_point, pairs = found[cell], pairs_of(numbering)
        else:
            points = vertex_points({cell: by_vertex}, geometry, linear.node_count)
        tags = {}
        for marker, facets in self._sides(linear).items():
            if periodic:
                _, facets = facets_at({cell: by_vertex}, {cell: by_point}, facets)
            tags[marker] = facets
        return Arrays(
            points,
            {cell: by_point},
            numbering,
            facet_tags=tags,
            cell_tags=self._regions(),
            pairs=pairs,
            geometry=geometry,
        )

    def write(self, coordinates: FloatArray) -> None:
        self._set(coordinates)

    def snapshot(self) -> Array:
        return np.array(self._mesh.coordinates.dat.data_ro)

    def restore(self, state: Array) -> None:
        self._set(state)

    def nodal(self, function: Any) -> FloatArray:
        if not isinstance(function, fd.Function):
            return nodal(function, len(self._numbering))
        shape = function.ufl_shape
        parts = [function] if shape == () else [function[k] for k in range(shape[0])]
        linear = self._linear()
        columns = [np.array(fd.Function(linear).interpolate(p).dat.data_ro) for p in parts]
        return nodal(np.stack(columns, axis=1)[self._numbering], len(self._numbering))

    def values(self, function: Any) -> FieldValues:
        space = self._space(function)
        family, degree = _family(space)
        if not (family in _CONTINUOUS and degree in (1, 2)) and degree != 0:
            raise PluginError(
                f"functions of {family} of degree {degree} are not transferred, only continuous "
                "Lagrange elements of degree 1 and 2 and piecewise constants; use Firedrake's "
                "cross-mesh interpolation for others"
            )
        vectors = fd.VectorFunctionSpace(self._mesh, family, degree)
        where = fd.Function(vectors).interpolate(fd.SpatialCoordinate(self._mesh))
        places = np.array(where.dat.data_ro).reshape(space.node_count, -1)
        return FieldValues(
            f"P{degree}", places, np.array(function.dat.data_ro).reshape(space.node_count, -1)
        )

    def set_values(self, function: Any, values: FloatArray) -> None:
        data = function.dat.data
        data[:] = values.reshape(data.shape)

    def coefficients(self, function: Any) -> Array:
        self._space(function)
        vector: Array = function.dat.data
        return vector

    @cached_property
    def _numbering(self) -> IntArray:
        """Vertex of each point `[n]`; no move changes it."""
        return self.arrays().numbering

    def _set(self, coordinates: Array) -> None:
        data = self._mesh.coordinates.dat.data
        data[:] = coordinates.reshape(data.shape)
        if hasattr(self._mesh, "clear_spatial_index"):
            self._mesh.clear_spatial_index()

    def _linear(self) -> Any:
        return fd.FunctionSpace(self._mesh, "CG", 1)

    def _space(self, function: Any) -> Any:
        if not isinstance(function, fd.Function):
            raise PluginError(f"expected a Function of Firedrake, got {type(function).__name__}")
        space = function.function_space()
        if space.mesh() is not self._mesh:
            raise PluginError("the function belongs to another mesh")
        return space

    def _sides(self, linear: Any) -> dict[str, IntArray]:
        """Vertices of the exterior facets of each marker `[k, w]`."""
        facets, rows = self._mesh.exterior_facets, linear.cell_node_map().values
        closure = linear.finat_element.entity_closure_dofs()[self._dim - 1]
        local = np.array([closure[k] for k in sorted(closure)])
        if local.shape[1] == 4:  # tensor-product order to round the facet
            local = local[:, [0, 1, 3, 2]]
        cell = np.asarray(facets.facet_cell).reshape(-1)
        which = np.asarray(facets.local_facet_dat.data_ro).reshape(-1)
        nodes = np.asarray(rows, dtype=np.int64)[cell[:, None], local[which]]
        markers = facets.unique_markers if facets.unique_markers is not None else ()
        return {str(m): nodes[np.asarray(facets.subset(m).indices)] for m in markers}

    def _regions(self) -> dict[str, IntArray]:
        """Cells of each number of "Cell Sets"."""
        plex = self._mesh.topology_dm
        if not plex.hasLabel("Cell Sets"):
            return {}
        numbers = plex.getLabelIdIS("Cell Sets").indices
        return {
            str(k): np.asarray(self._mesh.cell_subset(int(k)).indices, dtype=np.int64)
            for k in numbers
        }


def to_mesh(mesh: Any) -> Mesh:
    """The mesh; boundary markers and cell sets are tags called by their number.

    The node field `numbering` is the number of each vertex in a continuous space of degree 1. A
    vertex of a periodic mesh is one node on each side, see the node field `periodic`.
    """
    found = common.to_mesh(_Host(mesh))
    assert found is not None
    return found


def set_positions(mesh: Any, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in place and in the numbering of `to_mesh`."""
    common.set_positions(_Host(mesh), pos)


def adapt(mesh: Any, guide: Any, **options: Any) -> common.Report:
    """Adapt a mesh in place.

    Args:
        mesh: a serial mesh.
        guide: a `Function`, nodal values `[n]` or `[n, k]`, or a `Monitor`.
        options: see `common.adapt`. Functions to `transfer` are of continuous Lagrange elements of
            degree 1 or 2, or piecewise constant.
    """
    return common.adapt(_Host(mesh), guide, **options)


def _family(space: Any) -> tuple[str, int]:
    element = space.ufl_element()
    return str(called(element, "family")), int(called(element, "degree"))


def _places(space: Any) -> FloatArray:
    """Places of the scalar degrees of freedom in the reference cell `[m, dim]`."""
    element = space.finat_element
    element = getattr(element, "base_element", element)  # of a vector of them
    dual = element.fiat_equivalent.dual_basis()
    return np.array([next(iter(functional.get_point_dict())) for functional in dual])
