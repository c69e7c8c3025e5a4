"""The border between the program and the person: what goes wrong is one sentence and an exit code.

0: done; 2: bad input (ours: `MeshError`, `SolveError`, a `ValueError` raised in this package, an
operating system error, a wrong option); 130: interrupted; 1: a fault of the program.
"""

from __future__ import annotations

import dis
import sys
import traceback
import warnings
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NoReturn, Self, cast

import typer
from typer.core import TyperGroup

# typer brings its own click or uses the installed one, by version: this name holds for both.
_UsageError = cast("type[Exception]", typer.BadParameter.__base__)
_CONTROL = (SystemExit, GeneratorExit, BrokenPipeError, typer.Exit, typer.Abort, _UsageError)
_ORDER = (
    *("info", "convert", "generate", "solve", "adapt", "adapt-loop", "view"),
    *("data", "train", "evaluate", "predict", "serve"),
)
_PACKAGE = __name__.partition(".")[0]


class Border:
    """Turns what leaves the block into one sentence on standard error and an exit code.

    Args:
        debug: show tracebacks, and warnings of other packages.
    """

    def __init__(self, *, debug: bool) -> None:
        self.debug = debug
        self._open = ExitStack()
        self._seen: set[str] = set()

    def __enter__(self) -> Self:
        self._open.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = self._show  # type: ignore[assignment]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if error is None or isinstance(error, _CONTROL):
            return
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            fail("interrupted; nothing was written", 130)
        if is_bad_input(error):
            fail(_sentence(error), 2)
        fail(
            f"this is a fault of the program: {type(error).__name__}: {error}; "
            "run it again with --debug to see where, and please report it",
            1,
        )

    def _show(self, message: Warning | str, category: type[Warning], *place: object) -> None:
        """Show our own warnings in one line each, once."""
        text = one_line(message)
        if (self.debug or category.__module__.startswith(_PACKAGE)) and text not in self._seen:
            self._seen.add(text)
            typer.secho(f"warning: {text}", fg="yellow", err=True)


class Commands(TyperGroup):
    """The commands of the program behind the border."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the work; typer lists groups last."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let --debug stand after the command as well."""
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(a for a in args[:end] if a != "--debug"), *args[end:]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with Border(debug=bool(ctx.params.get("debug"))):
            return super().invoke(ctx)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program and leave it with an exit code."""
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except _UsageError as error:
            where = getattr(getattr(error, "ctx", None), "command_path", "meshlearn")
            said = one_line(cast("Any", error).format_message()).rstrip(".")
            fail(f"{said[:1].lower()}{said[1:]} (see {where} --help)", 2)
        sys.exit(code if isinstance(code, int) else 0)


def is_bad_input(error: BaseException) -> bool:
    """Whether an error says what is wrong with the input, and not with the program."""
    from ..fem.linear import SolveError
    from ..mesh.errors import MeshError
    from ..plugins.arrays import PluginError
    from ..training.settings import TrainingError

    known = MeshError | PluginError | SolveError | TrainingError | OSError
    return isinstance(error, known) or (
        type(error) is ValueError and _raised_here(error.__traceback__)
    )


def _raised_here(trace: TracebackType | None) -> bool:
    """Whether an exception comes from a `raise` in this package, not from a library call in it."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals.get("__name__", "").split(".")[0] != _PACKAGE:
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def fail(sentence: str, code: int) -> NoReturn:
    """Say one sentence on standard error and leave."""
    typer.secho(f"error: {one_line(sentence)}", fg="red", err=True)
    raise SystemExit(code)


def one_line(text: object) -> str:
    """A message without line breaks, in the words of the command line."""
    words = " ".join(str(text).split())
    for name in ("repair", "allow"):  # the library's sentences name its arguments
        words = words.replace(f'{name}=["', f"--{name} ").replace('"]', "")
    return words


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)
