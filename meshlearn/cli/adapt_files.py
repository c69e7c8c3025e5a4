"""The files of `adapt`: the moved mesh, a .vtu with before and after, a picture, the report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.files import find_format
from ..mesh.files.gmsh.source import Source
from ..mesh.files.inplace import find_slots, rewritable, rewrite
from ..monitors import Monitor
from ..plot import Panel, save
from ..plugins.files import field_values, read_case, read_source
from .adapting import Run, State
from .fields import colour, steering_fields, transferred
from .output import to_json
from .staging import Staged

PICTURE, REPORT = "before_after.png", "report.json"


def file_names(path: Path, *, picture: bool) -> dict[str, str]:
    """Names of the files for an input: mesh, fields, picture, report.

    The mesh has the name and format of the input; a .vtu where that format can only be read.
    """
    mesh = path.name if find_format(path).write else f"{path.stem}.vtu"
    fields = f"{path.stem}.vtu"
    names = {"mesh": mesh, "fields": fields if fields != mesh else f"{path.stem}_result.vtu"}
    return names | ({"picture": PICTURE} if picture else {}) | {"report": REPORT}


def add_fields(mesh: Mesh, path: Path, names: Sequence[str] | None) -> list[str]:
    """Give a mesh the nodal fields of another file.

    Args:
        mesh: the mesh.
        path: file with fields on the same mesh, or on another one of the same domain.
        names: of the fields; None is the only one.

    Returns:
        Their names.

    Raises:
        MeshError: see `plugins.files.field_values`.
    """
    source = read_source(path)
    if not names:
        names = steering_fields(source)[:2]
        if len(names) != 1:
            field_values(mesh, source, None)  # raises
    for name in names:
        mesh.set_field(name, field_values(mesh, source, name), "node")
    return list(names)


def write_files(
    staged: Staged,
    names: dict[str, str],
    path: Path,
    run: Run,
    found: dict[str, Any],
    own: Collection[str],
) -> None:
    """Write all files of a run.

    Args:
        staged: where to.
        names: see `file_names`.
        path: the input.
        run: what to write.
        found: the report.
        own: names of the nodal fields of the input, those that its mesh file has.
    """
    first, best = run.states[0], run.states[run.best]
    moved, _ = transferred(first.mesh, best.mesh)
    carried = [name for name in own if moved.node_fields[name].is_floating_point()]
    if carried or not _only_points(path, first.mesh, best.mesh, staged.folder / names["mesh"]):
        staged.write(_with_fields(moved, own), names["mesh"], **_same_kind(path))
    staged.write(_with_results(moved, first, best), names["fields"])
    if "picture" in names:
        save([_panel("before", first), _panel("after", best)], staged.folder / names["picture"])
    text = to_json({**found, "files": names})
    (staged.folder / names["report"]).write_text(text + "\n", encoding="utf-8")


def _only_points(path: Path, first: Mesh, best: Mesh, target: Path) -> bool:
    """Write the input with other coordinates and no other change, where that can be done."""
    if target.name != path.name or not rewritable(path):
        return False
    try:
        case = read_case(path)
    except MeshError:  # defects that were allowed or mended
        return False
    if not torch.equal(case.mesh.pos, first.pos):
        return False
    rewrite(path, case.file_points(best.pos.numpy()), target)
    stored = torch.from_numpy(find_slots(target).points[case.node, : best.dim])
    return not len(best.moved(stored).inverted_cells())  # few digits may tangle small cells


def _with_fields(mesh: Mesh, names: Collection[str]) -> Mesh:
    """The mesh without the nodal fields that are not among the names."""
    out = mesh.moved(mesh.pos)
    kinds = {k: v for k, v in mesh.field_kinds.items() if v != "node" or k in names}
    for name in mesh.node_fields:
        if name not in names:
            del out[name]
    out["field_kinds_"] = tuple(kinds.items())
    return out


def _same_kind(path: Path) -> dict[str, Any]:
    """Options of `write` for a file like the input: gmsh has two formats of one suffix."""
    if path.suffix.lower() != ".msh" or find_format(path).name != "gmsh":
        return {}
    with path.open("rb") as file:
        source = Source(file)
    return {"format": "gmsh22" if source.version < 3 else "gmsh", "binary": not source.text}


def _with_results(moved: Mesh, first: State, best: State) -> Mesh:
    """The moved mesh with the displacement, and fields before and after the moves."""
    out = moved.moved(moved.pos)
    displacement = best.mesh.pos - first.mesh.pos
    missing = 3 - displacement.shape[1]  # ParaView warps by vectors of three components
    out.set_field("displacement", torch.nn.functional.pad(displacement, (0, missing)), "node")
    for state, ending in ((first, "_before"), (best, "")):
        for name, values in state.values.items():
            out.set_field(name + ending, values, "node")
        out.set_field("monitor" + ending, _density(best.monitor, state.mesh), "node")
        out.set_field("quality" + ending, state.mesh.quality("mean_ratio"), "cell")
    return out


def _density(monitor: Monitor, mesh: Mesh) -> Tensor:
    """A monitor at the nodes; of a metric, the density that it stands for."""
    value = monitor(mesh)
    return value if value.dim() == 1 else torch.linalg.det(value).sqrt()


def _panel(when: str, state: State) -> Panel:
    name, values = next(iter(state.values.items()))
    if state.errors:
        title = f"{when}: L2 error {state.errors['l2']:.3g}"
    else:
        title = f"{when}: estimated L2 error {state.estimate:.3g}"
    return Panel(state.mesh, title, colour(values), name)
