"""The loop that all plug-ins share: read, move, write back, and put back what failed.

Needs numpy only: the numerics are in `numerics`, or at the other end of a client.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Arrays, FieldValues, FloatArray, PluginError, nodal, positions
from .curved import follow, shortened
from .engines import Engine, local_engine, remote_engine
from .host import Host
from .isolation import import_torch
from .parallel import on_root
from .report import Report, Walk

if TYPE_CHECKING:
    from ..mesh import Mesh


def adapt(
    host: Host,
    guide: Any,
    *,
    mover: Any = "variational",
    monitor: str = "hessian",
    fixed: Iterable[str] | Sequence[int] | FloatArray = (),
    slide: str = "flat",
    iterations: int = 1,
    resolve: Callable[[], Any] | None = None,
    transfer: Sequence[Any] = (),
    method: str = "interpolate",
    remote: Any = None,
    strength: float | None = None,
    smoothing: float | None = None,
) -> Report:
    """Adapt a mesh of another code in place.

    Args:
        host: the mesh.
        guide: function of the code whose error is to fall, nodal values, or a `Monitor`.
        mover: name of a mover, or a mover.
        monitor: how a function says where nodes should go, see `meshlearn adapt --help`.
        fixed: tags, or node numbers of `to_mesh`, that do not move.
        slide: "flat": nodes slide along flat sides and straight ridges; "curved": along curves and
            surfaces rebuilt from the mesh as well; "none": they stay.
        iterations: largest number of moves; more than one by a function needs `resolve`.
        resolve: solves again on the moved mesh and returns the new function (None: the same one).
        transfer: functions of the code that are carried to the new mesh, in place.
        method: "interpolate", "project" or "conservative".
        remote: where meshlearn runs, if not in this process (see `client.as_client`).
        strength, smoothing: of the monitor.

    Returns:
        The report. Whatever fails, the mesh is put back as it was.

    Raises:
        PluginError, MeshError: settings that do not fit, or a mesh that cannot be moved.
    """
    begin = time.perf_counter()
    led = not _is_monitor(guide)
    _check(led, mover, iterations, resolve, remote)
    settings = {
        "mover": mover,
        "monitor": monitor,
        "slide": slide,
        "fixed": _fixed(fixed),
        "strength": strength,
        "smoothing": smoothing,
    }
    state = host.snapshot()
    kept_values = [(f, np.array(host.coefficients(f), copy=True)) for f in transfer]

    def undo() -> None:
        host.restore(state)
        for function, values in kept_values:
            host.coefficients(function)[...] = values

    arrays = host.arrays()
    # the whole mesh and what works on it live on rank 0 only
    work = _Work(host, arrays, settings, remote)
    with contextlib.ExitStack() as at_failure, work:
        at_failure.callback(undo)
        carried = [host.values(function) for function in transfer]
        values = host.nodal(guide) if led else None
        walk = Walk([work.start])
        while len(walk.moves) < iterations and not walk.tired:
            here = walk.visited[-1]
            pos, report = work.move(here, values if led else guide)
            walk.visited.append(pos)
            walk.moves.append(report)
            where = here
            if resolve is not None:
                answer = resolve()
                guide, where = (guide if answer is None else answer), pos
                values = host.nodal(guide)
            found = work.estimate([pos, walk.visited[walk.best]], where, values) if led else None
            if found is None:
                walk.best = len(walk.visited) - 1
            else:
                walk.judge(*found)
        if walk.best != len(walk.moves):
            if walk.best == 0:
                host.restore(state)
            else:
                work.put(walk.visited[walk.best])
            if resolve is not None:
                resolve()
        for function, old in zip(transfer, carried, strict=True):
            work.carry(function, old, walk.visited[walk.best], method)
        at_failure.pop_all()
    return Report(
        code=host.code,
        kept=walk.best,
        reason=walk.reason(iterations),
        moves=tuple(walk.moves),
        estimates=tuple(walk.estimates),
        before=walk.visited[0],
        positions=walk.visited[walk.best],
        seconds=time.perf_counter() - begin,
        undo=undo,
    )


def set_positions(host: Host, pos: Any) -> None:
    """Move the vertices to `pos` `[n, d]`, in the numbering of `to_mesh`; curved cells follow.

    In a parallel run rank 0 gives the positions of the whole mesh.
    """
    arrays = host.arrays()

    def coordinates() -> FloatArray:
        assert arrays is not None
        wanted = positions(pos, arrays.points.shape)
        return follow(arrays, wanted)

    host.write(on_root(host.comm, coordinates))


def to_mesh(host: Host) -> Mesh | None:
    """The mesh of another code as a `Mesh`; None on ranks above 0."""
    import_torch()
    from . import numerics

    arrays = host.arrays()
    return None if arrays is None else numerics.to_mesh(arrays)


class _Work:
    """What happens on rank 0, with the result on every rank."""

    def __init__(
        self, host: Host, arrays: Arrays | None, settings: dict[str, Any], remote: Any
    ) -> None:
        self._host, self._arrays = host, arrays
        self._engine: list[Engine] = []

        def begin() -> FloatArray:
            assert arrays is not None
            make = local_engine if remote is None else remote_engine
            self._engine.append(make(arrays, settings, remote))
            return arrays.points

        self.start = on_root(host.comm, begin)

    def __enter__(self) -> _Work:
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engine:
            engine.close()

    def move(self, here: FloatArray, guide: Any) -> tuple[FloatArray, dict[str, Any]]:
        """Move, keep curved cells valid, and write."""
        arrays = self._arrays

        def work() -> tuple[FloatArray, dict[str, Any]]:
            assert arrays is not None
            led = guide if _is_monitor(guide) else nodal(guide, len(arrays.points))
            pos, report = self._engine[0].move(here, led)
            return shortened(arrays, pos), report

        pos, report = on_root(self._host.comm, work)
        self.put(pos)
        return pos, report

    def put(self, pos: FloatArray) -> None:
        """Write positions of vertices; the rest of the geometry follows from the start."""
        arrays = self._arrays

        def work() -> FloatArray:
            assert arrays is not None
            return follow(arrays, pos)

        self._host.write(on_root(self._host.comm, work))

    def estimate(
        self, candidates: list[FloatArray], where: FloatArray, values: FloatArray | None
    ) -> list[float] | None:
        """See `Engine.estimate`."""

        def work() -> list[float] | None:
            assert values is not None
            return self._engine[0].estimate(candidates, where, nodal(values, len(where)))

        return on_root(self._host.comm, work)

    def carry(self, function: Any, old: FieldValues | None, pos: FloatArray, method: str) -> None:
        """Carry a function from the mesh at the start to that at `pos`."""

        def work() -> FloatArray:
            assert old is not None
            return self._engine[0].transfer(old, self.start, pos, method)

        self._host.set_values(function, on_root(self._host.comm, work))


def _is_monitor(guide: Any) -> bool:
    """Whether a guide is a `Monitor`, without importing it."""
    module = sys.modules.get("meshlearn.monitors")
    return module is not None and isinstance(guide, module.Monitor)


def _check(led: bool, mover: Any, iterations: int, resolve: Any, remote: Any) -> None:
    if iterations < 1:
        raise PluginError(f"iterations must be at least 1, got {iterations}")
    if led and iterations > 1 and resolve is None:
        raise PluginError(
            f"{iterations} iterations by a function need resolve=, which solves again on the moved "
            "mesh: one solution leads one move"
        )
    if remote is not None and not led:
        raise PluginError(
            "a Monitor works in this process only; with remote= give a function, and the name of "
            "a monitor as monitor="
        )
    if remote is not None and not isinstance(mover, str):
        raise PluginError('with remote= a mover is given by name, such as "variational"')


def _fixed(fixed: Any) -> Any:
    """Names of tags as a tuple, node numbers as an array."""
    if isinstance(fixed, str):
        return (fixed,)
    items = list(fixed)
    if all(isinstance(item, str) for item in items):
        return tuple(items)
    numbers = np.asarray(items)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise PluginError("fixed must be names of tags or node numbers")
    return numbers.astype(np.int64)


__all__ = ["Host", "Report", "adapt", "set_positions", "to_mesh"]
