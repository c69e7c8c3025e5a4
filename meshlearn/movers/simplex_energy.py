"""Energies of a moved mesh against its reference, simplex by simplex, with exact gradients.

All cells enter with the simplices of their corners (see `corners`), so that a finite energy means
positive corner Jacobians.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, inverse, product
from ..mesh import CELL_TYPES, Mesh
from ..monitors import Sample
from .base import scatter_to_nodes
from .corners import FACTORIAL, Corners, Shapes, edges_between

_BLOCK = {1: 16384, 2: 16384, 3: 8192}
"""Simplices in a block for each thread, by dimension: a vector of them takes 128 kB or less."""


@dataclass(frozen=True)
class Evaluation:
    """Energy at a trial position, and what the next step of the optimiser needs.

    Attributes:
        energy: infinity where a simplex is not positive.
        gradient: with respect to the node positions `[n, d]`, monitor included.
        parts: energy of each simplex `[s]`.
    """

    energy: float
    gradient: Tensor
    parts: Tensor


@dataclass(frozen=True)
class Block:
    """A range of the simplices: all that an energy knows of them before the move.

    Attributes:
        rows: which simplices of the mesh.
        columns: their nodes, corner by corner.
        weight: share of each one's volume that counts `[s]`.
        reference_edges: E_ref, edge vectors as columns.
        reference_volume: `[s]`.
    """

    rows: slice
    columns: list[Tensor]
    weight: Tensor
    reference_edges: Matrix
    reference_volume: Tensor

    def volume_of(self, shapes: Shapes) -> Tensor:
        """Weighted volumes of the simplices `[s]`."""
        return self.weight * shapes.determinant / FACTORIAL[len(shapes.edges)]

    def at_simplices(self, value: Tensor) -> Tensor:
        """Mean of nodal values over the corners of each simplex `[s, ...]`."""
        total = value.index_select(0, self.columns[0])
        for column in self.columns[1:]:
            total += value.index_select(0, column)
        return total / len(self.columns)

    def scatter(self, total: Tensor, corners: Iterable[Tensor]) -> None:
        """Add values `[s, ...]` of each corner to those of its node in `total` `[n, ...]`."""
        for column, values in zip(self.columns, corners, strict=True):
            total.index_add_(0, column, values)


class SimplexEnergy(ABC):
    """Energy of a moved mesh against its reference.

    On the CPU it goes over the simplices in blocks: what it needs for one stays in the cache, and
    large meshes cost as much a simplex as small ones.

    Args:
        reference: the mesh before the move.
        pressure: energy density per volume whose pull is that of the unmoved mesh; it is taken off
            on warped 3D cells. Corner volumes of simplices and quads sum to a constant; those of
            warped cells do not, and without this term a uniform monitor would move them.

    Attributes:
        nodes: the simplices `[s, d + 1]`.
        weight: share of each one's volume that counts `[s]`.
        reference_edges: E_ref, edge vectors as columns.
        reference_volume: `[s]`.
    """

    def __init__(self, reference: Mesh, pressure: float = 0.0) -> None:
        self.dim, self._num_nodes = reference.dim, len(reference.pos)
        self._corners = Corners(reference)
        self.nodes, self.weight = self._corners.nodes, self._corners.weight
        before = self.shapes(reference.pos)
        self.reference_edges, self.reference_volume = before.edges, before.volume
        kinds = [CELL_TYPES[name] for name in reference.cells]
        warped = any(kind.dim == 3 and not kind.is_simplex for kind in kinds)
        self.pressure = pressure if warped else 0.0

    @abstractmethod
    def _densities(
        self, block: Block, shapes: Shapes, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        """Energy `[s]`, stress P (d x d) and derivative by the averaged monitor, per simplex.

        The pull on the corner with barycentric gradient g is P^T g. Without gradient only the
        energy counts.
        """

    def shapes(self, pos: Tensor) -> Shapes:
        """The simplices at positions `[n, d]`."""
        return self._corners.shapes(pos)

    def volumes(self, pos: Tensor) -> Tensor:
        """Signed volumes of the simplices `[s]`."""
        return torch.cat([shapes.volume for _, shapes in self._at(pos)])

    def deformation(self, pos: Tensor, shapes: Shapes | None = None) -> Tensor:
        """Volume-averaged dx/dxi at the nodes `[n, d, d]`.

        Args:
            pos: `[n, d]`.
            shapes: of the simplices at `pos`, if known.
        """
        total = pos.new_zeros(len(pos), self.dim**2)
        for block, at in self._at(pos, shapes):
            forward = product(at.edges, inverse(block.reference_edges))
            volume = block.weight * block.reference_volume
            weighted = torch.stack([volume * entry for row in forward for entry in row], dim=1)
            block.scatter(total, [weighted] * len(block.columns))
        return (total / self._reference_share[:, None]).view(-1, self.dim, self.dim)

    @cached_property
    def _reference_share(self) -> Tensor:
        """Volume of the simplices around each node before the move `[n]`."""
        volume = self.weight * self.reference_volume
        around = volume[:, None].expand(-1, self.dim + 1)
        return scatter_to_nodes(around, self.nodes, self._num_nodes)

    @cached_property
    def _blocks(self) -> list[Block]:
        count = len(self.nodes)
        # Operations on longer vectors are shared by the threads, each with a cache of its own.
        size = _BLOCK[self.dim] * torch.get_num_threads()
        size = count if self.nodes.is_cuda else size
        blocks = []
        for first in range(0, count, max(1, size)):
            rows = slice(first, min(first + size, count))
            blocks.append(
                Block(
                    rows,
                    [column[rows] for column in self._corners.columns],
                    self.weight[rows],
                    [[entry[rows] for entry in row] for row in self.reference_edges],
                    self.reference_volume[rows],
                )
            )
        return blocks

    def _at(self, pos: Tensor, shapes: Shapes | None = None) -> Iterator[tuple[Block, Shapes]]:
        """Block by block, with the shapes at positions `[n, d]`."""
        components = [component.contiguous() for component in pos.unbind(dim=1)]
        for block in self._blocks:
            if shapes is None:
                yield block, Shapes(edges_between(components, block.columns))
            else:
                yield block, shapes.rows(block.rows)

    def energy(self, pos: Tensor, value: Tensor) -> float:
        """Energy only (see `evaluate`)."""
        total = 0.0
        for block, shapes in self._at(pos):
            if not bool((shapes.determinant > 0).all()):
                return float("inf")
            total += float(self._densities(block, shapes, value)[0].sum())
        return total

    def parts(self, shapes: Shapes, value: Tensor) -> Tensor:
        """Energy of each simplex `[s]`, all of them positive, for nodal values of the monitor."""
        parts = [
            self._densities(block, shapes.rows(block.rows), value)[0] for block in self._blocks
        ]
        return torch.cat(parts)

    def evaluate(self, pos: Tensor, sample: Sample, shapes: Shapes | None = None) -> Evaluation:
        """Energy and gradient.

        Args:
            pos: `[n, d]`, all simplices positive.
            sample: the monitor and its gradient at `pos`.
            shapes: of the simplices at `pos`, if known.
        """
        gradient, parts = torch.zeros_like(pos), []
        by_value = torch.zeros_like(sample.value)
        for block, at in self._at(pos, shapes):
            energy, stress, by_metric = self._densities(block, at, sample.value, with_gradient=True)
            pull = product(at.inverse, stress)
            others = [torch.stack(row, dim=1) for row in pull]
            first = torch.stack([-sum(entries) for entries in zip(*pull, strict=True)], dim=1)
            block.scatter(gradient, [first, *others])
            block.scatter(by_value, [by_metric / (self.dim + 1)] * (self.dim + 1))
            parts.append(energy)
        if sample.value.dim() == 1:
            gradient += by_value[:, None] * sample.gradient
        else:
            gradient += (by_value[..., None] * sample.gradient).sum(dim=(1, 2))
        energies = torch.cat(parts)
        return Evaluation(float(energies.sum()), gradient, energies)
