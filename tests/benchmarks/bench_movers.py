"""Times of whole moves: freedom of the nodes, monitor, solve, guard and report.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_movers.py`. What each measures:

- `helmholtz`: the published case of 441 nodes, a monitor of the exact Hessian of a bell (0.66 to
  4.27 s published for the Movement library's solvers), the making of the monitor included;
- `random`: `MongeAmpere` and `Variational(theta=0.1)` on 30 random monitors, a gmsh square of 1,200
  nodes, taking turns: processor time, because other work on the machine does not count in it;
- `scaling`: processor time and peak memory a node from 10,000 to 1,000,000 nodes in 2D, in fresh
  processes;
- `iteration`: processor time of an iteration in 3D;
- `untangling`: processor time of `Optimise` on a tangled channel with cylinder, 3,645 nodes.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from typing import Literal

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Function, ball
from meshlearn.movers import MongeAmpere, Mover, MoveReport, Optimise, Variational

MOVERS: dict[str, Mover] = {"monge-ampere": MongeAmpere(), "variational": Variational(theta=0.1)}
SIDES = (99, 315, 999)

_SCALING = """
import resource, sys, time, torch
torch.set_num_threads(1)
from meshlearn.mesh import generate
from meshlearn.monitors import ball
from meshlearn.movers import MongeAmpere, Variational
mover = MongeAmpere() if sys.argv[1] == "monge-ampere" else Variational(theta=0.1)
mesh = generate.rectangle(int(sys.argv[2]), int(sys.argv[2]))
begin = time.process_time()
report = mover.move(mesh, ball((0.5, 0.5), 0.25, 10, 100)).report
seconds = time.process_time() - begin
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(mesh.num_nodes, seconds, memory, report.iterations, report.equidistribution_after)
"""


def gaussians(seed: int) -> Function:
    """1 plus up to six stretched Gaussians, half-widths 0.04 to 0.2, heights 2 to 25."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 7, (1,), generator=generator))
    centres = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    heights = 2 + 23 * torch.rand(count, generator=generator, dtype=torch.float64)
    sizes = 0.04 * 5 ** torch.rand(count, 2, generator=generator, dtype=torch.float64)
    turns, _ = torch.linalg.qr(torch.randn(count, 2, 2, generator=generator, dtype=torch.float64))

    def density(x: Tensor) -> Tensor:
        offset = torch.einsum("nkd,kde->nke", x[:, None] - centres, turns) / sizes
        return 1 + (heights * torch.exp(-(offset**2).sum(dim=2) / 2)).sum(dim=1)

    return Function(density)


@pytest.mark.parametrize("name", MOVERS)
def test_helmholtz(name: str, benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    centre, width = torch.tensor([0.51, 0.65], dtype=torch.float64), 0.1
    mesh = generate.rectangle(20, 20)

    def density(x: Tensor) -> Tensor:
        offset = x - centre
        outer = 4 / width**4 * offset[:, :, None] * offset[:, None, :]
        matrix = outer - 2 / width**2 * torch.eye(2, dtype=x.dtype)
        norm = torch.exp(-(offset**2).sum(dim=1) / width**2) * (matrix**2).sum(dim=(1, 2)).sqrt()
        return 1 + 5 * norm / (2 * math.sqrt(2) / width**2)

    report = benchmark.pedantic(
        lambda: MOVERS[name].move(mesh, Function(density)).report, rounds=10, warmup_rounds=1
    )
    assert report.converged
    assert benchmark.stats.stats.min < 0.3


def test_random() -> None:
    torch.set_num_threads(1)
    mesh = generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.0342)
    entrants = {**MOVERS, "monge-ampere, tol 1e-2": MongeAmpere(tol=1e-2)}
    spent = dict.fromkeys(entrants, 0.0)
    spread: dict[str, list[float]] = {name: [] for name in entrants}
    for seed in range(30):
        for name, mover in entrants.items():
            seconds, report = _timed(mover, mesh, gaussians(seed))
            spent[name] += seconds / 30
            spread[name].append(report.equidistribution_after)
    for name, seconds in spent.items():
        values = sorted(spread[name])
        print(
            f"\n{name}: {1e3 * seconds:.0f} ms a mesh, spread {values[15]:.3f} to {values[-1]:.3f}"
        )
    assert spent["monge-ampere"] < spent["variational"]


@pytest.mark.parametrize("name", MOVERS)
def test_scaling(name: str) -> None:
    for side in SIDES:
        out = subprocess.run(
            [sys.executable, "-c", _SCALING, name, str(side)],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        nodes, seconds, memory = int(out[0]), float(out[1]), float(out[2])
        print(
            f"\n{name}: {nodes} nodes, {seconds:.2f} s, {1e6 * seconds / nodes:.0f} us a node, "
            f"{memory:.2f} GB, {out[3]} iterations, spread {float(out[4]):.4f}"
        )
        assert memory < 16


@pytest.mark.parametrize("name", MOVERS)
def test_iteration(name: str) -> None:
    torch.set_num_threads(1)
    mesh = generate.box(24, 24, 24)
    seconds, report = _timed(MOVERS[name], mesh, ball((0.5, 0.5, 0.5), 0.0, 20, 20))
    print(
        f"\n{name}: {mesh.num_nodes} nodes in 3D, {seconds / max(1, report.iterations):.2f} s an "
        f"iteration, {report.iterations} of them, spread {report.equidistribution_after:.3f}"
    )
    assert report.inverted_cells == 0


@pytest.mark.parametrize("slide", ["flat", "curved"])
def test_untangling(slide: Literal["flat", "curved"]) -> None:
    torch.set_num_threads(1)
    mesh = generate.channel_with_cylinder(h=0.02)
    inner = torch.ones(mesh.num_nodes, 1, dtype=torch.float64)
    inner[mesh.boundary_nodes] = 0.0
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    tangled = mesh.moved(mesh.pos + 0.006 * noise * inner)
    spent = []
    for _ in range(3):
        begin = time.process_time()
        report = Optimise().move(tangled, slide=slide).report
        spent.append(time.process_time() - begin)
    print(
        f"\n{slide}: {mesh.num_nodes} nodes, {report.inverted_before} inverted cells, "
        f"{min(spent):.2f} s, quality {report.min_quality:.3f}, {report.mean_quality:.4f}"
    )
    assert report.inverted_cells == 0


def _timed(mover: Mover, mesh: Mesh, monitor: Function) -> tuple[float, MoveReport]:
    begin = time.process_time()
    report = mover.move(mesh, monitor).report
    return time.process_time() - begin, report
