"""The mesh of a case: points, faces, owner, neighbour, patches; and its geometry.

Centres, areas and volumes are those of OpenFOAM (primitiveMeshFaceCentresAndAreas.C and
primitiveMeshCellCentresAndVols.C), and so are the figures of `checkMesh`: a cell is valid where the
pyramids from its centre to its faces have positive volumes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...mesh import MeshError
from ...mesh.files.inplace.slots import BinarySlots, Splice, TextSlots, tokens
from ..arrays import FloatArray, IntArray
from . import foamfile

MIN_RATIO = 1e-3
"""A pyramid may not fall below this fraction of its volume before the move."""
_HALVINGS = 12
_TIME = re.compile(r"\d+(\.\d*)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Patch:
    """A part of the boundary.

    Attributes:
        name, type: "inlet", "patch"; "walls", "wall"; ...
        faces: numbers of its faces.
        groups: names of `inGroups`.
        neighbour: of a cyclic patch, the other one.
    """

    name: str
    type: str
    faces: range
    groups: tuple[str, ...]
    neighbour: str


@dataclass(frozen=True)
class PolyMesh:
    """A polyhedral mesh.

    Attributes:
        points: `[n, 3]`.
        offsets: where each face begins in `nodes` `[n_faces + 1]`.
        nodes: points of all faces; the normal of a face points out of its owner.
        owner: cell of each face `[n_faces]`.
        neighbour: other cell of the inner faces, which come first `[n_inner]`.
        patches: the boundary.
    """

    points: FloatArray
    offsets: IntArray
    nodes: IntArray
    owner: IntArray
    neighbour: IntArray
    patches: tuple[Patch, ...]

    @property
    def num_faces(self) -> int:
        """Number of faces."""
        return len(self.owner)

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return int(self.owner.max()) + 1

    @cached_property
    def sizes(self) -> IntArray:
        """Points of each face `[n_faces]`."""
        return np.diff(self.offsets)

    def moved(self, points: FloatArray) -> PolyMesh:
        """The same mesh with other points."""
        return replace(self, points=points)

    def face(self, number: int) -> IntArray:
        """Points of one face."""
        return self.nodes[self.offsets[number] : self.offsets[number + 1]]

    def patch_nodes(self, patch: Patch) -> IntArray:
        """Points of a patch, each once."""
        begin, end = self.offsets[patch.faces.start], self.offsets[patch.faces.stop]
        return np.unique(self.nodes[begin:end])

    @cached_property
    def face_of(self) -> IntArray:
        """Face of each entry of `nodes`."""
        return np.repeat(np.arange(self.num_faces), self.sizes)

    @cached_property
    def following(self) -> IntArray:
        """The next point round the face of each entry of `nodes`."""
        index = np.arange(1, len(self.nodes) + 1)
        index[self.offsets[1:] - 1] = self.offsets[:-1]
        return self.nodes[index]

    @cached_property
    def face_geometry(self) -> tuple[FloatArray, FloatArray]:
        """Centres and area vectors of the faces `[n_faces, 3]` each."""
        here, after = self.points[self.nodes], self.points[self.following]
        middle = _sums(here, self.face_of, self.num_faces) / self.sizes[:, None]
        centre = middle[self.face_of]
        normal = np.cross(after - here, centre - here) / 2
        area = _sums(normal, self.face_of, self.num_faces)
        size = np.linalg.norm(area, axis=1)
        unit = area / np.maximum(size, np.finfo(float).tiny)[:, None]
        weight = (normal * unit[self.face_of]).sum(axis=1)
        third = (here + after + centre) / 3
        total = np.bincount(self.face_of, weight, self.num_faces)
        moment = _sums(third * weight[:, None], self.face_of, self.num_faces)
        good = total > 1e-300
        weighted = moment / np.where(good, total, 1.0)[:, None]
        found: FloatArray = np.where(good[:, None], weighted, middle)
        return found, area

    @cached_property
    def cell_geometry(self) -> tuple[FloatArray, FloatArray]:
        """Centres `[n_cells, 3]` and volumes `[n_cells]` of the cells."""
        centre, area = self.face_geometry
        face, cell, sign = self.cell_faces
        count = np.bincount(cell, minlength=self.num_cells)
        middle = _sums(centre[face], cell, self.num_cells) / count[:, None]
        volume = (sign[:, None] * area[face] * (centre[face] - middle[cell])).sum(axis=1) / 3
        pyramid = 0.75 * centre[face] + 0.25 * middle[cell]
        total = np.bincount(cell, volume, self.num_cells)
        moment = _sums(pyramid * volume[:, None], cell, self.num_cells)
        good = np.abs(total) > 1e-300
        weighted = moment / np.where(good, total, 1.0)[:, None]
        found: FloatArray = np.where(good[:, None], weighted, middle)
        return found, total.astype(np.float64)

    @cached_property
    def cell_faces(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Faces of the cells: face, cell, and 1 where its normal points out of the cell or -1."""
        inner = len(self.neighbour)
        face = np.concatenate([np.arange(self.num_faces), np.arange(inner)])
        sign = np.concatenate([np.ones(self.num_faces), -np.ones(inner)])
        return face, np.concatenate([self.owner, self.neighbour]), sign

    def pyramids(self) -> FloatArray:
        """Volumes of the pyramids from cell centres, in the order of `cell_faces`."""
        centre, area = self.face_geometry
        face, cell, sign = self.cell_faces
        reach = centre[face] - self.cell_geometry[0][cell]
        volumes: FloatArray = sign * (area[face] * reach).sum(axis=1) / 3
        return volumes

    def check(self) -> dict[str, float]:
        """What `checkMesh` looks at.

        Returns:
            "min_volume" and "min_pyramid" of the cells, "max_non_orthogonality" of the inner faces
            in degrees, and "max_skewness" of all faces.
        """
        area = self.face_geometry[1]
        cells, inner = self.cell_geometry[0], len(self.neighbour)
        apart = cells[self.neighbour] - cells[self.owner[:inner]]
        size = np.linalg.norm(apart, axis=1) * np.linalg.norm(area[:inner], axis=1)
        cosine = (apart * area[:inner]).sum(axis=1) / size
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        return {
            "min_volume": float(self.cell_geometry[1].min()),
            "min_pyramid": float(self.pyramids().min()),
            "max_non_orthogonality": float(angle.max(initial=0.0)),
            "max_skewness": float(self._skewness(apart).max()),
        }

    def _skewness(self, apart: FloatArray) -> FloatArray:
        """Skewness of the faces `[n_faces]` (`faceSkewness` in primitiveMeshTools.C).

        Args:
            apart: from the centre of the owner to that of the neighbour `[n_inner, 3]`.
        """
        centre, area = self.face_geometry
        reach = centre - self.cell_geometry[0][self.owner]
        outer = slice(len(apart), self.num_faces)
        unit = area[outer] / np.linalg.norm(area[outer], axis=1)[:, None]
        line = np.concatenate([apart, unit * (unit * reach[outer]).sum(axis=1)[:, None]])
        share = (area * reach).sum(axis=1) / (area * line).sum(axis=1)
        off = reach - share[:, None] * line
        size = np.linalg.norm(off, axis=1)
        direction = off / np.maximum(size, 1e-150)[:, None]
        width = np.full(self.num_faces, 0.2)
        width[outer] = 0.4
        width *= np.linalg.norm(line, axis=1)
        corner = self.points[self.nodes] - centre[self.face_of]
        np.maximum.at(width, self.face_of, np.abs((direction[self.face_of] * corner).sum(axis=1)))
        return size / width


