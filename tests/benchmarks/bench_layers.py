"""One `MeshBlock` against the same layer in PyG: one run, one thread, ratios of minima.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_layers.py`. The graph is a Delaunay
mesh of random points; width 128, MLPs linear-ReLU-linear-LayerNorm, residual, sum. The peer is a
`MessagePassing` layer on concatenated features. The contestants take turns in each round; times are
those of the process's own processor time, so that other work on the machine counts less. The
gradients of both outputs are given, and those of all inputs and parameters are taken.

- `time`: forward, and forward with backward, on 10,000 and 100,000 nodes. Two contestants are the
  matrix products of a split layer alone, into memory that is there: of all rows at once, as plain
  layers compute them, and of tiles of 2048 rows that stay in the cache;
- `memory`: growth of the resident set at its peak, forward and backward, each in its own process:
  `python bench_layers.py NAME NODES`;
- `deep`: forward and backward of a six-block net on a million nodes, bfloat16.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from meshlearn.kernels import Segments
from meshlearn.mesh import Mesh
from meshlearn.nn import MeshBlock, MeshNet, segments

WIDTH = 128
ROUNDS = {10_000: 12, 100_000: 4}
Layer = Callable[[Tensor, Tensor, Tensor, Segments], tuple[Tensor, Tensor]]


class PyGLayer(MessagePassing):
    """The layer as PyG's users write it."""

    def __init__(self) -> None:
        super().__init__(aggr="sum")
        self.edge_mlp, self.node_mlp = (
            nn.Sequential(
                nn.Linear(k * WIDTH, WIDTH),
                nn.ReLU(),
                nn.Linear(WIDTH, WIDTH),
                nn.LayerNorm(WIDTH),
            )
            for k in (3, 2)
        )

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, _: Segments
    ) -> tuple[Tensor, Tensor]:
        total, edges = self.propagate(edge_index, nodes=nodes, edges=edges)
        return nodes + self.node_mlp(torch.cat([nodes, total], dim=1)), edges

    def message(self, nodes_i: Tensor, nodes_j: Tensor, edges: Tensor) -> Tensor:
        return edges + self.edge_mlp(torch.cat([nodes_i, nodes_j, edges], dim=1))

    def aggregate(
        self, inputs: Tensor, index: Tensor, dim_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        return super().aggregate(inputs, index, dim_size=dim_size), inputs


def in_bfloat16(layer: Layer, *args: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return layer(*args)  # type: ignore[arg-type]


def compiled(dtype: torch.dtype = torch.float32) -> Layer:
    layer = torch.compile(MeshBlock(WIDTH), dynamic=True)
    return layer if dtype == torch.float32 else partial(in_bfloat16, layer)


LAYERS: dict[str, Callable[[], Layer]] = {
    "PyG": PyGLayer,
    "MeshBlock": lambda: MeshBlock(WIDTH),
    "recompute": lambda: MeshBlock(WIDTH, recompute=True),
    "compiled": compiled,
    "bfloat16": lambda: partial(in_bfloat16, MeshBlock(WIDTH)),
    "bfloat16, recompute": lambda: partial(in_bfloat16, MeshBlock(WIDTH, recompute=True)),
    "bfloat16, compiled": lambda: compiled(torch.bfloat16),
}
"""The contestants."""


def delaunay(nodes: int) -> Mesh:
    """Random points in the square, numbered in strips."""
    pos = np.random.default_rng(0).random((nodes, 2))
    pos = pos[np.lexsort((pos[:, 1], np.floor(pos[:, 0] * nodes**0.5 / 8)))]
    cells = Delaunay(pos).simplices.astype(np.int64)
    return Mesh.from_cells(pos, {"triangle": cells}, repair=["inverted"], allow=["degenerate"])


class Case:
    """A graph with features, and gradients for the two outputs."""

    def __init__(self, nodes: int) -> None:
        torch.manual_seed(0)
        mesh = delaunay(nodes)
        self.graph = (mesh.edge_index, segments(mesh))
        sizes = (mesh.num_nodes, mesh.num_edges)
        self.inputs = [torch.randn(n, WIDTH, requires_grad=True) for n in sizes]
        self.grads = [torch.randn(n, WIDTH) for n in sizes]

    def forward(self, layer: Layer) -> None:
        with torch.no_grad():
            layer(*self.inputs, *self.graph)

    def both(self, layer: Layer) -> None:
        for x in self.inputs:
            x.grad = None
        torch.autograd.backward(layer(*self.inputs, *self.graph), self.grads)


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


class Products:
    """The products of a split layer: two an edge, five a node; two more of each backward.

    Args:
        sizes: nodes and edges.
        tile: rows that are multiplied at once, 0 for all.
    """

    def __init__(self, sizes: tuple[int, int], tile: int) -> None:
        self.sizes, self.tile = sizes, tile
        most = tile or max(sizes)
        self.x, self.grad, self.out = (torch.randn(most, WIDTH) for _ in range(3))
        self.weight, self.sum = torch.randn(WIDTH, WIDTH), torch.zeros(WIDTH, WIDTH)

    @property
    def operations(self) -> int:
        """Floating-point operations, forward and backward."""
        nodes, edges = self.sizes
        return 3 * 2 * WIDTH**2 * (5 * nodes + 2 * edges)

    def run(self, backward: bool) -> None:
        for rows, count in zip(self.sizes, (5, 2), strict=True):
            for first in range(0, rows, self.tile or rows):
                part = slice(0, min(self.tile or rows, rows - first))
                for _ in range(count):
                    torch.mm(self.x[part], self.weight.t(), out=self.out[part])
                    if backward:
                        torch.mm(self.grad[part], self.weight, out=self.out[part])
                        self.sum.addmm_(self.grad[part].t(), self.x[part])


@pytest.mark.parametrize("nodes", sorted(ROUNDS))
def test_time(nodes: int) -> None:
    case = Case(nodes)
    layers = {name: make() for name, make in LAYERS.items()}
    for layer in layers.values():  # compilation, and first use of everything
        case.forward(layer)
        case.both(layer)
    sizes = (len(case.inputs[0]), len(case.inputs[1]))
    limits = {"products alone": Products(sizes, 0), "products in tiles": Products(sizes, 2048)}
    jobs = {name: (partial(case.forward, x), partial(case.both, x)) for name, x in layers.items()}
    jobs |= {name: (partial(x.run, False), partial(x.run, True)) for name, x in limits.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(ROUNDS[nodes]):
        for name, (forward, both) in jobs.items():
            found[name].append((seconds(forward), seconds(both)))
    best = {name: np.min(times, axis=0) for name, times in found.items()}
    middle = {name: np.median(times, axis=0) for name, times in found.items()}
    print(f"\n{nodes} nodes: minima, over PyG's, medians over PyG's, share of the products alone")
    for name, times in best.items():
        ratio, typical = best["PyG"] / times, middle["PyG"] / middle[name]
        cells = [
            f"{1e3 * t:8.0f} ms {r:5.2f}x ({m:4.2f})"
            for t, r, m in zip(times, ratio, typical, strict=True)
        ]
        shares = [f"{best[limit][1] / times[1]:5.2f}" for limit in limits]
        print(f"  {name:22s}", *cells, *shares)
    for name, limit in limits.items():
        print(f"  {name}: {limit.operations / best[name][1] / 1e9:.0f} Gflop/s")


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not report {field}")


def peak(job: Callable[[], object]) -> int:
    """Bytes by which a job raises the resident set at its peak."""
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    job()
    return resident("VmHWM") - before


def layer_peak(name: str, nodes: int) -> int:
    layer = LAYERS[name]()
    Case(1000).both(layer)  # compilation, and torch's own first allocations
    case = Case(nodes)
    return peak(partial(case.both, layer))


@pytest.mark.parametrize("nodes", sorted(ROUNDS))
def test_memory(nodes: int) -> None:
    found = {}
    for name in LAYERS:
        command = [sys.executable, __file__, name, str(nodes)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout.split()[-1])
    print(f"\n{nodes} nodes, peak memory of forward and backward")
    for name, size in found.items():
        print(f"  {name:22s} {size / 1e6:8.0f} MB {size / found['PyG']:5.2f}")


def deep(nodes: int) -> tuple[float, int]:
    """Seconds and peak bytes of a net of six blocks, forward and backward, mesh in memory."""
    torch.manual_seed(0)
    mesh = delaunay(nodes)
    _ = segments(mesh)
    blocks = (MeshBlock(WIDTH, recompute=True) for _ in range(6))
    net = MeshNet(2, 1, width=WIDTH, blocks=blocks, recompute=2)
    features = torch.randn(mesh.num_nodes, 2)

    def run() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = net(mesh, features)
        out.float().square().mean().backward()

    start = time.process_time()
    size = peak(run)
    return time.process_time() - start, size


def test_deep() -> None:
    command = [sys.executable, __file__, "deep", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"\nsix blocks, a million nodes, bfloat16: {done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    if sys.argv[1] == "deep":
        taken, size = deep(int(sys.argv[2]))
        print(f"{taken:.0f} s, {size / 2**30:.1f} GiB")
    else:
        print(layer_peak(sys.argv[1], int(sys.argv[2])))
