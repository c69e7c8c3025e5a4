"""The command line: `meshlearn COMMAND ...`, one module per command.

Modules of the library are imported inside the commands, so that `meshlearn --help` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from . import data as _data
from . import evaluate as _evaluate
from . import generate as _generate
from . import train as _train
from .adapt import adapt as _adapt
from .adapt_loop import adapt_loop as _adapt_loop
from .border import Commands
from .convert import convert as _convert
from .info import info as _info
from .memory import VARIABLE, keep_memory
from .options import Command
from .predict import predict as _predict
from .serve import serve as _serve
from .solve import solve as _solve
from .view import view as _view

__all__ = ["app", "main"]

app = typer.Typer(
    name="meshlearn",
    cls=Commands,
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"meshlearn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _program(
    ctx: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (with any command).")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and leave.", callback=_show_version, is_eager=True
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-memory",
            envvar=VARIABLE,
            help="Keep freed memory for the next array: faster on large meshes (glibc).",
        ),
    ] = False,
) -> None:
    """Meshes as graphs: inspect, convert, generate, solve on, and adapt unstructured meshes.

    Start here: `meshlearn adapt meshes/unit_square.msh -o out/demo`

    Every command explains itself: `meshlearn COMMAND --help`. Exit codes: 0 done, 2 bad input (one
    sentence on standard error says what), 130 interrupted, 1 a fault of the program.
    """
    if keep:
        keep_memory(ctx.obj)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app.command("info", cls=Command)(_info)
app.command("convert", cls=Command)(_convert)
app.add_typer(_generate.app, name="generate")
app.command("solve", cls=Command)(_solve)
app.command("adapt", cls=Command)(_adapt)
app.command("view", cls=Command)(_view)
app.command("adapt-loop", cls=Command)(_adapt_loop)
app.add_typer(_data.app, name="data")
app.add_typer(_train.app, name="train")
app.add_typer(_evaluate.app, name="evaluate")
app.command("predict", cls=Command)(_predict)
app.command("serve", cls=Command)(_serve)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave it with an exit code.

    Args:
        arguments: as on the command line, without the name of the program; `sys.argv` by default.
    """
    typer.main.get_command(app).main(
        args=None if arguments is None else list(arguments), prog_name="meshlearn", obj=arguments
    )
