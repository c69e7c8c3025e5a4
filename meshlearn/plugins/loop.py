"""The loop around any solver: run it, move the mesh by its result, run it again.

    from meshlearn.plugins.loop import adapt_loop
    adapt_loop("cavity", "icoFoam", "U", iterations=3)

The solver is a command that reads a mesh file (or an OpenFOAM case) and writes a result. The mesh
of the lowest estimated error is kept, with the solver's result on it. Where the solver fails, the
last mesh on which it succeeded is put back.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..mesh import MeshError
from . import common
from .arrays import FloatArray
from .files import FileHost, field_values, read_source
from .openfoam.api import CaseHost
from .openfoam.case import case_field, find_time, read_case
from .openfoam.foamfile import find

TIMEOUT = 3600.0
"""Seconds that a run of the solver may take."""
LOGS = "adapt-loop"
"""Folder of the logs, in that of the case."""

_SHOWN = 2
_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Run:
    """One run of the solver.

    Attributes:
        log: what it said.
        seconds: wall time.
    """

    log: Path
    seconds: float


@dataclass(frozen=True)
class LoopReport:
    """What the loop did.

    Attributes:
        adaptation: see `common.Report`.
        runs: of the solver: at the start, after each move, and once more on the mesh that was kept
            where that is not the last one.
    """

    adaptation: common.Report
    runs: tuple[Run, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        runs = [{"log": str(run.log), "seconds": run.seconds} for run in self.runs]
        return {**self.adaptation.as_dict(), "runs": runs}


def adapt_loop(
    case: str | Path,
    solver: str | Sequence[str],
    field_name: str,
    *,
    mesh: str | Path | None = None,
    result: str | Path | None = None,
    iterations: int = 3,
    timeout: float = TIMEOUT,
    told: Callable[[Run], object] | None = None,
    **options: Any,
) -> LoopReport:
    """Run a solver between moves.

    Args:
        case: folder in which the solver runs.
        solver: its command, split as a shell would; no shell is involved (write `sh -c "..."`).
        field_name: of the result, whose error is to fall.
        mesh: the mesh file, in the case; None for an OpenFOAM case, whose points in constant move.
        result: the file with the field, in the case; may be the mesh file. It may hold another
            mesh: then the field is interpolated.
        iterations: most moves; fewer where the estimated error no longer falls.
        timeout: seconds that one run may take.
        told: called after each run.
        options: see `common.adapt`; for OpenFOAM, `slide_patches` as well.

    Raises:
        MeshError: the solver cannot be started, fails, takes too long or does not write the field.
            The mesh is then the last one on which it succeeded.
    """
    folder = Path(case)
    if not folder.is_dir():
        raise MeshError(f"{folder} is not a directory")
    words = shlex.split(solver) if isinstance(solver, str) else list(solver)
    if not words:
        raise MeshError("the command of the solver is empty")
    if (mesh is None) != (result is None):
        raise MeshError("give both the mesh file and the result file, or neither for OpenFOAM")
    if iterations < 1:
        raise MeshError(f"iterations must be at least 1, got {iterations}")
    subject: _Subject
    if mesh is None or result is None:
        subject = _Foam(folder, options.pop("slide_patches", ()), options.pop("fixed", ()))
        options["fixed"] = subject.fixed
    else:
        subject = _File(folder / mesh, folder / result)
    loop = _Loop(subject, folder, words, field_name, timeout, told)
    try:
        first = loop.solve()
        report = common.adapt(
            subject.host, first, iterations=iterations, resolve=loop.solve, **options
        )
    except BaseException:
        subject.host.restore(loop.good)
        raise
    return LoopReport(report, tuple(loop.runs))


class _Subject(ABC):
    """What is solved."""

    host: Any

    @abstractmethod
    def stamp(self, name: str) -> _Stamp:
        """What changes when a field is written anew."""

    @abstractmethod
    def values(self, name: str) -> FloatArray:
        """A field at the nodes of the host."""


class _File(_Subject):
    def __init__(self, mesh: Path, result: Path) -> None:
        self.host = FileHost(mesh, None)
        self._mesh, self._result = mesh, result

    def stamp(self, name: str) -> _Stamp:
        return _stamp(self._result)

    def values(self, name: str) -> FloatArray:
        now = self.host.now()
        source = now if self._result == self._mesh else read_source(self._result)
        return field_values(now, source, name)


class _Foam(_Subject):
    def __init__(self, folder: Path, slide: Sequence[str], fixed: Sequence[str]) -> None:
        self._folder = folder
        case = read_case(folder, None)
        self.host = CaseHost(case, "constant")
        self.fixed = case.stays(slide, fixed)

    def stamp(self, name: str) -> _Stamp:
        last = find_time(self._folder, "latest")
        path = None if last is None else find(self._folder / last, name)
        return None if path is None else _stamp(path)

    def values(self, name: str) -> FloatArray:
        case = read_case(self._folder)
        return case.nodal(case_field(case, name))


@dataclass
class _Loop:
    subject: _Subject
    folder: Path
    words: list[str]
    name: str
    timeout: float
    told: Callable[[Run], object] | None
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.good = self.subject.host.snapshot()

    def solve(self) -> FloatArray:
        """Run the solver and read the field; the mesh counts as good then."""
        before = self.subject.stamp(self.name)
        begin = time.perf_counter()
        log = self.folder / LOGS / f"solver-{len(self.runs)}.log"
        log.parent.mkdir(exist_ok=True)
        run_command(self.words, self.folder, log, self.timeout)
        after = self.subject.stamp(self.name)
        if after is None or after == before:
            raise MeshError(f"the solver ended but wrote no new field {self.name!r} (log: {log})")
        values = self.subject.values(self.name)
        self.good = self.subject.host.snapshot()
        self.runs.append(Run(log, time.perf_counter() - begin))
        if self.told is not None:
            self.told(self.runs[-1])
        return values


def run_command(words: Sequence[str], folder: Path, log: Path, timeout: float) -> None:
    """Run a command in a folder, with what it says in a log.

    Raises:
        MeshError: it cannot be started, fails, or takes longer than `timeout` seconds: it and what
            it has started are ended then.
    """
    with log.open("wb") as said:
        try:
            process = subprocess.Popen(
                list(words),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PWD": str(folder.resolve())},
            )
        except OSError as error:
            raise MeshError(f"cannot start the solver {words[0]!r}: {error.strerror}") from error
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise MeshError(
                f"the solver took longer than {timeout:g} s and was stopped (log: {log})"
            ) from error
        except BaseException:
            _end(process)
            raise
    if code != 0:
        lines = log.read_text(errors="replace").split("\n")
        last = " / ".join([line.strip() for line in lines if line.strip()][-_SHOWN:])
        raise MeshError(
            f"the solver failed with exit code {code} (log: {log})" + (f": {last}" if last else "")
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _stamp(path: Path) -> _Stamp:
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
