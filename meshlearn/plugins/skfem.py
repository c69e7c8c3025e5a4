"""scikit-fem: a mesh in place, functions as `(basis, vector)`.

    from meshlearn.plugins import skfem as adaptation
    adaptation.adapt(mesh, (basis, u))

The mesh gets new coordinates; meshes that were made from it keep theirs, and so do bases: make them
anew after a move.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import skfem
from skfem.mesh.mesh_dg import MeshDG

from . import common
from .arrays import Array, Arrays, FieldValues, FloatArray, Geometry, IntArray, PluginError, nodal
from .periodic import pairs_of, split

if TYPE_CHECKING:
    from ..mesh import Mesh

_CELLS = {
    skfem.refdom.RefLine: "line",
    skfem.refdom.RefTri: "triangle",
    skfem.refdom.RefQuad: "quad",
    skfem.refdom.RefTet: "tetra",
    skfem.refdom.RefHex: "hexahedron",
}
_HEX = [0, 3, 6, 2, 1, 5, 7, 4]
"""scikit-fem's local index of each node of a hexahedron in meshio's order."""
_ELEMENTS = {
    skfem.ElementLineP0: "P0",
    skfem.ElementLineP1: "P1",
    skfem.ElementLineP2: "P2",
    skfem.ElementTriP0: "P0",
    skfem.ElementTriP1: "P1",
    skfem.ElementTriP2: "P2",
    skfem.ElementTetP0: "P0",
    skfem.ElementTetP1: "P1",
    skfem.ElementTetP2: "P2",
    skfem.ElementQuad0: "P0",
    skfem.ElementQuad1: "P1",
    skfem.ElementQuad2: "P2",
    skfem.ElementHex0: "P0",
    skfem.ElementHex1: "P1",
    skfem.ElementHex2: "P2",
}


class _Host(common.Host):
    code = "scikit-fem"

    def __init__(self, mesh: Any) -> None:
        if not isinstance(mesh, skfem.Mesh) or mesh.elem.refdom not in _CELLS:
            raise PluginError(
                f"expected a mesh of scikit-fem of {', '.join(_CELLS.values())} cells, got "
                f"{type(mesh).__name__}"
            )
        self._mesh, self._cell = mesh, _CELLS[mesh.elem.refdom]

    def arrays(self) -> Arrays:
        mesh, cell = self._mesh, self._cell
        order = _HEX if cell == "hexahedron" else list(range(mesh.t.shape[0]))
        cells = np.ascontiguousarray(mesh.t[order].T, dtype=np.int64)
        periodic = isinstance(mesh, MeshDG)
        geometry, pairs = None, None
        numbering = np.arange(mesh.nvertices, dtype=np.int64)
        points = np.ascontiguousarray(mesh.doflocs[:, : mesh.nvertices].T)
        if periodic or mesh.doflocs.shape[1] > mesh.nvertices:
            nodes = mesh.dofs.element_dofs.T.astype(np.int64)
            places = np.ascontiguousarray(mesh.elem().doflocs, dtype=np.float64)
            geometry = Geometry(mesh.doflocs.T.copy(), {cell: nodes}, {cell: places})
        if periodic and geometry is not None:
            points, found, numbering = split({cell: cells}, geometry)
            cells, pairs = found[cell], pairs_of(numbering)
        return Arrays(
            points,
            {cell: cells},
            numbering,
            facet_tags={k: _facet_nodes(mesh, cells, order, f) for k, f in _named(mesh.boundaries)},
            cell_tags=dict(_named(mesh.subdomains)),
            pairs=pairs,
            geometry=geometry,
        )

    def write(self, coordinates: FloatArray) -> None:
        self._place(np.ascontiguousarray(coordinates.T))

    def snapshot(self) -> Array:
        copy: Array = self._mesh.doflocs.copy()
        return copy

    def restore(self, state: Array) -> None:
        self._place(state.copy())

    def _place(self, doflocs: Array) -> None:
        self._mesh.doflocs = doflocs  # a new array: meshes made from this one share the old one
        vars(self._mesh).pop("_cached_mapping", None)

    def nodal(self, function: Any) -> FloatArray:
        if not isinstance(function, tuple):
            return nodal(function, len(self._numbering))
        basis, vector = self._function(function)
        name, components = _element(basis.elem)
        if name not in ("P1", "P2"):
            raise PluginError(
                f"functions of {name} elements have no values at the nodes; project them to a "
                "continuous Lagrange element first"
            )
        dofs = basis.nodal_dofs[:components, self._numbering]
        values: FloatArray = np.asarray(vector)[dofs].T
        return values

    def values(self, function: Any) -> FieldValues:
        basis, vector = self._function(function)
        name, _ = _element(basis.elem)
        dofs = self._dofs(basis)
        at = basis.doflocs[:, dofs[:, 0]].T
        return FieldValues(name, np.ascontiguousarray(at), np.asarray(vector)[dofs])

    def set_values(self, function: Any, values: FloatArray) -> None:
        basis, vector = self._function(function)
        vector[self._dofs(basis)] = values

    def coefficients(self, function: Any) -> Array:
        vector: Array = self._function(function)[1]
        return vector

    @cached_property
    def _numbering(self) -> IntArray:
        """Vertex of each point `[n]`; no move changes it."""
        return self.arrays().numbering

    def _function(self, function: Any) -> tuple[Any, Array]:
        if not isinstance(function, tuple) or len(function) != 2:
            raise PluginError("a function of scikit-fem is given as (basis, vector)")
        basis, vector = function
        if not np.array_equal(basis.mesh.t, self._mesh.t):
            raise PluginError("the basis of the function belongs to another mesh")
        if np.shape(vector) != (basis.N,):
            raise PluginError(
                f"the basis has {basis.N} degrees of freedom, the vector {list(np.shape(vector))}"
            )
        return basis, vector

    @staticmethod
    def _dofs(basis: Any) -> IntArray:
        """Degrees of freedom of each place `[m, components]`."""
        _, components = _element(basis.elem)
        local = basis.element_dofs.reshape(-1, components, basis.element_dofs.shape[1])
        rows = local.transpose(0, 2, 1).reshape(-1, components)
        _, first = np.unique(rows[:, 0], return_index=True)
        dofs: IntArray = rows[first].astype(np.int64)
        return dofs


def to_mesh(mesh: skfem.Mesh) -> Mesh:
    """The mesh; `boundaries` are facet tags, `subdomains` cell tags, nodes keep their numbers.

    A vertex of a periodic mesh is one node on each side; the point field `periodic` says which
    nodes are images of each other, `numbering` which vertex they are.
    """
    found = common.to_mesh(_Host(mesh))
    assert found is not None
    return found


def set_positions(mesh: skfem.Mesh, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in place and in the numbering of `to_mesh`."""
    common.set_positions(_Host(mesh), pos)


