r"""Message-passing PDE solver: the last K states of a field in, the next K out (temporal bundling).

    m_ij = phi(h_i, h_j, u_i - u_j, x_i - x_j, theta)      j sends to i, theta the parameters
    h_i <- h_i + N(psi(h_i, mean_j m_ij))                  N normalises each mesh by itself
    u_i(t + k dt) = u_i(t) + k/K d_k(h_i)                  d a 1D convolutional network along h_i

The state is a field of K columns, the oldest first: one step of a rollout with the strategy "next"
makes K states. Brandstetter, Worrall & Welling, "Message passing neural PDE solvers", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ..kernels import Segments, row_pointers, segment_mean
from ..mesh import Mesh, MeshError
from ..nn import mlp, segments
from .base import Operator
from .sites import site_graph
from .variables import Variable, columns_of


class MessagePassingSolver(Operator):
    """Message passing on the edges of a mesh of any dimension, from a window of states to the next.

    Args:
        inputs: the window, P1 with `window` columns for each component of the state, and
            parameters of the equation, P0 or P1.
        outputs: the window alone: the same columns, later.
        boundary: see `Operator`; conditions hold each column at its time.
        dim: dimension of space.
        window: K, the states that are read and made at once.
        width: of node features.
        blocks: rounds of messages.
        period: of each axis, 0 where it is not periodic; the mesh has edges that close it.

    Raises:
        MeshError: the window is not the only output and an input, or does not fit the width.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        window: int = 10,
        width: int = 64,
        blocks: int = 6,
        period: Sequence[float] | None = None,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        if len(self.outputs) != 1 or self.outputs[0] not in self.inputs:
            raise MeshError("the solver has one output, the window of states, which it reads, too")
        state = self.outputs[0].width
        if window < 1 or state % window:
            raise MeshError(
                f"the output {self.outputs[0].name!r} has {state} columns, which is no multiple of "
                f"window={window}"
            )
        if period is not None and (len(period) != dim or min(period) < 0):
            raise MeshError(f"period must be {dim} numbers, none negative, got {period}")
        self.config |= {"dim": dim, "window": window, "width": width, "blocks": blocks}
        self.config |= {"period": None if period is None else [float(p) for p in period]}
        parameters = sum(v.width for v in self.inputs) - state
        self.encode = mlp([self.columns_in, width, width], norm=False, between="silu")
        self.layers = nn.ModuleList(
            SolverLayer(width, state + dim, parameters) for _ in range(blocks)
        )
        self.decode = BundleDecoder(width, window, state // window)

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`."""
        self._check_dim(mesh)
        (name,) = (v.name for v in self.outputs)
        places = {v.name: own for v, own in columns_of(self.inputs)}
        own = places.pop(name)
        state = nodes[:, own]
        theta = torch.cat([nodes[:, :0], *(nodes[:, p] for p in places.values())], dim=1)
        sender, receiver = mesh.topology.edge_index
        near = torch.cat([state[receiver] - state[sender], self._offsets(mesh)], dim=1)
        hidden, by_receiver = self.encode(nodes), segments(mesh)
        for layer in self.layers:
            hidden = layer(hidden, near, theta, mesh, by_receiver)
        window = self.config["window"]
        # the last state in units of the outputs, which are those of the decoder
        last = (state * self.input_scale[own] + self.input_mean[own]).view(len(nodes), window, -1)
        mean, scale = (b.view(window, -1) for b in (self.output_mean, self.output_scale))
        steps = torch.arange(1, window + 1, device=nodes.device)[:, None] / window
        later = (last[:, -1:] - mean) / scale + steps * self.decode(hidden)
        return later.reshape(len(nodes), -1)

    def _offsets(self, mesh: Mesh) -> Tensor:
        """Relative positions of the edges, the short way round `[m, dim]`, float32."""
        sender, receiver = mesh.topology.edge_index
        offset = mesh.pos[receiver] - mesh.pos[sender]
        if self.config["period"] is not None:
            period = offset.new_tensor(self.config["period"])
            around = torch.where(period > 0, period, torch.inf)
            turns = (offset / around).round()
            offset = offset - turns * period
        return (offset / self.typical_size.double()).float()


class SolverLayer(nn.Module):
    """One round of messages; see the module.

    Args:
        width: of node features.
        near: columns of the differences along an edge.
        parameters: columns of theta.
    """

    def __init__(self, width: int, near: int, parameters: int) -> None:
        super().__init__()
        # the first layer of phi, applied before the gather
        self.receiver = nn.Linear(width + parameters, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(near, width, bias=False)
        self.message = nn.Linear(width, width)
        self.update = mlp([2 * width + parameters, width, width], norm=False, between="silu")

    def forward(
        self, hidden: Tensor, near: Tensor, theta: Tensor, mesh: Mesh, by_receiver: Segments
    ) -> Tensor:
        """Nodes `[n, width]` after the round."""
        sender, receiver = mesh.topology.edge_index
        own = self.receiver(torch.cat([hidden, theta], dim=1))
        first = own[receiver] + self.sender(hidden)[sender] + self.edge(near)
        mean = segment_mean(silu(self.message(silu(first))), by_receiver)
        return hidden + each_normalised(self.update(torch.cat([hidden, mean, theta], dim=1)), mesh)


class BundleDecoder(nn.Module):
    """A 1D convolutional network along the features of a node: 1 -> 8 -> components channels.

    Args:
        width: of node features.
        window: length of what it returns.
        components: of the state.

    Raises:
        MeshError: the features are too few for the window.
    """

    def __init__(self, width: int, window: int, components: int) -> None:
        super().__init__()
        kernel = min(16, max(width // 2, 1))
        stride = max((width - kernel) // (window + 12), 1)
        between = (width - kernel) // stride + 1
        if between < window:
            raise MeshError(f"a window of {window} states needs more than width={width} features")
        self.layers = nn.Sequential(
            nn.Conv1d(1, 8, kernel, stride),
            nn.SiLU(),
            nn.Conv1d(8, components, between - window + 1),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Features `[n, width]` to changes `[n, window, components]`."""
        found: Tensor = self.layers(hidden[:, None])
        return found.transpose(1, 2)


def each_normalised(x: Tensor, mesh: Mesh) -> Tensor:
    """Columns of `x [n, k]` with mean 0 and deviation 1 over the nodes of each mesh of a batch."""
    number = site_graph(mesh, "P1")
    whole = Segments(row_pointers(torch.bincount(number)), number)
    centred = x - segment_mean(x, whole)[number]
    return centred * (segment_mean(centred.square(), whole) + 1e-5).rsqrt()[number]
