"""What a learned mover sees of a mesh and a monitor: numbers without units, frame or node order.

At node i, with V the volume that belongs to it, V_0 the same in the reference mesh, h = V^(1/d)
its local size, rho the density of the monitor, and E_i and g_i the node's share of the
Huang-Kamenski energy (see `movers.energy`) and the energy's gradient:

- s_i = log(rho V / V_0) minus its mean: 0 everywhere on an equidistributed mesh;
- f_i = g_i h_i / E_i, the pull of the energy in local units;
- D, the elliptic solve F A^-1 F^T of -g (see `movers.preconditioner`): what the whole domain asks
  of the node. Only its strain along edges is looked at, so that a long way costs no more than a
  short one.

Vectors enter through their components along edges; everything is therefore invariant to
translation, rotation, scale and numbering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...kernels import Scatter, Segments
from ...mesh import Mesh
from ...monitors import Monitor, Sample
from ...nn import segments
from ..base import scatter_to_nodes
from ..constraints import Freedom
from ..corners import Shapes
from ..energy import HuangKamenski
from ..equidistribution import density, log_density_gradient
from .factors import preconditioner

NODE_FEATURES = 12
EDGE_FEATURES = 9
_THETA, _P = 0.2, 1.5
_TINY = 1e-30


class Problem:
    """One move: what stays the same while its nodes travel.

    Args:
        mesh: the reference mesh (or a batch).
        monitor: density or metric.
        free: allowed motions.

    Attributes:
        energy: the Huang-Kamenski functional against the reference mesh.
        graph: graph of the batch that each node belongs to `[n]`; all 0 for one mesh.
        graphs: how many.
    """

    def __init__(self, mesh: Mesh, monitor: Monitor, free: Freedom, typical: float) -> None:
        self.mesh, self.monitor, self.free = mesh, monitor, free
        self.energy = HuangKamenski(mesh, _THETA, _P, typical)
        self.preconditioner = preconditioner(mesh, self.energy.nodes, free)
        self.segments: Segments = segments(mesh)
        self.senders, self.receivers = mesh.topology.edge_index.unbind(0)
        own = mesh.get("batch")
        self.graph = torch.zeros_like(mesh.pos[:, 0], dtype=torch.int64) if own is None else own
        self.graphs = int(self.graph.max()) + 1
        self.reference_size = self._node_volumes(self.energy.reference_volume)
        self.weight = self.reference_size / self._sum(self.reference_size)
        self.reference_length = self._offsets(mesh.pos).norm(dim=1).float()
        kind = torch.full((len(mesh.pos),), mesh.dim, device=mesh.pos.device)
        kind[free.nodes] = free.free
        self.kind = torch.stack([kind == mesh.dim, (kind < mesh.dim) & (kind > 0), kind == 0], 1)
        self.simplex_graph = self.graph[self.energy.nodes[:, 0]]
        self._edge_graph = self.graph[self.receivers]
        self._tiles: dict[int, list[tuple[int, int, Segments]]] = {}

    def _node_volumes(self, volume: Tensor) -> Tensor:
        """Volume that belongs to each node `[n]`, from those of the simplices."""
        return self._to_nodes(self.energy.weight * volume)

    def _to_nodes(self, parts: Tensor) -> Tensor:
        """What simplices hold, in equal shares to their corners `[s] -> [n]`."""
        share = (parts / (self.mesh.dim + 1))[:, None].expand(-1, self.mesh.dim + 1)
        return scatter_to_nodes(share, self.energy.nodes, len(self.mesh.pos))

    def _sum(self, values: Tensor) -> Tensor:
        """Sum over each graph, given back to its nodes `[n] -> [n]`."""
        return self.at_nodes(self.total(values))

    def at_nodes(self, values: Tensor) -> Tensor:
        """What is known of each graph, at its nodes `[graphs, ...] -> [n, ...]`."""
        if self.graphs == 1:
            return values.expand(len(self.graph), *values.shape[1:])
        return values.index_select(0, self.graph)

    def total(self, values: Tensor) -> Tensor:
        """Sum over each graph `[n] -> [graphs]`."""
        if self.graphs == 1:
            return values.sum(dim=0, keepdim=True)
        return values.new_zeros(self.graphs).index_add(0, self.graph, values)

    def mean(self, values: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean over each graph, given back to its nodes `[n] -> [n]`."""
        return self._sum(values * weight) / self._sum(weight)

    def means(self, rows: Tensor) -> Tensor:
        """Mean of the rows of each graph, by the volume that belongs to them `[graphs, k]`."""
        weight = self.weight.to(rows.dtype)[:, None]
        if self.graphs == 1:
            return weight.T @ rows
        total = rows.new_zeros(self.graphs, rows.shape[1])
        return total.index_add(0, self.graph, rows * weight)

    def largest(self, values: Tensor, graph: Tensor) -> Tensor:
        """Largest over each graph `[graphs]`, of values that are not negative."""
        if self.graphs == 1:
            return values.amax(dim=0, keepdim=True)
        return values.new_zeros(self.graphs).scatter_reduce(0, graph, values, "amax")

    def solve(self, force: Tensor) -> Tensor:
        """F A^-1 F^T of a force `[n, d]`: an allowed, smooth motion of the whole domain."""
        pre = self.preconditioner
        flat = pre.basis_t @ force.detach().cpu().numpy().reshape(-1)
        full = (pre.basis @ pre(flat)).reshape(force.shape)
        return torch.from_numpy(np.ascontiguousarray(full)).to(force)

    def _recovered(self, value: Tensor, shapes: Shapes) -> Tensor:
        """Volume-weighted mean of the gradients around each node `[n, ..., d]`."""
        nodes, inverted, count = self.energy.nodes, shapes.inverse, len(value)
        flat = value.reshape(count, -1)
        jumps = [flat[nodes[:, j + 1]] - flat[nodes[:, 0]] for j in range(self.mesh.dim)]
        volume = self.energy.weight * shapes.volume
        slopes = [
            torch.stack([inverted[j][k][:, None] * jump for j, jump in enumerate(jumps)]).sum(0)
            for k in range(self.mesh.dim)
        ]
        weighted = torch.stack(slopes, dim=2) * volume[:, None, None]
        corners = weighted[:, None].expand(-1, nodes.shape[1], -1, -1)
        total = scatter_to_nodes(corners, nodes, count)
        share = scatter_to_nodes(volume[:, None].expand(-1, nodes.shape[1]), nodes, count)
        return (total / share[:, None, None]).reshape(*value.shape, self.mesh.dim)

    def tiles(self, edges: int) -> list[tuple[int, int, Segments]]:
        """Some receivers after the other: the first, its first edge, and all their edges.

        Args:
            edges: about how many together.
        """
        if edges not in self._tiles:
            own = self.segments
            self._tiles[edges] = [
                (
                    low,
                    begin,
                    Segments(own.rowptr[low : high + 1] - begin, own.receiver[begin:end] - low),
                )
                for low, high, begin, end in own.tiles(edges)
            ]
        return self._tiles[edges]

    def around(self, nodes: Tensor) -> Tensor:
        """The simplices that touch some nodes `[k] -> [m]`, each once."""
        plan = self.mesh.topology.remember("corner simplices of each node", self._incidence)
        first, count = plan.rowptr[nodes], plan.rowptr[nodes + 1] - plan.rowptr[nodes]
        begin = (first - count.cumsum(0) + count).repeat_interleave(count)
        entry = plan.order[begin + torch.arange(len(begin), device=begin.device)]
        return torch.unique(entry // (self.mesh.dim + 1))

    def _incidence(self) -> Scatter:
        return Scatter(self.energy.nodes.reshape(-1), len(self.mesh.pos))

    def _offsets(self, pos: Tensor) -> Tensor:
        return pos[self.senders] - pos[self.receivers]

    def place(self, pos: Tensor, hint: Tensor | None, value: Tensor | None = None) -> Place:
        """The energy at a valid position.

        Args:
            pos: `[n, d]`.
            hint: where a nearby position was found in the monitor's mesh.
            value: the monitor there, if known.
        """
        if value is None:
            value, hint = self.monitor.at(pos, hint)
        shapes = self.energy.shapes(pos)
        return Place(pos, value, hint, shapes, self._to_nodes(self.energy.parts(shapes, value)))

    def look(self, pos: Tensor, hint: Tensor | None) -> State:
        """Everything at a valid position `[n, d]`."""
        return self.look_at(self.place(pos, hint))

    def look_at(self, place: Place) -> State:
        """The rest of what is known there; it also takes the elliptic solve there."""
        pos, shapes, share = place.pos, place.shapes, place.energy
        # Where a node sits on a node of the monitor's mesh, the gradient there has no one value.
        sample = Sample(place.value, self._recovered(place.value, shapes), place.hint)
        found = self.energy.evaluate(pos, sample, shapes)
        self.preconditioner.deform(self.energy.deformation(pos, shapes).cpu().numpy())
        d = self.mesh.dim
        size = self._node_volumes(shapes.volume)
        local = size ** (1 / d)
        scale = self.mean(share / size, size)  # mean energy density of the graph
        rho = density(sample.value)
        level = torch.log(rho * size / self.reference_size)
        level = level - self.mean(level, self.reference_size)
        pull = self.free.project(found.gradient)
        smooth = self.solve(-pull / scale[:, None])
        # Edges outnumber nodes: what only the network sees of them is float32 from here on.
        own, other = self.receivers, self.senders
        offset = self._offsets(pos)
        unit = offset / local.index_select(0, own)[:, None]
        step = unit.float()
        length = step.norm(dim=1)
        ahead = smooth.index_select(0, other) - smooth.index_select(0, own)
        ahead = (ahead / local.index_select(0, own)[:, None]).float()
        strain = self._along(ahead, step) / length**2
        largest = self.largest(strain.abs(), self._edge_graph) + _TINY
        strain = strain / (largest if self.graphs == 1 else largest[self._edge_graph])
        force = pull * (local / share)[:, None]
        slope = log_density_gradient(sample.value, sample.gradient) * local[:, None]
        log_rho = rho.log()
        log_rho = log_rho - self.mean(log_rho, self.reference_size)
        spread = self.mean(level**2, self.reference_size).sqrt()
        reach = smooth.norm(dim=1) / self.at_nodes(largest) / local
        nodes = torch.stack(
            [
                level,
                torch.log(size / self.reference_size),
                log_rho,
                torch.log1p(force.norm(dim=1)),
                torch.log1p(slope.norm(dim=1)),
                torch.log1p(reach),
                spread,
                self.at_nodes(torch.log(largest).clamp(-6, 6) / 3),
                torch.log(share / size / scale),
            ],
            dim=1,
        )
        pulls, slopes = force.float(), slope.float()
        levels, rhos, sizes = level.float(), log_rho.float(), local.float()
        edges = torch.stack(
            [
                length,
                torch.log(length * (sizes.index_select(0, own) / self.reference_length)),
                _asinh(self._along(step, pulls.index_select(0, own))),
                _asinh(self._along(step, pulls.index_select(0, other))),
                _asinh(self._along(step, slopes.index_select(0, own))),
                strain,
                levels.index_select(0, other) - levels.index_select(0, own),
                rhos.index_select(0, other) - rhos.index_select(0, own),
                _stretch(sample.value, rho, step / length[:, None], own),
            ],
            dim=1,
        )
        return State(
            pos=pos,
            sample=sample,
            energy=share,
            gradient=found.gradient,
            force=force,
            scale=scale,
            local=local,
            smooth=smooth,
            unit=unit,
            nodes=torch.cat([nodes.float(), self.kind.float()], dim=1),
            edges=edges,
            spread=spread,
        )

    @staticmethod
    def _along(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).sum(dim=1)


@dataclass(frozen=True)
class Place:
    """A position and its energy.

    Attributes:
        pos: `[n, d]`.
        value: of the monitor there `[n]` or `[n, d, d]`.
        hint: where it was found in the monitor's mesh.
        shapes: of the simplices there.
        energy: each node's share of the energy `[n]`.
    """

    pos: Tensor
    value: Tensor
    hint: Tensor | None
    shapes: Shapes
    energy: Tensor


@dataclass(frozen=True)
class State:
    """A position and all that is known there.

    Attributes:
        pos: `[n, d]`.
        sample: the monitor there, with its recovered gradient.
        energy: each node's share of the energy `[n]`.
        gradient: of the energy `[n, d]`.
        force: the gradient in local units, without what the sides do not allow `[n, d]`.
        scale: mean energy density of the node's graph `[n]`.
        local: local size `[n]`.
        smooth: the elliptic solve of the negative gradient over `scale` `[n, d]`.
        unit: edge vectors over the receiver's local size `[m, d]`.
        nodes: invariant node features `[n, NODE_FEATURES]`, float32.
        edges: invariant edge features `[m, EDGE_FEATURES]`, float32.
        spread: root mean square of s over the node's graph `[n]`.
    """

    pos: Tensor
    sample: Sample
    energy: Tensor
    gradient: Tensor
    force: Tensor
    scale: Tensor
    local: Tensor
    smooth: Tensor
    unit: Tensor
    nodes: Tensor
    edges: Tensor
    spread: Tensor


def _stretch(value: Tensor, rho: Tensor, direction: Tensor, own: Tensor) -> Tensor:
    """Logarithm of the metric's length of a direction against that of an isotropic metric `[m]`."""
    if value.dim() == 1:
        return torch.zeros_like(direction[:, 0])
    shape = (value / (rho ** (2 / direction.shape[1]))[:, None, None]).float()
    x, axes = direction.unbind(dim=1), range(direction.shape[1])
    square = torch.zeros_like(x[0])
    for i in axes:
        for j in axes:
            square.addcmul_(shape[:, i, j].index_select(0, own), x[i] * x[j])
    return square.log() / 2


def _asinh(x: Tensor) -> Tensor:
    """asinh, several times as fast as torch's own on the CPU."""
    size = x.abs()
    return torch.log1p(size + size * (size / (1 + torch.sqrt(size**2 + 1)))).copysign(x)
