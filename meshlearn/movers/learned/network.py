"""The network of the universal mover: local messages, one elliptic solve, local corrections.

    q_i = (E_i / h_i) (-c_i f_i + sum_j a_ij r_ij / h_i)      learned forces
    u   = F A^-1 F^T q / mean energy density                  smooth over the whole domain
    x  <- x + u + h_i mean_j b_ij r_ij / h_i                  and a local correction

c, a and b come from a graph network that sees only invariant numbers (`state`); vectors are made
of the edges r_ij = x_j - x_i and of the pull f, so that the motion turns and scales with the mesh.
With a = b = 0 and constant c it is a step of preconditioned descent on the Huang-Kamenski energy.
The elliptic solve is the global reach: no attention over all nodes, no pooled copy of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...kernels import Segments, gather_combine, segment_mean, segment_sum
from ...nn import LayerNorm
from .state import EDGE_FEATURES, NODE_FEATURES, Problem, State

_SLOPE = 0.5
"""Largest local correction: half the mean edge vector."""
_TILE = 1 << 18
"""Numbers of a tile of edges that stays in the cache (1 MB)."""


def _hidden(
    layers: tuple[nn.Linear, nn.Linear, nn.Linear], h: Tensor, edges: Tensor, problem: Problem
) -> Iterator[tuple[Segments, Tensor]]:
    """silu(W_r h_i + W_s h_j + W_e e_ij) on the edges of some receivers after the other.

    All receivers at once where autograd follows, or on other devices; else tiles whose edges stay
    in the cache, in memory that is used again for the next.

    Args:
        layers: W_r, W_s and W_e.
        h: node features `[n, width]`.
        edges: edge features `[m, EDGE_FEATURES]`.
        problem: of the move.
    """
    to, sent, on_edge = layers
    first, second = to(h), sent(h)
    if torch.is_grad_enabled() or not h.is_cpu:
        segments = problem.segments
        whole = gather_combine(first, second, on_edge(edges), problem.senders, segments)
        yield segments, nn.functional.silu(whole)
        return
    tiles = problem.tiles(_TILE // h.shape[1])
    room = h.new_empty(max(len(part.receiver) for _, _, part in tiles), h.shape[1])
    for low, begin, part in tiles:
        size, end = len(part.receiver), begin + len(part.receiver)
        z = torch.mm(edges[begin:end], on_edge.weight.T, out=room[:size])
        z += first[low : low + part.size].index_select(0, part.receiver)
        z += second.index_select(0, problem.senders[begin:end])
        yield part, nn.functional.silu(z, inplace=True)


class Messages(nn.Module):
    """h_i <- h_i + W [h_i, mean_j silu(W_r h_i + W_s h_j + W_e e_ij), mean h], normalised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(EDGE_FEATURES, width, bias=False)
        self.own = nn.Linear(width, width)
        self.message = nn.Linear(width, width, bias=False)
        self.context = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm = LayerNorm(width)

    def forward(self, h: Tensor, edges: Tensor, problem: Problem) -> Tensor:
        """Update node features `[n, width]`."""
        layers = self.receiver, self.sender, self.edge
        parts = _hidden(layers, h, edges, problem)
        arrived = torch.cat([segment_mean(z, part) for part, z in parts])
        context = problem.at_nodes(self.context(problem.means(h)))
        inner = nn.functional.silu(self.own(h) + self.message(arrived) + context)
        return h + self.norm(self.out(inner))


class MoverNet(nn.Module):
    """Displacement of every node from the state of a move.

    Args:
        width: of the node features.
        layers: rounds of messages.
    """

    def __init__(self, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.config = {"width": width, "layers": layers}
        self.encode = nn.Sequential(
            nn.Linear(NODE_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.layers = nn.ModuleList(Messages(width) for _ in range(layers))
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(EDGE_FEATURES, width, bias=False)
        self.weights = nn.Linear(width, 2)
        self.gain = nn.Linear(width, 1)
        for last in (self.weights, self.gain):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.constant_(self.gain.bias, -1.5)

    def forward(self, problem: Problem, state: State) -> Tensor:
        """The proposed displacement `[n, d]`, float64, allowed by the sides of the domain."""
        segments = problem.segments
        h = self.encode(state.nodes)
        for layer in self.layers:
            h = layer(h, state.edges, problem)
        layers = self.receiver, self.sender, self.edge
        parts = _hidden(layers, h, state.edges, problem)
        # Networks are float32, geometry is float64: the border is here.
        weights = torch.cat([self.weights(z) for _, z in parts]).double()
        gain = nn.functional.softplus(self.gain(h)).double()
        # A mesh that is where it should be has no spread: nothing moves there.
        active = torch.tanh(4 * state.spread)[:, None]
        drive = segment_sum(weights[:, :1] * state.unit, segments)
        force = (state.energy / state.local)[:, None] * (active * drive - gain * state.force)
        smooth: Tensor = _Elliptic.apply(force / state.scale[:, None], problem)  # type: ignore[no-untyped-call]
        correction = segment_mean(torch.tanh(weights[:, 1:]) * state.unit, segments)
        local = _SLOPE * active * state.local[:, None] * correction
        return smooth + problem.free.project(local)


class _Elliptic(torch.autograd.Function):
    """F A^-1 F^T: symmetric, so the backward pass is the same solve."""

    @staticmethod
    def forward(ctx: Any, force: Tensor, problem: Problem) -> Tensor:
        ctx.problem = problem
        return problem.solve(force)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return ctx.problem.solve(grads[0]), None
