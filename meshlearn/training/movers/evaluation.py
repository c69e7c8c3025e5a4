"""The honest evaluation of movers: error of a solve on the moved mesh, failures included.

ER = (e_0 - e_1) / e_0 with e the L2 error of the P1 solve by a quadrature of high order, or the
figure that a case names instead. A move that raised an error or left an inverted cell counts as
ER = -1 in every average. The time of a move includes the building of its monitor from the solution
on the first mesh, but neither solve.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import torch

from ...fem.linear import SolveError
from ...mesh import MeshError
from ...monitors import Hessian
from ...movers import Mover
from .cases import Adapted, Build, Trial

FAILED = -1.0


@dataclass(frozen=True)
class Contestant:
    """A mover with the monitor that suits it.

    Attributes:
        mover: the mover.
        monitor: builds the monitor from a mesh and the solution at its nodes.
    """

    mover: Mover
    monitor: Build


def hessian(kind: str, strength: float) -> Build:
    """Builder of a Hessian monitor of this kind and strength."""
    return lambda mesh, u: Hessian(mesh, u, kind, strength)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Result:
    """One move of one case.

    Attributes:
        case, mover: names.
        nodes: of the mesh.
        before, after: L2 errors; after is infinite where the move failed.
        reduction: ER, -1 where the move failed.
        seconds: of monitor and move.
        inverted: cells.
        min_quality: smallest mean ratio.
        reason: what the report says, or the error.
    """

    case: str
    mover: str
    nodes: int
    before: float
    after: float
    reduction: float
    seconds: float
    inverted: int
    min_quality: float
    reason: str


def judge(case: Trial, name: str, contestant: Contestant) -> Result:
    """Solve, move, solve again."""
    with torch.no_grad():
        before = case.at_rest
        begin = time.perf_counter()
        try:
            found = case.adapted(contestant.mover, contestant.monitor)
        except (MeshError, SolveError) as error:
            seconds = time.perf_counter() - begin
            found = Adapted(math.inf, seconds, 0, 0.0, str(error))
    failed = not math.isfinite(found.error) or found.inverted > 0
    return Result(
        case=case.name,
        mover=name,
        nodes=len(case.mesh.pos),
        before=before,
        after=math.inf if failed else found.error,
        reduction=FAILED if failed else (before - found.error) / before,
        seconds=found.seconds,
        inverted=found.inverted,
        min_quality=0.0 if failed else found.min_quality,
        reason=f"failed: {found.reason}" if failed else found.reason,
    )


def evaluate(
    cases: Iterable[Trial],
    contestants: Mapping[str, Contestant],
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Every mover on every case."""
    results = []
    for case in cases:
        for name, contestant in contestants.items():
            results.append(judge(case, name, contestant))
            if progress:
                progress(results[-1])
    return results


def summary(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Figures of each mover over all its cases, failures included."""
    by_mover: dict[str, list[Result]] = {}
    for result in results:
        by_mover.setdefault(result.mover, []).append(result)
    return {name: _figures(found) for name, found in by_mover.items()}


def _figures(found: list[Result]) -> dict[str, float]:
    reductions = [r.reduction for r in found]
    return {
        "cases": len(found),
        "reduction_mean": statistics.fmean(reductions),
        "reduction_median": statistics.median(reductions),
        "reduction_worst": min(reductions),
        "positive_share": sum(r > 0 for r in reductions) / len(found),
        "failed": sum(r.reason.startswith("failed") for r in found),
        "inverted_cells": sum(r.inverted for r in found),
        "min_quality": min(r.min_quality for r in found),
        "milliseconds": 1000 * statistics.fmean(r.seconds for r in found),
    }


def as_rows(results: Iterable[Result]) -> list[dict[str, object]]:
    """Results as plain dictionaries, for JSON."""
    return [asdict(result) for result in results]


def markdown(title: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    """A table of one suite."""
    head = (
        f"### {title}\n\n"
        "| mover | cases | ER mean | ER median | ER worst | ER > 0 | failed | inverted | "
        "min quality | ms a move |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    rows = (
        f"| {name} | {f['cases']:.0f} | {100 * f['reduction_mean']:.1f} % | "
        f"{100 * f['reduction_median']:.1f} % | {100 * f['reduction_worst']:.1f} % | "
        f"{100 * f['positive_share']:.1f} % | {f['failed']:.0f} | {f['inverted_cells']:.0f} | "
        f"{f['min_quality']:.3f} | {f['milliseconds']:.0f} |\n"
        for name, f in figures.items()
    )
    return head + "".join(rows)
