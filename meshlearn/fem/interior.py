"""Integrals over the facets between two cells, seen from both: jumps, averages, DG methods.

>>> import meshlearn as ml
>>> from meshlearn.fem import FunctionSpace, assemble, jump
>>> V = FunctionSpace(ml.generate.rectangle(4, 4), "P1")
>>> J = assemble(lambda u, v, w: jump(u) * jump(v), V, on="interior")
>>> float(J.values().abs().max()) < 1e-16
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..kernels import add_at
from ..mesh import CELL_TYPES, Mesh
from .context import Context, Field
from .contraction import Local, View, arguments, contracted
from .facets import FacetGroup, facet_quadrature, groups_of
from .mapping import mapping
from .pattern import Pattern, build_pattern
from .space import FunctionSpace, geometry_nodes
from .values import Sides

Form = Callable[..., Any]


class TwoSided:
    """What a form on inner facets sees: `w.x`, `w.h`, `w.n`, and fields with two sides.

    A field `w.<name>` is a `Sides` (of a mixed space a tuple of them), a number stays a number;
    `w.h` is the mean diameter of the two cells, `w.n` the normal from the first to the second.
    """

    def __init__(self, first: Context, second: Context, fields: dict[str, Any]) -> None:
        self._first, self._second, self._fields = first, second, fields

    @property
    def x(self) -> Tensor:
        """Positions `[m, d]`."""
        return self._first.x

    @property
    def h(self) -> Tensor:
        """Mean diameter of the two cells `[m]`."""
        return (self._first.h + self._second.h) / 2

    @property
    def n(self) -> Tensor:
        """Unit normal from the first cell to the second `[m, d]`."""
        return self._first.n

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__.get("_fields", {}).get(name)
        first, second = getattr(self._first, name), getattr(self._second, name)
        if isinstance(known, Field):
            if known.space.mixed:
                return tuple(Sides(a, b) for a, b in zip(first, second, strict=True))
            return Sides(first, second)
        return Sides(first, second) if isinstance(known, Tensor) and known.dim() else first


@dataclass(frozen=True)
class FacetPairs:
    """Inner facets at the same places of their first and of their second cells.

    Attributes:
        first: as seen from their first cells.
        second: from their second cells; its nodes are in the order of the first.
    """

    first: FacetGroup
    second: FacetGroup


def interior_matrix(
    form: Form,
    trial: FunctionSpace,
    test: FunctionSpace,
    degree: int | None,
    memory_mb: int,
    fields: dict[str, Any],
) -> Tensor:
    """Matrix of a bilinear form on inner facets; see `assemble`."""
    pattern = interior_pattern(trial, test)
    values = trial.mesh.pos.new_zeros(pattern.nnz)
    for group, rows, local in _locals(form, trial, test, degree, memory_mb, fields):
        slots = pattern.slots[group]
        for v_rows, u_rows, entries in local:
            chosen = slots[v_rows][:, u_rows][:, :, rows]
            add_at(values, chosen.reshape(-1), entries.reshape(-1))
    return pattern.matrix(values)


def interior_vector(
    form: Form,
    test: FunctionSpace,
    degree: int | None,
    memory_mb: int,
    fields: dict[str, Any],
) -> Tensor:
    """Vector of a linear form on inner facets; see `assemble_linear`."""
    out = test.mesh.pos.new_zeros(test.num_dofs)
    pairs = facet_pairs(test.mesh)
    for group, rows, local in _locals(form, None, test, degree, memory_mb, fields):
        dofs = _dofs(test, pairs[group])[rows].T
        for v_rows, _, entries in local:
            add_at(out, dofs[v_rows].reshape(-1), entries.reshape(-1))
    return out


def integrate_interior(
    form: Form, mesh: Mesh, degree: int, memory_mb: int, fields: dict[str, Any]
) -> Tensor:
    """Integral of `form(w)` over the inner facets; see `integrate`."""
    total = mesh.pos.new_zeros(())
    for _, _, _, weights, scale, context in _chunks(mesh, degree, memory_mb, fields):
        value, measure = form(context), weights[:, None] * scale
        if isinstance(value, int | float):
            total = total + value * measure.sum()
        else:
            total = total + (value.reshape(measure.shape) * measure).sum()
    return total


def interior_pattern(trial: FunctionSpace, test: FunctionSpace) -> Pattern:
    """Pattern of two spaces coupled through inner facets; kept per topology."""
    mesh = trial.mesh

    def build() -> Pattern:
        pairs = facet_pairs(mesh)
        return build_pattern(
            [_dofs(test, pair) for pair in pairs],
            [_dofs(trial, pair) for pair in pairs],
            (test.num_dofs, trial.num_dofs),
            mesh.pos.device,
        )

    pattern: Pattern = mesh.topology.remember(("interior", trial.specs, test.specs), build)
    return pattern


def facet_pairs(mesh: Mesh) -> list[FacetPairs]:
    """All inner facets, grouped by their places in both cells; kept per topology."""
    pairs: list[FacetPairs] = mesh.topology.remember("facet_pairs", lambda: _paired(mesh))
    return pairs


def _paired(mesh: Mesh) -> list[FacetPairs]:
    facets = torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1)
    pairs = []
    for second in groups_of(mesh, facets, side=1):
        for first in groups_of(mesh, second.facets, side=0):
            # Both are in ascending order of the facets.
            rows = second.rows[torch.searchsorted(second.facets, first.facets)]
            at = geometry_nodes(first.cell, mesh.cells[first.cell])[first.rows]
            of = geometry_nodes(second.cell, mesh.cells[second.cell])[rows]
            at, of = at[:, list(first.local)], of[:, list(second.local)]
            order = (at[:, :, None] == of[:, None, :]).to(torch.int64).argmax(dim=2)
            for turn in torch.unique(order, dim=0):
                hit = torch.nonzero((order == turn).all(dim=1)).squeeze(1)
                local = tuple(second.local[k] for k in turn.tolist())
                pairs.append(
                    FacetPairs(
                        FacetGroup(first.cell, first.local, first.rows[hit], first.facets[hit]),
                        FacetGroup(second.cell, local, rows[hit], first.facets[hit]),
                    )
                )
    return pairs


def _dofs(space: FunctionSpace, pair: FacetPairs) -> Tensor:
    """Degrees of freedom of both cells `[facets, k]`."""
    sides = (pair.first, pair.second)
    return torch.cat([space.cell_dofs(side.cell)[side.rows] for side in sides], dim=1)


def _locals(
    form: Form,
    trial: FunctionSpace | None,
    test: FunctionSpace,
    degree: int | None,
    memory_mb: int,
    fields: dict[str, Any],
) -> Iterator[tuple[int, slice, Local]]:
    """Local matrices of facets: their group, which of it, and the entries."""
    v = arguments(test, "test", side=-1)
    u = None if trial is None else arguments(trial, "trial", side=-1)
    if degree is None:
        degree = 2 * max(space.degree for space in (trial, test) if space is not None)
        degree += 0 if all(CELL_TYPES[cell].is_simplex for cell in test.mesh.cells) else 2
    for group, rows, views, weights, scale, context in _chunks(
        test.mesh, degree, memory_mb, fields
    ):
        expression = form(v, context) if u is None else form(u, v, context)
        measure = partial(_same, scale)
        yield group, rows, contracted(expression, views, measure, weights, trial, test)


def _chunks(
    mesh: Mesh, degree: int, memory_mb: int, fields: dict[str, Any]
) -> Iterator[tuple[int, slice, tuple[View, View], Tensor, Tensor, TwoSided]]:
    """Facets: their group, which of it, both sides, quadrature weights, measure and fields."""
    for group, pair in enumerate(facet_pairs(mesh)):
        points, weights = facet_quadrature(pair.first, degree)
        across, _ = facet_quadrature(pair.second, degree)
        size = max(1, memory_mb * 125_000 // (256 * len(points)))
        for begin in range(0, len(pair.first.rows), size):
            rows = slice(begin, begin + size)
            first = mapping(mesh, pair.first.cell, points, pair.first.rows[rows])
            second = mapping(mesh, pair.second.cell, across, pair.second.rows[rows])
            scale, normal = pair.first.surface(first)
            one, two = (
                Context(
                    geometry, at, fields, of.rows[rows], mesh.cell_ids[of.cell][of.rows[rows]], n
                )
                for geometry, at, of, n in (
                    (first, points, pair.first, normal),
                    (second, across, pair.second, None),
                )
            )
            views = (View(first, points), View(second, across))
            yield group, rows, views, weights.to(scale), scale, TwoSided(one, two, fields)


def _same(value: Tensor) -> Tensor:
    return value
