"""Pictures of meshes with pyvista: PNG off screen, or a window."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyvista as pv
from torch import Tensor

from .mesh import Mesh, MeshError

_PANEL = (900, 760)
_SCALARS = "meshlearn_scalars"


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        mesh: what to draw; a 3D mesh is cut open at the middle plane facing the viewer.
        title: one line above it.
        values: nodal `[n]` or per-cell `[n_cells]` values to colour it with.
        label: what the colour bar says.
    """

    mesh: Mesh
    title: str = ""
    values: Tensor | None = None
    label: str = ""


def save(panels: Sequence[Panel], path: str | Path) -> Path:
    """Draw panels side by side, with one view and one colour scale, into a PNG.

    Args:
        panels: at least one.
        path: ends in .png.

    Raises:
        MeshError: another suffix, no panel, or a folder that cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise MeshError(f"pictures are PNG files, got {target.name!r}; end the name in .png")
    plotter = _plotter(panels, off_screen=True)
    try:
        handle, name = tempfile.mkstemp(suffix=".png", dir=target.parent)
    except OSError as error:
        raise MeshError(f"cannot write {str(target)!r}: {error.strerror}") from error
    os.close(handle)
    try:
        plotter.screenshot(name)
        Path(name).replace(target)
    finally:
        plotter.close()
        Path(name).unlink(missing_ok=True)
    return target


def show(panels: Sequence[Panel]) -> None:
    """Open a window with the panels; returns when it is closed."""
    _plotter(panels, off_screen=False).show()


def has_display() -> bool:
    """Whether a window can be opened (always assumed on macOS and Windows)."""
    return os.name == "nt" or os.uname().sysname == "Darwin" or bool(os.environ.get("DISPLAY"))


def _plotter(panels: Sequence[Panel], *, off_screen: bool) -> Any:
    if not panels:
        raise MeshError("a figure needs at least one panel")
    _quiet()
    size = (_PANEL[0] * len(panels), _PANEL[1])
    plotter = pv.Plotter(
        shape=(1, len(panels)), off_screen=off_screen, window_size=list(size), border=False
    )
    limits = _limits(panels)
    for column, panel in enumerate(panels):
        plotter.subplot(0, column)
        _draw(plotter, panel, limits)
    plotter.link_views()
    first = panels[0].mesh
    if first.dim < 3:
        plotter.view_xy()
        plotter.enable_parallel_projection()
    else:
        plotter.camera_position = [(1.2, -2.0, 1.1), (0, 0, 0), (0, 0, 1)]
        plotter.reset_camera()
    plotter.camera.zoom(1.25 if first.dim < 3 else 1.1)
    return plotter


def _draw(plotter: Any, panel: Panel, limits: tuple[float, float] | None) -> None:
    grid = _grid(panel)
    if panel.mesh.dim == 3 and panel.mesh.cell_dim == 3:
        centre = panel.mesh.pos.mean(dim=0).tolist()
        grid = grid.extract_cells(grid.cell_centers().points[:, 1] >= centre[1])
    options: dict[str, Any] = {"show_edges": True, "line_width": _line_width(panel.mesh)}
    if panel.values is None:
        options |= {"color": "white"}
    else:
        bar = {"title": panel.label or " ", "n_labels": 4, "fmt": "%.3g", "vertical": False}
        options |= {"scalars": _SCALARS, "clim": limits, "cmap": "viridis", "scalar_bar_args": bar}
    plotter.add_mesh(grid, edge_color="black", **options)
    if panel.title:
        plotter.add_text(panel.title, font_size=11, position="upper_left", color="black")
    plotter.set_background("white")


def _grid(panel: Panel) -> pv.UnstructuredGrid:
    grid = panel.mesh.to_pyvista()
    grid.clear_data()
    if panel.values is not None:
        values = panel.values.detach().cpu().numpy()
        if len(values) == panel.mesh.num_nodes:
            grid.point_data[_SCALARS] = values
        elif len(values) == panel.mesh.num_cells:
            grid.cell_data[_SCALARS] = values
        else:
            raise MeshError(
                f"values to plot must have one row a node ({panel.mesh.num_nodes}) or a cell "
                f"({panel.mesh.num_cells}), got {len(values)}"
            )
    return grid


def _limits(panels: Sequence[Panel]) -> tuple[float, float] | None:
    values = [panel.values for panel in panels if panel.values is not None]
    if not values:
        return None
    return min(float(v.min()) for v in values), max(float(v.max()) for v in values)


def _line_width(mesh: Mesh) -> float:
    """Thin lines for fine meshes, so that colours stay visible."""
    across = mesh.num_cells ** (1 / mesh.cell_dim)
    return float(min(1.2, max(0.15, 60 / across)))


def _quiet() -> None:
    """VTK reports that it falls back from X to off-screen rendering; that is no news."""
    from vtkmodules.vtkCommonCore import vtkLogger

    if not has_display():
        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
