"""Geometry that boundary nodes slide on: formulas, any projection, or a CAD model of gmsh.

A geometry is a function that takes points `[k, d]` to the nearest points of it `[k, d]`:

>>> import meshlearn as ml
>>> from meshlearn.movers.geometry import Circle
>>> mesh = ml.generate.channel_with_cylinder(h=0.1)
>>> near = ml.monitors.Function(lambda x: 1 + 4 * (x[:, 0] < 0.4))
>>> moved = ml.movers.Variational().move(mesh, near, slide={"cylinder": Circle((0.2, 0.2), 0.05)})
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import extent

Geometry = Callable[[Tensor], Tensor]
"""Points `[k, d]` to the nearest points of a curve (2D) or surface (3D) `[k, d]`."""

_STEP = 1e-5
"""Of the difference quotients for tangents, over the diameter of the domain."""
_DISTANCE = 0.1
"""Distance of a node from its geometry, in edge lengths, from which the two do not fit."""


@dataclass(frozen=True)
class Circle:
    """A circle in 2D, a sphere in 3D.

    Attributes:
        centre: `d` numbers.
        radius: positive.
    """

    centre: Sequence[float]
    radius: float

    def __call__(self, points: Tensor) -> Tensor:
        """Nearest points `[k, d]`."""
        centre = points.new_tensor(self.centre)
        away = points - centre
        return centre + self.radius * away / away.norm(dim=1, keepdim=True)


Sphere = Circle


@dataclass(frozen=True)
class Cylinder:
    """An infinite round cylinder in 3D.

    Attributes:
        point: on the axis, 3 numbers.
        axis: its direction, of any length.
        radius: positive.
    """

    point: Sequence[float]
    axis: Sequence[float]
    radius: float

    def __call__(self, points: Tensor) -> Tensor:
        """Nearest points `[k, 3]`."""
        axis = points.new_tensor(self.axis)
        axis = axis / axis.norm()
        away = points - points.new_tensor(self.point)
        along = (away @ axis)[:, None] * axis
        out = away - along
        return points - out + self.radius * out / out.norm(dim=1, keepdim=True)


@dataclass(frozen=True)
class Given:
    """A user's geometry as a shape of `freedom`.

    Attributes:
        function: points to nearest points.
        name: of the tag, for messages.
        dim: 1 for a curve, 2 for a surface.
        step: of the difference quotients.
    """

    function: Geometry
    name: str
    dim: int
    step: float

    def closest(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points `[k, d]` and tangents `[k, dim, d]`.

        The derivative of the nearest point on the geometry is the projection on its tangents:
        they are its largest eigenvectors.
        """
        count, d = points.shape
        x = self._called(points)
        shifts = self.step * torch.eye(d, dtype=x.dtype, device=x.device)
        probes = torch.cat([x[:, None] + shifts, x[:, None] - shifts], dim=1).reshape(-1, d)
        ahead, behind = self._called(probes).view(count, 2, d, d).unbind(dim=1)
        slope = (ahead - behind) / (2 * self.step)
        vectors = torch.linalg.eigh(slope + slope.transpose(1, 2)).eigenvectors
        return x, vectors[:, :, d - self.dim :].transpose(1, 2)

    def _called(self, points: Tensor) -> Tensor:
        found = torch.as_tensor(self.function(points))
        if found.shape != points.shape or not bool(torch.isfinite(found).all()):
            raise MeshError(
                f"the geometry of {self.name!r} must take points {list(points.shape)} to finite "
                f"points of the same shape, got {list(found.shape)}"
            )
        return found.to(points)


def given(mesh: Mesh, nodes: Tensor, function: Geometry, name: str) -> Given:
    """A user's geometry for the nodes of a tag, checked.

    Raises:
        MeshError: a node that is not on the geometry.
    """
    shape = Given(function, name, mesh.dim - 1, _STEP * extent(mesh))
    here = mesh.pos[nodes]
    gap = (shape._called(here) - here).norm(dim=1)
    size = float(_facet_size(mesh, nodes))
    if len(gap) and float(gap.max()) > _DISTANCE * size:
        worst = int(gap.argmax())
        where = ", ".join(f"{c:.6g}" for c in here[worst].tolist())
        raise MeshError(
            f"node {int(nodes[worst])} of {name!r} at ({where}) is {float(gap.max()):.3g} away "
            f"from the geometry given for it (edges there are about {size:.3g} long)"
        )
    return shape


def _facet_size(mesh: Mesh, nodes: Tensor) -> Tensor:
    """Mean length of the edges between nodes."""
    member = torch.zeros(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    member[nodes] = True
    edges = mesh.topology.edges
    edges = edges[member[edges].any(dim=1)]
    return (mesh.pos[edges[:, 1]] - mesh.pos[edges[:, 0]]).norm(dim=1).mean()


def from_gmsh(name: str | int | Sequence[tuple[int, int]], path: str | None = None) -> Geometry:
    """Geometry of a gmsh model: built-in or OpenCASCADE, STEP and BREP files too.

    Needs the optional package gmsh (`pip install 'meshlearn[gmsh]'`). Without `path` the model that
    is current in gmsh (which the caller has initialised) is used, and must stay loaded.

    Args:
        name: name or number of a physical group of curves (2D) or surfaces (3D), or gmsh's own
            `(dimension, tag)` pairs.
        path: file that gmsh can open; it is loaded as a model of its own.

    Raises:
        MeshError: gmsh is not installed or not initialised, or has no such group.
    """
    from ..mesh.generate._gmsh import load, start

    gmsh = load()
    if not gmsh.isInitialized():
        if path is None:
            raise MeshError(
                "gmsh has no model: call gmsh.initialize() and load the geometry, or give path"
            )
        start(gmsh)
        gmsh.option.setNumber("General.Terminal", 0)
    if path is not None:
        gmsh.open(path)
    model = gmsh.model.getCurrent()
    entities = _entities(gmsh, name)

    def nearest(points: Tensor) -> Tensor:
        before = gmsh.model.getCurrent()
        gmsh.model.setCurrent(model)
        flat = np.zeros((len(points), 3))
        flat[:, : points.shape[1]] = points.cpu().numpy()
        best, found = np.full(len(points), np.inf), flat.copy()
        for dim, tag in entities:
            there = gmsh.model.getClosestPoint(dim, tag, flat.reshape(-1))[0].reshape(-1, 3)
            gap = np.linalg.norm(there - flat, axis=1)
            found[gap < best] = there[gap < best]
            best = np.minimum(gap, best)
        gmsh.model.setCurrent(before)
        return torch.from_numpy(found[:, : points.shape[1]].copy()).to(points)

    return nearest


def _entities(gmsh: Any, name: str | int | Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    if not isinstance(name, str | int):
        return [(int(dim), int(tag)) for dim, tag in name]
    known = []
    for dim, number in gmsh.model.getPhysicalGroups():
        title = gmsh.model.getPhysicalName(dim, number)
        if dim in (1, 2) and name in (title, number):
            tags = gmsh.model.getEntitiesForPhysicalGroup(dim, number)
            return [(dim, int(tag)) for tag in tags]
        known.append(repr(title or number))
    raise MeshError(
        f"the gmsh model has no physical group {name!r}; there are {', '.join(known) or 'none'}"
    )
