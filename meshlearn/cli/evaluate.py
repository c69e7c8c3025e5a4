"""`meshlearn evaluate`: judge movers (and operators) on held-out cases."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from .options import Command, Json
from .output import console, grid, print_json

app = typer.Typer(
    help="Judge models on held-out cases.", no_args_is_help=True, rich_markup_mode="markdown"
)


@app.command("mover", cls=Command)
def mover(
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Suite of cases: {suites}. Repeatable; all of 2D by default."
        ),
    ] = None,
    mover: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHTS]",
            help="Mover: {contestants}, or NAME=WEIGHTS for weights of your own, where NAME is "
            "one of {models}. Repeatable; all that need none by default.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="Cases of each suite.", show_default=False)
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Folder of results.json, report.md, pictures."
        ),
    ] = Path("out/evaluate_mover"),
    json: Json = False,
) -> None:
    """Error reduction of movers on held-out problems; every failure counts.

    Example: `meshlearn evaluate mover --suite cosines --suite polygons --count 50`
    """
    from ..training.movers.contest import CONTESTANTS, compare
    from ..training.movers.evaluation import Result
    from ..training.movers.suites import SUITES

    def show(name: str, result: Result) -> None:
        if not json:
            typer.echo(
                f"{name}: {result.case}, {result.mover}: ER {100 * result.reduction:.1f} %",
                err=True,
            )

    suites = suite or [name for name in SUITES if name != "boxes"]
    figures = compare(output, suites, mover or list(CONTESTANTS), count, show)
    if json:
        print_json(figures)
        return
    for name, by_mover in figures.items():
        typer.echo(f"{SUITES[name][2]}:")
        table = grid("mover", "ER mean", "ER worst", "ER > 0", "failed", "inverted", "ms")
        for who, f in by_mover.items():
            table.add_row(
                who,
                f"{100 * f['reduction_mean']:.1f} %",
                f"{100 * f['reduction_worst']:.1f} %",
                f"{100 * f['positive_share']:.1f} %",
                f"{f['failed']:.0f}",
                f"{f['inverted_cells']:.0f}",
                f"{f['milliseconds']:.0f}",
            )
        console().print(table)
    typer.echo(f"tables, figures and pictures: {output}")


@app.command("evolution", cls=Command)
def evolution(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Weights that `meshlearn train evolution` wrote.",
            show_default=False,
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Trajectories; those held out in training by default."),
    ] = None,
    finer: Annotated[int, typer.Option(min=1, help="Steps for each step of the data.")] = 1,
    json: Json = False,
) -> None:
    """L2 errors of rollouts from held-out starts, over the norm of the start, step by step.

    Beside them those of the start kept for ever.

    Example: `meshlearn evaluate evolution out/train_evolution/mesh-graph-net.safetensors`
    """
    from ..training.evolution import evaluate_evolution

    figures = evaluate_evolution(weights, count, finer)
    if json:
        print_json(figures)
        return
    table = grid("step", "time", "error", "start kept")
    for row in figures:
        errors = (f"{100 * row[key]:.2f} %" for key in ("error", "persistence"))
        table.add_row(f"{row['step']:.0f}", f"{row['time']:.4g}", *errors)
    console().print(table)


@app.command("operator", cls=Command)
def operator(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Weights that `meshlearn train operator` wrote.",
            show_default=False,
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Cases; those held out in training by default."),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=60, help="Nodes of the meshes, about; as in training by default."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Another setting of the data than in training. Repeatable."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Relative errors of an operator on cases it was not trained on, by kind of case.

    The baseline is that of the data set and needs no learning: for Darcy flow a solve with the mean
    coefficient everywhere.

    Example: `meshlearn evaluate operator out/train_operator/spon.safetensors --nodes 600`
    """
    from ..training.operators import evaluate_operator
    from .predict import pairs

    figures = evaluate_operator(weights, count, nodes, pairs("--data", data or []))
    if json:
        print_json(figures)
        return
    table = grid("cases", "number", "L2 mean", "L2 worst", "H1 mean", "boundary", "baseline L2")
    for name, f in figures.items():
        shares = [
            "-" if math.isnan(f[key]) else f"{100 * f[key]:.1f} %"
            for key in ("l2_mean", "l2_worst", "h1_mean", "baseline")
        ]
        table.add_row(name, f"{f['cases']:.0f}", *shares[:3], f"{f['boundary']:.1e}", shares[3])
    console().print(table)
