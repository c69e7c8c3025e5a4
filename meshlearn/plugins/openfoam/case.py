"""A case directory as a plug-in sees it: what moves, what stays, and where points are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ...mesh import MeshError
from ...mesh.files.replacing import replacing
from ..arrays import Arrays, FloatArray, IntArray
from . import foamfile
from .cells import Moving, in_plane, in_space
from .fields import CellField, at_points, read_field
from .plane import Plane, plane_of
from .polymesh import Patch, PolyMesh, points_file, points_slots, read_mesh, shortened, times

_SAME = 1e-6
"""Points nearer than this, over the size of the mesh, are images of each other."""
_FREE = ("patch", "symmetry", "symmetryPlane", "cyclic", "empty", "wedge")
"""Types of patches whose points may slide."""


@dataclass(frozen=True)
class Case:
    """A case at a time.

    Attributes:
        folder: the directory.
        time: name of the time whose mesh and fields these are; None is "constant".
        mesh: the polyhedral mesh.
        plane: of a 2-D or axisymmetric case.
        moving: what the mover sees.
    """

    folder: Path
    time: str | None
    mesh: PolyMesh
    plane: Plane | None
    moving: Moving

    def points(self, pos: FloatArray) -> FloatArray:
        """Points of the case with the nodes of `moving` at `pos`; those that stay are the same."""
        old = self.mesh.points
        if self.plane is None:
            mine = self.moving.numbering >= 0
            out = old.copy()
            out[self.moving.numbering[mine]] = pos[mine]
            return out
        n = len(self.plane.points)
        stay = (pos[:n] == self.moving.pos[:n]).all(axis=1)[self.plane.node]
        return np.where(stay[:, None], old, self.plane.lift(pos[:n]))

    def nodes_of(self, patch: Patch) -> IntArray:
        """Nodes of `moving` on a patch."""
        return np.unique(self.moving.facets.get(patch.name, np.empty(0, np.int64)))

    def nodal(self, field: CellField) -> FloatArray:
        """Values of a cell field at the nodes of `moving` `[m, 1 or 3]`."""
        values = at_points(self.mesh, field)
        out = np.empty((len(self.moving.pos), values.shape[1]))
        mine = self.moving.numbering >= 0
        out[mine] = values[self.moving.numbering[mine]]
        node, cell = self.moving.centre_of_cell.T
        out[node] = field.values[cell]
        node, face = self.moving.centre_of_face.T
        inner = face < len(self.mesh.neighbour)
        other = self.mesh.owner[face]
        other[inner] = self.mesh.neighbour[face[inner]]
        out[node] = (field.values[self.mesh.owner[face]] + field.values[other]) / 2
        outer = ~inner
        out[node[outer]] = _face_means(self.mesh, face[outer], values)
        return out

    @cached_property
    def pairs(self) -> IntArray | None:
        """Nodes of `moving` `[k, 2]` on cyclic patches that are images of each other."""
        found = [self._images(patch) for patch in self.mesh.patches if patch.type == "cyclic"]
        rows = [rows for rows in found if rows is not None and len(rows)]
        return np.concatenate(rows) if rows else None

    def stays(self, slide: Iterable[str] = (), fixed: Iterable[str] = ()) -> IntArray:
        """Nodes that stay: those of walls, and of patches of which it is not known how they move.

        Args:
            slide: names (or regular expressions) of patches whose nodes may slide all the same.
            fixed: names of further patches whose nodes stay.

        Raises:
            MeshError: no patch of such a name.
        """
        sliding, staying = self._named(slide), self._named(fixed)
        stay = [np.empty(0, np.int64)]
        for patch in self.mesh.patches:
            turned = patch.type == "cyclic" and self._images(patch) is None
            held = patch.type not in _FREE or "wall" in patch.groups or turned
            if patch.name in staying or (held and patch.name not in sliding):
                stay.append(self.nodes_of(patch))
        return np.unique(np.concatenate(stay))

    def _named(self, patterns: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for pattern in patterns:
            names = [p.name for p in self.mesh.patches if re.fullmatch(pattern, p.name)]
            if not names:
                known = ", ".join(repr(patch.name) for patch in self.mesh.patches)
                raise MeshError(f"there is no patch {pattern!r}; the patches are {known}")
            found.update(names)
        return found

    def arrays(self) -> Arrays:
        """The mesh that moves, its facets tagged by patch."""
        return Arrays(
            self.moving.pos,
            self.moving.cells,
            self.moving.numbering,
            facet_tags={name: rows for name, rows in self.moving.facets.items() if len(rows)},
            pairs=self.pairs,
        )

    def _images(self, patch: Patch) -> IntArray | None:
        """Pairs of a cyclic patch and its neighbour; None where no translation relates them."""
        others = [other for other in self.mesh.patches if other.name == patch.neighbour]
        mine = self.nodes_of(patch)
        if not others:
            return None
        theirs = self.nodes_of(others[0])
        if len(mine) != len(theirs) or not len(mine):
            return None if len(mine) or len(theirs) else np.empty((0, 2), np.int64)
        pos = self.moving.pos
        shift = pos[theirs].mean(axis=0) - pos[mine].mean(axis=0)
        near = cKDTree(pos[theirs]).query(pos[mine] + shift)
        distance, index = (np.asarray(found) for found in near)
        size = float(np.ptp(pos, axis=0).max())
        if distance.max() > _SAME * size or len(np.unique(index)) < len(mine):
            return None
        return np.stack([mine, theirs[index]], axis=1)


def read_case(folder: str | Path, time: str | float | None = "latest") -> Case:
    """Read the mesh of a case directory.

    Args:
        folder: the directory.
        time: name of a time, "latest", or None for "constant".

    Raises:
        MeshError: not a case, no such time, or a mesh that cannot be moved.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MeshError(f"{folder} is not a directory")
    chosen = find_time(folder, time)
    mesh = read_mesh(folder, chosen)
    plane = plane_of(mesh)
    moving = in_space(mesh) if plane is None else in_plane(mesh, plane)
    return Case(folder, chosen, mesh, plane, moving)


