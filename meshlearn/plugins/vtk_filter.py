"""A VTK filter that adapts a mesh in a pipeline; also a ParaView plug-in file.

In Python:

    from meshlearn.plugins.vtk_filter import AdaptMesh
    adapt = AdaptMesh()
    adapt.SetField("u")
    adapt.SetInputDataObject(grid)
    adapt.Update()
    moved = adapt.GetOutputDataObject(0)

In ParaView: Tools > Manage Plugins > Load New, this file; the filter is called "Adapt mesh". Where
torch cannot be imported (ParaView's own Python), the work is done by `meshlearn serve` in the
Python of the property `Python`, or of the variable MESHLEARN_PYTHON.
"""

# ParaView loads this file by its path: imports are absolute.
from __future__ import annotations

import contextlib
import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkUnstructuredGrid
from vtkmodules.vtkFiltersCore import vtkProbeFilter

from meshlearn.plugins.arrays import DIM, Arrays, FloatArray, IntArray, PluginError, nodal, oriented
from meshlearn.plugins.client import Client
from meshlearn.plugins.parallel import FAILURES

try:
    from paraview.util.vtkAlgorithm import smdomain, smproperty, smproxy
except ImportError:  # plain VTK

    class _Nothing:
        """Decorators that do nothing."""

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: lambda decorated: decorated

    smdomain = smproperty = smproxy = _Nothing()

_TYPES = {
    3: ("line", 2),
    5: ("triangle", 3),
    9: ("quad", 4),
    10: ("tetra", 4),
    12: ("hexahedron", 8),
    13: ("wedge", 6),
    14: ("pyramid", 5),
}
_FLAT = 1e-12
"""Height over length below which a mesh is plane."""


