"""`meshlearn adapt DIR`: the mesh of an OpenFOAM case, in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..mesh import MeshError
from ..plugins import openfoam
from .output import console, print_json, two_columns

SCHEMA = "meshlearn/adapt-case/1"


def adapt_case(
    path: Path, fields: Sequence[str], time: str | None, *, json: bool, **options: Any
) -> None:
    """Adapt a case to one cell field, and say what happened.

    Args:
        path: directory of the case.
        fields: name of the field; the only one of the time if there is none.
        time: name of a time; the latest by default.
        json: print JSON.
        options: of `openfoam.adapt`.

    Raises:
        MeshError: no such field, or several.
    """
    case = openfoam.read_case(path, time or "latest")
    if len(fields) != 1:
        known = openfoam.field_names(path, case.time) if case.time is not None else []
        listed = ", ".join(known) or "none"
        raise MeshError(
            f"give one --field to adapt {path} to; cell fields at time {case.time}: {listed}"
        )
    before = case.mesh.check()
    report = openfoam.adapt(path, fields[0], time=time or "latest", **options)
    after = report.moves[-1]["check"] if report.kept else before
    if json:
        found = {"schema": SCHEMA, "case": path, "time": case.time, "field": fields[0]}
        print_json({**found, "before": before, "after": after, **report.as_dict()})
        return
    out = console()
    out.print(f"adapted {path} to field {fields[0]!r} at time {case.time}", soft_wrap=True)
    rows = {
        name.replace("_", " "): f"{before[name]:.4g} -> {after[name]:.4g}"
        for name in ("min_volume", "min_pyramid", "max_non_orthogonality", "max_skewness")
    }
    first, last = report.estimates[0], report.estimates[report.kept]
    out.print(two_columns({"estimated L2 error": f"{first:.4g} -> {last:.4g}", **rows}))
    out.print(f"{report.reason}; the points of the case are replaced.", soft_wrap=True)


def refuse(given: dict[str, object]) -> None:
    """Options that mean nothing for a case.

    Raises:
        MeshError: one of them is given.
    """
    for name, value in given.items():
        if value:
            raise MeshError(f"{name} is not for OpenFOAM cases, which are adapted in place")