def find_time(folder: Path, time: str | float | None) -> str | None:
    """The name of a time directory.

    Raises:
        MeshError: there is none; the message lists those there are.
    """
    if time is None or time == "constant":
        return None
    known = times(folder)
    if time == "latest":
        return known[-1] if known else None
    for name in known:
        if name == str(time) or float(name) == float(time):
            return name
    raise MeshError(f"{folder} has no time {time}; there are {', '.join(known) or 'none'}")


def case_field(case: Case, name: str) -> CellField:
    """A cell field at the time of a case.

    Raises:
        MeshError: there is none, or the case has no time.
    """
    if case.time is None:
        raise MeshError(f"{case.folder} has no time directory with a field {name!r}")
    return read_field(case.folder, case.time, name, case.mesh)


def write_points(case: Case, pos: FloatArray, time: str | None) -> FloatArray:
    """Write the points with the nodes of `moving` at `pos`, shortened where a pyramid would turn.

    Args:
        case: the case.
        pos: `[m, d]`.
        time: where to: the name of a time directory, made if it is not there, or None for
            constant.

    Returns:
        The points as written `[n, 3]`.
    """
    points = shortened(case.mesh, case.points(pos))
    put_points(case, points, time)
    return points


def put_points(case: Case, points: FloatArray, time: str | None) -> None:
    """Write points `[n, 3]`; header and format are those of the points of the case."""
    source = foamfile.load(points_file(case.folder, case.time))
    place = "constant" if time is None else time
    target = case.folder / place / "polyMesh" / source.path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    slots = points_slots(source)
    with replacing(target) as temporary:
        slots.write(temporary, points)
        raw = temporary.read_bytes()
        if target != source.path:
            location = f'"{place}/polyMesh"'.encode()
            raw = re.sub(rb"(\blocation\s+)[^;]*;", rb"\1" + location + rb";", raw, count=1)
        temporary.write_bytes(foamfile.packed(raw, target))


def _face_means(mesh: PolyMesh, faces: IntArray, values: FloatArray) -> FloatArray:
    row = np.full(mesh.num_faces, -1)
    row[faces] = np.arange(len(faces))
    entry = np.flatnonzero(row[mesh.face_of] >= 0)
    of, at = row[mesh.face_of[entry]], values[mesh.nodes[entry]]
    total = np.stack([np.bincount(of, column, len(faces)) for column in at.T], axis=1)
    return total / mesh.sizes[faces][:, None]