def shortened(mesh: PolyMesh, points: FloatArray) -> FloatArray:
    """Points as near to `points` as keep every pyramid positive `[n, 3]`.

    Points of bad cells go back towards where they were, halfway at a time (see `movers.guard`).

    Raises:
        MeshError: a pyramid is not positive before the move.
    """
    before = mesh.pyramids()
    if not (before > 0).all():
        _, cell, _ = mesh.cell_faces
        bad = np.unique(cell[~(before > 0)])
        raise MeshError(
            f"{len(bad)} cells are not valid before the move (a face pyramid is not positive), "
            f"first cell {int(bad[0])}; see checkMesh"
        )
    factor, halvings = np.ones(len(points)), np.zeros(len(points), np.int64)
    displacement, moved = points - mesh.points, points
    _, cell, _ = mesh.cell_faces
    while True:
        bad_pyramid = ~(mesh.moved(moved).pyramids() > MIN_RATIO * before)
        if not bad_pyramid.any():
            return moved
        bad = np.zeros(mesh.num_cells, bool)
        bad[cell[bad_pyramid]] = True
        touched = bad[mesh.owner]
        touched[: len(mesh.neighbour)] |= bad[mesh.neighbour]
        hit = np.unique(mesh.nodes[touched[mesh.face_of]])
        halvings[hit] += 1
        factor[hit] *= 0.5
        factor[halvings > _HALVINGS] = 0.0
        moved = np.where(
            (factor == 1)[:, None], points, mesh.points + factor[:, None] * displacement
        )


