"""`meshlearn adapt-loop`: any solver, run between moves of its mesh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from .adapt import ITERATIONS
from .options import Fixed, Json, MonitorName, MoverName, SlideMode, Smoothing, Strength
from .output import console, grid, print_json

if TYPE_CHECKING:
    from ..plugins.loop import LoopReport

SCHEMA = "meshlearn/adapt-loop/1"


def adapt_loop(
    solver: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="The solver, run in the folder of the case, without a shell.",
            show_default=False,
        ),
    ],
    case: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Folder of the case; an OpenFOAM case unless --mesh is given.",
            show_default=False,
        ),
    ],
    field: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Field of the result whose error is to fall.",
            show_default=False,
        ),
    ],
    mesh: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Mesh file in the case, whose coordinates are replaced.",
            show_default=False,
        ),
    ] = None,
    result: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File in the case in which the solver writes the field.",
            show_default=False,
        ),
    ] = None,
    iterations: Annotated[
        int,
        typer.Option(min=1, help="Most moves; fewer where the estimated error no longer falls."),
    ] = ITERATIONS,
    timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds that one run of the solver may take.")
    ] = 3600.0,
    monitor: MonitorName = "hessian",
    mover: MoverName = "variational",
    strength: Strength = None,
    smoothing: Smoothing = None,
    fixed: Fixed = None,
    slide_patch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATCH",
            help="OpenFOAM: let the nodes of this wall slide where it is flat. Repeatable.",
            show_default=False,
        ),
    ] = None,
    slide: SlideMode = "flat",
    json: Json = False,
) -> None:
    """Run a solver, move its mesh by the result, and again; the best mesh is kept.

    The mesh is changed in place: only its coordinates. What the solver says goes to
    DIR/adapt-loop/solver-K.log. Where it fails, takes too long or writes no new field, the mesh is
    put back to the last one on which it succeeded, and the exit code is 2.

    Examples:

    - `meshlearn adapt-loop --solver icoFoam --case cavity --field U`
    - `meshlearn adapt-loop --solver "./solve.sh" --case . --mesh a.su2 --result a.vtu --field T`
    """
    from ..mesh import MeshError
    from ..movers import MOVERS
    from ..movers.constraints import Mode
    from ..plugins.loop import Run
    from ..plugins.loop import adapt_loop as loop
    from .choices import MONITORS, checked_name

    checked_name("monitor", monitor, MONITORS)
    checked_name("mover", mover, MOVERS)
    checked_name("value of --slide", slide, get_args(Mode))
    if slide_patch and mesh is not None:
        raise MeshError("--slide-patch is for OpenFOAM cases, without --mesh")
    out = console()
    runs: list[Run] = []

    def tell(run: Run) -> None:
        if not json:
            out.print(f"run {len(runs)}: {run.seconds:.1f} s, {run.log}", soft_wrap=True)
        runs.append(run)

    options: dict[str, Any] = {"slide_patches": slide_patch or []} if mesh is None else {}
    found = loop(
        case,
        solver,
        field,
        mesh=mesh,
        result=result,
        iterations=iterations,
        timeout=timeout,
        told=tell,
        monitor=monitor,
        mover=mover,
        strength=strength,
        smoothing=smoothing,
        fixed=fixed or [],
        slide=slide,
        **options,
    )
    if json:
        print_json({"schema": SCHEMA, **found.as_dict()})
        return
    _print(out, found)


def _print(out: Any, found: LoopReport) -> None:
    adaptation = found.adaptation
    table = grid("move", "estimate", "quality", "iterations", "converged")
    for k, estimate in enumerate(adaptation.estimates):
        move = adaptation.moves[k - 1] if k else {}
        row = [str(k) + (" (kept)" if k == adaptation.kept else ""), f"{estimate:.3e}"]
        row += [f"{move['min_quality']:.3f}" if move else "-", str(move.get("iterations", "-"))]
        table.add_row(*row, "-" if not move else "yes" if move["converged"] else "no")
    out.print(table)
    before, after = adaptation.estimates[0], adaptation.estimates[adaptation.kept]
    out.print(
        f"estimated L2 error {before:.3e} -> {after:.3e} (move {adaptation.kept} kept; "
        f"{adaptation.reason}).",
        soft_wrap=True,
    )
