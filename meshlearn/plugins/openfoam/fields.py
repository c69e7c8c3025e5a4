"""Cell fields: volScalarField and volVectorField, and their values at the points of the mesh.

A value at a point is the mean, weighted by inverse distances, of what the cells around it say there
by their least-squares gradients: exact for linear fields. On patches whose values the file gives
(fixedValue, noSlip, ...) these count instead, as in OpenFOAM's `volPointInterpolation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...mesh import MeshError
from ..arrays import FloatArray, IntArray
from . import foamfile
from .polymesh import Patch, PolyMesh

_KINDS = {"volScalarField": "scalar", "volVectorField": "vector"}
_ZERO = ("noSlip",)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CUT = 1e-10
"""Directions with less of the spread of the neighbours carry no gradient: the third one in 2-D."""


@dataclass(frozen=True)
class CellField:
    """A field of a case.

    Attributes:
        file: where it is.
        kind: "scalar" or "vector".
        values: one row a cell `[n_cells, 1 or 3]`.
        boundary: rows of the faces of the patches whose values are given `{name: [faces, 1 or 3]}`.
    """

    file: foamfile.FoamFile
    kind: str
    values: FloatArray
    boundary: dict[str, FloatArray]

    @property
    def name(self) -> str:
        """As the file is called."""
        return self.file.path.name.removesuffix(".gz")


def field_names(case: Path, time: str) -> list[str]:
    """The cell fields of scalars and vectors at a time."""
    found = []
    for path in sorted((case / time).iterdir()):
        if path.is_file():
            try:
                kind = foamfile.load(path).header.get("class")
            except MeshError:
                continue
            if kind in _KINDS:
                found.append(path.name.removesuffix(".gz"))
    return found


def read_field(case: Path, time: str, name: str, mesh: PolyMesh) -> CellField:
    """Read a cell field.

    Raises:
        MeshError: there is none of this name, it is not one of cells, or does not fit the mesh.
    """
    path = foamfile.find(case / time, name)
    if path is None:
        known = ", ".join(map(repr, field_names(case, time))) or "none"
        raise MeshError(f"there is no field {name!r} at time {time}; the cell fields are: {known}")
    file = foamfile.load(path)
    kind = _KINDS.get(file.header.get("class", ""))
    if kind is None:
        raise MeshError(f"{path} is a {file.header.get('class')}, not a {' or '.join(_KINDS)}")
    found = foamfile.dictionary(file)
    inner = found.get("internalField")
    if not isinstance(inner, foamfile.Value):
        raise MeshError(f"{path} has no internalField")
    values = _rows(file, inner, kind, mesh.num_cells)
    if values is None:
        raise MeshError(
            f"{path}: the internalField {foamfile.text(file, inner)[:40]!r} is not given in numbers"
        )
    patches = found.get("boundaryField", {})
    boundary = {}
    for patch in mesh.patches:
        given = _entry(patches, patch) if isinstance(patches, dict) else None
        rows = None if given is None else _boundary(file, given, kind, patch, values, mesh)
        if rows is not None:
            boundary[patch.name] = rows
    return CellField(file, kind, values, boundary)


def with_values(field: CellField, values: FloatArray) -> bytes:
    """The file with other cell values `[n_cells, 1 or 3]`; every other byte stays."""
    file = field.file
    inner = foamfile.dictionary(file)["internalField"]
    assert isinstance(inner, foamfile.Value)
    if file.binary:
        numbers = values.astype(file.dtype("scalar")).tobytes()
    else:
        form = "{!r}" if field.kind == "scalar" else "({!r} {!r} {!r})"
        rows = [form.format(*row) for row in values.tolist()]
        numbers = ("\n" + "\n".join(rows) + "\n").encode()
    head = f"nonuniform List<{field.kind}> \n{len(values)}\n(".encode()
    return file.raw[: inner.begin] + head + numbers + b")\n" + file.raw[inner.end :]


def at_points(mesh: PolyMesh, field: CellField) -> FloatArray:
    """Values at the points `[n, 1 or 3]`."""
    u = field.values
    gradient = gradients(mesh, field)
    centre = mesh.cell_geometry[0]
    point, cell = _incidence(mesh)
    reach = mesh.points[point] - centre[cell]
    said = u[cell] + np.einsum("icd,id->ic", gradient[cell], reach)
    out = _mean(said, np.linalg.norm(reach, axis=1), point, len(mesh.points))
    faces, known = _known_faces(mesh, field)
    if len(faces):
        entry = np.flatnonzero(_is_in(mesh.num_faces, faces)[mesh.face_of])
        row = np.full(mesh.num_faces, -1)
        row[faces] = np.arange(len(faces))
        at = mesh.nodes[entry]
        of = mesh.face_of[entry]
        away = np.linalg.norm(mesh.points[at] - mesh.face_geometry[0][of], axis=1)
        fixed = _mean(known[row[of]], away, at, len(mesh.points))
        told = np.unique(at)
        out[told] = fixed[told]
    return out


def gradients(mesh: PolyMesh, field: CellField) -> FloatArray:
    """Least-squares gradient in each cell `[n_cells, 1 or 3, 3]`, exact for linear fields."""
    u, centre = field.values, mesh.cell_geometry[0]
    inner = len(mesh.neighbour)
    own, other = mesh.owner[:inner], mesh.neighbour
    faces, known = _known_faces(mesh, field)
    at = np.concatenate([own, other, mesh.owner[faces]])
    step = np.concatenate(
        [
            centre[other] - centre[own],
            centre[own] - centre[other],
            mesh.face_geometry[0][faces] - centre[mesh.owner[faces]],
        ]
    )
    rise = np.concatenate([u[other] - u[own], u[own] - u[other], known - u[mesh.owner[faces]]])
    weight = 1 / (step**2).sum(axis=1)
    square = _sum(weight[:, None, None] * step[:, :, None] * step[:, None, :], at, mesh.num_cells)
    right = _sum(weight[:, None, None] * rise[:, :, None] * step[:, None, :], at, mesh.num_cells)
    return np.asarray(right @ np.linalg.pinv(square, rcond=_CUT, hermitian=True))


def _known_faces(mesh: PolyMesh, field: CellField) -> tuple[IntArray, FloatArray]:
    """Faces whose values are given, and these."""
    width = field.values.shape[1]
    faces = [np.empty(0, np.int64)]
    rows = [np.empty((0, width))]
    for patch in mesh.patches:
        if patch.name in field.boundary:
            faces.append(np.arange(patch.faces.start, patch.faces.stop))
            rows.append(field.boundary[patch.name])
    return np.concatenate(faces), np.concatenate(rows)


def _incidence(mesh: PolyMesh) -> tuple[IntArray, IntArray]:
    """Each point with each cell around it, once."""
    inner = len(mesh.neighbour)
    within = mesh.face_of < inner
    cell = np.concatenate([mesh.owner[mesh.face_of], mesh.neighbour[mesh.face_of[within]]])
    point = np.concatenate([mesh.nodes, mesh.nodes[within]])
    key = np.unique(point * mesh.num_cells + cell)
    return key // mesh.num_cells, key % mesh.num_cells


def _mean(values: FloatArray, distance: FloatArray, group: IntArray, count: int) -> FloatArray:
    weight = 1 / np.maximum(distance, 1e-300)
    total = np.bincount(group, weight, count)
    sums = [np.bincount(group, weight * column, count) for column in values.T]
    found: FloatArray = np.stack(sums, axis=1) / np.where(total > 0, total, 1.0)[:, None]
    return found


def _sum(values: FloatArray, group: IntArray, count: int) -> FloatArray:
    flat = values.reshape(len(values), -1)
    sums = [np.bincount(group, column, count) for column in flat.T]
    return np.stack(sums, axis=1).astype(np.float64).reshape(count, *values.shape[1:])


def _is_in(count: int, members: IntArray) -> np.ndarray:
    mask = np.zeros(count, bool)
    mask[members] = True
    return mask


def _entry(patches: foamfile.Dictionary, patch: Patch) -> foamfile.Dictionary | None:
    """The entry of a patch: by its name, its groups, or the last pattern that fits."""
    for key in (patch.name, *patch.groups):
        exact = patches.get(key)
        if isinstance(exact, dict):
            return exact
    for key, entry in reversed(list(foamfile.entries(patches))):
        try:
            fits = re.fullmatch(key, patch.name) is not None
        except re.error:
            continue
        if fits:
            return entry
    return None


def _boundary(
    file: foamfile.FoamFile,
    given: foamfile.Dictionary,
    kind: str,
    patch: Patch,
    values: FloatArray,
    mesh: PolyMesh,
) -> FloatArray | None:
    """Values on the faces of a patch, None where the file does not tell."""
    type_ = given.get("type")
    if isinstance(type_, foamfile.Value) and foamfile.text(file, type_) in _ZERO:
        return np.zeros((len(patch.faces), values.shape[1]))
    value = given.get("value")
    if not isinstance(value, foamfile.Value):
        return None
    if foamfile.text(file, value).startswith("$internalField"):
        return values[mesh.owner[patch.faces.start : patch.faces.stop]]
    return _rows(file, value, kind, len(patch.faces))


def _rows(
    file: foamfile.FoamFile, value: foamfile.Value, kind: str, count: int
) -> FloatArray | None:
    """A uniform or nonuniform value as rows; None where it is not in numbers."""
    width = foamfile.COMPONENTS[kind]
    if not value.kind:
        words = foamfile.text(file, value)
        numbers = [float(word) for word in _NUMBER.findall(words)]
        if not words.startswith("uniform") or len(numbers) != width:
            return np.empty((0, width)) if count == 0 else None
        return np.tile(np.array(numbers), (count, 1))
    if value.kind != kind or value.count != count:
        raise MeshError(
            f"{file.path}: a list of {value.count} {value.kind}s stands where the mesh needs "
            f"{count} {kind}s"
        )
    if file.binary:
        flat = np.frombuffer(file.raw, file.dtype("scalar"), count * width, value.first)
    else:
        flat = foamfile.numbers(file, value.first, value.end, np.float64)
    if len(flat) != count * width:
        raise MeshError(f"{file.path}: a list of {count} {kind}s is not complete")
    return flat.astype(np.float64).reshape(count, width)
