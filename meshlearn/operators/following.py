"""Copies of a mesh whose nodes follow a field: where they go, and interpolation there and back."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..monitors import Hessian
from ..monitors.solution import HessianKind, mean_size
from ..movers import MOVERS, Mover
from .interpolation import Place, Stencil, own_places, places, stencil

NONE = "none"
"""The mover that moves nothing."""
_KEPT = 256
"""Moves that are kept of a mesh."""


@dataclass(frozen=True)
class Move:
    """Where the nodes of a mesh go.

    Attributes:
        pos: of the moved nodes `[n, d]`.
        there: the moved nodes in the mesh.
        back: the nodes of the mesh in the moved one.
    """

    pos: Tensor
    there: Place
    back: Place


@dataclass(frozen=True)
class Pair:
    """A mesh or batch and its moved copy.

    Attributes:
        moved: the copy.
        there: interpolation from the mesh to the nodes of the copy.
        back: interpolation from the copy to the nodes of the mesh.
    """

    moved: Mesh
    there: Stencil
    back: Stencil


class Follower:
    """Moves meshes after a field, by a monitor of its Hessian.

    The same state of the same mesh is moved once: the latest moves are kept with the topology.

    Args:
        mover: name in `movers.MOVERS`, or "none".
        options: of the mover.
        kind: of the monitor, see `monitors.Hessian`.
        strength: of the monitor, see there.
        smoothing: of the monitor, in mean distances of the nodes.

    Raises:
        MeshError: an unknown mover, option or monitor.
    """

    def __init__(
        self,
        mover: str,
        options: Mapping[str, Any],
        kind: str,
        strength: float,
        smoothing: float,
    ) -> None:
        if mover not in (NONE, *MOVERS):
            raise MeshError(f"mover must be one of {', '.join((NONE, *MOVERS))}, got {mover!r}")
        if mover == NONE and options:
            raise MeshError(f"there is no mover, and its options are {', '.join(options)}")
        if kind not in get_args(HessianKind):
            known = ", ".join(get_args(HessianKind))
            raise MeshError(f"the monitor must be one of {known}, got {kind!r}")
        if strength <= 0 or smoothing < 0:
            raise MeshError(
                f"strength must be positive and smoothing not negative: {strength}, {smoothing}"
            )
        self.kind = cast("HessianKind", kind)
        self.strength, self.smoothing = strength, smoothing
        self._mover: Mover | None = None
        if mover != NONE:
            try:
                self._mover = MOVERS[mover](**options)
            except TypeError as error:
                raise MeshError(f"options of the mover {mover}: {error}") from error
        self._key = ("moves", mover, str(sorted(options.items())), kind, strength, smoothing)

    def pair(self, mesh: Mesh, state: Tensor) -> Pair:
        """A mesh or batch and its copy moved after a state `[n, k]`.

        The meshes of a batch move one by one, as a monitor is scaled by the whole of its field.
        """
        if self._mover is None:
            pair: Pair = _paired(mesh, Move(mesh.pos.detach(), *[own_places(mesh)] * 2))
            return pair
        return _paired(mesh, self._move(mesh, state.detach().double()))

    def _move(self, mesh: Mesh, state: Tensor) -> Move:
        known = mesh.topology.remember(self._key, OrderedDict)
        kept = cast("OrderedDict[bytes, Move]", known)
        key = _digest(mesh.pos, state)
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        if "batch" in mesh:
            graphs = cast("Any", mesh).to_data_list()
            parts = torch.split(state, [graph.num_nodes for graph in graphs])
            found = _joined([self._moved(g, part) for g, part in zip(graphs, parts, strict=True)])
        else:
            found = self._moved(mesh, state)
        kept[key] = found
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return found

    def _moved(self, mesh: Mesh, state: Tensor) -> Move:
        assert self._mover is not None
        with torch.no_grad():
            still = mesh.moved(mesh.pos.detach())
            length = self.smoothing * mean_size(still)
            monitor = Hessian(still, state, self.kind, self.strength, length)
            moved = self._mover.move(still, monitor).mesh
            return Move(moved.pos, places(still, moved.pos), places(moved, still.pos))


def _paired(mesh: Mesh, move: Move) -> Pair:
    moved = mesh.moved(move.pos)
    return Pair(moved, stencil(mesh, move.pos, move.there), stencil(moved, mesh.pos, move.back))


def _joined(moves: list[Move]) -> Move:
    """Moves of single meshes as that of their batch."""
    begin, there, back = 0, [], []
    for move in moves:
        there.append(Place(move.there.corners + begin, move.there.weights))
        back.append(Place(move.back.corners + begin, move.back.weights))
        begin += len(move.pos)
    return Move(torch.cat([m.pos for m in moves]), _all(there), _all(back))


def _all(parts: list[Place]) -> Place:
    return Place(torch.cat([p.corners for p in parts]), torch.cat([p.weights for p in parts]))


def _digest(*parts: Tensor) -> bytes:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part.detach().cpu().contiguous().numpy().tobytes())
    return found.digest()
