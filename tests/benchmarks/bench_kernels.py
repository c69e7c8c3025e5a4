"""Kernels against torch's index_add, scatter_reduce and segment_reduce: one run, one thread.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_kernels.py`, or as a program with
the names of kernels to measure only those. Contestants take turns in each round, so that a busy
machine slows all of them; the minimum over the rounds counts. Times are CPU times of the process
(one thread, so those of an idle machine), on a GPU wall times. The graph is that of a triangle mesh
of 10,000 and 100,000 nodes (about 6 edges a node), float32, widths 1, 16 and 128; `backward` is
forward and backward together. All results and gradients are compared before anything is timed.

Where ours is not 5 % faster than the best peer, that peer is measured three times against itself
and ours, in rounds of their own: a ratio within the spread of the three means nothing and is called
level.

GB/s are the bytes that the task must move (every input read once, every output written once,
indices as int64) over the time; "of copy" is the share of what a copy of as many bytes reaches in
the same rounds. Where a CUDA device is present the same tables follow for it, in float32 and
bfloat16, with 1 million nodes besides and `torch.sparse` among the peers.

`test_reordering` measures what node numbers do: shuffled, as generated, and `Mesh.reordered`;
`test_kept_memory` what `meshlearn --keep-memory` does to a layer on 100,000 nodes.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

import meshlearn as ml
from meshlearn import kernels
from meshlearn.cli import memory
from meshlearn.kernels import Scatter, Segments

Function = Callable[..., Tensor]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
NODES = {"cpu": (10_000, 100_000), "cuda": (10_000, 100_000, 1_000_000)}
WIDTHS = (1, 16, 128)
SECONDS = 1.0
"""Time that the rounds of one case take, about."""


class Graph:
    """A triangle graph, its plans, and what the peers need."""

    def __init__(self, nodes: int, device: str, mesh: ml.Mesh | None = None) -> None:
        side = round(nodes**0.5) - 1
        mesh = ml.generate.rectangle(side, side) if mesh is None else mesh
        self.n, self.m = mesh.num_nodes, mesh.num_edges
        self.rowptr = mesh.rowptr.to(device)
        self.sender, self.receiver = (part.contiguous().to(device) for part in mesh.edge_index)
        self.segments = Segments(self.rowptr, self.receiver, self.sender)
        self.sparsity = self.segments.sparsity
        self.plan: Scatter = self.segments.outgoing
        self.count = self.segments.counts.clamp(min=1)


# -- the peers -----------------------------------------------------------------------------------


def index_add(g: Graph, values: Tensor, index: Tensor) -> Tensor:
    return values.new_zeros(g.n, *values.shape[1:]).index_add(0, index, values)


def scatter_reduce(g: Graph, values: Tensor, index: Tensor, how: str = "sum") -> Tensor:
    wide = index[:, None].expand_as(values)
    return values.new_zeros(g.n, values.shape[1]).scatter_reduce(
        0, wide, values, how, include_self=how == "sum"
    )


def segment_reduce(g: Graph, values: Tensor, how: str = "sum") -> Tensor:
    return torch.segment_reduce(values, how, offsets=g.rowptr, initial=0 if how == "sum" else None)


def softmax_by(top: Tensor, total: Callable[[Tensor], Tensor], g: Graph, v: Tensor) -> Tensor:
    p = (v - top.detach().index_select(0, g.receiver)).exp()
    return p / total(p).index_select(0, g.receiver)


@dataclass(frozen=True)
class Job:
    """A kernel, its peers, and what it moves.

    Attributes:
        inputs: shapes of the inputs by the letters n (nodes), m (edges), w (width).
        output: shape of the result.
        ours: `(graph, *inputs) -> result`.
        peers: the same by others.
        index: indices read, in units of m.
    """

    inputs: tuple[str, ...]
    output: str
    ours: Function
    peers: dict[str, Function]
    index: int = 1

    def make(self, g: Graph, width: int, dtype: torch.dtype, device: str) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        sizes = {"n": g.n, "m": g.m, "w": width}
        return [
            torch.randn([sizes[c] for c in shape], generator=generator).to(device, dtype)
            for shape in self.inputs
        ]

    def bytes(self, g: Graph, width: int, itemsize: int, backward: bool) -> int:
        sizes = {"n": g.n, "m": g.m, "w": width}
        numbers = []
        for shape in (*self.inputs, self.output):
            size = 1
            for c in shape:
                size *= sizes[c]
            numbers.append(size)
        # Backward: read the gradient of the result and the inputs again, write their gradients.
        passes = (sum(numbers), numbers[-1] + 2 * sum(numbers[:-1]))
        index = 8 * self.index * g.m
        return itemsize * passes[0] + index + (itemsize * passes[1] + index if backward else 0)


def relu_sum(reduce: Function) -> Function:
    def job(g: Graph, r: Tensor, s: Tensor, e: Tensor) -> Tensor:
        z = r.index_select(0, g.receiver) + s.index_select(0, g.sender) + e
        return reduce(g, z.relu())

    return job


JOBS: dict[str, Job] = {
    "sum": Job(
        ("mw",),
        "nw",
        lambda g, v: kernels.segment_sum(v, g.segments),
        {
            "index_add": lambda g, v: index_add(g, v, g.receiver),
            "scatter_reduce": lambda g, v: scatter_reduce(g, v, g.receiver),
            "segment_reduce": segment_reduce,
        },
    ),
    "mean": Job(
        ("mw",),
        "nw",
        lambda g, v: kernels.segment_mean(v, g.segments),
        {
            "index_add": lambda g, v: index_add(g, v, g.receiver) / g.count[:, None],
            "scatter_reduce": lambda g, v: scatter_reduce(g, v, g.receiver, "mean"),
            "segment_reduce": lambda g, v: segment_reduce(g, v, "mean"),
        },
    ),
    "max": Job(
        ("mw",),
        "nw",
        lambda g, v: kernels.segment_max(v, g.segments),
        {
            "scatter_reduce": lambda g, v: scatter_reduce(g, v, g.receiver, "amax"),
            "segment_reduce": lambda g, v: segment_reduce(g, v, "max"),
        },
    ),
    "softmax": Job(
        ("mw",),
        "mw",
        lambda g, v: kernels.segment_softmax(v, g.segments),
        {
            "index_add": lambda g, v: softmax_by(
                scatter_reduce(g, v.detach(), g.receiver, "amax"),
                lambda p: index_add(g, p, g.receiver),
                g,
                v,
            ),
            "scatter_reduce": lambda g, v: softmax_by(
                scatter_reduce(g, v.detach(), g.receiver, "amax"),
                lambda p: scatter_reduce(g, p, g.receiver),
                g,
                v,
            ),
            "segment_reduce": lambda g, v: softmax_by(
                segment_reduce(g, v.detach(), "max"), lambda p: segment_reduce(g, p), g, v
            ),
        },
    ),
    "gather": Job(
        ("nw",),
        "mw",
        lambda g, h: kernels.gather(h, g.sender, g.plan),
        {
            "index_select": lambda g, h: h.index_select(0, g.sender),
            "h[index]": lambda g, h: h[g.sender],
        },
    ),
    "scatter": Job(
        ("mw",),
        "nw",
        lambda g, v: kernels.scatter_add(v, g.plan),
        {
            "index_add": lambda g, v: index_add(g, v, g.sender),
            "scatter_reduce": lambda g, v: scatter_reduce(g, v, g.sender),
            "segment_reduce": lambda g, v: segment_reduce(g, v.index_select(0, g.plan.order)),
        },
    ),
    "sparse_dense": Job(
        ("m", "nw"),
        "nw",
        lambda g, a, h: kernels.sparse_dense(a, h, g.sparsity),
        {
            "index_add": lambda g, a, h: index_add(
                g, a[:, None] * h.index_select(0, g.sender), g.receiver
            ),
            "segment_reduce": lambda g, a, h: segment_reduce(
                g, a[:, None] * h.index_select(0, g.sender)
            ),
            "torch.sparse": lambda g, a, h: (
                torch.sparse_csr_tensor(
                    g.rowptr, g.sender, a, size=(g.n, g.n), check_invariants=False
                )
                @ h
            ),
        },
    ),
    "combine_reduce": Job(
        ("nw", "nw", "mw"),
        "nw",
        lambda g, r, s, e: kernels.gather_combine_reduce(r, s, e, g.sender, g.segments, "relu"),
        {
            "index_add": relu_sum(lambda g, z: index_add(g, z, g.receiver)),
            "scatter_reduce": relu_sum(lambda g, z: scatter_reduce(g, z, g.receiver)),
            "segment_reduce": relu_sum(segment_reduce),
        },
        index=2,
    ),
}


# -- measuring -----------------------------------------------------------------------------------


def finished(device: str) -> float:
    """A clock: on the CPU that of the process, which stands while others have the core."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def minima(jobs: dict[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Seconds of each job, which take turns; the minimum over the rounds."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # plans are made once
    begin = finished(device)
    for job in jobs.values():
        job()
    once = finished(device) - begin
    rng = random.Random(0)
    for _ in range(max(9, min(200, int(SECONDS / max(once, 1e-9))))):
        # In random order: who comes second finds the data in the cache.
        for name, job in rng.sample(list(jobs.items()), len(jobs)):
            begin = finished(device)
            job()
            found[name].append(finished(device) - begin)
    return {name: min(times) for name, times in found.items()}


