"""Linear conditions on degrees of freedom, eliminated: u = P y + g with y the free ones.

Conditions are rows `sum_j c_j u_j = r`. Each takes out the degree of freedom with its largest
coefficient; rows that have none in common are treated at once, so that boundary conditions need
two or three rounds however many there are. A system A u = b becomes P^T A P y = P^T (b - A g): a
symmetric matrix stays symmetric, a definite one definite. Everything is differentiable in the
coefficients (normals depend on node positions) and the right-hand sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..mesh import MeshError
from .dirichlet import Dirichlet, gathered

_REDUNDANT = 1e-6
"""Largest coefficient of a row, 1 at first, below which earlier rows imply it."""


@dataclass(frozen=True)
class Rows:
    """Conditions `sum over the entries of row r of value * u[dof] = right[r]`.

    Attributes:
        row: of each entry `[k]`.
        dof: degree of freedom of each entry `[k]`.
        value: coefficient of each entry `[k]`.
        right: `[rows]`.
    """

    row: Tensor
    dof: Tensor
    value: Tensor
    right: Tensor


class Linked(Protocol):
    """A condition that ties degrees of freedom to each other."""

    def rows(self) -> Rows:
        """Its equations."""
        ...


Condition = Dirichlet | Linked


@dataclass(frozen=True)
class Reduction:
    """u = P y + g.

    Attributes:
        free: degrees of freedom in y `[f]`.
        number: position of each degree of freedom in y, -1 for the others `[n]`.
        given: g `[n]`.
        slave: entries of P apart from the identity: the degree of freedom `[k]`,
        master: the one of `free` it depends on `[k]`,
        weight: and how much `[k]`.
    """

    free: Tensor
    number: Tensor
    given: Tensor
    slave: Tensor
    master: Tensor
    weight: Tensor

    @property
    def requires_grad(self) -> bool:
        """Whether autograd follows the conditions."""
        return self.given.requires_grad or self.weight.requires_grad

    def expanded(self, y: Tensor) -> Tensor:
        """P y + g, `[f]` or `[f, k]` to `[n]` or `[n, k]`."""
        return self._spread(y, self.given)

    def change(self, y: Tensor) -> Tensor:
        """P y: what a change of the free ones does to all."""
        return self._spread(y, torch.zeros_like(self.given))

    def _spread(self, y: Tensor, given: Tensor) -> Tensor:
        tail = (1,) * (y.dim() - 1)
        out = given.reshape(-1, *tail).expand(-1, *y.shape[1:])
        out = out.index_copy(0, self.free, y)
        if not len(self.slave):
            return out
        terms = self.weight.reshape(-1, *tail) * y[self.number[self.master]]
        return out.index_add(0, self.slave, terms)

    def imposed(self, u: Tensor) -> Tensor:
        """u with its other degrees of freedom set from its free ones."""
        return self.expanded(u[self.free])

    def restricted(self, r: Tensor) -> Tensor:
        """P^T r, `[n]` or `[n, k]` to `[f]` or `[f, k]`."""
        out = r[self.free]
        if not len(self.slave):
            return out
        terms = self.weight.reshape(-1, *(1,) * (r.dim() - 1)) * r[self.slave]
        return out.index_add(0, self.number[self.master], terms)

    def congruence(
        self, row: Tensor, column: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Entries of P^T A P in the numbering of y, from those of A; equal positions add up."""
        plain = (self.number[row] >= 0) & (self.number[column] >= 0)
        first, second, inner = self.number[row[plain]], self.number[column[plain]], value[plain]
        if not len(self.slave):
            return first, second, inner
        row, column, value = row[~plain], column[~plain], value[~plain]
        take, row, weight = self._replaced(row)
        column, value = column[take], value[take] * weight
        take, column, weight = self._replaced(column)
        row, value = row[take], value[take] * weight
        return torch.cat([first, row]), torch.cat([second, column]), torch.cat([inner, value])

    def _replaced(self, dofs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nonzero entries of P in the rows `dofs`: which of them, column and value."""
        kept = torch.nonzero(self.number[dofs] >= 0).squeeze(1)
        order = torch.argsort(self.slave, stable=True)
        hit, entry = _joined(dofs, self.slave[order], len(self.number))
        entry = order[entry]
        return (
            torch.cat([kept, hit]),
            torch.cat([self.number[dofs[kept]], self.number[self.master[entry]]]),
            torch.cat([torch.ones_like(self.weight[:1]).expand(len(kept)), self.weight[entry]]),
        )


def reduction(conditions: Sequence[Condition], size: int, device: torch.device) -> Reduction:
    """Eliminate conditions on `size` degrees of freedom.

    Of Dirichlet conditions later ones win, and they win over the others where these are
    contradicted by them alone.

    Raises:
        MeshError: conditions that contradict each other.
    """
    strong = [c for c in conditions if isinstance(c, Dirichlet)]
    fixed, given = gathered(strong, size, device)
    linked = [c.rows() for c in conditions if not isinstance(c, Dirichlet)]
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    links = _Links(nothing, nothing, given.new_zeros(0), given)
    if linked:
        links, fixed = _eliminated(_stacked(linked), fixed, links)
    free = torch.nonzero(~fixed).squeeze(1)
    number = torch.where(fixed, -1, torch.cumsum(~fixed, 0) - 1)
    return Reduction(free, number, links.given, links.slave, links.master, links.weight)


@dataclass(frozen=True)
class _Links:
    """u[slave] = sum of weight * u[master] + given[slave]."""

    slave: Tensor
    master: Tensor
    weight: Tensor
    given: Tensor


def _stacked(parts: list[Rows]) -> Rows:
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.right))
    row = torch.cat([part.row + start for part, start in zip(parts, starts, strict=False)])
    dof = torch.cat([part.dof for part in parts])
    value, right = torch.cat([p.value for p in parts]), torch.cat([p.right for p in parts])
    scale = _largest(row, value, len(right))
    return Rows(row, dof, value / scale[row], right / scale)


def _eliminated(rows: Rows, fixed: Tensor, links: _Links) -> tuple[_Links, Tensor]:
    size = len(fixed)
    known = fixed[rows.dof]
    right = rows.right.index_add(
        0, rows.row[known], -rows.value[known] * links.given[rows.dof[known]]
    )
    rows = Rows(rows.row[~known], rows.dof[~known], rows.value[~known], right)
    dirichlet_only = _largest(rows.row, rows.value, len(right)) == 0
    right = torch.where(dirichlet_only, 0.0, right)
    fixed = fixed.clone()
    while True:
        row, dof, value = summed(rows.row, rows.dof, rows.value, size)
        implied = _largest(row, value, len(right)) < _REDUNDANT
        if bool((right[implied].detach().abs() > _REDUNDANT).any()):
            raise MeshError(
                "periodic and slip conditions contradict each other or the Dirichlet values"
            )
        right = torch.where(implied, 0.0, right)
        keep = ~implied[row]
        row, dof, value = row[keep], dof[keep], value[keep]
        if not len(row):
            return links, fixed
        chosen, pivot, share = _independent(row, dof, value, len(right), size)
        mine = chosen[row]
        other = mine & (dof != pivot[row])
        solved = _Links(
            pivot[row[other]],
            dof[other],
            -value[other] / share[row[other]],
            links.given.new_zeros(size).index_copy(0, pivot[chosen], right[chosen] / share[chosen]),
        )
        fixed[pivot[chosen]] = True
        slave, master, weight, added = _substituted(
            links.slave, links.master, links.weight, solved, fixed, size
        )
        given = (links.given + added).index_copy(0, pivot[chosen], right[chosen] / share[chosen])
        links = _Links(
            torch.cat([slave, solved.slave]),
            torch.cat([master, solved.master]),
            torch.cat([weight, solved.weight]),
            given,
        )
        row, dof, value, added = _substituted(
            row[~mine], dof[~mine], value[~mine], solved, fixed, len(right)
        )
        right = torch.where(chosen, 0.0, right - added)
        rows = Rows(row, dof, value, right)


def _independent(
    row: Tensor, dof: Tensor, value: Tensor, count: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with no unknown in common: mask `[rows]`, their pivots and its coefficients `[rows]`."""
    order = torch.argsort(value.detach().abs(), descending=True, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    first = torch.ones(len(order), dtype=torch.bool, device=row.device)
    first[1:] = row[order][1:] != row[order][:-1]
    entry = order[first]
    pivot = torch.zeros(count, dtype=torch.int64, device=row.device)
    pivot[row[entry]] = dof[entry]
    share = torch.ones_like(value[:1]).expand(count).index_copy(0, row[entry], value[entry])
    lowest = torch.full((size,), count, device=row.device).scatter_reduce(0, dof, row, "amin")
    blocked = torch.zeros(count, dtype=torch.int64, device=row.device)
    blocked = blocked.index_add(0, row, (lowest[dof] != row).to(torch.int64))
    present = torch.zeros(count, dtype=torch.bool, device=row.device)
    present[row] = True
    return present & (blocked == 0), pivot, share


def _substituted(
    index: Tensor, dof: Tensor, value: Tensor, solved: _Links, fixed: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Entries with solved unknowns replaced, and what constants add to each index `[count]`."""
    gone = fixed[dof]
    added = value.new_zeros(count).index_add(0, index[gone], value[gone] * solved.given[dof[gone]])
    order = torch.argsort(solved.slave, stable=True)
    hit, entry = _joined(dof[gone], solved.slave[order], len(fixed))
    entry = order[entry]
    return (
        torch.cat([index[~gone], index[gone][hit]]),
        torch.cat([dof[~gone], solved.master[entry]]),
        torch.cat([value[~gone], value[gone][hit] * solved.weight[entry]]),
        added,
    )


def _joined(keys: Tensor, ordered: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All pairs (i, j) with keys[i] == ordered[j]; `ordered` is sorted."""
    counts = torch.bincount(ordered, minlength=size)
    starts = torch.cumsum(counts, 0) - counts
    many = counts[keys]
    i = torch.repeat_interleave(torch.arange(len(keys), device=keys.device), many)
    within = torch.arange(len(i), device=keys.device) - (torch.cumsum(many, 0) - many)[i]
    return i, starts[keys[i]] + within


def summed(row: Tensor, dof: Tensor, value: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Entries with equal positions added up, in the order of rows and then of columns."""
    key, inverse = torch.unique(row * size + dof, return_inverse=True)
    total = value.new_zeros(len(key)).index_add(0, inverse, value)
    return key // size, key % size, total


def _largest(row: Tensor, value: Tensor, count: int) -> Tensor:
    """Largest coefficient of each row `[rows]`, without derivatives."""
    size = value.detach().abs()
    return size.new_zeros(count).scatter_reduce(0, row, size, "amax")
