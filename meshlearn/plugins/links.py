"""The two ways to reach `meshlearn serve`: a process of one's own on pipes, or a local socket.

A link sends and receives messages and gives up after a time. Needs numpy only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, cast

from . import wire

_CLOSING = 5.0
"""Seconds that a server gets to leave by itself."""
_CHUNK = 1 << 20
_SHOWN = 5
"""Last lines of what a server said that go into an error."""


class Link(Protocol):
    """Where messages go to and come from."""

    def send(self, message: wire.Message, timeout: float) -> None:
        """Write a message."""

    def receive(self, timeout: float) -> wire.Message:
        """Read the next message; `TimeoutError` after `timeout` seconds of silence."""

    def close(self) -> None:
        """End the connection."""

    def obituary(self) -> str:
        """What is known about why the other side is gone."""


class ProcessLink:
    """A server that this process starts and ends.

    Args:
        python: a Python that has meshlearn with its dependencies.
        environment: variables of the server; by default those of this process, without the ones
            that would lead another Python to the packages of this one.

    Raises:
        FileNotFoundError: there is no such Python.
    """

    def __init__(self, python: str | Path, environment: Mapping[str, str] | None = None) -> None:
        if environment is None:
            own = Path(python) == Path(sys.executable)
            foreign = () if own else ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
            environment = {k: v for k, v in os.environ.items() if k not in foreign}
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self.process = subprocess.Popen(
                # -P: files of the working folder do not hide modules
                [str(python), "-P", "-m", "meshlearn", "serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=dict(environment),
            )
        except OSError as error:
            self._said.close()
            raise FileNotFoundError(
                f"cannot start {python} for the server: {error.strerror}"
            ) from error
        self._in = cast("IO[bytes]", self.process.stdin)
        self._out = cast("IO[bytes]", self.process.stdout)

    def send(self, message: wire.Message, timeout: float) -> None:
        """Write a message."""
        with self._deadline(timeout), _pipes_raise():
            try:
                wire.send(self._in.write, message)
                self._in.flush()
            except OSError as error:
                raise wire.StreamEndError(str(error)) from error

    def receive(self, timeout: float) -> wire.Message:
        """Read the next message."""
        with self._deadline(timeout):
            return wire.receive(self._out.read)

    def close(self) -> None:
        """Close the pipes, at which the server leaves, and wait for it."""
        with contextlib.suppress(OSError), _pipes_raise():
            self._in.close()
        try:
            self.process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()
        self._said.close()

    def obituary(self) -> str:
        """Exit code and the last lines that the server said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_CLOSING)
        if self._said.closed:
            return "it was closed"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()[-_SHOWN:]
        said = f"; it said: {' / '.join(line.strip() for line in lines)}" if lines else ""
        return f"exit code {self.process.poll()}{said}"

    @contextlib.contextmanager
    def _deadline(self, timeout: float) -> Iterator[None]:
        """Kill the server when it is too slow: pipes have no other way on every system."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(timeout, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except wire.StreamEndError:
            if late.is_set():
                raise TimeoutError(f"the server was stopped after {timeout:g} s") from None
            raise
        finally:
            timer.cancel()


class SocketLink:
    """A running server at a local socket.

    Args:
        place: path of a Unix socket, or the port of a server on this machine.
        timeout: seconds to connect.

    Raises:
        ConnectionError: nobody answers there.
    """

    def __init__(self, place: str | Path | int, timeout: float) -> None:
        try:
            if isinstance(place, int):
                self._socket = socket.create_connection(("127.0.0.1", place), timeout)
            else:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(timeout)
                self._socket.connect(str(place))
        except OSError as error:
            where = f"port {place}" if isinstance(place, int) else str(place)
            raise ConnectionError(
                f"no server answers at {where}: {error.strerror or error}"
            ) from error

    def send(self, message: wire.Message, timeout: float) -> None:
        """Write a message."""
        self._socket.settimeout(timeout)
        try:
            with _pipes_raise():
                wire.send(self._socket.sendall, message)
        except TimeoutError:
            raise TimeoutError(f"the server took nothing for {timeout:g} s") from None
        except OSError as error:
            raise wire.StreamEndError(str(error)) from error

    def receive(self, timeout: float) -> wire.Message:
        """Read the next message."""
        self._socket.settimeout(timeout)
        try:
            return wire.receive(lambda count: read_exactly(self._socket, count))
        except TimeoutError:
            raise TimeoutError(f"the server said nothing for {timeout:g} s") from None
        except OSError as error:
            raise wire.StreamEndError(str(error)) from error

    def close(self) -> None:
        """Close the connection; the server stays."""
        self._socket.close()

    def obituary(self) -> str:
        """All that a socket knows."""
        return "it closed the connection"


@contextlib.contextmanager
def _pipes_raise() -> Iterator[None]:
    """Writing to a server that is gone raises, and does not end this process.

    Python ignores SIGPIPE, but PETSc, also the one inside gmsh, makes it deadly again. It comes to
    the thread that writes, so it is held back and taken here; its handler is left alone.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has no such signal
        yield
        return
    pipe = {signal.SIGPIPE}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, pipe)
    try:
        yield
    finally:
        if pipe & signal.sigpending() and not pipe & blocked:
            signal.sigwait(pipe)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def read_exactly(source: socket.socket, count: int) -> bytes:
    """So many bytes of a socket, or fewer where it ends."""
    parts = bytearray()
    while len(parts) < count:
        part = source.recv(min(count - len(parts), _CHUNK))
        if not part:
            break
        parts += part
    return bytes(parts)
