"""Pictures of meshes with pyvista: PNG off screen, or a window."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from torch import Tensor

from .errors import MeshError
from .files.replacing import replacing
from .mesh import Mesh

_SCALARS = "meshlearn_scalars"
_WIDTH, _HEIGHTS = 1800, (260, 820)
"""Pixels across a figure, and the least and largest height of a panel."""
_TITLE, _BAR = 56, 120
"""Pixels above each mesh for its title, and below the figure for the colour bar."""
_LONG = 2.2
"""From this ratio of width to height panels stand one above the other."""
_VIEWS = {
    0: ((2.0, -1.1, 0.9), (0.0, 0.0, 1.0)),
    1: ((1.0, -2.0, 0.9), (0.0, 0.0, 1.0)),
    2: ((0.5, -0.9, 2.0), (0.0, 1.0, 0.0)),
}
"""Where the viewer is, and up, when a solid is cut open across each axis."""
_FROM_ABOVE = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One picture of a figure.

    Attributes:
        mesh: what to draw; a solid is cut open at the middle of its shortest side, along cells.
        title: one line above it.
        values: nodal `[n]` or per-cell `[n_cells]` values to colour it with.
        label: what the colour bar says.
    """

    mesh: Mesh
    title: str = ""
    values: Tensor | None = None
    label: str = ""


def save(
    panels: Sequence[Panel], path: str | Path, *, limits: tuple[float, float] | None = None
) -> Path:
    """Draw panels with one view and one colour scale into a PNG.

    They stand side by side, or one above the other where the mesh is long.

    Args:
        panels: at least one.
        path: ends in .png.
        limits: of the colour scale; those of the values by default.

    Raises:
        MeshError: another suffix, no panel, or a folder that cannot be written.
    """
    target = Path(path)
    check_png(target)
    with replacing(target) as temporary:
        plotter = _plotter(panels, off_screen=True, limits=limits)
        try:
            plotter.screenshot(temporary)
        finally:
            plotter.close()
    return target


def show(panels: Sequence[Panel]) -> None:
    """Open a window with the panels; returns when it is closed."""
    _plotter(panels, off_screen=False).show()


def check_png(path: Path) -> None:
    """Raise `MeshError` unless a path ends in .png."""
    if path.suffix.lower() != ".png":
        raise MeshError(f"pictures are PNG files, got {path.name!r}; end the name in .png")


def has_display() -> bool:
    """Whether a window can be opened (always assumed on macOS and Windows)."""
    return os.name == "nt" or os.uname().sysname == "Darwin" or bool(os.environ.get("DISPLAY"))


def _plotter(
    panels: Sequence[Panel], *, off_screen: bool, limits: tuple[float, float] | None = None
) -> Any:
    if not panels:
        raise MeshError("a figure needs at least one panel")
    _quiet()
    view = _View.of(panels[0].mesh)
    rows, columns = (len(panels), 1) if view.width > _LONG * view.height else (1, len(panels))
    width = _WIDTH // max(columns, 2 if rows == 1 else 1)
    drawn = round(0.94 * width * view.height / view.width)
    height = _TITLE + min(max(drawn, _HEIGHTS[0]), _HEIGHTS[1])
    limits = limits or limits_of(panels)
    bar = _BAR if limits else 0
    plotter = pv.Plotter(
        shape=(rows + bool(bar), columns),
        row_weights=[height] * rows + [bar] * bool(bar),
        groups=[(rows, slice(None))] if bar else None,
        off_screen=off_screen,
        window_size=[width * columns, height * rows + bar],
        border=False,
    )
    actor = None
    for k, panel in enumerate(panels):
        plotter.subplot(*divmod(k, columns))
        actor = _draw(plotter, panel, view, limits)
        view.aim(plotter.camera, width, height)
    if bar:
        plotter.subplot(rows, 0)
        _draw_bar(plotter, actor, next(p.label for p in panels if p.values is not None))
    plotter.set_background("white", all_renderers=True)
    plotter.enable_anti_aliasing("ssaa", all_renderers=True)
    return plotter


