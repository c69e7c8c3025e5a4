"""`meshlearn serve`: the server of `meshlearn.plugins.client`."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer


def serve(
    socket: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Listen on a Unix socket that only you can open.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Listen on this port of the loopback interface, 0 for a free one; prints the port "
            "and a token that clients have to show (MESHLEARN_TOKEN, if it is set).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Adapt meshes for programs that cannot hold torch; see `meshlearn.plugins.client`.

    Without options it speaks on standard input and output, for the process that has started it,
    and leaves when that does. With a socket or a port it serves many, until Ctrl-C. Nothing beyond
    this machine can reach it.

    Examples:

    - `meshlearn serve --socket /tmp/meshlearn.sock`
    - `meshlearn serve --port 0`
    """
    from ..mesh import MeshError

    if socket is not None and port is not None:
        raise MeshError("give --socket or --port, not both")
    if socket is None and port is None:
        _serve_parent()
        return
    from ..plugins.server import port_listener, serve_socket, unix_listener

    stop = threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    with ExitStack() as stack:
        if socket is not None:
            listener, token = stack.enter_context(unix_listener(socket)), ""
            typer.echo(f"socket {socket}")
        else:
            listener = stack.enter_context(port_listener(port or 0))
            token = os.environ.get("MESHLEARN_TOKEN") or secrets.token_urlsafe(32)
            typer.echo(f"port {listener.getsockname()[1]}\ntoken {token}")
        sys.stdout.flush()
        serve_socket(listener, token, stop)


def _serve_parent() -> None:
    """Speak on the standard streams, which nothing else may use then."""
    from ..mesh import MeshError

    if sys.stdin.isatty():
        raise MeshError(
            "this command is for programs, which talk to it on standard input; "
            "give --socket or --port to run it by hand"
        )
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no message
        from ..plugins.server import serve_pipe

        serve_pipe(sys.stdin.buffer, out)
