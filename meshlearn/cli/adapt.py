"""`meshlearn adapt`: the main job, nodes moved to where they lower the error."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .interrupts import uninterrupted
from .options import (
    Allow,
    Fixed,
    Json,
    MeshFile,
    MonitorName,
    MoverName,
    Repair,
    SlideMode,
    Smoothing,
    Strength,
)
from .output import console, print_json
from .progress import move_progress
from .staging import output_folder

if TYPE_CHECKING:
    from ..mesh import Mesh
    from ..movers.constraints import Slide

ITERATIONS = 3
DEFAULT_PROBLEM = "ring"


def adapt(
    path: MeshFile,
    problem: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Adapt to the solution of this problem, solved again after each move: {problems}.",
            show_default="the only nodal field of the file, else ring",
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Adapt to this nodal scalar or vector field of the file, in one move; repeatable, "
            "every field then counts relative to its largest second derivative.",
            show_default=False,
        ),
    ] = None,
    field_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take the --field from this file; interpolated where it is on another mesh.",
            show_default=False,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Of an OpenFOAM case: whose mesh and field.",
            show_default="the latest",
        ),
    ] = None,
    monitor: MonitorName = "hessian",
    mover: MoverName = "variational",
    theta: Annotated[
        float | None,
        typer.Option(
            help="0 to 0.5: smaller spreads the monitor more evenly, larger keeps rounder cells.",
            show_default="{theta}",
        ),
    ] = None,
    strength: Strength = None,
    smoothing: Smoothing = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most moves of a --problem; fewer where the error no longer falls.",
            show_default=str(ITERATIONS),
        ),
    ] = None,
    fixed: Fixed = None,
    slide: SlideMode = "flat",
    rigid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG",
            help="Cells of this tag (a boundary layer) keep shape and place. Repeatable.",
            show_default=False,
        ),
    ] = None,
    periodic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A:B",
            help="Nodes of the sides A and B move together, by the translation between them. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder for the results.",
            show_default="MESH_adapted",
        ),
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw before_after.png.")] = True,
    allow: Allow = None,
    repair: Repair = None,
    json: Json = False,
) -> None:
    """Move the nodes of a mesh to where they lower the error; cells and tags stay as they are.

    With a problem, whose solution is known, errors before and after are measured; with a field of
    the file they are estimated from its second derivatives. The best mesh is kept, which is the
    original one where no move helped. No cell is ever inverted; corners stay,
    and curved sides too unless `--slide curved` lets nodes slide along them.

    Into DIR go

    - the moved mesh, in the format and with the name and numbering of MESH. Without nodal fields,
      only coordinates change: every other byte of the file stays, and second-order nodes follow.
      Nodal fields are interpolated to the new positions, integers stay with their nodes;
    - a .vtu with `u`, `exact` and `error` (or the fields), `monitor`, `quality` (mean ratio), the
      same with `_before`, and `displacement`;
    - `before_after.png` and `report.json`.

    Examples:

    - `meshlearn adapt meshes/l_shape.msh --problem corner -o out`
    - `meshlearn adapt result.vtu --field temperature --monitor metric --fixed inlet`
    - `meshlearn adapt case.su2 --field-file solution.vtu --field Mach`
    - `meshlearn adapt cavity --field U` (an OpenFOAM case, whose points are replaced in place)

    Problems; lengths are in units of the shortest side of the bounding box, from its centre:

    {each_problem}

    Monitors, made from the recovered derivatives of the solution or field (H is the Hessian):

    {each_monitor}
    """
    from ..mesh import MeshError
    from .choices import MONITORS, MonitorOptions, checked_name, make_mover

    begin = perf_counter()
    target = output or path.with_name(f"{path.stem}_adapted")
    options = MonitorOptions(strength, smoothing)
    build = MONITORS[checked_name("monitor", monitor, MONITORS)].build
    chosen = make_mover(mover, theta)
    _check(problem, field or ([""] if field_file else None), iterations, slide)
    if path.is_dir():
        from .adapt_case import adapt_case, refuse

        refuse(
            {
                "--problem": problem,
                "--field-file": field_file,
                "-o": output,
                "--rigid": rigid,
                "--periodic": periodic,
                "--allow": allow,
                "--repair": repair,
            }
        )
        settings: dict[str, Any] = {"monitor": monitor, "mover": chosen, "slide": slide}
        settings |= {"strength": strength, "smoothing": smoothing, "fixed": fixed or ()}
        adapt_case(path, field or [], time, json=json, **settings)
        return
    if time is not None:
        raise MeshError("--time is for OpenFOAM cases, given by their directory")
    with output_folder(target) as staged:
        from ..mesh.files import read
        from ..movers.layers import layer_nodes
        from ..movers.periodic import ties
        from .adapt_files import add_fields, file_names, write_files
        from .adapt_report import conclusion, report, table
        from .adapting import Motion, adapt_to_fields, adapt_to_problem

        names = file_names(path, picture=picture)
        mesh = read(path, allow=allow or (), repair=repair or ())
        own = set(mesh.node_fields)
        if field_file is not None:
            field = add_fields(mesh, field_file, field)
        for tag in fixed or ():
            mesh.tagged_nodes(tag)  # an unknown one is an error before the work begins
        layer_nodes(mesh, rigid or ())
        ties(mesh, periodic or ())
        problem, field, why = _subject(mesh, problem, field)
        moves = 1 if field else iterations or ITERATIONS
        subject = problem or ", ".join(field)
        with move_progress(subject, moves, chosen.max_iterations) as progress:
            motion = Motion(
                chosen,
                lambda m, u: build(m, u, options),
                tuple(fixed or ()),
                cast("Slide", slide),
                tuple(rigid or ()),
                tuple(periodic or ()),
                progress,
            )
            if problem is None:
                run = adapt_to_fields(mesh, field, motion)
            else:
                run = adapt_to_problem(mesh, problem, moves, motion)
        used: dict[str, Any] = {
            "problem": problem,
            "fields": field,
            "field_file": field_file and field_file.name,
            "monitor": monitor,
            "mover": mover,
            "theta": getattr(chosen, "theta", None),
            "strength": strength,
            "smoothing": smoothing,
            "iterations": moves,
            "fixed": fixed or [],
            "slide": slide,
            "rigid": rigid or [],
            "periodic": periodic or [],
            "allow": allow or [],
            "repair": repair or [],
        }
        found = report(run, path.name, used, perf_counter() - begin)
        with uninterrupted():  # drawing imports more of VTK
            write_files(staged, names, path, run, found, own)
    if json:
        print_json({**found, "files": names})
        return
    out = console()
    out.print(f"adapted to {run.what}" + (f" ({why})" if why else ""), soft_wrap=True)
    out.print(table(found))
    out.print(conclusion(found), soft_wrap=True)
    out.print(f"{target}: {', '.join(names.values())}", soft_wrap=True)


def _check(
    problem: str | None, field: list[str] | None, iterations: int | None, slide: str
) -> None:
    """Options that do not fit, before anything is read."""
    from ..mesh import MeshError
    from ..problems import PROBLEMS
    from .choices import checked_name

    if problem and field:
        raise MeshError("give --problem or --field, not both")
    if problem:
        checked_name("problem", problem, PROBLEMS)
    if field and iterations not in (None, 1):
        raise MeshError("a stored field allows one move; --iterations is for --problem")
    checked_name("value of --slide", slide, ("flat", "curved", "none"))


def _subject(
    mesh: Mesh, problem: str | None, field: list[str] | None
) -> tuple[str | None, list[str], str]:
    """What to adapt to, and why: what was asked for, else the only nodal field, else a problem."""
    from .fields import steering_fields, steering_values

    if problem:
        return problem, [], ""
    if field:
        steering_values(mesh, field)
        return None, field, ""
    stored = steering_fields(mesh)
    if len(stored) == 1:
        return None, stored, "the only nodal field of the file"
    why = f"the file has {len(stored)} nodal fields" if stored else "the file has no nodal field"
    return DEFAULT_PROBLEM, [], f"{why}; choose with --field or --problem"
