"""`meshlearn generate`: one command per kind of mesh, its options those of the generator."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from .options import Json
from .output import counted, print_json
from .staging import output_file

if TYPE_CHECKING:
    from ..mesh import Mesh

KINDS: dict[str, tuple[str, dict[str, int]]] = {
    "interval": ("interval", {"n": 20}),
    "rectangle": ("rectangle", {"nx": 20, "ny": 20}),
    "box": ("box", {"nx": 8, "ny": 8, "nz": 8}),
    "disk": ("disk", {"n": 10}),
    "annulus": ("annulus", {"n": 8}),
    "l-shape": ("l_shape", {"n": 10}),
    "ball": ("ball", {"n": 5}),
    "polygon": ("random_polygon", {"n_vertices": 8}),
    "channel-cylinder": ("channel_with_cylinder", {}),
    "naca": ("naca", {}),
    "step": ("backward_facing_step", {}),
    "pipe-bend": ("pipe_bend", {}),
    "channel-cylinder-3d": ("channel_with_cylinder_3d", {}),
}
"""Function of `meshlearn.generate` for each kind, and sizes where it has no default."""

Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="Mesh file to write.", show_default=False),
]
_PLAIN = (int, float, str, float | None)
_SECTION = re.compile(r"^\s*(\w[\w, ]*): (.*(?:\n\s{6,}\S.*)*)", re.MULTILINE)


class Kinds(TyperGroup):
    """The kinds as commands, made when one is asked for."""

    @cached_property
    def _made(self) -> dict[str, Any]:
        app = typer.Typer(rich_markup_mode="markdown")
        for kind, (name, sizes) in KINDS.items():
            app.command(kind)(_command(kind, name, sizes))
        made: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        return made

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the kinds."""
        return list(KINDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one kind."""
        return self._made.get(cmd_name)


app = typer.Typer(cls=Kinds, rich_markup_mode="markdown")


@app.callback()
def generate() -> None:
    """Make a mesh of a simple domain or of a well-known flow geometry.

    Sides and parts are tagged by name. `meshlearn generate KIND --help` has the sizes of each
    kind. Lengths have no unit: they are yours. Geometries of the last six kinds need gmsh.
    """


def _command(kind: str, name: str, sizes: dict[str, int]) -> Callable[..., None]:
    """A command with the generator's arguments as options, then `-o` and `--json`."""
    from .. import generate as generators

    function = getattr(generators, name)
    make: Callable[..., Mesh] = _polygon_maker(generators) if kind == "polygon" else function

    def command(output: Path, json: bool, **arguments: Any) -> None:
        with output_file(output) as staged:
            mesh = make(**arguments)
            staged.write(mesh, output.name)
        _report(kind, output, mesh, as_json=json)

    parameters = [*_options(function, sizes), *_options(_mesh_size, {})[: kind == "polygon"]]
    for added, hint in (("output", Output), ("json", Json)):
        default = inspect.Parameter.empty if added == "output" else False
        parameters.append(_parameter(added, hint, default))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = _text(function, kind)
    return command


def _options(function: Callable[..., Any], sizes: dict[str, int]) -> list[inspect.Parameter]:
    """The arguments of a generator that fit on a command line."""
    said = _argument_texts(function)
    hints = get_type_hints(function)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        default = sizes.get(name, parameter.default)
        hint: Any = hints[name]
        if isinstance(default, tuple):
            hint = tuple[(float,) * len(default)]  # type: ignore[misc]
        elif hint not in _PLAIN:
            hint = str if default is not None else str | None  # a choice; the generator checks it
        flag = "--" + name.replace("_", "-")
        option = typer.Option(flag, help=said.get(name), show_default=default is not None)
        found.append(_parameter(name, Annotated[hint, option], default))
    return found


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _argument_texts(function: Callable[..., Any]) -> dict[str, str]:
    """Texts of the arguments in the docstring of a generator."""
    section = inspect.getdoc(function).partition("Args:\n")[2].partition("\n\n")[0]  # type: ignore[union-attr]
    texts = {}
    for names, text in _SECTION.findall(section):
        for name in names.split(","):
            texts[name.strip()] = " ".join(text.split())
    return texts


def _text(function: Callable[..., Any], kind: str) -> str:
    """What the docstring says before its sections, and an example."""
    text = inspect.getdoc(function).partition("\n\nArgs:")[0]  # type: ignore[union-attr]
    if kind == "polygon":
        text = "Mesh a random simple polygon that is star-shaped about its centre."
    return f"{text}\n\nExample: `meshlearn generate {kind} -o {kind}.msh`"


def _mesh_size(h: float = 0.1) -> None:
    """Options of `polygon` beside those of its outline.

    Args:
        h: wanted length of the edges.
    """


def _polygon_maker(generators: Any) -> Callable[..., Mesh]:
    def make(h: float, seed: int, **outline: Any) -> Mesh:
        mesh: Mesh = generators.polygon(
            generators.random_polygon(seed=seed, **outline), h=h, seed=seed
        )
        return mesh

    return make


def _report(kind: str, output: Path, mesh: Mesh, *, as_json: bool) -> None:
    from .facts import sizes

    if as_json:
        print_json({"kind": kind, "output": output.name, **sizes(mesh)})
        return
    cells = ", ".join(counted(len(nodes), name) for name, nodes in mesh.cells.items())
    tags = ", ".join([*mesh.facet_tags, *mesh.cell_tags])
    typer.echo(f"{output}: {counted(mesh.num_nodes, 'node')}, {cells}; tags {tags}")
