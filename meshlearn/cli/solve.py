"""`meshlearn solve`: a reference finite-element solve, and how far it is from the truth."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Allow, Json, MeshFile, Repair
from .output import console, grid, print_json
from .staging import output_file

if TYPE_CHECKING:
    from torch import Tensor

    from ..problems import FlowSolution, Problem, Solution

_NORMS = {"l2": "L2", "h1": "H1", "max": "max"}


def solve(
    path: MeshFile,
    problem: Annotated[
        str,
        typer.Option(metavar="NAME", help="Problem: {problems}."),
    ] = "ring",
    degree: Annotated[int, typer.Option(min=1, max=2, help="Degree of the Lagrange elements.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write the mesh with the nodal fields u, exact and error (u - exact) here.",
            show_default=False,
        ),
    ] = None,
    allow: Allow = None,
    repair: Repair = None,
    json: Json = False,
) -> None:
    """Solve a problem with a known solution on a mesh and show the errors.

    The mesh must have one cell type: lines, triangles, quads, tetrahedra or hexahedra. The error of
    the interpolant of the solution is shown beside that of the solve; H1 is that of the gradient.

    Example: `meshlearn solve meshes/l_shape.msh --problem corner --degree 2 -o corner.vtu`

    Problems; lengths are in units of the shortest side of the bounding box, from its centre:

    {each_problem}
    """
    from ..mesh.files import read
    from ..problems import PROBLEMS, named_problem
    from .choices import checked_name

    checked_name("problem", problem, PROBLEMS)
    with output_file(output) if output else nullcontext() as staged:
        mesh = read(path, allow=allow or (), repair=repair or ())
        chosen = named_problem(problem, mesh)
        solution = chosen.solve(mesh, degree)
        errors = {
            "solution": solution.errors(),
            "interpolant": chosen.interpolation_errors(mesh, degree),
        }
        if staged and output:
            for name, values in solution_fields(chosen, solution).items():
                mesh.set_field(name, values, "node")
            staged.write(mesh, output.name)
    report = {
        "input": path.name,
        "problem": problem,
        "degree": degree,
        "unknowns": len(solution.field.dofs),
        "errors": errors,
        "output": output and output.name,
    }
    if json:
        print_json(report)
    else:
        _show(report, output)


def solution_fields(problem: Problem, solution: Solution | FlowSolution) -> dict[str, Tensor]:
    """Nodal fields `u`, and `exact` and `error` where the truth is known."""
    fields = {"u": solution.u}
    if problem.exact is not None:
        exact = problem.exact(solution.mesh.pos).detach()
        fields |= {"exact": exact, "error": solution.u - exact}
    return fields


def _show(report: dict[str, Any], output: Path | None) -> None:
    typer.echo(
        f"{report['problem']} on {report['input']}: degree {report['degree']}, "
        f"{report['unknowns']} unknowns"
    )
    table = grid("error of the", *_NORMS.values())
    for what, errors in report["errors"].items():
        table.add_row(what, *(f"{errors[norm]:.3e}" for norm in _NORMS))
    console().print(table)
    if output:
        typer.echo(f"fields u, exact, error: {output}")
