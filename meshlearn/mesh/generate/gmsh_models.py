"""Geometries of well-known benchmarks, meshed by gmsh with named inlets, outlets and walls.

>>> mesh = channel_with_cylinder(h=0.05)
>>> sorted(mesh.facet_tags)
['cylinder', 'inlet', 'outlet', 'walls']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..mesh import Mesh
from . import _gmsh, _grid


def channel_with_cylinder(h: float = 0.025, h_cylinder: float | None = None) -> Mesh:
    """Mesh the channel with a cylinder of the DFG 2D benchmark (Schaefer and Turek, 1996).

    The channel is 2.2 x 0.41; the cylinder of radius 0.05 stands at (0.2, 0.2).

    Args:
        h: length of the edges in the channel, at most 0.2.
        h_cylinder: length of the edges on the cylinder, `h / 4` by default.

    Returns:
        A triangle mesh with the sides `inlet`, `outlet`, `walls` and `cylinder`.
    """
    h = _size("h", h, 0.2)
    near = h / 4 if h_cylinder is None else _size("h_cylinder", h_cylinder, 0.05)
    with _gmsh.session() as gmsh:
        geo = gmsh.model.geo
        corners = [
            geo.addPoint(x, y, 0.0, h) for x, y in ((0, 0), (2.2, 0), (2.2, 0.41), (0, 0.41))
        ]
        bottom, outlet, top, inlet = sides = _closed(corners, geo.addLine)
        arcs = _circle(geo, 0.2, 0.2, 0.05, near)
        geo.addPlaneSurface([geo.addCurveLoop(sides), geo.addCurveLoop(arcs)])
        geo.synchronize()
        tags = {"inlet": [inlet], "outlet": [outlet], "walls": [bottom, top], "cylinder": arcs}
        return _generate(gmsh, 2, tags)


def naca(
    digits: str = "0012", h: float = 0.02, far_field: float = 10.0, h_far: float | None = None
) -> Mesh:
    """Mesh the air around a NACA 4-digit aerofoil of chord 1 with a closed trailing edge.

    The leading edge is at the origin, the trailing edge at (1, 0); a point at the chord fraction
    `x` lies at `(x, camber) -+ thickness * normal` with the thickness polynomial of NACA report
    460, its last coefficient -0.1036 so that the two sides meet at `x = 1`.

    Args:
        digits: camber in percent, its place in tenths, thickness in percent (two digits).
        h: length of the edges on the aerofoil, at most 0.2; a quarter of it at nose and tail.
        far_field: radius of the circle around the middle of the chord, at least 2.
        h_far: length of the edges on that circle, `far_field / 8` by default.

    Returns:
        A triangle mesh with the sides `aerofoil` and `far_field`.
    """
    camber, place, thickness = _naca_digits(digits)
    h, far = _size("h", h, 0.2), _grid.positive("far_field", far_field)
    if far < 2.0:
        raise ValueError(f"far_field must be at least 2 chords, got {far:g}")
    h_far = far / 8 if h_far is None else _size("h_far", h_far, far)
    upper, lower = _naca_sides(camber, place, thickness)
    with _gmsh.session() as gmsh:
        geo = gmsh.model.geo
        nose, tail = geo.addPoint(0.0, 0.0, 0.0, h / 4), geo.addPoint(1.0, 0.0, 0.0, h / 4)
        over = [nose, *(geo.addPoint(x, y, 0.0, h) for x, y in upper[1:-1]), tail]
        under = [nose, *(geo.addPoint(x, y, 0.0, h) for x, y in lower[1:-1]), tail]
        # A spline takes its sizes from its ends: a joint at mid-chord lets the sides be coarser.
        half = len(upper) // 2
        parts = over[half::-1], under[: half + 1], under[half:], over[: half - 1 : -1]
        section = [geo.addSpline(part) for part in parts]
        circle = _circle(geo, 0.5, 0.0, far, h_far)
        geo.addPlaneSurface([geo.addCurveLoop(circle), geo.addCurveLoop(section)])
        geo.synchronize()
        return _generate(gmsh, 2, {"aerofoil": section, "far_field": circle})


def backward_facing_step(
    h: float = 0.1,
    step: float = 1.0,
    inlet_height: float = 1.0,
    upstream: float = 2.0,
    downstream: float = 15.0,
) -> Mesh:
    """Mesh a channel that widens suddenly (Armaly et al., 1983; by default with the ratio 2).

    The foot of the step is at the origin: the inlet is at `x = -upstream`, the outlet at
    `x = downstream`, the roof at `y = step + inlet_height`.

    Args:
        h: length of the edges, halved at the edge of the step.
        step: height of the step.
        inlet_height: height of the channel before the step.
        upstream: length of the channel before the step.
        downstream: length of the channel behind the step.

    Returns:
        A triangle mesh with the sides `inlet`, `outlet` and `walls`.
    """
    step, gap = _grid.positive("step", step), _grid.positive("inlet_height", inlet_height)
    h = _size("h", h, min(step, gap))
    before, behind = _grid.positive("upstream", upstream), _grid.positive("downstream", downstream)
    with _gmsh.session() as gmsh:
        geo = gmsh.model.geo
        roof = step + gap
        outline = ((0, 0, h), (behind, 0, h), (behind, roof, h), (-before, roof, h),
                   (-before, step, h), (0, step, h / 2))  # fmt: skip
        corners = [geo.addPoint(x, y, 0.0, size) for x, y, size in outline]
        floor, outlet, top, inlet, ledge, face = sides = _closed(corners, geo.addLine)
        geo.addPlaneSurface([geo.addCurveLoop(sides)])
        geo.synchronize()
        tags = {"inlet": [inlet], "outlet": [outlet], "walls": [floor, top, ledge, face]}
        return _generate(gmsh, 2, tags)


def channel_with_cylinder_3d(h: float = 0.1, h_cylinder: float | None = None) -> Mesh:
    """Mesh the channel with a cylinder of the DFG 3D benchmark (Schaefer and Turek, 1996).

    The channel is 2.5 x 0.41 x 0.41; the cylinder of radius 0.05 crosses it along z through
    (0.5, 0.2).

    Args:
        h: length of the edges in the channel, at most 0.2.
        h_cylinder: length of the edges around the cylinder, `h / 4` by default.

    Returns:
        A tetrahedron mesh with the sides `inlet`, `outlet`, `walls` and `cylinder`.
    """
    h = _size("h", h, 0.2)
    near = h / 4 if h_cylinder is None else _size("h_cylinder", h_cylinder, 0.05)
    with _gmsh.session() as gmsh:
        geo = gmsh.model.geo
        corners = [
            geo.addPoint(x, y, 0.0, h) for x, y in ((0, 0), (2.5, 0), (2.5, 0.41), (0, 0.41))
        ]
        sides, arcs = _closed(corners, geo.addLine), _circle(geo, 0.5, 0.2, 0.05, near)
        base = geo.addPlaneSurface([geo.addCurveLoop(sides), geo.addCurveLoop(arcs)])
        lid, _, *swept = (tag for _, tag in geo.extrude([(2, base)], 0.0, 0.0, 0.41))
        geo.synchronize()
        bottom, outlet, top, inlet = swept[:4]
        tags = {
            "inlet": [inlet],
            "outlet": [outlet],
            "walls": [base, lid, bottom, top],
            "cylinder": swept[4:],
        }
        return _generate(gmsh, 3, tags)


def pipe_bend(
    h: float = 0.2, radius: float = 0.5, bend_radius: float = 1.5, leg: float = 1.0
) -> Mesh:
    """Mesh a round pipe that turns by 90 degrees, with a straight leg at either end.

    The flow enters at `(0, -leg, 0)` along y, bends about the line `x = bend_radius, y = 0` and
    leaves at `(bend_radius + leg, bend_radius, 0)` along x.

    Args:
        h: length of the edges, at most `radius`.
        radius: of the pipe.
        bend_radius: of the middle line of the bend, above `radius`.
        leg: length of each straight end.

    Returns:
        A tetrahedron mesh with the sides `inlet`, `outlet` and `walls`.
    """
    radius, leg = _grid.positive("radius", radius), _grid.positive("leg", leg)
    h = _size("h", h, radius)
    bend = _grid.positive("bend_radius", bend_radius)
    if bend <= radius:
        raise ValueError(f"bend_radius must be above radius, got {bend:g} and {radius:g}")
    with _gmsh.session() as gmsh:
        geo = gmsh.model.geo
        arcs = _circle(geo, 0.0, 0.0, radius, h)
        inlet = geo.addPlaneSurface([geo.addCurveLoop(arcs)])
        geo.rotate([(2, inlet)], 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, -np.pi / 2)
        geo.translate([(2, inlet)], 0.0, -leg, 0.0)
        first = geo.extrude([(2, inlet)], 0.0, leg, 0.0)
        turn = geo.revolve([first[0]], bend, 0.0, 0.0, 0.0, 0.0, 1.0, -np.pi / 2)
        last = geo.extrude([turn[0]], leg, 0.0, 0.0)
        geo.synchronize()
        walls = [tag for part in (first, turn, last) for _, tag in part[2:]]
        return _generate(gmsh, 3, {"inlet": [inlet], "outlet": [last[0][1]], "walls": walls})


def _size(name: str, value: Any, largest: float) -> float:
    """Return an edge length that the geometry can carry, or raise a `ValueError`."""
    size = _grid.positive(name, value)
    if size > largest:
        raise ValueError(f"{name} must be at most {largest:g} here, got {size:g}")
    return size


def _closed(points: list[int], join: Callable[[int, int], int]) -> list[int]:
    """Join points one after the other into a closed loop of curves."""
    return [join(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True)]


def _circle(geo: Any, x: float, y: float, radius: float, h: float) -> list[int]:
    """Add a circle as four anticlockwise arcs."""
    middle = geo.addPoint(x, y, 0.0, h)
    ends = [
        geo.addPoint(x + dx * radius, y + dy * radius, 0.0, h)
        for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1))
    ]
    return _closed(ends, lambda a, b: int(geo.addCircleArc(a, middle, b)))


def _generate(gmsh: Any, dim: int, tags: dict[str, list[int]]) -> Mesh:
    """Name the sides, mesh the model and take the mesh over, its cells tagged `fluid`."""
    for name, entities in tags.items():
        gmsh.model.addPhysicalGroup(dim - 1, entities, name=name)
    cells = [tag for _, tag in gmsh.model.getEntities(dim)]
    gmsh.model.addPhysicalGroup(dim, cells, name="fluid")
    gmsh.model.mesh.generate(dim)
    return _gmsh.to_mesh(gmsh, dim)


def _naca_digits(digits: str) -> tuple[float, float, float]:
    """Return camber, its place and thickness as fractions of the chord."""
    text = str(digits)
    if len(text) != 4 or not (text.isascii() and text.isdigit()) or text[2:] == "00":
        raise ValueError(f"digits must be four digits with a thickness, like 0012, got {digits!r}")
    camber, place = int(text[0]) / 100, int(text[1]) / 10
    if (camber > 0) != (place > 0):
        raise ValueError(f"digits {text} must give both camber and its place, or neither")
    return camber, place, int(text[2:]) / 100


def _naca_sides(
    camber: float, place: float, thickness: float, n: int = 80
) -> tuple[_grid.Floats, _grid.Floats]:
    """Return the upper and the lower side `[n + 1, 2]` from the nose to the tail."""
    x = (1 - np.cos(np.linspace(0, np.pi, n + 1))) / 2  # crowds the points at nose and tail
    half = 5 * thickness * np.polyval([-0.1036, 0.2843, -0.3516, -0.1260, 0.0], x)
    half = half + 5 * thickness * 0.2969 * np.sqrt(x)
    line, slope = np.zeros_like(x), np.zeros_like(x)
    if camber > 0:
        front = x < place
        scale = camber / np.where(front, place, 1 - place) ** 2
        line = scale * np.where(front, 2 * place * x - x**2, 1 - 2 * place + 2 * place * x - x**2)
        slope = scale * 2 * (place - x)
    normal = np.column_stack([-slope, np.ones_like(x)]) / np.hypot(slope, 1)[:, None]
    middle = np.column_stack([x, line])
    return middle + half[:, None] * normal, middle - half[:, None] * normal
