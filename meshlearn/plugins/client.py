"""Adapt a mesh in another process: a client that needs nothing but numpy.

For codes that live in a Python without torch, on a cluster, or in another language. The work is
done by `meshlearn serve`, which the client starts itself or finds at a local socket:

    from meshlearn.plugins.client import Client

    with Client.start("/opt/meshlearn/bin/python") as client:
        positions, report = client.adapt(points, {"triangle": cells}, field=u)

`meshlearn` may be installed here without its dependencies (`pip install --no-deps meshlearn`).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import wire
from .links import Link, ProcessLink, SocketLink
from .packing import FloatArray, Tags, as_floats, as_integers, put_cells, put_tags

Progress = Callable[[int, float], None]

TIMEOUT = 600.0
"""Seconds of silence after which a server counts as stuck."""
PYTHON = "MESHLEARN_PYTHON"
"""Environment variable: the Python that runs the server."""
TOKEN = "MESHLEARN_TOKEN"
"""Environment variable: the secret of a server at a port."""


class RemoteError(ValueError):
    """The server refused a request; its sentence says why."""


class ServerGoneError(ConnectionError):
    """The server ended, or never was one."""


class Client:
    """A connection to a server; a context manager that ends it.

    Make one with `Client.start` or `Client.connect`. Requests follow each other; an answer that
    comes too late, or a server that ends, closes the client.

    Attributes:
        version: of meshlearn on the other side.
    """

    def __init__(self, link: Link, token: str, timeout: float) -> None:
        self.timeout = timeout
        self._link, self._open = link, True
        try:
            self._send(wire.Message("hello", {"protocol": wire.PROTOCOL, "token": token}))
            answer = self._receive()
            protocol = answer.values.get("protocol")
            if protocol != wire.PROTOCOL:
                raise ServerGoneError(
                    f"the server speaks protocol {protocol}, this client {wire.PROTOCOL}: install "
                    "the same version of meshlearn on both sides"
                )
        except BaseException:
            self.close()
            raise
        self.version = str(answer.values.get("meshlearn"))

    @classmethod
    def start(
        cls,
        python: str | Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Self:
        """Start a server of one's own, which ends with the client.

        Args:
            python: a Python that has meshlearn with its dependencies; by default that of the
                variable `MESHLEARN_PYTHON`, else this one.
            environment: its variables; by default those of this process, without PYTHONPATH and
                the like where it is another Python.
            timeout: seconds of silence after which it counts as stuck and is stopped.

        Raises:
            FileNotFoundError: there is no such Python.
            ServerGoneError: it ended at once; the message has its last words.
        """
        chosen = python or os.environ.get(PYTHON) or sys.executable
        return cls(ProcessLink(chosen, environment), "", timeout)

    @classmethod
    def connect(
        cls, place: str | Path | int, token: str | None = None, *, timeout: float = TIMEOUT
    ) -> Self:
        """Use a server that runs on this machine.

        Args:
            place: path of its Unix socket, or its port.
            token: the secret that a server at a port has printed; by default that of the variable
                `MESHLEARN_TOKEN`.
            timeout: seconds of silence after which it counts as stuck.

        Raises:
            ConnectionError: nobody answers there.
            RemoteError: the token is wrong.
        """
        secret = os.environ.get(TOKEN, "") if token is None else token
        return cls(SocketLink(place, timeout), secret, timeout)

    def adapt(
        self,
        points: ArrayLike,
        cells: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]],
        tags: Tags | None = None,
        field: ArrayLike | None = None,
        *,
        monitor: str | ArrayLike = "hessian",
        mover: str = "variational",
        fixed: Sequence[str] | NDArray[Any] = (),
        slide: str = "flat",
        iterations: int = 1,
        start: ArrayLike | None = None,
        pairs: ArrayLike | None = None,
        strength: float | None = None,
        smoothing: float | None = None,
        theta: float | None = None,
        progress: Progress | None = None,
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Node positions that suit a field, or a density.

        Args:
            points: node positions `[n, d]`.
            cells: `{type: [k, nodes]}` or blocks `(type, [k, nodes])`, meshio's names and order.
            tags: `{"facet": {name: [k, nodes]}, "cell": {name: [k]}, "point": {name: [k]}}`.
            field: nodal values `[n]` or `[n, k]` at `start`; not with an explicit monitor.
            monitor: how the field says where nodes should go ("hessian", "metric", "frobenius",
                "arc-length", "gradient"), or densities `[n]` or metrics `[n, d, d]` at `start`.
            mover: "variational", "winslow", ...: see `meshlearn adapt --help`.
            fixed: tags (or node indices) that stay; "boundary" is all of it.
            slide: "flat": nodes slide along flat sides and straight ridges; "curved": along curves
                and surfaces rebuilt from the mesh as well; "none": they stay.
            iterations: moves, each from where the last one ended; fewer once one has converged.
            start: current positions `[n, d]` of a mesh that was `points` at first, and whose
                relative cell sizes there count; `points` by default.
            pairs: nodes `[k, 2]` of periodic sides that move alike.
            strength, smoothing, theta: see `meshlearn adapt --help`; None is the default.
            progress: called with iteration and residual while the mover works.

        Returns:
            Positions `[n, d]`, of a mesh without inverted cells, and the report (see
            `meshlearn.movers.MoveReport`).

        Raises:
            RemoteError: the request makes no sense (the sentence says why); the client stays open.
            ServerGoneError: the server ended.
            TimeoutError: no word from it for `timeout` seconds.
        """
        arrays: dict[str, NDArray[Any]] = {"points": as_floats(points, "points")}
        types = put_cells(arrays, cells)
        names = put_tags(arrays, tags or {})
        values: dict[str, Any] = {
            "cells": types,
            "tags": names,
            "mover": mover,
            "slide": slide,
            "iterations": int(iterations),
            "strength": strength,
            "smoothing": smoothing,
            "theta": theta,
            "progress": progress is not None,
        }
        if isinstance(monitor, str):
            values["monitor"] = monitor
        else:
            arrays["density"] = as_floats(monitor, "monitor")
        if isinstance(fixed, np.ndarray):
            arrays["fixed"] = as_integers(fixed, "fixed")
        else:
            values["fixed"] = [fixed] if isinstance(fixed, str) else [str(tag) for tag in fixed]
        for name, array in (("field", field), ("start", start)):
            if array is not None:
                arrays[name] = as_floats(array, name)
        if pairs is not None:
            arrays["pairs"] = as_integers(pairs, "pairs")
        answer = self._ask(wire.Message("adapt", values, arrays), progress)
        return answer.arrays["positions"], dict(answer.values["report"])

    def estimate(
        self,
        cells: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]],
        candidates: Sequence[ArrayLike],
        background: ArrayLike,
        values: ArrayLike,
    ) -> list[float]:
        """Estimated L2 errors of linear interpolation of a field on some positions of one mesh.

        Args:
            cells: see `adapt`.
            candidates: positions `[n, d]` of each.
            background: positions `[n, d]` where the values are.
            values: `[n]` or `[n, k]`; several columns count relative to their range.
        """
        arrays: dict[str, NDArray[Any]] = {"points": as_floats(background, "background")}
        sent: dict[str, Any] = {"cells": put_cells(arrays, cells), "candidates": len(candidates)}
        arrays["values"] = as_floats(values, "values")
        for k, positions in enumerate(candidates):
            arrays[f"candidate {k}"] = as_floats(positions, "candidates")
        answer = self._result(wire.Message("estimate", sent, arrays), "estimates")
        return [float(estimate) for estimate in answer]

    def transfer(
        self,
        cells: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]],
        old: ArrayLike,
        new: ArrayLike,
        element: str,
        places: ArrayLike,
        values: ArrayLike,
        method: str = "interpolate",
    ) -> FloatArray:
        """A finite-element function carried from one position of a mesh to another.

        Args:
            cells: see `adapt`.
            old, new: positions `[n, d]`.
            element: name as of `meshlearn.fem.FunctionSpace`, "P2" say.
            places: where each degree of freedom sits on the old mesh `[m, d]`.
            values: of the degrees of freedom `[m, components]`.
            method: "interpolate", "project" or "conservative".

        Returns:
            Values `[m, components]` on the new mesh, in the order of `places`.
        """
        arrays: dict[str, NDArray[Any]] = {
            "points": as_floats(old, "old"),
            "new": as_floats(new, "new"),
            "places": as_floats(places, "places"),
            "values": as_floats(values, "values"),
        }
        sent = {"cells": put_cells(arrays, cells), "element": element, "method": method}
        return self._result(wire.Message("transfer", sent, arrays), "values")

    def close(self) -> None:
        """End the connection, and the server where the client has started it."""
        if self._open:
            self._open = False
            self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, request: wire.Message, progress: Progress | None) -> wire.Message:
        self._send(request)
        while (answer := self._receive()).kind == "progress":
            if progress is not None:
                progress(int(answer.values["iteration"]), float(answer.values["residual"]))
        if answer.kind != "result":
            raise wire.ProtocolError(f"the server answered {answer.kind!r}, not with a result")
        return answer

    def _result(self, request: wire.Message, name: str) -> FloatArray:
        return self._ask(request, None).arrays[name]

    def _send(self, message: wire.Message) -> None:
        if not self._open:
            raise ServerGoneError("the client is closed")
        with self._closing():
            self._link.send(message, self.timeout)

    def _receive(self) -> wire.Message:
        with self._closing():
            answer = self._link.receive(self.timeout)
        if answer.kind == "error":
            raise RemoteError(str(answer.values.get("message", "the server gave no reason")))
        return answer

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        """After a broken exchange nothing that follows would fit together."""
        try:
            yield
        except wire.StreamEndError as error:
            why = self._link.obituary()
            self.close()
            raise ServerGoneError(f"the server is gone ({why})") from error
        except (wire.ProtocolError, TimeoutError, KeyboardInterrupt):
            self.close()
            raise


@contextlib.contextmanager
def as_client(remote: Client | str | Path | int | None) -> Iterator[Client]:
    """The client that a `remote=` argument means.

    Args:
        remote: a client, which stays open; or, for the length of the block, a Unix socket, a port,
            or else the Python to start a server with (None: see `Client.start`).
    """
    if isinstance(remote, Client):
        yield remote
        return
    if isinstance(remote, int) or (remote is not None and Path(remote).is_socket()):
        client = Client.connect(remote)
    else:
        client = Client.start(remote)
    with client:
        yield client


def adapt(
    points: ArrayLike,
    cells: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]],
    tags: Tags | None = None,
    field: ArrayLike | None = None,
    *,
    remote: Client | str | Path | int | None = None,
    **options: Any,
) -> tuple[FloatArray, dict[str, Any]]:
    """`Client.adapt` in one call.

    Args:
        points, cells, tags, field: see `Client.adapt`.
        remote: see `as_client`.
        options: of `Client.adapt`.
    """
    with as_client(remote) as client:
        return client.adapt(points, cells, tags, field, **options)
