"""VTK's XML (.vtu) and legacy (.vtk) grids, written by VTK (`vtu`, `vtk_legacy` read them).

Tags and facet fields are encoded as `meshlearn.mesh.convert.encoding` describes. Data sets of
other kinds (.vtp, .vts, .vtr, .vti) are read as the cells they consist of.
Writing is binary and, for .vtu, compressed; .vtu can be text, .vtk cannot: VTK would write six
digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import meshio

from ..convert.with_pyvista import blocks_of, grid_of
from ..errors import MeshError
from ..mesh import Mesh

_XML_READERS = {
    ".vtp": "vtkXMLPolyDataReader",
    ".vts": "vtkXMLStructuredGridReader",
    ".vtr": "vtkXMLRectilinearGridReader",
    ".vti": "vtkXMLImageDataReader",
    ".pvtu": "vtkXMLPUnstructuredGridReader",
}


def read_xml(path: Path, lost: list[str]) -> meshio.Mesh:
    """Blocks, sets and fields of an XML file of another kind than .vtu."""
    from vtkmodules import vtkIOXML

    _check_xml_end(path)
    if path.suffix.lower() not in _XML_READERS:
        raise MeshError(f"its suffix is none of {', '.join(_XML_READERS)}")
    reader = getattr(vtkIOXML, _XML_READERS[path.suffix.lower()])()
    return blocks_of(_output(reader, path), lost)


def write_xml(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Write a .vtu file."""
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetHeaderTypeToUInt64()
    if binary:
        writer.SetDataModeToAppended()
        writer.EncodeAppendedDataOff()
    else:
        writer.SetDataModeToAscii()
    _run(writer, grid_of(mesh, lost), path)


def write_legacy(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Write a .vtk file."""
    from vtkmodules.vtkIOLegacy import vtkUnstructuredGridWriter

    if not binary:
        raise MeshError("VTK writes text .vtk files with six digits; write .vtk binary, or a .vtu")
    grid = grid_of(mesh, lost)
    writer = vtkUnstructuredGridWriter()
    counts = (len(grid.point_data), len(grid.cell_data))  # for the reader to know a cut file by
    writer.SetHeader("meshlearn; node arrays: {}; cell arrays: {}".format(*counts))
    writer.SetFileTypeToBinary()
    _run(writer, grid, path)


def _check_xml_end(path: Path) -> None:
    """VTK reads a file that lacks its end without a word where the arrays are complete."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        if b"</VTKFile>" not in file.read():
            raise MeshError("the file ends before </VTKFile>")


def _output(reader: Any, path: Path) -> Any:
    import pyvista

    reader.SetFileName(str(path))
    with _messages() as messages:
        reader.Update()
    if messages:
        raise MeshError(f"VTK cannot read it ({messages[0]})")
    output = reader.GetOutputDataObject(0)
    if output is None or not output.IsA("vtkDataSet"):
        raise MeshError("it does not hold a mesh that VTK can read")
    return pyvista.wrap(output)


def _run(writer: Any, grid: Any, path: Path) -> None:
    writer.SetFileName(str(path))
    writer.SetInputData(grid)
    with _messages() as messages:
        done = writer.Write()
    if messages or not done:
        raise MeshError(
            f"VTK cannot write {path.name}: {messages[0] if messages else 'no reason given'}"
        )


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Collect what VTK would print; the list holds one sentence per error or warning."""
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    messages: list[str] = []
    previous, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtkOutputWindow.SetInstance(previous)
        vtkLogger.SetStderrVerbosity(verbosity)
        for line in window.GetOutput().splitlines():
            head, found, text = line.partition("): ")
            if found and head.strip():
                messages.append(" ".join(text.split()).rstrip("."))
