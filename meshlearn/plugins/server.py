"""The other end of `meshlearn.plugins.client`: requests in, positions and reports out.

A server speaks to one process on pipes, or listens on a Unix socket that only its user can open, or
on a port of the loopback interface, where a secret has to be shown before anything else is read.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from .. import __version__
from ..mesh import Mesh, MeshError
from . import wire
from .arrays import FieldValues
from .links import read_exactly
from .numerics import estimates, transferred
from .relocate import Wish, density_monitor, field_monitor, relocate

GREETING = 10.0
"""Seconds in which a connection has to say who it is."""
MAX_CONNECTIONS = 16

_work = threading.Lock()
"""Moves run one after the other: each uses all threads of torch."""


def serve_pipe(read: BinaryIO, write: BinaryIO) -> None:
    """Answer requests on a pair of streams until the first one ends."""

    def put(data: bytes | memoryview) -> None:
        write.write(data)
        write.flush()

    converse(read.read, put, "")


def serve_socket(listener: socket.socket, token: str, stop: threading.Event) -> None:
    """Accept connections, each in a thread, until `stop` is set.

    Args:
        listener: bound and listening.
        token: what clients have to show; empty for a Unix socket, which guards itself.
        stop: looked at twice a second.
    """
    places = threading.BoundedSemaphore(MAX_CONNECTIONS)
    listener.settimeout(0.5)
    while not stop.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if not places.acquire(blocking=False):
            connection.close()
            continue
        threading.Thread(
            target=_serve_connection, args=(connection, token, places), daemon=True
        ).start()


@contextlib.contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """A Unix socket at `path` that only this user can open; removed at the end.

    Raises:
        MeshError: something is there already, or the folder cannot be written to.
    """
    if path.exists():
        raise MeshError(f"{path} exists already; remove it, or use the server that listens there")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        except OSError as error:
            raise MeshError(f"cannot listen at {path}: {error.strerror or error}") from error
        finally:
            os.umask(mask)
        listener.listen()
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)
    finally:
        listener.close()


@contextlib.contextmanager
def port_listener(port: int) -> Iterator[socket.socket]:
    """A port of the loopback interface; 0 takes a free one.

    Raises:
        MeshError: it is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise MeshError(f"cannot listen at port {port}: {error.strerror or error}") from error
        listener.listen()
        yield listener


def converse(
    read: wire.Read, put: wire.Write, token: str, greeted: Callable[[], object] | None = None
) -> None:
    """One conversation, from the greeting to the end of the stream.

    A request that makes no sense is answered by a sentence; bytes that are no message end it.

    Args:
        read: gives bytes.
        put: takes bytes.
        token: what the greeting has to show.
        greeted: called once it has.
    """

    def refuse(message: str) -> None:
        wire.send(put, wire.Message("error", {"message": message}))

    try:
        hello = wire.receive(read, max_header=wire.MAX_GREETING, max_body=0)
        if hello.kind != "hello" or not _same(str(hello.values.get("token", "")), token):
            refuse("the server refuses: the token is wrong")
            return
        values = {"protocol": wire.PROTOCOL, "meshlearn": __version__}
        wire.send(put, wire.Message("hello", values))
        if hello.values.get("protocol") != wire.PROTOCOL:
            return
        if greeted is not None:
            greeted()
        while True:
            request = wire.receive(read)
            try:
                answer = _answer(request, put)
            except (MeshError, wire.ProtocolError) as error:
                refuse(" ".join(str(error).split()))
            except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                refuse(f"the server failed: {type(error).__name__}: {error}")
            else:
                wire.send(put, answer)
    except wire.StreamEndError:
        return
    except wire.ProtocolError as error:
        refuse(str(error))


def _same(shown: str, token: str) -> bool:
    return not token or hmac.compare_digest(shown.encode(), token.encode())


def _serve_connection(
    connection: socket.socket, token: str, places: threading.BoundedSemaphore
) -> None:
    connection.settimeout(GREETING)
    with connection, places, contextlib.suppress(OSError):
        converse(
            lambda count: read_exactly(connection, count),
            connection.sendall,
            token,
            lambda: connection.settimeout(None),
        )


