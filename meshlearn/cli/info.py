"""`meshlearn info`: what is in a mesh file, and whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from .border import one_line
from .options import Allow, Json, Repair
from .output import bars, console, counted, grid, number, print_json, two_columns

_MEASURE = {1: "length", 2: "area", 3: "volume"}


def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="MESH", help="Mesh file; its ending tells the format.", show_default=False
        ),
    ] = None,
    validate: Annotated[
        bool, typer.Option(help="Check the mesh; exit code 2 where a check fails.")
    ] = True,
    allow: Allow = None,
    repair: Repair = None,
    json: Json = False,
    backends: Annotated[
        bool, typer.Option("--backends", help="Show who computes the kernels here, and leave.")
    ] = False,
) -> None:
    """Show what is in a mesh: sizes, tags, fields, geometry, cell quality, defects.

    Every check that fails gets one sentence on standard error; the rest is shown all the same.
    Lengths are in the units of the file, angles in degrees. Each row under "quality" has a
    histogram of all cells, from the smallest to the largest value.

    Quality measures: {measures}.

    Example: `meshlearn info meshes/channel_cylinder.msh`
    """
    if backends:
        _show_backends(json)
        return
    if path is None:
        raise typer.BadParameter("a mesh file is missing", param_hint="MESH")
    from ..mesh.files import read
    from ..mesh.validate import CHECKS
    from .facts import defects, describe

    mesh = read(path, allow={*CHECKS, *(allow or ())}, repair=repair or ())
    found = defects(mesh, allow or ()) if validate else []
    report = {"file": path.name, **describe(mesh), "defects": found}
    if json:
        print_json(report)
    else:
        _show(report)
    for defect in found:
        typer.secho(f"error: {one_line(defect['message'])}", fg="red", err=True)
    if found:
        raise typer.Exit(2)


def _show_backends(json: bool) -> None:
    from ..kernels.backend import VARIABLE, report

    found = report()
    if json:
        print_json(found)
        return
    rows: dict[str, object] = {
        f"kernels on {device}": chosen for device, chosen in found["chosen"].items()
    }
    rows[f"asked for ({VARIABLE})"] = found["wanted"]
    rows["torch"] = f"{found['torch']}, {found['threads']} threads"
    interpreter = " (interpreter)" if found["interpreter"] else ""
    rows["triton"] = f"{found['triton'] or 'not installed'}{interpreter}"
    rows["GPU"] = found["gpu"] or "none"
    rows["deterministic"] = "yes" if found["deterministic"] else "as planned kernels are"
    console().print(two_columns(rows))


def _show(report: dict[str, Any]) -> None:
    out = console()
    kinds = ", ".join(counted(count, name) for name, count in report["cells"].items())
    box, edges, boundary = report["bounding_box"], report["edge_length"], report["boundary"]
    rows: dict[str, object] = {
        "file": report["file"],
        "dimension": f"{report['cell_dim']}D cells in {report['dim']}D",
        "nodes": report["nodes"],
        "cells": kinds,
        "edges": report["edges"],
        "bounding box": f"{_point(box['lower'])} to {_point(box['upper'])}",
        _MEASURE[report["cell_dim"]]: number(report["measure"]),
        "edge length": f"{_range(edges)}, mean {number(edges['mean'])}",
    }
    if boundary:
        rows["boundary"] = f"{boundary['nodes']} nodes, {boundary['corners']} of them corners"
    for kind, tags in report["tags"].items():
        if tags:
            rows[f"{kind} tags"] = ", ".join(f"{name} ({size})" for name, size in tags.items())
    out.print(two_columns(rows))
    _show_fields(report["fields"])
    table = grid("quality", "min", "mean", "max", "histogram")
    for name, q in report["quality"].items():
        shape = Text(bars(q["histogram"]["counts"]), style="cyan")
        table.add_row(name, number(q["min"]), number(q["mean"]), number(q["max"]), shape)
    out.print()
    out.print(table)


def _show_fields(fields: dict[str, dict[str, dict[str, Any]]]) -> None:
    rows = [(kind, name, f) for kind, named in fields.items() for name, f in named.items()]
    if not rows:
        return
    table = grid("field", "kind", "shape", "type", "min", "max", "not finite")
    for kind, name, field in rows:
        shape = "x".join(map(str, field["shape"])) or "scalar"
        limits = [number(field[k]) if k in field else "-" for k in ("min", "max")]
        bad = str(field.get("not_finite") or "-")
        table.add_row(Text(name), kind, shape, field["type"], *limits, bad)
    console().print()
    console().print(table)


def _point(position: Any) -> str:
    return "(" + ", ".join(number(float(x)) for x in position) + ")"


def _range(values: dict[str, float]) -> str:
    return f"{number(values['min'])} to {number(values['max'])}"
