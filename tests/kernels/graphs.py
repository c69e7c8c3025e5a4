"""What the tests of the kernels share: small graphs with isolated nodes, and every kernel once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from meshlearn import kernels
from meshlearn.kernels import Scatter, Segments, Sparsity


def segments_of(counts: list[int], sender: Tensor | None = None) -> Segments:
    """Segments of the given lengths."""
    rowptr = torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])
    return Segments.from_rowptr(rowptr, sender)


def random_graph(counts: list[int], seed: int) -> Segments:
    """Segments of the given lengths with random senders."""
    generator = torch.Generator().manual_seed(seed)
    return segments_of(counts, torch.randint(len(counts), (sum(counts),), generator=generator))


@dataclass(frozen=True)
class Kernel:
    """A kernel as a function of a graph and tensors of the shapes `inputs` (n, m, w)."""

    inputs: tuple[str, ...]
    call: Callable[..., Tensor]

    def make(self, graph: Segments, width: int, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
        """Random inputs."""
        generator = torch.Generator().manual_seed(seed)
        sizes = {"n": graph.size, "m": len(graph.receiver), "w": width}
        return [
            torch.randn([sizes[c] for c in s], generator=generator, dtype=torch.float64).to(dtype)
            for s in self.inputs
        ]


def with_slopes(kernel: Kernel, graph: Segments, inputs: list[Tensor]) -> list[Tensor]:
    """Result and gradients of the sum of its squares."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    result = kernel.call(graph, *leaves)
    return [result, *torch.autograd.grad(result.to(torch.float64).square().sum(), leaves)]


def sender_of(graph: Segments) -> Tensor:
    """The senders, which these graphs have."""
    assert graph.sender is not None
    return graph.sender


def _fused(activation: str) -> Callable[..., Tensor]:
    def call(g: Segments, r: Tensor, s: Tensor, e: Tensor | None = None) -> Tensor:
        return kernels.gather_combine_reduce(r, s, e, sender_of(g), g, activation)

    return call


def _transposed(g: Segments) -> Sparsity:
    plan = g.outgoing
    return Sparsity(plan.rowptr, g.receiver[plan.order], g.size)


KERNELS: dict[str, Kernel] = {
    "sum": Kernel(("mw",), lambda g, v: kernels.segment_sum(v, g)),
    "mean": Kernel(("mw",), lambda g, v: kernels.segment_mean(v, g)),
    "max": Kernel(("mw",), lambda g, v: kernels.segment_max(v, g)),
    "min": Kernel(("mw",), lambda g, v: kernels.segment_min(v, g)),
    "softmax": Kernel(("mw",), lambda g, v: kernels.segment_softmax(v, g)),
    "gather": Kernel(("nw",), lambda g, h: kernels.gather(h, sender_of(g))),
    "gather, planned": Kernel(("nw",), lambda g, h: kernels.gather(h, sender_of(g), g.outgoing)),
    "scatter": Kernel(("mw",), lambda g, v: kernels.scatter_add(v, Scatter(sender_of(g), g.size))),
    "product": Kernel(("m", "nw"), lambda g, a, h: kernels.sparse_dense(a, h, g.sparsity)),
    "product, transposed": Kernel(
        ("m", "nw"), lambda g, a, h: kernels.sparse_dense(a, h, _transposed(g))
    ),
    "transposed product": Kernel(
        ("m", "nw"), lambda g, a, h: kernels.sparse_transposed_dense(a, h, g.sparsity)
    ),
    "neighbours": Kernel(("nw",), lambda g, h: kernels.sparse_dense(None, h, g.sparsity)),
    "entry_dot": Kernel(("nw", "nw"), lambda g, a, b: kernels.entry_dot(a, b, g.sparsity)),
    "combine": Kernel(
        ("nw", "nw", "mw"), lambda g, r, s, e: kernels.gather_combine(r, s, e, sender_of(g), g)
    ),
    **{f"fused {f}": Kernel(("nw", "nw", "mw"), _fused(f)) for f in ("identity", "relu", "silu")},
    **{f"fused {f}, no edges": Kernel(("nw", "nw"), _fused(f)) for f in ("identity", "silu")},
}
