"""Base of the published movers: one pass of a network gives the mesh, the guard makes it valid."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...fem.p1 import simplices
from ...mesh import Mesh, MeshError
from ...monitors import Monitor
from ...monitors.base import checked
from ...nn.storage import load_weights, read_config, save_model
from ..base import Mover, Outcome, Progress
from ..constraints import Freedom
from ..equidistribution import density
from ..guard import simplex_determinants


class Network(nn.Module):
    """Base of the networks: a displacement from mesh and monitor.

    Attributes:
        config: arguments that build it again.
    """

    config: dict[str, Any]

    @abstractmethod
    def displacement(self, mesh: Mesh, monitor: Monitor, free: Freedom) -> Tensor:
        """Displacement of the nodes `[n, 2]`, in the mesh's units."""


class OnePass(Mover):
    """A published mover under our contract, in 2D.

    The network sees the mesh once and does not look again (`start` is ignored). Its proposal may
    be tangled: the residual is the share of cells that it inverts, `converged` means none; the
    guard then shortens what it must.

    Args:
        network: a trained one.
    """

    kind: ClassVar[Any]

    def __init__(self, network: Network) -> None:
        if not isinstance(network, self.kind):
            wanted = self.kind.__name__
            raise MeshError(
                f"{type(self).__name__} needs a {wanted}, got a {type(network).__name__}"
            )
        self.network = network.eval()

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """A mover with the weights that `meshlearn train mover` wrote.

        Raises:
            MeshError: no such weights, or not those of this mover.
        """
        network = cls.kind(**read_config(path, cls.kind))
        load_weights(path, network)
        return cls(network)

    def save(self, path: str | Path, card: dict[str, Any] | None = None) -> Path:
        """Write the weights, with a card beside them (see `nn.storage`)."""
        return save_model(path, self.network, self.network.config, card or {})

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        if mesh.dim != 2:
            raise MeshError(f"{type(self).__name__} works in 2D only, and the mesh is {mesh.dim}D")
        with torch.no_grad():
            pos = mesh.pos + self.network.displacement(mesh, monitor, free)
            share = inverted_share(mesh, pos)
        progress(1, share)
        reason = "one pass of the network"
        if share:
            reason += f", which inverted {100 * share:.2g} % of the cells"
        return Outcome(pos, share == 0, reason, 1, share)


def inverted_share(mesh: Mesh, pos: Tensor) -> float:
    """Share of simplices that positions `[n, d]` invert: by signed volumes, which see it."""
    nodes = simplices(mesh)
    before = simplex_determinants(mesh.pos, nodes)
    now = simplex_determinants(pos, nodes)
    return float((now * before.sign() <= 0).double().mean())


def nodal_density(mesh: Mesh, monitor: Monitor) -> Tensor:
    """Density at the nodes of the mesh `[n]`."""
    return density(checked(monitor.sample(mesh.pos).value))


def single(mesh: Mesh, who: str) -> None:
    """Raise `MeshError` on a batch: grids are laid over one mesh."""
    if mesh.get("batch") is not None:
        raise MeshError(f"{who} moves one mesh at a time, not a batch")
