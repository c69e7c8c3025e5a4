"""Periodic sides: nodes that lie on each other under a rigid map move together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import extent
from ..mesh.matching import partners

_RIGID = 1e-9
"""Departure of a matrix from a rotation that rounding explains."""


@dataclass(frozen=True)
class Periodic:
    """Two sides of the domain that are one.

    Attributes:
        first, second: tags.
        translation: from the first side to the second, `d` numbers; by default the one between
            the centres of the boxes around them (after the rotation).
        rotation: matrix `[d, d]` about the origin that comes before the translation.
    """

    first: str
    second: str
    translation: Any = None
    rotation: Any = None


PeriodicPairs = Sequence["Periodic | tuple[str, str] | str"] | Tensor
"""Pairs of sides; a string is "first:second". Or pairs of nodes `[k, 2]`, a translation apart."""


@dataclass(frozen=True)
class Ties:
    """Nodes that follow others: x_member = R x_root + t.

    Attributes:
        members: nodes that follow `[m]`.
        roots: the node that each follows `[m]`, never a member.
        rotations: R `[m, d, d]`.
        num_nodes: of the mesh.
    """

    members: Tensor
    roots: Tensor
    rotations: Tensor
    num_nodes: int

    def turned(self, vectors: Tensor) -> Tensor:
        """R times vectors at the roots `[m, d]`."""
        return (self.rotations @ vectors[:, :, None])[:, :, 0]

    def size(self) -> Tensor:
        """How many nodes move as one with each node `[n]`; 1 for those that are not tied."""
        count = torch.ones(self.num_nodes, dtype=torch.float64, device=self.roots.device)
        count.index_add_(0, self.roots, torch.ones_like(self.rotations[:, 0, 0]))
        count[self.members] = count[self.roots]
        return count

    def averaged(self, vectors: Tensor) -> Tensor:
        """The nearest vectors `[n, d]` that are the same at all partners."""
        out = vectors.clone()
        back = (self.rotations.transpose(1, 2) @ vectors[self.members][:, :, None])[:, :, 0]
        out.index_add_(0, self.roots, back)
        out[self.roots] = out[self.roots] / self.size()[self.roots][:, None]
        out[self.members] = self.turned(out[self.roots])
        return out

    def without(self, nodes: Tensor) -> Ties | None:
        """The ties of members that are not among `nodes` `[k]`; None if there are none."""
        keep = ~torch.isin(self.members, nodes)
        if not bool(keep.any()):
            return None
        return replace(
            self,
            members=self.members[keep],
            roots=self.roots[keep],
            rotations=self.rotations[keep],
        )

    def follow(self, pos: Tensor, origin: Tensor) -> None:
        """Put members beside their roots, in place; `origin` are the positions before the move."""
        moved = pos[self.roots] - origin[self.roots]
        pos[self.members] = origin[self.members] + self.turned(moved)

    def smallest(self, values: Tensor) -> Tensor:
        """The smallest of the values `[n]` of all partners, at each of them."""
        out = values.scatter_reduce(0, self.roots, values[self.members], "amin")
        out[self.members] = out[self.roots]
        return out

    def spread(self, d: int) -> sp.csr_array:
        """Orthonormal columns from motions of the roots to those of all nodes `[n d, n d]`."""
        scale = self.size().rsqrt().cpu().numpy()
        members, roots = self.members.cpu().numpy(), self.roots.cpu().numpy()
        diagonal = np.repeat(scale, d)
        diagonal.reshape(-1, d)[members] = 0
        i, j = np.meshgrid(np.arange(d), np.arange(d), indexing="ij")
        rows = (members[:, None, None] * d + i).reshape(-1)
        columns = (roots[:, None, None] * d + j).reshape(-1)
        values = (scale[members][:, None, None] * self.rotations.cpu().numpy()).reshape(-1)
        shape = (self.num_nodes * d, self.num_nodes * d)
        return sp.csr_array(
            sp.diags_array(diagonal) + sp.coo_array((values, (rows, columns)), shape=shape)
        )


def ties(mesh: Mesh, pairs: PeriodicPairs) -> Ties | None:
    """Find the partners of periodic sides.

    Args:
        mesh: whose sides match node by node.
        pairs: see `PeriodicPairs`; several pairs may share nodes (corners of a box).

    Returns:
        The ties, None for no pairs.

    Raises:
        MeshError: unknown tag or node, a node without partner (named), a matrix that is not a
            rotation, or nodes that several pairs map in ways that contradict each other.
    """
    if isinstance(pairs, Tensor):
        found = [_numbered(mesh, pairs)]
    else:
        found = [_matched(mesh, _as_periodic(pair)) for pair in pairs]
    if not found:
        return None
    first = torch.cat([pair[0] for pair in found])
    second = torch.cat([pair[1] for pair in found])
    turn = torch.cat([pair[2] for pair in found])
    apart = first != second  # nodes on an axis of rotation are their own partners
    first, second, turn = first[apart], second[apart], turn[apart]
    count = len(mesh.pos)
    graph = sp.coo_array(
        (np.ones(len(first), np.int8), (first.cpu().numpy(), second.cpu().numpy())),
        shape=(count, count),
    )
    _, label = connected_components(graph, directed=False)
    part = torch.from_numpy(label.astype(np.int64)).to(first.device)
    number = torch.arange(count, device=first.device)
    root = torch.full_like(number, count).scatter_reduce(0, part, number, "amin")[part]
    rotation = _rotations(mesh, root, first, second, turn)
    members = torch.nonzero(root != number).squeeze(1)
    return Ties(members, root[members], rotation[members], count)


def _rotations(mesh: Mesh, root: Tensor, first: Tensor, second: Tensor, turn: Tensor) -> Tensor:
    """Rotation from the root to each node, composed along the pairs `[n, d, d]`."""
    identity = torch.eye(mesh.dim, dtype=torch.float64, device=mesh.pos.device)
    rotation = identity.repeat(len(root), 1, 1)
    known = root == torch.arange(len(root), device=root.device)
    while not bool(known.all()):  # as many rounds as pairs in a row, at most d of a box
        ahead = known[first] & ~known[second]
        rotation[second[ahead]] = turn[ahead] @ rotation[first[ahead]]
        back = known[second] & ~known[first]
        rotation[first[back]] = turn[back].transpose(1, 2) @ rotation[second[back]]
        known[second[ahead]] = True
        known[first[back]] = True
    gap = (turn @ rotation[first] - rotation[second]).abs().amax(dim=(1, 2))
    if len(gap) and float(gap.max()) > _RIGID:
        node = int(first[gap.argmax()])
        raise MeshError(
            f"the periodic pairs contradict each other at node {node}: two ways around give it "
            "different rotations"
        )
    return rotation


def _matched(mesh: Mesh, pair: Periodic) -> tuple[Tensor, Tensor, Tensor]:
    """Partners `[k]`, `[k]` and the rotation between them `[k, d, d]`."""
    d = mesh.dim
    turn = torch.eye(d, dtype=torch.float64, device=mesh.pos.device)
    if pair.rotation is not None:
        turn = torch.as_tensor(pair.rotation, dtype=torch.float64, device=mesh.pos.device)
        if turn.shape != (d, d) or float((turn.T @ turn - turn.new_ones(d).diag()).abs().max()) > (
            _RIGID
        ):
            raise MeshError(
                f"the rotation of the periodic pair {pair.first}:{pair.second} must be an "
                f"orthogonal {d} x {d} matrix"
            )
    first, second = mesh.tagged_nodes(pair.first), mesh.tagged_nodes(pair.second)
    turned = mesh.pos[first] @ turn.T
    there = mesh.pos[second]
    if pair.translation is None:
        low, high = there.amin(dim=0) - turned.amin(dim=0), there.amax(dim=0) - turned.amax(dim=0)
        step = (low + high) / 2
    else:
        step = torch.as_tensor(pair.translation, dtype=torch.float64, device=mesh.pos.device)
        if step.shape != (d,):
            raise MeshError(
                f"the translation of the periodic pair {pair.first}:{pair.second} must be {d} "
                f"numbers, got {step.numel()}"
            )
    names = (pair.first, pair.second)
    index = partners(turned + step, there, extent(mesh), (first, second), names, "node")
    return first, second[index], turn.expand(len(first), d, d)


def _numbered(mesh: Mesh, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Partners given by number, as `_matched` finds them."""
    if pairs.dim() != 2 or pairs.shape[1] != 2:
        raise MeshError(f"pairs must be nodes [k, 2], got shape {list(pairs.shape)}")
    count = len(mesh.pos)
    outside = (pairs < 0) | (pairs >= count)
    if bool(outside.any()):
        raise MeshError(f"pairs name node {int(pairs[outside][0])}, but there are {count} nodes")
    first, second = pairs.to(mesh.pos.device).unbind(dim=1)
    same = torch.eye(mesh.dim, dtype=torch.float64, device=mesh.pos.device)
    return first, second, same.expand(len(pairs), mesh.dim, mesh.dim)


def _as_periodic(pair: Periodic | tuple[str, str] | str) -> Periodic:
    if isinstance(pair, Periodic):
        return pair
    names = pair.split(":") if isinstance(pair, str) else list(pair)
    if len(names) != 2 or not all(names):
        raise MeshError(
            f'a periodic pair is two tags, ("left", "right") or "left:right", not {pair!r}'
        )
    return Periodic(*names)
