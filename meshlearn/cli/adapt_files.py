"""The files of `adapt`: the moved mesh, a .vtu with before and after, a picture, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..mesh import Mesh
from ..mesh.files import find_format
from ..mesh.files.gmsh.source import Source
from ..monitors import Monitor
from ..plot import Panel, save
from .adapting import Run, State
from .fields import colour, transferred
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


def write_files(
    staged: Staged, names: dict[str, str], path: Path, run: Run, found: dict[str, Any]
) -> None:
    """Write all files of a run.

    Args:
        staged: where to.
        names: see `file_names`.
        path: the input.
        run: what to write.
        found: the report.
    """
    first, best = run.states[0], run.states[run.best]
    moved, _ = transferred(first.mesh, best.mesh)
    staged.write(moved, names["mesh"], **_same_kind(path))
    staged.write(_with_results(moved, first, best), names["fields"])
    if "picture" in names:
        save([_panel("before", first), _panel("after", best)], staged.folder / names["picture"])
    text = to_json({**found, "files": names})
    (staged.folder / names["report"]).write_text(text + "\n", encoding="utf-8")


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