def _sums(values: FloatArray, group: IntArray, count: int) -> FloatArray:
    """Rows added up by group `[count, columns]`."""
    return np.stack([np.bincount(group, column, count) for column in values.T], axis=1)


def times(case: Path) -> list[str]:
    """Names of the time directories of a case, in ascending order."""
    names = [p.name for p in case.iterdir() if p.is_dir() and _TIME.fullmatch(p.name)]
    return sorted(names, key=float)


def points_file(case: Path, time: str | None = None) -> Path:
    """The points that hold at a time: those of the last time directory up to it that has some.

    Args:
        case: the directory.
        time: name of a time; None is "constant".

    Raises:
        MeshError: there are none.
    """
    places = ["constant"]
    if time is not None:
        places += [name for name in times(case) if float(name) <= float(time)]
    for name in reversed(places):
        found = foamfile.find(case / name / "polyMesh", "points")
        if found is not None:
            return found
    raise MeshError(
        f"{case} has no constant/polyMesh/points: make the mesh first (blockMesh, ...), or give "
        "the directory of the case"
    )


def read_mesh(case: Path, time: str | None = None) -> PolyMesh:
    """Read the mesh of a case at a time.

    Raises:
        MeshError: a file is missing or damaged, or the mesh is a part of a decomposed one.
    """
    points = points_slots(foamfile.load(points_file(case, time))).points
    folder = points_file(case).parent
    parts = {name: foamfile.load(_needed(folder, name)) for name in ("faces", "owner", "neighbour")}
    offsets, nodes = foamfile.faces(parts["faces"])
    owner, neighbour = foamfile.labels(parts["owner"])[0], foamfile.labels(parts["neighbour"])[0]
    patches = _patches(foamfile.load(_needed(folder, "boundary")))
    if len(owner) != len(offsets) - 1 or len(neighbour) > len(owner):
        raise MeshError(f"{folder}: faces, owner and neighbour do not belong together")
    if len(nodes) and int(nodes.max()) >= len(points):
        raise MeshError(f"{folder}: a face names point {int(nodes.max())} of {len(points)}")
    return PolyMesh(points, offsets, nodes, owner, neighbour, patches)


def points_slots(file: foamfile.FoamFile) -> TextSlots | BinarySlots:
    """The coordinates of a points file.

    Raises:
        MeshError: it is not complete.
    """
    count, begin = foamfile.list_head(file, file.body)
    if not file.binary:
        end = file.raw.rfind(b")")
        words = tokens(file.raw, begin, end, separators=b"()")
        if len(words.begin) != 3 * count:
            raise MeshError(f"{file.path}: it announces {count} points but is not complete")
        return TextSlots(file.raw, words.begin.reshape(-1, 3), words.end.reshape(-1, 3))
    dtype = file.dtype("scalar")
    end = begin + 3 * count * dtype.itemsize
    foamfile.check_end(file, end)
    stored = np.frombuffer(file.raw, dtype, 3 * count, begin).reshape(-1, 3)

    def encode(points: FloatArray) -> list[Splice]:
        return [(begin, end, points.astype(dtype).tobytes())]

    return BinarySlots(file.raw, stored.astype(np.float64), encode)


def _needed(folder: Path, name: str) -> Path:
    found = foamfile.find(folder, name)
    if found is None:
        raise MeshError(f"{folder} lacks the file {name}")
    return found


def _patches(file: foamfile.FoamFile) -> tuple[Patch, ...]:
    _, begin = foamfile.list_head(file, file.body)
    patches = []
    for name, entry in foamfile.entries(foamfile.dictionary(file, begin)):
        words = {
            key: foamfile.text(file, value)
            for key, value in entry.items()
            if isinstance(value, foamfile.Value)
        }
        first = int(words["startFace"])
        groups = tuple(re.findall(r"[\w.]+", words.get("inGroups", "").partition("(")[2]))
        patches.append(
            Patch(
                name,
                words["type"],
                range(first, first + int(words["nFaces"])),
                groups,
                words.get("neighbourPatch", ""),
            )
        )
    for patch in patches:
        if patch.type.startswith("processor"):
            raise MeshError(
                f"{file.path}: patch {patch.name!r} is of type {patch.type}: reconstruct the "
                "case first (reconstructParMesh, reconstructPar)"
            )
    return tuple(patches)
