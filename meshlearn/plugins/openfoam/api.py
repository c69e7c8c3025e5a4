"""The functions of the OpenFOAM plug-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...mesh import Mesh, MeshError
from ...mesh.files.replacing import replacing
from .. import common
from ..arrays import Arrays, FieldValues, FloatArray, PluginError, nodal, positions
from ..numerics import to_mesh as mesh_of
from .case import Case, case_field, put_points, read_case, write_points
from .cells import in_plane, in_space
from .polymesh import points_file
from .remap import Method, remapped_files

Time = str | float | None


def to_mesh(folder: str | Path, time: Time = "latest") -> Mesh:
    """The mesh that moves: patches are facet tags, `numbering` the point of each node.

    A 2-D case gives a 2-D mesh. Nodes that are centres of polyhedra or of their faces have the
    number -1.

    Args:
        folder: directory of the case.
        time: name of a time, "latest", or None for "constant".
    """
    return mesh_of(read_case(folder, time).arrays())


def set_positions(
    folder: str | Path, pos: Any, time: Time = "latest", output: Time = "same"
) -> None:
    """Put the nodes of `to_mesh` at `pos` `[m, d]`.

    Args:
        folder, time: see `to_mesh`.
        pos: positions; those of centres do not matter.
        output: where the points go, see `adapt`.
    """
    case = read_case(folder, time)
    put_points(case, case.points(positions(pos, case.moving.pos.shape)), _place(case, output))


def check(folder: str | Path, time: Time = "latest") -> dict[str, float]:
    """Volumes, pyramids, non-orthogonality and skewness as `checkMesh` sees them.

    See `PolyMesh.check`.
    """
    return read_case(folder, time).mesh.check()


def adapt(
    folder: str | Path,
    guide: Any,
    *,
    time: Time = "latest",
    output: Time = "same",
    slide_patches: Sequence[str] = (),
    fixed: Sequence[str] = (),
    transfer: Sequence[str] = (),
    method: Method = "conservative",
    **options: Any,
) -> common.Report:
    """Adapt the mesh of a case in place.

    Walls stay, and so do patches of types whose motion is not known; patches of type patch,
    symmetry and symmetryPlane slide where they are flat.

    Args:
        folder: directory of the case.
        guide: name of a cell field at the time, values of the nodes of `to_mesh`, or a `Monitor`.
        time: whose mesh and fields: a name, "latest", or None for "constant".
        output: where the points go: "same" (over those that hold at the time), None for
            constant/polyMesh, or a time, whose directory is made if it is not there.
        slide_patches: names (or regular expressions) of walls that may slide.
        fixed: names of further patches that stay.
        transfer: names of cell fields at the time that are carried to the moved mesh, written
            there over the old ones. Face fluxes (phi) are not: remove them, solvers make them anew.
        method: "conservative" or "interpolate", see `remap`.
        options: see `common.adapt`.

    Returns:
        The report; the last of its moves has the figures of `check` as "check".

    Raises:
        MeshError: a case that cannot be moved, or names that do not exist.
    """
    host = CaseHost(read_case(folder, time), output)
    stay = host.case.stays(slide_patches, fixed)
    fields = [case_field(host.case, name) for name in transfer]
    if isinstance(guide, str):
        guide = host.case.nodal(case_field(host.case, guide))
    report = common.adapt(host, guide, fixed=stay, **options)
    after = host.current()
    report.moves[-1]["check"] = after.mesh.check()
    undo = report.undo
    if fields:
        files = [field.file for field in fields]
        try:
            for field, raw in remapped_files(host.case, after, fields, method):
                field.file.write(raw)
        except (MeshError, OSError):
            undo()
            raise

        def undo_all() -> None:
            report.undo()
            for file in files:
                file.write(file.raw)

        undo = undo_all
    return replace(report, positions=after.moving.pos, undo=undo)


def _place(case: Case, output: Time) -> str | None:
    """The name of the time directory that points go to, None for constant."""
    if output == "same":
        name = points_file(case.folder, case.time).parent.parent.name
    else:
        name = "constant" if output is None else str(output)
    if name == "constant":
        return None
    try:
        float(name)
    except ValueError as error:
        raise MeshError(f'output is "same", "constant" or a time, not {name!r}') from error
    return name


class CaseHost(common.Host):
    """A case, as the loop of all plug-ins sees it.

    Args:
        case: the case.
        output: where points go, see `adapt`.
    """

    code = "OpenFOAM"

    def __init__(self, case: Case, output: Time) -> None:
        self.case = case
        self._time = _place(case, output)
        self._written: FloatArray = case.mesh.points

    def current(self) -> Case:
        """The case as it is written."""
        mesh = self.case.mesh.moved(self._written)
        if self.case.plane is None:
            return replace(self.case, mesh=mesh, moving=in_space(mesh))
        moving = in_plane(mesh, self.case.plane)
        return replace(self.case, mesh=mesh, moving=moving)

    def arrays(self) -> Arrays:
        return self.case.arrays()

    def write(self, coordinates: FloatArray | None) -> None:
        assert coordinates is not None
        self._written = write_points(self.case, coordinates, self._time)

    def snapshot(self) -> bytes | None:
        path = self._target()
        return path.read_bytes() if path.exists() else None

    def restore(self, state: bytes | None) -> None:
        path = self._target()
        self._written = self.case.mesh.points
        if state is not None:
            if not path.exists() or path.read_bytes() != state:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    temporary.write_bytes(state)
        elif path.exists():
            path.unlink()
            for folder in (path.parent, path.parent.parent):  # only what was made for it
                if not any(folder.iterdir()):
                    folder.rmdir()

    def nodal(self, function: Any) -> FloatArray:
        return nodal(function, len(self.case.moving.pos))

    def values(self, function: Any) -> FieldValues:
        raise PluginError("fields of a case are carried by name")

    def set_values(self, function: Any, values: FloatArray | None) -> None:
        raise PluginError("fields of a case are carried by name")

    def coefficients(self, function: Any) -> Any:
        raise PluginError("fields of a case are carried by name")

    def _target(self) -> Path:
        source = points_file(self.case.folder, self.case.time)
        place = "constant" if self._time is None else self._time
        return self.case.folder / place / "polyMesh" / source.name