def adapt(mesh: skfem.Mesh, guide: Any, **options: Any) -> common.Report:
    """Adapt a mesh in place.

    Args:
        mesh: the mesh.
        guide: `(basis, vector)`, nodal values `[n]` or `[n, k]`, or a `Monitor`.
        options: see `common.adapt`. Functions to `transfer` are `(basis, vector)`; the vector is
            overwritten.
    """
    return common.adapt(_Host(mesh), guide, **options)


def _element(element: Any) -> tuple[str, int]:
    """Our name of an element and its number of components."""
    scalar, components = element, 1
    if isinstance(element, skfem.ElementVector):
        scalar, components = element.elem, element.dim
    if type(scalar) not in _ELEMENTS:
        raise PluginError(
            f"functions of {type(scalar).__name__} are not supported, only Lagrange elements of "
            "degree 0 to 2 and vectors of them"
        )
    return _ELEMENTS[type(scalar)], components


def _named(tags: Any) -> list[tuple[str, IntArray]]:
    return [(name, np.asarray(ids, dtype=np.int64)) for name, ids in (tags or {}).items()]


def _facet_nodes(mesh: Any, cells: IntArray, order: list[int], facets: IntArray) -> IntArray:
    """Nodes of facets, running round them `[k, nodes per facet]`."""
    cell = mesh.f2t[0, facets]
    local = (mesh.t2f[:, cell] == facets).argmax(axis=0)
    corners = np.argsort(order)[np.asarray(mesh.elem.refdom.facets)]
    return cells[cell[:, None], corners[local]]