def _answer(request: wire.Message, put: wire.Write) -> wire.Message:
    if request.kind not in _ANSWERS:
        known = ", ".join(_ANSWERS)
        raise MeshError(f"the server knows the requests {known}, not {request.kind!r}")
    missing = [name for name in _NEEDED[request.kind] if name not in request.arrays]
    if missing:
        raise MeshError(f"the request {request.kind!r} lacks the array {missing[0]!r}")
    with _work:
        return _ANSWERS[request.kind](request, put)


def _adapt(request: wire.Message, put: wire.Write) -> wire.Message:
    values, arrays = request.values, request.arrays
    mesh = _mesh(request)
    current = mesh.moved(arrays["start"]) if "start" in arrays else mesh
    wish = _wish(request)

    def report(iteration: int, residual: float) -> None:
        told = {"iteration": iteration, "residual": residual}
        wire.send(put, wire.Message("progress", told))

    if "field" in arrays and "density" in arrays:
        raise MeshError("a field and densities were given; the densities say all, leave the field")
    if "density" in arrays:
        monitor = density_monitor(current, torch.from_numpy(arrays["density"]))
    elif "field" in arrays:
        monitor = field_monitor(current, torch.from_numpy(arrays["field"]), wish)
    else:
        raise MeshError("neither a field nor densities were given: there is nothing to follow")
    moved, found = relocate(
        mesh,
        monitor,
        wish,
        start=current if "start" in arrays else None,
        pairs=torch.from_numpy(arrays["pairs"]) if "pairs" in arrays else None,
        progress=report if values.get("progress") else None,
    )
    return wire.Message("result", {"report": found}, {"positions": moved.pos.numpy()})


def _estimate(request: wire.Message, put: wire.Write) -> wire.Message:
    arrays, mesh = request.arrays, _mesh(request)
    names = [f"candidate {k}" for k in range(int(request.values.get("candidates", 0)))]
    candidates = [arrays[name] for name in names]
    if len(arrays["values"]) != mesh.num_nodes:
        raise MeshError(f"the field must have {mesh.num_nodes} rows, got {len(arrays['values'])}")
    found = estimates(mesh, candidates, arrays["points"], arrays["values"])
    return wire.Message("result", {}, {"estimates": np.array(found)})


def _transfer(request: wire.Message, put: wire.Write) -> wire.Message:
    values, arrays, mesh = request.values, request.arrays, _mesh(request)
    field = FieldValues(str(values.get("element")), arrays["places"], arrays["values"])
    found = transferred(mesh, mesh.moved(arrays["new"]), field, str(values.get("method")))
    return wire.Message("result", {}, {"values": found})


_ANSWERS: dict[str, Callable[[wire.Message, wire.Write], wire.Message]] = {
    "adapt": _adapt,
    "estimate": _estimate,
    "transfer": _transfer,
}
_NEEDED = {
    "adapt": ("points",),
    "estimate": ("points", "values"),
    "transfer": ("points", "new", "places", "values"),
}


def _mesh(request: wire.Message) -> Mesh:
    values, arrays = request.values, request.arrays
    cells = [(str(kind), arrays[f"cells {k}"]) for k, kind in enumerate(values.get("cells", []))]
    tags = {
        f"{kind}_tags": {name: arrays[f"{kind} {k}"] for k, name in enumerate(names)}
        for kind, names in values.get("tags", {}).items()
        if kind in ("facet", "cell", "point")
    }
    # the cells come from a code that works with them: what is doubled or hangs is its business
    return Mesh.from_cells(arrays["points"], cells, allow=("duplicate", "hanging"), **tags)


def _wish(request: wire.Message) -> Wish:
    given = {name: value for name, value in request.values.items() if value is not None}
    wish: dict[str, Any] = {
        name: form(given[name]) for name, form in _FORMS.items() if name in given
    }
    if "fixed" in request.arrays:
        wish["fixed"] = torch.from_numpy(request.arrays["fixed"])
    return Wish(**wish)


_FORMS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("monitor", "mover", "slide"), str),
    "fixed": tuple,
    "iterations": int,
    **dict.fromkeys(("strength", "smoothing", "theta"), float),
}
"""Types of the members of a wish."""
