r"""MeshGraphNet: encode, process, decode, with world edges where they are asked for.

    e_ij <- e_ij + f_M(e_ij, h_i, h_j)        mesh edges
    w_ij <- w_ij + f_W(w_ij, h_i, h_j)        world edges: nodes near in space, not joined by a cell
    h_i  <- h_i  + f_V(h_i, sum_j e_ij),  then the same with w

Edge features are the relative position and its length, in units of the mean edge of the training
data; world edges have those in the mesh and in the world. Pfaff, Fortunato, Sanchez-Gonzalez &
Battaglia, ICLR 2021; there both sums enter one node update, here there are two updates, one after
the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..kernels import gather
from ..mesh import Mesh, MeshError
from ..nn import MeshBlock, mlp, pair_segments, radius_graph, segments
from .base import Fields, Operator
from .extension import Extension, check_conditions, extended, extension
from .sites import site_graph
from .variables import Variable, columns_of


class MeshGraphNet(Operator):
    """Message passing on the edges of the mesh.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        width: of node and edge features.
        blocks: message-passing blocks.
        noise: deviation of the noise of `perturbed`, in units of that of each input.
        world_radius: nodes so near in space are joined, too; 0 for mesh edges only.
        world: name of the input that is the displacement from the mesh to the world, a P1 vector;
            by default the mesh is the world.
        differences: whether edges see the differences of the node features, too: what a rate of
            change depends on, and hard to learn from the features themselves.
        conditions: "nodal" shows Dirichlet data where they are held, "extended" as continuous
            fields, the network giving what is to be added to them (see `extension`).
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        width: int = 32,
        blocks: int = 8,
        noise: float = 0.0,
        world_radius: float = 0.0,
        world: str | None = None,
        differences: bool = False,
        conditions: str = "nodal",
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        check_conditions(conditions)
        if noise < 0 or world_radius < 0:
            raise MeshError(f"noise and world_radius are not negative: {noise}, {world_radius}")
        moved = [v for v in self.inputs if v.name == world]
        if world is not None and (not moved or moved[0] != Variable(world, "P1", dim)):
            raise MeshError(
                f"the displacement {world!r} must be an input, P1 with {dim} components"
            )
        options = {"dim": dim, "width": width, "blocks": blocks, "noise": noise}
        self.config |= {**options, "world_radius": world_radius, "world": world}
        self.config |= {"differences": differences, "conditions": conditions}
        self.encode_nodes = mlp([self.columns_in, width, width])
        compared = self.columns_in if differences else 0
        self.encode_edges = mlp([dim + 1 + compared, width, width])
        self.blocks = nn.ModuleList(MeshBlock(width) for _ in range(blocks))
        extra = blocks if world_radius else 0
        self.encode_world = mlp([2 * dim + 2, width, width]) if extra else None
        self.world_blocks = nn.ModuleList(MeshBlock(width) for _ in range(extra))
        self.decode = mlp([width, width, self.columns_out], norm=False)

    def perturbed(self, fields: Fields, rng: np.random.Generator) -> dict[str, Tensor]:
        """See `Operator`: with the noise of the options added."""
        noise = self.config["noise"]
        return {**fields, **self.with_noise(fields, noise, rng)} if noise else dict(fields)

    def prepare(self, mesh: Mesh) -> Extension | None:
        """The equation of the extension, if there is one."""
        return extension(mesh) if self.config["conditions"] == "extended" else None

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Extension | None) -> Tensor:
        """See `Operator`."""
        self._check_dim(mesh)
        if prepared is None:
            return self._network(mesh, nodes)
        nodes, carried = extended(nodes, self.outputs, prepared)
        return carried + self._network(mesh, nodes)

    def _network(self, mesh: Mesh, nodes: Tensor) -> Tensor:
        edge_index, by_receiver = mesh.topology.edge_index, segments(mesh)
        features = [self._offsets(mesh.pos, edge_index)]
        if self.config["differences"]:
            # a difference of neighbours is a tenth or so of the deviation
            features.append(10 * (gather(nodes, edge_index[0]) - gather(nodes, edge_index[1])))
        edges = self.encode_edges(torch.cat(features, dim=1))
        near = world = None
        if self.encode_world is not None:
            place = self._world(mesh, nodes)
            near = world_edges(mesh, place, self.config["world_radius"])
            both = [self._offsets(mesh.pos, near), self._offsets(place, near)]
            world = self.encode_world(torch.cat(both, dim=1))
        hidden = self.encode_nodes(nodes)
        by_world = None if near is None else pair_segments(near, mesh.num_nodes)
        for k, block in enumerate(self.blocks):
            hidden, edges = block(hidden, edges, edge_index, by_receiver)
            if near is not None:
                hidden, world = self.world_blocks[k](hidden, world, near, by_world)
        return self.decode(hidden)

    def _offsets(self, pos: Tensor, edge_index: Tensor) -> Tensor:
        offset = (pos[edge_index[0]] - pos[edge_index[1]]) / self.typical_size.double()
        return torch.cat([offset, offset.norm(dim=1, keepdim=True)], dim=1).float()

    def _world(self, mesh: Mesh, nodes: Tensor) -> Tensor:
        """Positions in the world: the displacement is among the node features, scaled."""
        for variable, own in columns_of(self.inputs):
            if variable.name == self.config["world"]:
                return mesh.pos + nodes[:, own] * self.input_scale[own] + self.input_mean[own]
        return mesh.pos


def world_edges(mesh: Mesh, place: Tensor, radius: float) -> Tensor:
    """Pairs of nodes within a radius that no edge of the mesh joins, by receiver `[2, m]`.

    Args:
        mesh: a mesh or batch.
        place: positions of its nodes `[n, d]`.
        radius: in their units.
    """
    pairs = radius_graph(place.detach(), radius, site_graph(mesh, "P1"))
    n, (sender, receiver) = mesh.num_nodes, mesh.topology.edge_index
    known = torch.isin(pairs[1] * n + pairs[0], receiver * n + sender)
    return pairs[:, ~known]
