"""Cases that live in files: only node coordinates change, every other byte stays as it is.

    from meshlearn.plugins import files
    files.adapt("case.su2", "Temperature", field_file="solution.vtu")

The formats are those of `meshlearn.mesh.files.inplace`. Nodes of second-order cells follow the
vertices they are between. The field is taken by node number from a file with the same mesh, and
interpolated from one with another mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..mesh import Mesh, MeshError
from ..mesh.cells import CELL_TYPES
from ..mesh.convert.rules import build
from ..mesh.convert.straight import straighten
from ..mesh.files import read
from ..mesh.files.inplace import find_slots, rewrite
from ..mesh.files.registry import read_parts
from ..mesh.files.replacing import replacing
from ..mesh.geometry import extent
from ..mesh.locate import Locator
from . import common
from .arrays import Arrays, FieldValues, FloatArray, Geometry, IntArray, PluginError, nodal
from .curved import reference_vertices
from .second_order import Between, between, places

_NUMBER = "meshlearn file node"
_SAME = 1e-9
"""Nodes nearer than this, over the size of the mesh, are at one place (a file may hold few
digits)."""
_FAR = 1e-3
"""A field that ends farther from a node, over the size of the mesh, is of another case."""
_LAGRANGE = {("line", 3), ("triangle", 6), ("quad", 9), ("tetra", 10), ("hexahedron", 27)}


@dataclass(frozen=True)
class Case:
    """A mesh file.

    Attributes:
        path: the file.
        mesh: its mesh; nodes of no cell and of higher order are left out.
        node: where each node of the mesh is in the file `[n]`.
        points: of all nodes of the file `[N, d]`.
        between: the nodes of second-order cells that are not vertices.
        geometry: of curved cells whose Jacobians can be looked at.
    """

    path: Path
    mesh: Mesh
    node: IntArray
    points: FloatArray
    between: Between
    geometry: Geometry | None

    def file_points(self, pos: FloatArray) -> FloatArray:
        """Coordinates of all nodes of the file with the mesh at `pos` `[N, d]`."""
        moved = self.points.copy()
        moved[self.node, : pos.shape[1]] = pos
        return self.between.follow(self.points, moved)


def read_case(path: str | Path) -> Case:
    """Read a mesh file whose coordinates can be replaced.

    Raises:
        MeshError: a format that cannot, or a mesh that is not valid.
    """
    path = Path(path)
    points = find_slots(path).points
    parts, _ = read_parts(path)
    parts.point_data = {**parts.point_data, _NUMBER: np.arange(len(parts.points))}
    ignored: list[str] = []  # what a `Mesh` does not hold stays in the file
    try:
        mesh = build(parts, ignored, allow=("duplicate", "hanging"), repair=("orphan",))
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error
    node = mesh.node_fields[_NUMBER].numpy().astype(np.int64)
    straight, _ = straighten(parts, ignored)
    blocks = [
        (block.type, np.asarray(parts.cells[block.index].data).astype(np.int64))
        for block in straight
        if block.type != "vertex"
    ]
    geometry = _geometry(mesh, points, [b for b in blocks if CELL_TYPES[b[0]].dim == mesh.cell_dim])
    return Case(path, mesh, node, points, between(blocks, points), geometry)


def to_mesh(path: str | Path) -> Mesh:
    """The mesh of a file, with the place of each node in the file as node field `numbering`."""
    case = read_case(path)
    mesh = case.mesh.moved(case.mesh.pos)
    mesh.set_field("numbering", case.node, "node")
    return mesh


def set_positions(path: str | Path, pos: Any, output: str | Path | None = None) -> None:
    """Put the nodes of `to_mesh` at `pos` `[n, d]`, in the file or in a copy of it."""
    common.set_positions(FileHost(Path(path), output), pos)


def adapt(
    path: str | Path,
    guide: Any = None,
    *,
    field_file: str | Path | None = None,
    output: str | Path | None = None,
    **options: Any,
) -> common.Report:
    """Adapt a mesh file in place.

    Args:
        path: the file.
        guide: name of a nodal field, nodal values `[n]` or `[n, k]`, or a `Monitor`. May be left
            out where the field file has one field only.
        field_file: where the named field is, if not in the file itself.
        output: where to write; by default the file is replaced.
        options: see `common.adapt`; nothing can be transferred.

    Returns:
        The report.

    Raises:
        MeshError: no such field, or a mesh that cannot be moved; the file is as it was then.
    """
    host = FileHost(Path(path), output)
    if guide is None or isinstance(guide, str):
        source = host.case.mesh if field_file is None else read_source(field_file)
        guide = field_values(host.case.mesh, source, guide)
    elif field_file is not None:
        raise MeshError("a field file was given with values; give the name of a field in it")
    report = common.adapt(host, guide, **options)
    try:
        host.check()
    except MeshError:
        report.undo()
        raise
    return report


def read_source(path: str | Path) -> Mesh:
    """A mesh with fields: which way round its cells are, or what belongs to none, is no matter."""
    return read(path, allow=("duplicate", "hanging", "orphan"), repair=("inverted",))


def field_values(mesh: Mesh, source: Mesh, name: str | None) -> FloatArray:
    """A nodal field of `source` at the nodes of `mesh` `[n]` or `[n, k]`.

    Nodes that are the same in both meshes are matched by number; else the field is interpolated.

    Raises:
        MeshError: no such field, it is not finite, or it ends far from a node.
    """
    from ..cli.fields import steering_fields, steering_values

    if name is None:
        known = steering_fields(source)
        if len(known) != 1:
            listed = ", ".join(map(repr, known)) or "none"
            raise MeshError(f"name the field to follow; the nodal fields are: {listed}")
        name = known[0]
    values = steering_values(source, [name])
    if values.shape[1] == 1:
        values = values[:, 0]
    if same_nodes(mesh, source):
        return values.numpy()
    if source.dim != mesh.dim:
        raise MeshError(f"the mesh is {mesh.dim}D, that of the field {source.dim}D")
    locator = Locator(source)
    found = locator.find(mesh.pos)
    far = found.distance > _FAR * extent(mesh)
    if bool(far.any()):
        node = int(found.distance.argmax())
        raise MeshError(
            f"the mesh of the field {name!r} ends {float(found.distance[node]):.3g} from node "
            f"{node}: it belongs to another case, or is in other units"
        )
    return locator.interpolate(values, found).numpy()


def same_nodes(mesh: Mesh, other: Mesh) -> bool:
    """Whether two meshes have the same nodes in the same order, up to few digits."""
    if mesh.pos.shape != other.pos.shape:
        return False
    return float((mesh.pos - other.pos).abs().max()) <= _SAME * extent(mesh) + _single(other)


def _single(mesh: Mesh) -> float:
    """Rounding of positions that were stored in single precision."""
    exact = bool((mesh.pos.to(torch.float32).to(torch.float64) == mesh.pos).all())
    return float(mesh.pos.abs().max()) * 1e-7 if exact else 0.0


class FileHost(common.Host):
    """A mesh file, as the loop of all plug-ins sees it.

    Args:
        path: the file.
        output: where to write; None is the file itself.
    """

    code = "files"

    def __init__(self, path: Path, output: str | Path | None) -> None:
        self.case = read_case(path)
        self._target = path if output is None else Path(output)

    def arrays(self) -> Arrays:
        mesh = self.case.mesh
        return Arrays(
            mesh.pos.numpy().copy(),
            {name: nodes.numpy() for name, nodes in mesh.cells.items()},
            self.case.node,
            facet_tags={name: nodes.numpy() for name, nodes in mesh.facet_tags.items()},
            cell_tags=_by_type(mesh),
            point_tags={name: nodes.numpy() for name, nodes in mesh.point_tags.items()},
            geometry=self.case.geometry,
        )

    def write(self, coordinates: FloatArray | None) -> None:
        assert coordinates is not None
        if self.case.geometry is None:
            points = self.case.file_points(coordinates)
        else:
            points = self.case.points.copy()
            points[:, : coordinates.shape[1]] = coordinates
        rewrite(self.case.path, points, self._target)

    def snapshot(self) -> bytes | None:
        return self._target.read_bytes() if self._target.exists() else None

    def restore(self, state: bytes | None) -> None:
        if state is None:
            self._target.unlink(missing_ok=True)
        elif not self._target.exists() or self._target.read_bytes() != state:
            with replacing(self._target) as temporary:
                temporary.write_bytes(state)

    def nodal(self, function: Any) -> FloatArray:
        return nodal(function, self.case.mesh.num_nodes)

    def values(self, function: Any) -> FieldValues:
        raise PluginError(_NO_TRANSFER)

    def set_values(self, function: Any, values: FloatArray | None) -> None:
        raise PluginError(_NO_TRANSFER)

    def coefficients(self, function: Any) -> Any:
        raise PluginError(_NO_TRANSFER)

    def now(self) -> Mesh:
        """The mesh as it is written."""
        points = find_slots(self._target).points[self.case.node, : self.case.mesh.dim]
        return self.case.mesh.moved(torch.from_numpy(points))

    def check(self) -> None:
        """That the file is there, and holds enough digits for a valid mesh.

        Raises:
            MeshError: a cell is inverted by the rounding of coordinates.
        """
        if not self._target.exists():
            rewrite(self.case.path, self.case.points, self._target)
            return
        bad = self.now().inverted_cells()
        if len(bad):
            raise MeshError(
                f"{self.case.path} holds too few digits: rounding inverts {len(bad)} cells; write "
                "its coordinates with more digits first"
            )


_NO_TRANSFER = (
    "fields in files are not carried along: their nodal values stay in the file; "
    "`meshlearn adapt` writes interpolated ones to a .vtu"
)


def _by_type(mesh: Mesh) -> dict[str, IntArray]:
    """Cell tags in the numbering of the types one after the other."""
    place = np.empty(mesh.num_cells, np.int64)
    place[torch.cat(list(mesh.cell_ids.values())).numpy()] = np.arange(mesh.num_cells)
    return {name: place[ids.numpy()] for name, ids in mesh.cell_tags.items()}


def _geometry(
    mesh: Mesh, points: FloatArray, blocks: list[tuple[str, IntArray]]
) -> Geometry | None:
    """Curved cells of complete second order; None where there are others or none."""
    kinds = {(cell, nodes.shape[1]) for cell, nodes in blocks}
    if not kinds <= _LAGRANGE or len(kinds) != len({cell for cell, _ in kinds}):
        return None
    nodes, reference = {}, {}
    for cell, size in kinds:
        rows = [own for name, own in blocks if name == cell and own.shape[1] == size]
        nodes[cell] = np.concatenate(rows)
        vertices = reference_vertices(cell)
        further = [vertices[list(local)].mean(axis=0) for local in places(cell, points, rows[0])]
        reference[cell] = np.concatenate([vertices, np.array(further)])
    return Geometry(points[:, : mesh.dim].copy(), nodes, reference)
