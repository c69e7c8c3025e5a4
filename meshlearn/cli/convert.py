"""`meshlearn convert`: a mesh file in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Allow, Json, MeshFile, Repair
from .output import counted, print_json
from .staging import output_file


def convert(
    path: MeshFile,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write.", show_default=False)
    ],
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of OUT where its ending does not tell: {formats}, or one of meshio's.",
            show_default=False,
        ),
    ] = None,
    binary: Annotated[
        bool | None,
        typer.Option("--binary/--text", help="Default: binary where OUT's format has it."),
    ] = None,
    allow: Allow = None,
    repair: Repair = None,
    json: Json = False,
) -> None:
    """Write a mesh in another format, with its tags and fields.

    What the format cannot hold is named in a warning. Endings that can be read (most can be
    written): {suffixes}.

    Example: `meshlearn convert meshes/naca0012.msh naca0012.su2`
    """
    from ..mesh.files import read
    from .facts import sizes

    with output_file(output, format) as staged:
        mesh = read(path, allow=allow or (), repair=repair or ())
        staged.write(mesh, output.name, format=format, binary=binary)
    if json:
        print_json({"input": path.name, "output": output.name, **sizes(mesh)})
    else:
        cells = ", ".join(counted(len(nodes), name) for name, nodes in mesh.cells.items())
        typer.echo(f"{output}: {counted(mesh.num_nodes, 'node')}, {cells}")