@dataclass(frozen=True)
class _View:
    """A parallel projection that just holds a mesh.

    Attributes:
        middle: centre of the drawing `[3]`.
        right, up, towards: unit axes of the picture; the last one points to the viewer.
        width, height, depth: of the drawing, in the mesh's units.
        cut: axis across which a solid is cut open, and where; else None.
    """

    middle: Array
    right: Array
    up: Array
    towards: Array
    width: float
    height: float
    depth: float
    cut: tuple[int, float] | None

    @classmethod
    def of(cls, mesh: Mesh) -> _View:
        """The view of a mesh: from above in 2D, onto the cut or from the front in 3D."""
        points = np.pad(mesh.pos.detach().cpu().numpy(), ((0, 0), (0, 3 - mesh.dim)))
        if not np.isfinite(points).all():
            raise MeshError("a mesh with positions that are not finite cannot be drawn")
        side = np.ptp(points, axis=0)
        # Of sides that are equally short, y is the one to cut across.
        across = min((1, 2, 0), key=lambda axis: round(side[axis] / side.max(), 2))
        solid = mesh.dim == 3 and mesh.cell_dim == 3
        ahead, up = _VIEWS[across if solid else 1] if mesh.dim == 3 else _FROM_ABOVE
        towards = np.asarray(ahead) / np.linalg.norm(ahead)
        right = np.cross(up, towards)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(towards, right), towards])
        cut = None
        if solid:
            cut = across, float(points[:, across].min() + side[across] / 2)
            points = points[(points[:, across] - cut[1]) * towards[across] <= 0]
        low, high = (points @ axes.T).min(axis=0), (points @ axes.T).max(axis=0)
        smallest = 1e-3 * float((high - low).max())  # a line still has some height
        width, height, depth = np.maximum(high - low, smallest).tolist()
        middle = (low + high) / 2 @ axes
        return cls(middle, axes[0], axes[1], axes[2], width, height, depth, cut)

    def opened(self, mesh: Mesh, grid: pv.UnstructuredGrid) -> pv.UnstructuredGrid:
        """The half of a solid behind the cut; anything else whole."""
        if self.cut is None:
            return grid
        axis, place = self.cut
        centre = mesh.centroids()[:, axis].detach().cpu().numpy()
        return grid.extract_cells((centre - place) * self.towards[axis] <= 0)

    def aim(self, camera: Any, width: int, height: int) -> None:
        """Point a camera so that the drawing fills a panel below its title."""
        scale = max(self.width / (0.94 * width), self.height / (0.94 * (height - _TITLE)))
        focus = self.middle + self.up * scale * _TITLE / 2
        away = self.depth + self.width + self.height
        camera.enable_parallel_projection()
        camera.focal_point, camera.up = focus, self.up
        camera.position = focus + away * self.towards
        camera.parallel_scale = scale * height / 2
        camera.clipping_range = (away / 10, 3 * away)


def _draw(plotter: Any, panel: Panel, view: _View, limits: tuple[float, float] | None) -> Any:
    grid = view.opened(panel.mesh, _grid(panel))
    options: dict[str, Any] = {
        "show_edges": panel.mesh.cell_dim > 1,
        "edge_color": "black",
        "show_vertices": panel.mesh.cell_dim == 1,
        "point_size": 10,
        "line_width": _line_width(panel.mesh),
        "lighting": panel.mesh.dim == 3,
        "ambient": 0.6,
        "diffuse": 0.5,
        "specular": 0.0,
    }
    if panel.values is None:
        options |= {"color": "#e8eef4"}
    else:
        options |= {"scalars": _SCALARS, "clim": limits, "cmap": _colours()}
    actor = plotter.add_mesh(grid, show_scalar_bar=False, **options)
    if panel.title:
        plotter.add_text(panel.title, font_size=12, position="upper_edge", color="black")
    if panel.mesh.dim == 3:
        plotter.add_axes(color="black", line_width=2, viewport=(0, 0, 0.13, 0.16))
    return actor


def _draw_bar(plotter: Any, actor: Any, label: str) -> None:
    plotter.add_scalar_bar(
        title=" ",  # VTK would write it over the numbers
        mapper=actor.mapper,
        n_labels=5,
        fmt="%.4g",
        vertical=False,
        color="black",
        label_font_size=20,
        width=0.5,
        height=0.6,
        position_x=0.25,
        position_y=0.1,
    )
    plotter.add_text(label, font_size=11, position="upper_edge", color="black")


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


def limits_of(panels: Sequence[Panel]) -> tuple[float, float] | None:
    """Smallest and largest finite value of all panels, to a thousandth of their difference."""
    values = [panel.values.detach().cpu().numpy() for panel in panels if panel.values is not None]
    if not values:
        return None
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    digits = 3 - math.floor(math.log10(high - low)) if high > low else 15
    return round(low, digits), round(high, digits)


def _colours() -> list[str]:
    """Blue over white to red, light enough for black edges to show."""
    cool = [(118, 132, 214), (171, 198, 255), (235, 235, 235)]
    anchors = np.array([*cool, (250, 178, 155), (205, 80, 98)])
    place = np.linspace(0, len(anchors) - 1, 256)
    steps = [np.interp(place, range(len(anchors)), channel) for channel in anchors.T]
    return [f"#{round(r):02x}{round(g):02x}{round(b):02x}" for r, g, b in np.stack(steps, axis=1)]


def _line_width(mesh: Mesh) -> float:
    """Thin lines for fine meshes, so that colours stay visible."""
    across = mesh.num_cells ** (1 / mesh.cell_dim)
    return float(min(2.4, max(0.5, 120 / across)))


def _quiet() -> None:
    """VTK reports that it falls back from X to off-screen rendering; that is no news."""
    from vtkmodules.vtkCommonCore import vtkLogger

    if not has_display():
        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
