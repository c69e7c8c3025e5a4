"""`Mesh` <-> `pyvista.UnstructuredGrid`, and with it the VTK files.

Tags and facet fields are encoded as `meshlearn.mesh.convert.encoding` describes. In grids of other
codes, cells of lower dimension are facets; pixels, voxels and higher-order cells are understood.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import meshio
import numpy as np

from ..cells import CELL_TYPES, NAMES
from ..mesh import Mesh
from .arrays import Array
from .encoding import decode, encode
from .losses import warn_lost
from .rules import build
from .vtk_cells import blocks_of_cells

if TYPE_CHECKING:
    import pyvista

_VTK_OF_CODE = np.array([CELL_TYPES[name].vtk for name in NAMES], np.uint8)
TIME_DATA = ("TIME", "TimeValue", "CYCLE", "MeshName", "avtOriginalBounds")
"""Field data that solvers add to say when and what; not worth a warning."""


def to_pyvista(mesh: Mesh) -> pyvista.UnstructuredGrid:
    """The mesh as a grid with its fields and tags; `from_pyvista` gives it back.

    Complex fields are lost, with a `LossWarning`.
    """
    lost: list[str] = []
    grid = grid_of(mesh, lost)
    warn_lost("to_pyvista", lost)
    return grid


def from_pyvista(
    grid: pyvista.DataSet, *, allow: Collection[str] = (), repair: Collection[str] = ()
) -> Mesh:
    """Make a `Mesh` of any pyvista data set by the rules of `meshlearn.mesh.convert.rules`.

    Raises:
        MeshError: the mesh is not usable.
    """
    lost: list[str] = []
    mesh = build(blocks_of(grid, lost), lost, allow=allow, repair=repair)
    warn_lost("from_pyvista", lost)
    return mesh


def grid_of(mesh: Mesh, lost: list[str]) -> pyvista.UnstructuredGrid:
    """`to_pyvista`, with the names of lost fields added to `lost`."""
    import pyvista
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray

    arrays = encode(mesh, lost)
    sizes = np.array([CELL_TYPES[name].num_nodes for name in NAMES])[arrays.code]
    points = vtkPoints()
    points.SetData(numpy_to_vtk(arrays.points, deep=True))
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.concatenate([[0], np.cumsum(sizes)]), deep=True),
        numpy_to_vtkIdTypeArray(arrays.nodes, deep=True),
    )
    grid = pyvista.UnstructuredGrid()
    grid.SetPoints(points)
    grid.SetCells(numpy_to_vtk(_VTK_OF_CODE[arrays.code], deep=True), cells)
    for target, values in (
        (grid.GetPointData(), arrays.node),
        (grid.GetCellData(), arrays.cell),
        (grid.GetFieldData(), arrays.extra),
    ):
        for name, array in values.items():
            _add(target, name, array)
    return grid


def _add(target: Any, name: str, values: Array) -> None:
    from vtkmodules.util.numpy_support import numpy_to_vtk

    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    target.AddArray(array)


def blocks_of(grid: Any, lost: list[str]) -> meshio.Mesh:
    """The blocks, sets and fields of a grid, for `rules.build`."""
    import pyvista
    from vtkmodules.util.numpy_support import vtk_to_numpy

    if not isinstance(grid, pyvista.UnstructuredGrid):
        grid = pyvista.wrap(grid).cast_to_unstructured_grid()
    node, cell, extra = (
        {name: np.asarray(data[name]) for name in data}
        for data in (grid.point_data, grid.cell_data, grid.field_data)
    )
    if "meshlearn" not in extra:
        lost.extend(f"field data {name!r}" for name in extra if name not in TIME_DATA)
    cells = grid.GetCells()
    nodes, offsets = (
        vtk_to_numpy(array) for array in (cells.GetConnectivityArray(), cells.GetOffsetsArray())
    )
    blocks = list(blocks_of_cells(np.asarray(grid.celltypes), nodes, offsets))
    return decode(np.asarray(grid.points), blocks, node, cell, extra)
