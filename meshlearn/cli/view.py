"""`meshlearn view`: a mesh in a window, or in a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .interrupts import uninterrupted
from .options import Allow, MeshFile, Repair
from .staging import output_folder

if TYPE_CHECKING:
    from .. import plot
    from ..mesh import Mesh


def view(
    path: MeshFile,
    field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Colour by this node or cell field (the length of a vector).",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Colour by cell quality: {measures}.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.png",
            help="Write a picture; by default only where there is no display (MESH.png).",
            show_default=False,
        ),
    ] = None,
    allow: Allow = None,
    repair: Repair = None,
) -> None:
    """Show a mesh in a window, or as a PNG with -o or where there is no display.

    A 3D mesh is cut open at its middle.

    Example: `meshlearn view meshes/box.msh --quality mean_ratio -o box.png`
    """
    from .. import plot
    from ..mesh import MeshError
    from ..mesh.files import read

    if field and quality:
        raise MeshError("give --field or --quality, not both")
    window = output is None and plot.has_display()
    target = output or Path(f"{path.stem}.png")
    if window:
        mesh = read(path, allow=allow or (), repair=repair or ())
        plot.show([_panel(mesh, path, field, quality)])
        return
    with output_folder(target.parent) as staged:
        mesh = read(path, allow=allow or (), repair=repair or ())
        with uninterrupted():
            plot.save([_panel(mesh, path, field, quality)], staged.folder / target.name)
    typer.echo(target)


def _panel(mesh: Mesh, path: Path, field: str | None, quality: str | None) -> plot.Panel:
    from ..plot import Panel
    from .fields import colour, named_field

    if quality:
        return Panel(mesh, f"{path.name}: {quality}", mesh.quality(quality), quality)
    if field:
        return Panel(mesh, f"{path.name}: {field}", colour(named_field(mesh, field)), field)
    return Panel(mesh, path.name)
