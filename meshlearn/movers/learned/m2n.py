"""M2N: global features by a CNN over a sampled grid, the graph-attention deformer.

Song, Zhang, Wallwork, Gao, Tian, Sun, Piggott, Chen, Shi, Chen & Wang, "M2N: Mesh movement
networks for PDE solvers", NeurIPS 2022 (the variant with graph attention). A baseline: trained for
one PDE and one domain; it sees the solution, so its monitor must bring it (`WithSolution`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from ...mesh import Mesh, MeshError
from ...mesh.locate import Locator
from ...monitors import Monitor
from ...monitors.base import Sample
from ...nn import segments
from ..constraints import Freedom
from ..equidistribution import density
from .deform import Deformer, EdgeSum, boundary_flag
from .frame import Frame
from .one_pass import Network, OnePass, nodal_density, single


class WithSolution(Monitor):
    """A monitor together with the solution it came from.

    Args:
        monitor: density or metric.
        mesh: mesh of the solution.
        u: nodal values `[n]`.
    """

    def __init__(self, monitor: Monitor, mesh: Mesh, u: Tensor) -> None:
        if u.shape != (len(mesh.pos),):
            raise MeshError(f"the solution must be [{len(mesh.pos)}], got {list(u.shape)}")
        self.monitor, self.mesh, self.u = monitor, mesh, u

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self.mesh)

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        """That of the monitor."""
        return self.monitor.sample(pos, hint)

    def solution(self, pos: Tensor) -> Tensor:
        """The solution at positions `[q, d] -> [q]`; outside, that of the nearest boundary."""
        return self._locator.interpolate(self.u, self._locator.find(pos))


class M2NNet(Network):
    """Grid and nodes see the solution and the monitor, each over its largest value.

    Args:
        resolution: points of the grid along each axis.
        out: features of a node from the grid and from the edges.
        first, widths, heads: of the deformer (see `deform`).
        sliding: whether boundary nodes slide (see `deform`).
    """

    def __init__(
        self,
        resolution: int = 20,
        out: int = 16,
        first: int = 254,
        widths: Sequence[int] = (508, 250, 120, 20),
        heads: int = 6,
        sliding: bool = True,
    ) -> None:
        super().__init__()
        self.config = {
            "resolution": resolution,
            "out": out,
            "first": first,
            "widths": list(widths),
            "heads": heads,
            "sliding": sliding,
        }
        self.resolution = resolution
        sizes = ((2, 32, 3), (32, 64, 5), (64, 32, 3), (32, out, 3))
        layers: list[nn.Module] = []
        for before, after, kernel in sizes:
            layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.SELU()]
        self.grid = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.edges = EdgeSum(2, 64, out)
        self.deformer = Deformer(2 * out + 3, first, widths, heads, sliding)

    def displacement(self, mesh: Mesh, monitor: Monitor, free: Freedom) -> Tensor:
        """See `Network`.

        Raises:
            MeshError: a batch, or a monitor without its solution.
        """
        single(mesh, "M2N")
        if not isinstance(monitor, WithSolution):
            raise MeshError(
                "M2N sees the solution besides the monitor: give it "
                "movers.learned.WithSolution(monitor, mesh, u)"
            )
        frame = Frame.of(mesh)
        points = grid_points(frame, self.resolution)
        picture = torch.stack(
            [relative(monitor.solution(points)), relative(density(monitor.sample(points).value))]
        )
        whole = self.grid(picture.view(1, 2, self.resolution, self.resolution))
        node = torch.stack(
            [relative(monitor.solution(mesh.pos)), relative(nodal_density(mesh, monitor))], dim=1
        )
        edges = self.edges(frame.pos, node, mesh.topology.edge_index[0], segments(mesh))
        features = torch.cat(
            [boundary_flag(mesh), node, edges, whole.expand(len(mesh.pos), -1)], dim=1
        )
        return self.deformer(mesh, frame, features, free)


class M2N(OnePass):
    """The mover of `M2NNet`; see `OnePass`."""

    kind = M2NNet


def relative(values: Tensor) -> Tensor:
    """Values over the largest absolute one, float32; 0 where all are."""
    largest = values.abs().max()
    return (values / torch.where(largest > 0, largest, 1.0)).float()


def grid_points(frame: Frame, resolution: int) -> Tensor:
    """Points of a square grid over the unit box of one mesh `[resolution^2, 2]`, in its units."""
    line = torch.linspace(0, 1, resolution, dtype=torch.float64, device=frame.pos.device)
    across, up = torch.meshgrid(line, line, indexing="xy")
    points = torch.stack([across, up], dim=2).reshape(-1, 2)
    return frame.low[0] + frame.scale[0] * points
