"""Arguments and options that several commands share, and help texts filled from the code.

Names in braces in a help text, `{problems}` say, are replaced by what the library has when the
text is shown: not before, so that nothing heavy is imported for `meshlearn --help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

MeshFile = Annotated[
    Path,
    typer.Argument(
        metavar="MESH", help="Mesh file; its ending tells the format.", show_default=False
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHECK",
        help="Take the mesh although it fails this check: {checks}. Repeatable.",
        show_default=False,
    ),
]
Repair = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHECK",
        help="Mend this defect first: {repairs}. Repeatable.",
        show_default=False,
    ),
]
MonitorName = Annotated[
    str, typer.Option(metavar="NAME", help="Where nodes should go: {monitors}.")
]
MoverName = Annotated[str, typer.Option(metavar="NAME", help="How they get there: {movers}.")]
Strength = Annotated[
    float | None,
    typer.Option(
        help="How much denser the mesh gets where it matters; with hessian and metric, "
        "3 spends three quarters of the nodes there.",
        show_default="{strength}; arc-length and gradient 1",
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(
        help="Length over which the monitor is smoothed, in the mesh's units.",
        show_default="0.7 node distances; arc-length and gradient 0",
    ),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG",
        help='Keep the nodes of this tag where they are; "boundary" is all of it. Repeatable.',
        show_default=False,
    ),
]
SlideMode = Annotated[
    str,
    typer.Option(
        metavar="flat|curved|none",
        help="flat: nodes slide along flat sides and straight ridges; curved: along curves and "
        "surfaces rebuilt from the mesh as well (variational mover); none: they stay.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON for programs, and nothing else, on standard output."),
]


class Command(TyperCommand):
    """A command whose help names what the library has."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help with its lists."""
        from .choices import fill

        parts: list[Any] = [self, *self.params]
        for part in parts:
            for name in ("help", "show_default"):
                text = getattr(part, name, None)
                if isinstance(text, str):
                    setattr(part, name, fill(text))
        super().format_help(ctx, formatter)
