r"""Geometry-informed neural operator: kernel integrals to a grid, Fourier layers, and back.

    v(y)  = int_{B(y, r)} c(|x - y|) kappa_in(x, y, a(x)) L a(x) dx          grid points y
    v    <- v + sigma( W v + F^-1 R F v )                                    Fourier layers
    u(x)  = Q [ int_{B(x, r)} c(|x - y|) kappa_out(x, y, a(x)) v(y) dy, a(x) ]

The grid lies over the bounding box of each mesh, with a margin, and lengths are in units of the
box. Integrals are sums with the volumes of nodes and grid points; c is a half cosine.

Li et al., "Geometry-informed neural operator for large-scale 3D PDEs", NeurIPS 2023. The Fourier
layer is our own (`spectral`): the package neuraloperator 2.0 requires wandb, zencfg, configmypy,
tensorly, tensorly-torch, opt-einsum, h5py and matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..mesh import Mesh, MeshError
from ..nn import mlp
from .extension import IntegralOperator
from .gno import KernelIntegral, Neighbourhood, balls
from .latent_grid import LatentGrid, latent_grid
from .spectral import SpectralBlock
from .variables import Variable


@dataclass(frozen=True)
class GridTransfer:
    """The latent grid of a mesh or batch, and the balls from nodes to it and back."""

    grid: LatentGrid
    into: Neighbourhood
    back: Neighbourhood


def grid_transfer(
    mesh: Mesh, size: int, radius: float, weights: str, margin: float = 0.0
) -> GridTransfer:
    """Balls around grid points and around nodes.

    Args:
        mesh: a mesh or batch.
        size, margin: see `latent_grid`.
        radius: of the balls, in units of the box.
        weights: of the nodes, see `gno.balls`; "volume" leaves the domain's shape in the result.
    """
    grid = latent_grid(mesh, size, margin)
    nodes, points = (grid.nodes, grid.node_graph), (grid.points, grid.graph)
    # grid points are spaced evenly: only what comes from the mesh can be out of balance
    into = balls(nodes, points, radius, grid.node_volume, weights)
    back = balls(points, nodes, radius, grid.volume, "volume")
    return GridTransfer(grid, into, back)


class GINO(IntegralOperator):
    """From the mesh to a regular grid, Fourier layers there, and back to the nodes.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space, 2 or 3.
        grid: points along each axis.
        modes: frequencies along each axis.
        radius: of the balls, in units of the bounding box; more than the width of a cell.
        width: channels.
        blocks: Fourier layers.
        hidden: width of the kernels' MLPs.
        weights: see `gno.balls`; with "mean" and "none" the result changes with the mesh.
        conditions: see `IntegralOperator`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        grid: int = 16,
        modes: int = 6,
        radius: float = 0.15,
        width: int = 24,
        blocks: int = 4,
        hidden: int = 32,
        weights: str = "volume",
        conditions: str = "extended",
    ) -> None:
        super().__init__(inputs, outputs, boundary, dim=dim, conditions=conditions, weights=weights)
        if not 1 <= modes <= grid // 2:
            raise MeshError(
                f"a grid of {grid} points a side has 1 to {grid // 2} modes, got {modes}"
            )
        self.config |= {"grid": grid, "modes": modes, "radius": radius, "width": width}
        self.config |= {"blocks": blocks, "hidden": hidden}
        given = self.columns_in
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.into = KernelIntegral(width, given, dim, hidden, asked=0)
        self.place = nn.Linear(2 * dim, width)
        self.blocks = nn.ModuleList(SpectralBlock(width, modes, dim) for _ in range(blocks))
        self.back = KernelIntegral(width, 0, dim, hidden, asked=given)
        self.project = mlp([width + given, 2 * width, self.columns_out], norm=False, between="gelu")

    def geometry(self, mesh: Mesh) -> GridTransfer:
        """The grid, and the balls."""
        c = self.config
        return grid_transfer(mesh, c["grid"], c["radius"], c["weights"], margin=c["radius"])

    def network(self, mesh: Mesh, nodes: Tensor, geometry: GridTransfer) -> Tensor:
        """See `IntegralOperator`."""
        grid = geometry.grid
        none = nodes.new_zeros(len(grid.points), 0)
        values = self.into(self.lift(nodes), nodes, geometry.into, none)
        place = torch.cat([grid.points.to(nodes), grid.sides.to(nodes)[grid.graph]], dim=1)
        values = values + self.place(place)
        regular = values.reshape(grid.graphs, *([grid.size] * mesh.dim), -1)
        for block in self.blocks:
            regular = block(regular)
        found = self.back(regular.reshape(values.shape), none, geometry.back, nodes)
        return self.project(torch.cat([found, nodes], dim=1))
