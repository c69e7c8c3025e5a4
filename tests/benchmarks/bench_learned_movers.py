"""The universal mover: time and memory up to a million nodes, and its time beside `Variational`.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_learned_movers.py`. What each measures:

- `scaling`: processor time of the monitor and of the move, and peak memory, in fresh processes;
- `turns`: processor time of monitor and move, and error reduction, beside `Variational` with both
  settings of theta, taking turns in one process (the least of three rounds): three named problems
  and three random polygons with random solutions. Factors that the mover would keep with the mesh
  are dropped before each round: every move is that of a new mesh. `again` keeps them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Hessian
from meshlearn.movers import Mover, UniversalMover, Variational
from meshlearn.movers.learned.factors import FACTORS
from meshlearn.problems import named_problem
from meshlearn.training.movers.cases import Case
from meshlearn.training.movers.samples import manufactured
from meshlearn.training.movers.solutions import random_solution

LIMIT = 16.0
"""GiB."""
_SEED, _ROUNDS = 50_000_017, 3
_KINDS = {"metric": 5.0, "l2": 3.0}

_SCALING = """
import resource, sys, time
import torch
import meshlearn as ml

torch.set_num_threads(1)
dim, n = map(int, sys.argv[1:])
mesh = ml.generate.rectangle(n, n) if dim == 2 else ml.generate.box(n, n, n)
u = torch.tanh(20 * (((mesh.pos - 0.5) ** 2).sum(dim=1) - 1 / 16))
mover = ml.movers.UniversalMover.from_pretrained()
begin = time.process_time()
monitor = ml.monitors.Hessian(mesh, u, "metric", strength=5.0)
built = time.process_time()
report = mover.move(mesh, monitor).report
end = time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(mesh.num_nodes, built - begin, end - built, peak, report.inverted_cells,
      report.equidistribution_before, report.equidistribution_after, report.iterations)
"""


@pytest.mark.parametrize(("dim", "n"), [(2, 99), (2, 315), (2, 999), (3, 21), (3, 45)])
def test_scaling(dim: int, n: int) -> None:
    out = subprocess.run(
        [sys.executable, "-c", _SCALING, str(dim), str(n)],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    nodes, inverted, steps = int(out[0]), int(out[4]), int(out[7])
    monitor, move, peak, before, after = (float(out[k]) for k in (1, 2, 3, 5, 6))
    print(
        f"\n{dim}D, {nodes} nodes: monitor {monitor:.2f} s, move {move:.2f} s, "
        f"{1e6 * (monitor + move) / nodes:.0f} us a node, {peak:.2f} GiB, {steps} steps, "
        f"spread {before:.2f} -> {after:.2f}"
    )
    assert inverted == 0
    assert peak < LIMIT


@pytest.mark.parametrize("nodes", [2_000, 10_000, 20_000])
@pytest.mark.parametrize("kind", _KINDS)
def test_turns(nodes: int, kind: str) -> None:
    torch.set_num_threads(1)
    entrants: dict[str, Mover] = {
        "universal": UniversalMover.from_pretrained(),
        "universal, again": UniversalMover.from_pretrained(),
        "variational": Variational(),
        "variational, theta 0.1": Variational(theta=0.1),
    }
    spent: dict[str, list[float]] = {name: [] for name in entrants}
    built: list[float] = []
    reduction: dict[str, list[float]] = {name: [] for name in entrants}
    for case in _cases(nodes):
        found: dict[str, list[tuple[float, float, Mesh]]] = {name: [] for name in entrants}
        for _ in range(_ROUNDS):
            for name, mover in entrants.items():
                if not name.endswith("again"):
                    case.mesh.topology.remember(FACTORS, list).clear()
                found[name].append(_timed(case, mover, kind))
        for name, rounds in found.items():
            spent[name].append(min(monitor + move for monitor, move, _ in rounds))
            after = case.problem.solve(rounds[0][2]).errors()["l2"]
            reduction[name].append(1 - after / case.at_rest)
        built.append(min(monitor for rounds in found.values() for monitor, _, _ in rounds))
    least = statistics.fmean(spent["universal"])
    print(f"\n{nodes} nodes, {kind}: monitor {1e3 * statistics.fmean(built):.0f} ms")
    for name, seconds in spent.items():
        mean = statistics.fmean(seconds)
        print(
            f"  {name}: {1e3 * mean:.0f} ms with the monitor, {mean / least:.2f} times universal, "
            f"ER {100 * statistics.fmean(reduction[name]):.1f} %"
        )
    assert min(reduction["universal"]) > 0


def _cases(nodes: int) -> Iterator[Case]:
    side = round(nodes**0.5) - 1
    for name in ("bell", "ring", "front"):
        mesh = generate.rectangle(side, side)
        yield Case(name, mesh, named_problem(name, mesh))
    for k in range(3):
        rng = np.random.default_rng([_SEED, k])
        corners = generate.random_polygon(8, seed=_SEED + k)
        x, y = corners.numpy().T
        area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
        mesh = generate.polygon(corners, h=(1.155 * area / nodes) ** 0.5, seed=k)
        exact = random_solution(rng, corners.numpy().min(0), corners.numpy().max(0))
        yield Case(f"polygon {k}", mesh, manufactured(exact))


def _timed(case: Case, mover: Mover, kind: str) -> tuple[float, float, Mesh]:
    """Seconds of the monitor and of the move, and the moved mesh."""
    u = case.first.u
    begin = time.process_time()
    monitor = Hessian(case.mesh, u, kind, _KINDS[kind])  # type: ignore[arg-type]
    built = time.process_time()
    moved = mover.move(case.mesh, monitor).mesh
    return built - begin, time.process_time() - built, moved