@smproxy.filter(name="MeshlearnAdapt", label="Adapt mesh")
@smproperty.input(name="Input")
@smdomain.datatype(dataTypes=["vtkUnstructuredGrid"], composite_data_supported=False)
class AdaptMesh(VTKPythonAlgorithmBase):
    """Moves the points of an unstructured grid to where they lower the error of a point array.

    Cells and cell arrays stay; point arrays of real numbers are interpolated to the new points,
    others stay with their points. `displacement` is added.
    """

    def __init__(self) -> None:
        super().__init__(
            nInputPorts=1,
            nOutputPorts=1,
            inputType="vtkUnstructuredGrid",
            outputType="vtkUnstructuredGrid",
        )
        self._field, self._python = "", ""
        self._options: dict[str, Any] = {"monitor": "hessian", "mover": "variational"}
        self._options |= {"slide": "flat", "strength": 3.0}
        self._client: Client | None = None
        self.report: dict[str, Any] = {}

    @smproperty.stringvector(name="Field", default_values="")
    def SetField(self, name: str) -> None:  # noqa: N802 - VTK's style
        """Name of the point array; empty is the only one of real numbers."""
        self._field = name
        self.Modified()

    @smproperty.stringvector(name="Monitor", default_values="hessian")
    def SetMonitor(self, name: str) -> None:  # noqa: N802
        """Where points should go, see `meshlearn adapt --help`."""
        self._set("monitor", name)

    @smproperty.stringvector(name="Mover", default_values="variational")
    def SetMover(self, name: str) -> None:  # noqa: N802
        """How they get there, see `meshlearn adapt --help`."""
        self._set("mover", name)

    @smproperty.stringvector(name="Slide", default_values="flat")
    def SetSlide(self, how: str) -> None:  # noqa: N802
        """ "flat": points slide along flat sides; "curved": along others too; "none": they stay."""
        self._set("slide", how)

    @smproperty.doublevector(name="Strength", default_values=3.0)
    def SetStrength(self, value: float) -> None:  # noqa: N802
        """How much denser the mesh gets where it matters."""
        self._set("strength", float(value))

    @smproperty.stringvector(name="Python", default_values="")
    def SetPython(self, path: str) -> None:  # noqa: N802
        """Python that has meshlearn, for a Python that has not."""
        self._python = path
        self._close()
        self.Modified()

    def RequestData(self, request: Any, inputs: Any, outputs: Any) -> int:  # noqa: N802
        """Make the output; what is wrong is one sentence in VTK's output window."""
        grid = vtkUnstructuredGrid.GetData(inputs[0])
        try:
            moved = self._moved(grid)
        except FAILURES as error:
            vtkOutputWindow.GetInstance().DisplayErrorText(f"Adapt mesh: {error}\n")
            return 0
        vtkUnstructuredGrid.GetData(outputs).ShallowCopy(moved)
        return 1

    def _set(self, name: str, value: Any) -> None:
        self._options[name] = value
        self.Modified()

    def _moved(self, grid: Any) -> Any:
        points = vtk_to_numpy(grid.GetPoints().GetData()).astype(np.float64)
        cells = _cells(grid)
        dim = _plane_or_space(points, cells)
        field = nodal(self._values(grid), len(points), f"the array {self._field!r}")
        arrays = Arrays(points[:, :dim].copy(), cells, np.arange(len(points)))
        pos, self.report = self._adapt(arrays, field)
        new = points.copy()
        new[:, :dim] = pos
        return _with_points(grid, points, new)

    def _values(self, grid: Any) -> NDArray[Any]:
        data = grid.GetPointData()
        known = [data.GetArrayName(k) for k in range(data.GetNumberOfArrays())]
        real = [n for n in known if n and vtk_to_numpy(data.GetArray(n)).dtype.kind == "f"]
        name = self._field or (real[0] if len(real) == 1 else "")
        if name not in known:
            listed = ", ".join(map(repr, real)) or "none"
            raise PluginError(f"there is no point array {name!r}; those of real numbers: {listed}")
        return vtk_to_numpy(data.GetArray(name))

    def _adapt(self, arrays: Arrays, field: FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        if not self._python and importlib.util.find_spec("torch") is not None:
            from meshlearn.plugins.numerics import Local
            from meshlearn.plugins.relocate import Wish

            return Local(arrays, Wish(**self._options)).move(arrays.points, field)
        if self._client is None:
            self._client = Client.start(self._python or None)
        try:
            return self._client.adapt(
                arrays.points, oriented(arrays.cells, arrays.points), field=field, **self._options
            )
        except (OSError, EOFError):
            self._close()
            raise

    def _close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.close()
            self._client = None


def _cells(grid: Any) -> dict[str, IntArray]:
    """Cells of the highest dimension by type."""
    types = np.array([grid.GetCellType(k) for k in range(grid.GetNumberOfCells())], np.int64)
    nodes = vtk_to_numpy(grid.GetCells().GetConnectivityArray())
    offsets = vtk_to_numpy(grid.GetCells().GetOffsetsArray())
    unknown = sorted(set(types.tolist()) - set(_TYPES) - {1, 2})
    if unknown or not len(types):
        what = f"cells of VTK type {unknown[0]}" if unknown else "a grid without cells"
        raise PluginError(f"{what} cannot be adapted; triangulate them first")
    found = {_TYPES[t][0]: t for t in np.unique(types).tolist() if t in _TYPES}
    top = max(DIM[name] for name in found)
    return {
        name: nodes[offsets[:-1][types == code][:, None] + np.arange(_TYPES[code][1])].astype(
            np.int64
        )
        for name, code in found.items()
        if DIM[name] == top
    }


def _plane_or_space(points: FloatArray, cells: dict[str, IntArray]) -> int:
    """The dimension of the space.

    Raises:
        PluginError: a surface that is not in a plane of constant z.
    """
    dim = max(DIM[name] for name in cells)
    extent = np.ptp(points, axis=0)
    if (extent[dim:] > _FLAT * extent.max()).any():
        raise PluginError("surfaces in space cannot be adapted, only plane meshes in x and y")
    return dim


def _with_points(grid: Any, old: FloatArray, new: FloatArray) -> Any:
    """A copy with other points, and point arrays of real numbers interpolated to them."""
    moved = vtkUnstructuredGrid()
    moved.DeepCopy(grid)
    points = vtkPoints()
    points.SetData(numpy_to_vtk(new, deep=True))
    moved.SetPoints(points)
    probe = vtkProbeFilter()
    probe.SetInputData(moved)
    probe.SetSourceData(grid)
    probe.Update()
    found = probe.GetOutput().GetPointData()
    inside = vtk_to_numpy(found.GetArray(probe.GetValidPointMaskArrayName())).astype(bool)
    inside &= (old != new).any(axis=1)
    data = moved.GetPointData()
    for k in range(data.GetNumberOfArrays()):
        values, probed = data.GetArray(k), found.GetArray(data.GetArrayName(k) or "")
        if values is None or probed is None or vtk_to_numpy(values).dtype.kind != "f":
            continue
        vtk_to_numpy(values)[inside] = vtk_to_numpy(probed)[inside]
    displacement = numpy_to_vtk(new - old, deep=True)
    displacement.SetName("displacement")
    data.AddArray(displacement)
    return moved
