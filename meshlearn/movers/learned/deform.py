"""What M2N and UM2N share: messages of edges, and attention that moves coordinates.

Song, Zhang, Wallwork et al., "M2N: Mesh movement networks for PDE solvers", NeurIPS 2022; Zhang,
Wang, Kramer et al., "Towards universal mesh movement networks", NeurIPS 2024. Per head,

    a_ij(s) = softmax_j selu( s (l . W h_j + r . W h_i) ),     j neighbours of i
    x_i <- mean over heads of sum_j a_ij(1/5) x_j              coordinates
    h_i <- selu( mean over heads of sum_j a_ij(1) W h_j )      features

and the nodes of the boundary are put back. A node ends in the convex hull of its neighbours, which
does not keep cells from being inverted: the guard does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...kernels import Segments, gather, segment_softmax, segment_sum
from ...mesh import Mesh
from ...nn import segments
from ..constraints import Freedom
from .frame import Frame

_SOFT = 0.2
"""Scale of the scores that weigh coordinates: more even than those of the features."""


class EdgeSum(nn.Module):
    """Sum over the edges of a node of an MLP of (x_j - x_i, |x_j - x_i|, f_i, f_j), and of lengths.

    Args:
        features: numbers f of a node.
        width: of the hidden layers.
        out: numbers of a node that come out.
    """

    def __init__(self, features: int, width: int = 64, out: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 + 2 * features, width),
            nn.SELU(),
            nn.Linear(width, width),
            nn.SELU(),
            nn.Linear(width, out - 1),
            nn.SELU(),
        )

    def forward(self, pos: Tensor, features: Tensor, senders: Tensor, by: Segments) -> Tensor:
        """Node sums `[n, out]` from positions `[n, 2]` and features `[n, k]`."""
        own = by.receiver
        offset = (pos[senders] - pos[own]).float()
        length = offset.norm(dim=1, keepdim=True)
        rows = torch.cat([offset, length, gather(features, own), gather(features, senders)], dim=1)
        return segment_sum(torch.cat([self.layers(rows), length], dim=1), by)


class DeformAttention(nn.Module):
    """One layer: new coordinates and new features of every node.

    Args:
        width, out: numbers of a node that go in and come out.
        heads: of the attention.
    """

    def __init__(self, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.heads, self.out = heads, out
        self.value = nn.Linear(width, heads * out)
        self.sender = nn.Parameter(torch.empty(heads, out))
        self.receiver = nn.Parameter(torch.empty(heads, out))
        for weight in (self.value.weight, self.sender, self.receiver):
            nn.init.xavier_uniform_(weight)

    def forward(
        self, pos: Tensor, h: Tensor, senders: Tensor, by: Segments
    ) -> tuple[Tensor, Tensor]:
        """Coordinates `[n, 2]`, float64, and features `[n, out]`."""
        value = self.value(h).view(-1, self.heads, self.out)
        score = gather((value * self.sender).sum(dim=2), senders)
        score = score + gather((value * self.receiver).sum(dim=2), by.receiver)
        soft = segment_softmax(nn.functional.selu(_SOFT * score), by).double().mean(dim=1)
        near = segment_sum(soft[:, None] * gather(pos, senders), by)
        weight = segment_softmax(nn.functional.selu(score), by)
        # Head by head: no [edges, heads, out] in memory.
        parts = [
            segment_sum(weight[:, k, None] * gather(value[:, k], senders), by)
            for k in range(self.heads)
        ]
        return near, nn.functional.selu(torch.stack(parts).mean(dim=0))


class Deformer(nn.Module):
    """Layers of `DeformAttention`; each sees all coordinates so far.

    Args:
        features: numbers of a node besides its coordinates.
        first: width of the linear layer before.
        widths: of the layers.
        heads: of the attention.
        sliding: whether boundary nodes slide along flat sides (as the published code has it on the
            square), or are all put back (as it has it on polygons).
    """

    def __init__(
        self, features: int, first: int, widths: Sequence[int], heads: int, sliding: bool
    ) -> None:
        super().__init__()
        self.sliding = sliding
        self.first = nn.Linear(2 + features, first)
        before = [first, *widths[:-1]]
        self.layers = nn.ModuleList(
            DeformAttention(2 * (k + 1) + width, out, heads)
            for k, (width, out) in enumerate(zip(before, widths, strict=True))
        )

    def forward(self, mesh: Mesh, frame: Frame, features: Tensor, free: Freedom) -> Tensor:
        """Displacement `[n, 2]`, float64, in the mesh's units, from features `[n, k]`."""
        by, senders = segments(mesh), mesh.topology.edge_index[0]
        places = [frame.pos]
        h = nn.functional.selu(self.first(torch.cat([frame.pos.float(), features], dim=1)))
        for layer in self.layers:
            seen = torch.cat([*(place.float() for place in places), h], dim=1)
            pos, h = layer(places[0], seen, senders, by)
            places.insert(0, frame.pos + self._allowed(pos - frame.pos, free))
        return frame.scale * (places[0] - frame.pos)

    def _allowed(self, displacement: Tensor, free: Freedom) -> Tensor:
        if self.sliding:
            return free.project(displacement)
        still = torch.ones_like(displacement[:, :1])
        still[free.nodes] = 0
        return still * displacement


def boundary_flag(mesh: Mesh) -> Tensor:
    """1 on the boundary, 0 inside `[n, 1]`, float32."""
    flag = torch.zeros(len(mesh.pos), 1, device=mesh.pos.device)
    flag[mesh.boundary_nodes] = 1
    return flag
