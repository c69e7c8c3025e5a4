"""FEniCSx: a `dolfinx.mesh.Mesh` in place, serial or parallel; functions are `fem.Function`.

    from meshlearn.plugins import fenicsx as adaptation
    adaptation.adapt(mesh, u)

Written for dolfinx 0.9 and later, and for the 0.5 of Debian 12. Function spaces, mesh tags and
degrees of freedom stay as they are; boundary values have to be interpolated anew, and trees of
bounding boxes built anew. A parallel mesh is gathered, moved on rank 0 and scattered to owners and
ghosts. Where dolfinx cannot share its Python with torch, `remote=` names one that has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import basix
import dolfinx
import numpy as np
from dolfinx.fem import Function
from dolfinx.mesh import Mesh as NativeMesh

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
from .host import called
from .parallel import gather_numbered, gather_rows, is_root, rows_before
from .periodic import vertex_points

if TYPE_CHECKING:
    from ..mesh import Mesh

Tags = Any  # dolfinx.mesh.MeshTags, a class or a function by version

_CELLS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "interval": ("line", (0, 1)),
    "triangle": ("triangle", (0, 1, 2)),
    "quadrilateral": ("quad", (0, 1, 3, 2)),
    "tetrahedron": ("tetra", (0, 1, 2, 3)),
    "hexahedron": ("hexahedron", (0, 1, 3, 2, 4, 5, 7, 6)),
    "prism": ("wedge", (0, 1, 2, 3, 4, 5)),
    "pyramid": ("pyramid", (0, 1, 3, 2, 4)),
}
"""Our name, and dolfinx's local vertices in meshio's order."""
_FACET_WIDTH = {"line": 1, "triangle": 2, "quad": 2, "tetra": 3, "hexahedron": 4}
_LAGRANGE = {"P", "Q", "Lagrange", "CG", "DG", "DQ", "Discontinuous Lagrange"}


class _Host(common.Host):
    code = "FEniCSx"

    def __init__(
        self, mesh: Any, tags: Sequence[Tags] = (), names: Mapping[int, str] | None = None
    ) -> None:
        if not isinstance(mesh, NativeMesh):
            raise PluginError(f"expected a dolfinx mesh, got {type(mesh).__name__}")
        self._mesh, self._x = mesh, mesh.geometry
        topology = mesh.topology
        kinds = getattr(topology, "entity_types", None)
        if kinds is not None and len(kinds[topology.dim]) > 1:
            raise PluginError("dolfinx meshes of several cell types are not supported")
        self._native_cell = topology.cell_type.name
        self._cell, self._order = _CELLS[self._native_cell]
        self._dim = topology.dim
        self._tags, self._names = list(tags), dict(names or {})
        self.comm = mesh.comm if mesh.comm.size > 1 else None
        index_map = self._x.index_map()
        self._count = int(index_map.size_global)
        held = index_map.size_local + index_map.num_ghosts
        self._nodes = index_map.local_to_global(np.arange(held, dtype=np.int32)).astype(np.int64)
        self._owned_cells = topology.index_map(self._dim).size_local

    def arrays(self) -> Arrays | None:
        d = self._x.dim
        local = self._dofmap[: self._owned_cells]
        cells = gather_rows(self.comm, self._nodes[local])
        coordinates = gather_numbered(self.comm, self._nodes, self._x.x[:, :d], self._count)
        facets, markers = self._tagged(self._dim - 1)
        members, labels = self._tagged(self._dim)
        if cells is None or coordinates is None:
            return None
        assert facets is not None
        assert markers is not None
        assert members is not None
        assert labels is not None
        corners = cells[:, list(self._order)]
        numbering = np.unique(corners)
        vertices = np.searchsorted(numbering, corners)
        geometry = None
        points = coordinates[numbering]
        if cells.shape[1] > len(self._order):
            places = self._reference()
            geometry = Geometry(coordinates, {self._cell: cells}, {self._cell: places})
            points = vertex_points({self._cell: vertices}, geometry, len(numbering))
        return Arrays(
            np.array(points, dtype=np.float64),
            {self._cell: vertices},
            numbering,
            facet_tags=self._named(markers, np.searchsorted(numbering, facets)),
            cell_tags=self._named(labels, members[:, 0]),
            geometry=geometry,
        )

    def write(self, coordinates: FloatArray) -> None:
        self._x.x[:, : self._x.dim] = coordinates[self._nodes]

    def snapshot(self) -> Array:
        copy: Array = self._x.x.copy()
        return copy

    def restore(self, state: Array) -> None:
        self._x.x[:] = state

    def nodal(self, function: Any) -> FloatArray | None:
        if not isinstance(function, Function):
            return self._given(function) if is_root(self.comm) else None
        element, _ = self._element(function)
        if element in ("P0", "discontinuous"):
            raise PluginError(
                "the function is discontinuous and has no values at the vertices; interpolate or "
                "project one to a continuous space first"
            )
        function.x.scatter_forward()
        space = function.function_space
        layout, width = space.dofmap.dof_layout, space.dofmap.bs
        at = [layout.entity_dofs(0, k)[0] for k in range(len(self._order))]
        dofs = _table(space.dofmap.list)[: self._owned_cells][:, at]
        values = _real(function.x.array).reshape(-1, width)[dofs]
        nodes = self._dofmap[: self._owned_cells, : len(at)]
        here, first = np.unique(nodes, return_index=True)
        rows = values.reshape(-1, width)[first]
        whole = gather_numbered(self.comm, self._nodes[here], rows, self._count)
        corners = gather_rows(self.comm, self._nodes[nodes])
        if whole is None or corners is None:
            return None
        return np.asarray(whole[np.unique(corners)], dtype=np.float64)

    def values(self, function: Any) -> FieldValues | None:
        element, width = self._element(function)
        if element == "discontinuous" or element > "P3":
            raise PluginError(
                "functions to transfer are of continuous Lagrange elements of degree 1 to 3, or "
                "of degree 0; use dolfinx's interpolate_nonmatching for others"
            )
        space = function.function_space
        numbers, count = self._numbers(function)
        owned = space.dofmap.index_map.size_local
        at = space.tabulate_dof_coordinates()[:owned, : self._x.dim]
        rows = _real(function.x.array).reshape(-1, width)[:owned]
        places = gather_numbered(self.comm, numbers[:owned], at, count)
        values = gather_numbered(self.comm, numbers[:owned], rows, count)
        if places is None or values is None:
            return None
        return FieldValues(element, places, np.asarray(values, dtype=np.float64))

    def set_values(self, function: Any, values: FloatArray) -> None:
        _, width = self._element(function)
        numbers, _ = self._numbers(function)
        function.x.array.reshape(-1, width)[:] = values[numbers]

    def coefficients(self, function: Any) -> Array:
        self._element(function)
        vector: Array = function.x.array
        return vector

    @property
    def _dofmap(self) -> Array:
        """Local geometry nodes of each cell of this rank `[k, m]`."""
        if hasattr(self._x, "dofmaps"):
            found: Array = self._x.dofmaps[0]
            return found
        return _table(self._x.dofmap)

    def _reference(self) -> FloatArray:
        """Places of the geometry nodes in the reference cell `[m, dim]`."""
        form = self._x.cmaps[0] if hasattr(self._x, "cmaps") else self._x.cmap
        variant = basix.LagrangeVariant(int(getattr(form, "variant", 0)))
        if variant == basix.LagrangeVariant.unset:
            variant = basix.LagrangeVariant.equispaced
        cell = getattr(basix.CellType, self._native_cell)
        element = basix.create_element(basix.ElementFamily.P, cell, form.degree, variant)
        return np.asarray(element.points, dtype=np.float64)

    def _tagged(self, dim: int) -> tuple[Array | None, Array | None]:
        """Nodes of tagged facets, or numbers of tagged cells, and their markers, on rank 0."""
        topology = self._mesh.topology
        width = _FACET_WIDTH.get(self._cell, 3) if dim < self._dim else 1
        found, markers = [np.empty((0, width), np.int64)], [np.empty(0, np.int64)]
        for tags in self._tags:
            if tags.dim != dim:
                continue
            owned = tags.indices < topology.index_map(dim).size_local
            entities = np.ascontiguousarray(tags.indices[owned], dtype=np.int32)
            markers.append(np.asarray(tags.values)[owned].astype(np.int64))
            if dim == self._dim:
                before = rows_before(self.comm, self._owned_cells)
                found.append(entities[:, None].astype(np.int64) + before)
                continue
            nodes = self._facets(entities)[:, :width]
            if width == 4:
                nodes = nodes[:, [0, 1, 3, 2]]
            found.append(self._nodes[nodes])
        whole = gather_rows(self.comm, np.concatenate(found))
        return whole, gather_rows(self.comm, np.concatenate(markers))

    def _facets(self, entities: Array) -> Array:
        topology, dim = self._mesh.topology, self._dim - 1
        topology.create_connectivity(dim, self._dim)
        topology.create_connectivity(self._dim, dim)
        if hasattr(dolfinx.mesh, "entities_to_geometry"):
            found = dolfinx.mesh.entities_to_geometry(self._mesh, dim, entities)
        else:  # dolfinx 0.5
            native = getattr(self._mesh, "_mesh", self._mesh)
            found = dolfinx.cpp.mesh.entities_to_geometry(native, dim, entities, False)
        return np.asarray(found)

    def _named(self, markers: Array, entities: Array) -> dict[str, IntArray]:
        found = by_number(markers, entities)
        return {self._names.get(int(number), number): rows for number, rows in found.items()}

    def _given(self, values: Any) -> FloatArray:
        count = len(np.unique(self._dofmap[:, : len(self._order)])) if self.comm is None else None
        return nodal(values, len(values) if count is None else count)

    def _element(self, function: Any) -> tuple[str, int]:
        """Our name of the element of a function and its number of components."""
        if not isinstance(function, Function):
            raise PluginError(f"expected a dolfinx Function, got {type(function).__name__}")
        space = function.function_space
        theirs = getattr(space.mesh, "_cpp_object", space.mesh)
        if theirs is not getattr(self._mesh, "_cpp_object", self._mesh):
            raise PluginError("the function belongs to another mesh")
        element = space.ufl_element()
        family, degree = called(element, "family_name", "family"), called(element, "degree")
        if family not in _LAGRANGE or space.dofmap.index_map_bs != space.dofmap.bs:
            raise PluginError(
                f"functions of {family} elements are not supported, only Lagrange elements and "
                "vectors of them; collapse() a part of a mixed function first"
            )
        loose = family.startswith("D") or getattr(element, "discontinuous", False)
        if loose and degree > 0:
            return "discontinuous", space.dofmap.bs
        return f"P{degree}", space.dofmap.bs

    @staticmethod
    def _numbers(function: Any) -> tuple[IntArray, int]:
        """Global number of each scalar degree of freedom of this rank, and how many there are."""
        index_map = function.function_space.dofmap.index_map
        held = index_map.size_local + index_map.num_ghosts
        numbers = index_map.local_to_global(np.arange(held, dtype=np.int32))
        return numbers.astype(np.int64), int(index_map.size_global)


def to_mesh(
    mesh: NativeMesh, tags: Sequence[Tags] = (), names: Mapping[int, str] | None = None
) -> Mesh | None:
    """The mesh; in a parallel run the whole one on rank 0, None elsewhere.

    Args:
        mesh: the mesh. The node field `numbering` is dolfinx's global number of geometry nodes.
        tags: `MeshTags` of facets and cells; each value is a tag.
        names: of values; by default the value itself, "3".
    """
    return common.to_mesh(_Host(mesh, tags, names))


def set_positions(mesh: NativeMesh, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in place and in the numbering of `to_mesh`.

    In a parallel run rank 0 gives the positions of the whole mesh.
    """
    common.set_positions(_Host(mesh), pos)


def adapt(
    mesh: NativeMesh,
    guide: Any,
    *,
    tags: Sequence[Tags] = (),
    names: Mapping[int, str] | None = None,
    **options: Any,
) -> common.Report:
    """Adapt a mesh in place; all ranks call it.

    Args:
        mesh: the mesh.
        guide: a `Function` of a continuous Lagrange space, nodal values `[n]` or `[n, k]` of the
            whole mesh (on rank 0), or a `Monitor`.
        tags, names: see `to_mesh`. Tagged facets inside the domain stay where they are.
        options: see `common.adapt`.
    """
    return common.adapt(_Host(mesh, tags, names), guide, **options)


def _table(rows: Any) -> Array:
    """Rows of equal length: an array, or the adjacency list of dolfinx 0.5."""
    if isinstance(rows, np.ndarray):
        return rows
    table: Array = rows.array.reshape(rows.num_nodes, -1)
    return table


def _real(values: Array) -> Array:
    if np.iscomplexobj(values):
        raise PluginError("the function is complex: give its real part, or its modulus")
    return values