def with_backward(f: Function, g: Graph, inputs: list[Tensor], grad: Tensor) -> object:
    leaves = [x.detach().requires_grad_() for x in inputs]
    return f(g, *leaves), torch.autograd.grad(f(g, *leaves), leaves, grad)


def check(job: Job, g: Graph, inputs: list[Tensor], grad: Tensor, name: str) -> dict[str, bool]:
    """Compare results and gradients; which peers have a gradient at all."""
    tolerance = 2e-3 if inputs[0].dtype == torch.float32 else 0.2
    wanted, slopes = with_backward(job.ours, g, inputs, grad)
    backward = {}
    for peer, f in job.peers.items():
        assert torch.allclose(f(g, *inputs), wanted, tolerance, tolerance), (name, peer)
        # The gradient of torch.sparse in the matrix is dense: [n, n].
        backward[peer] = peer != "torch.sparse"
        if backward[peer]:
            for a, b in zip(with_backward(f, g, inputs, grad)[1], slopes, strict=True):
                assert torch.allclose(a, b, tolerance, tolerance), (name, peer)
    return backward


def run(name: str, nodes: int, device: str, dtype: torch.dtype) -> None:
    """Measure one kernel on one graph at all widths, and print its rows of the table."""
    job, g = JOBS[name], Graph(nodes, device)
    for width in WIDTHS:
        inputs = job.make(g, width, dtype, device)
        result = job.ours(g, *inputs)
        # Positive: segment_reduce divides a negative gradient among equal largest values wrongly.
        grad = torch.rand_like(result) + 0.5
        has_backward = check(job, g, inputs, grad, name)
        for backward in (False, True):
            size = job.bytes(g, width, inputs[0].element_size(), backward)
            source = torch.empty(size // 2, dtype=torch.uint8, device=device)
            contestants: dict[str, Callable[[], object]] = {}
            for who, f in {"ours": job.ours, **job.peers}.items():
                if not backward:
                    contestants[who] = partial(f, g, *inputs)
                elif who == "ours" or has_backward[who]:
                    contestants[who] = partial(slopes, f, g, inputs, grad)
            contestants["copy"] = source.clone
            found = minima(contestants, device)
            report(name, g.n, width, backward, size, found, itself(contestants, found, device))


def slopes(f: Function, g: Graph, inputs: list[Tensor], grad: Tensor) -> object:
    leaves = [x.detach().requires_grad_() for x in inputs]
    return torch.autograd.grad(f(g, *leaves), leaves, grad)


def best_peer(found: dict[str, float]) -> str:
    return min(found.keys() - {"ours", "copy"}, key=found.__getitem__)


def itself(
    jobs: dict[str, Callable[[], object]], found: dict[str, float], device: str
) -> tuple[float, float] | None:
    """Best peer over ours again, and how far copies of that peer are apart; None if far behind."""
    best = best_peer(found)
    if found[best] > 1.05 * found["ours"]:
        return None
    copies = {f"{best} {k}": jobs[best] for k in range(3)}
    times = minima({"ours": jobs["ours"], **copies}, device)
    ours = times.pop("ours")
    return min(times.values()) / ours, max(times.values()) / min(times.values()) - 1


def report(
    name: str,
    nodes: int,
    width: int,
    backward: bool,
    size: int,
    found: dict[str, float],
    again: tuple[float, float] | None,
) -> None:
    best = best_peer(found)
    ours, copy = found.pop("ours"), found.pop("copy")
    level = ""
    if again is not None:
        ratio, noise = again
        word = "faster" if ratio > 1 + noise else "level" if ratio > 1 - noise else "slower"
        level = f"; again {ratio:.2f}, noise {noise:.3f}: {word}"
    peers = ", ".join(f"{peer} {seconds / ours:.2f}" for peer, seconds in found.items())
    print(
        f"| {name} | {nodes} | {width} | {'fwd+bwd' if backward else 'fwd'} | {ours * 1e3:.3f} "
        f"| {found[best] / ours:.2f} ({best}{level}) | {size / ours / 1e9:.1f} | {copy / ours:.2f} "
        f"| {peers} |",
        flush=True,
    )


HEAD = (
    "\n| kernel | nodes | width | pass | ms | best peer / ours | GB/s | of copy "
    "| each peer / ours |"
    "\n|---|---|---|---|---|---|---|---|---|"
)


@pytest.mark.parametrize("name", sorted(JOBS))
@pytest.mark.parametrize("device", DEVICES)
def test_kernel(name: str, device: str) -> None:
    if device == "cpu":
        torch.set_num_threads(1)
    for dtype in (torch.float32, *([torch.bfloat16] if device == "cuda" else [])):
        print(HEAD.replace("kernel", f"{device} {dtype}"))
        for nodes in NODES[device]:
            run(name, nodes, device, dtype)


# -- numbers of the nodes, memory settings -------------------------------------------------------


def layer(g: Graph, h: Tensor, e: Tensor) -> Tensor:
    """A gather, a combination and a sum over every edge, as layers write them."""
    z = kernels.gather_combine(h, h, e, g.sender, g.segments)
    return kernels.segment_sum(z.relu(), g.segments)


def test_reordering() -> None:
    """Random numbers, those of the generator, and `Mesh.reordered`, on 100,000 nodes."""
    torch.set_num_threads(1)
    made = ml.generate.rectangle(315, 315)
    generator = torch.Generator().manual_seed(0)
    node = torch.randperm(made.num_nodes, generator=generator)
    cells = node.argsort()[made.cells["triangle"]]
    cells = cells[torch.randperm(len(cells), generator=generator)]
    shuffled = ml.Mesh.from_cells(made.pos[node], {"triangle": cells})
    begin = time.perf_counter()
    orders = {"shuffled": shuffled, "rcm": shuffled.reordered("rcm")}
    seconds = {"rcm": time.perf_counter() - begin}
    begin = time.perf_counter()
    orders |= {"morton": shuffled.reordered("morton"), "as generated": made}
    seconds["morton"] = time.perf_counter() - begin
    print("\nreordering,", ", ".join(f"{k} {v:.2f} s" for k, v in seconds.items()))
    jobs: dict[str, dict[str, Callable[[], object]]] = {}
    for order, mesh in orders.items():
        g = Graph(0, "cpu", mesh)
        sender, receiver = mesh.edge_index
        print(f"  {order}: mean |i - j| {float((sender - receiver).abs().double().mean()):.0f}")
        h, e = torch.rand(g.n, 128), torch.rand(g.m, 128)
        values, x = torch.rand(g.m, dtype=torch.float64), torch.rand(g.n, 1, dtype=torch.float64)
        space = ml.fem.FunctionSpace(mesh, "P1")
        for name, job in {
            "gather, width 128": partial(kernels.gather, h, g.sender),
            "scatter, width 128": partial(kernels.scatter_add, e, g.plan),
            "index_add, width 128": partial(index_add, g, e, g.sender),
            "sparse x vector, float64": partial(kernels.sparse_dense, values, x, g.sparsity),
            "sparse x dense, width 128": partial(
                kernels.sparse_dense, values.float(), h, g.sparsity
            ),
            "layer, forward + backward": partial(slopes, layer, g, [h, e], torch.rand(g.n, 128)),
            "P1 stiffness": partial(ml.fem.assemble, stiffness, space),
        }.items():
            jobs.setdefault(name, {})[order] = job
    for name, contestants in jobs.items():
        found = minima(contestants, "cpu")
        base = found["shuffled"]
        print(f"| {name} | {base * 1e3:.2f} |", *(f"{t / base:.2f} |" for t in found.values()))


def stiffness(u: object, v: object, w: object) -> object:
    return ml.fem.dot(ml.fem.grad(u), ml.fem.grad(v))


LARGE = "one layer"


def test_kept_memory() -> None:
    """A layer on 100,000 nodes in fresh processes, with and without `meshlearn --keep-memory`."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    settings = {"system's": bare, "kept": memory.settings(bare)}
    found: dict[str, list[list[float]]] = {name: [] for name in settings}
    for _ in range(3):
        for name, environment in settings.items():
            command = [sys.executable, __file__, LARGE]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            found[name].append([float(x) for x in done.stdout.split()[-2:]])
    for name, runs in found.items():
        seconds, peak = (min(column) for column in zip(*runs, strict=True))
        print(f"\nmemory {name}: {seconds * 1e3:.0f} ms, peak {peak / 1e6:.0f} MB", end="")


def large_layer() -> None:
    g = Graph(100_000, "cpu")
    h, e, grad = torch.rand(g.n, 128), torch.rand(g.m, 128), torch.rand(g.n, 128)
    found = minima({"layer": partial(slopes, layer, g, [h, e], grad)}, "cpu")
    print(found["layer"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if LARGE in sys.argv:
        large_layer()
        sys.exit()
    print(HEAD)
    for wanted in sys.argv[1:] or sorted(JOBS):
        for count in NODES["cpu"]:
            run(wanted, count, "cpu", torch.float32)
