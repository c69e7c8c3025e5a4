"""Functions on facets: values, gradients and normals at the quadrature points of tagged facets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh, MeshError
from .context import Context, Field
from .facets import FacetGroup, facet_quadrature, groups_of, tagged_facets
from .mapping import mapping
from .space import FunctionSpace
from .values import Values


@dataclass(frozen=True)
class Trace:
    """A function on k facets, at q points of each.

    Attributes:
        facets: indices of `topology.facets` `[k]`.
        cells: the cell it is seen from `[k]`.
        x: points `[k, q, d]`, the same from both sides.
        normal: unit normals out of the cell `[k, q, d]`.
        weight: quadrature weights, measure included `[k, q]`.
        value: `[k, q]` or `[k, q, c]`; a tuple of these for mixed spaces.
        gradient: `[k, q, d]` or `[k, q, c, d]`, None for H(div) and H(curl); or a tuple.
    """

    facets: Tensor
    cells: Tensor
    x: Tensor
    normal: Tensor
    weight: Tensor
    value: Any
    gradient: Any

    @property
    def measure(self) -> Tensor:
        """Length or area of each facet `[k]`."""
        return self.weight.sum(dim=1)


def trace(
    space: FunctionSpace,
    dofs: Tensor,
    on: str | Tensor = "boundary",
    degree: int | None = None,
    side: int = 0,
) -> Trace:
    """Trace of a function on facets, differentiable in coefficients and node positions.

    Args:
        space: any space.
        dofs: coefficients `[num_dofs]`.
        on: facet tag, "boundary", "interior", or indices of facets `[k]`.
        degree: of the quadrature; twice that of the space by default.
        side: which cell of inner facets the function is taken from (0 or 1).

    Raises:
        MeshError: unknown tag, or the second side of a facet of the boundary.
    """
    mesh = space.mesh
    facets = tagged_facets(mesh, on) if isinstance(on, str) else on
    cells = mesh.topology.facet_cells[facets, side]
    if bool((cells < 0).any()):
        raise MeshError("facets of the boundary have no second side")
    degree = 2 * space.degree if degree is None else degree
    order = torch.argsort(facets)
    pieces: list[tuple[Tensor, dict[str, Any]]] = []
    for group in aligned_groups(mesh, facets, side):
        place = order[torch.searchsorted(facets[order], group.facets)]
        pieces.append((place, _on_group(space, dofs, group, degree)))
    if not pieces:
        raise MeshError(f"there are no facets in {on!r}")
    merged = {
        key: _merged([(place, piece[key]) for place, piece in pieces], len(facets))
        for key in pieces[0][1]
    }
    return Trace(facets, cells, **merged)


def aligned_groups(mesh: Mesh, facets: Tensor, side: int) -> list[FacetGroup]:
    """Facets by place, parametrised alike from both sides: from the lowest node to its lower
    neighbour (simplices are sorted already)."""
    out = []
    for group in groups_of(mesh, facets, side):
        if CELL_TYPES[group.cell].is_simplex:
            out.append(group)
            continue
        nodes = mesh.cells[group.cell][group.rows][:, list(group.local)]
        width = nodes.shape[1]
        first = nodes.argmin(dim=1, keepdim=True)
        forth = nodes.gather(1, (first + 1) % width)
        back = nodes.gather(1, (first - 1) % width)
        code = (2 * first + (back < forth)).squeeze(1)
        for number in torch.unique(code).tolist():
            start, step = number // 2, -1 if number % 2 else 1
            local = tuple(group.local[(start + step * k) % width] for k in range(width))
            hit = code == number
            out.append(FacetGroup(group.cell, local, group.rows[hit], group.facets[hit]))
    return out


def _on_group(space: FunctionSpace, dofs: Tensor, group: FacetGroup, degree: int) -> dict[str, Any]:
    mesh = space.mesh
    points, weights = facet_quadrature(group, degree)
    geometry = mapping(mesh, group.cell, points, group.rows)
    scale, normal = group.surface(geometry)
    ids = mesh.cell_ids[group.cell][group.rows]
    context = Context(geometry, points, {}, group.rows, ids, normal)
    found = context.evaluate(Field(space, dofs))
    values: list[Values] = list(found) if space.mixed else [found]
    q, k = len(points), len(ids)
    unpack = tuple if space.mixed else _only

    def by_facet(a: Tensor | None) -> Tensor | None:
        return None if a is None else a.reshape(q, k, *a.shape[1:]).transpose(0, 1)

    normal = normal.reshape(-1, k, mesh.dim).expand(q, k, mesh.dim).flatten(0, 1)

    return {
        "x": by_facet(context.x),
        "normal": by_facet(normal),
        "weight": (weights.to(scale)[:, None] * scale).T,
        "value": unpack(by_facet(v.value) for v in values),
        "gradient": unpack(by_facet(v.gradient) for v in values),
    }


def _only(items: Any) -> Any:
    return next(iter(items))


def _merged(parts: list[tuple[Tensor, Any]], count: int) -> Any:
    first = parts[0][1]
    if first is None:
        return None
    if isinstance(first, tuple):
        return tuple(_merged([(at, p[k]) for at, p in parts], count) for k in range(len(first)))
    out = first.new_zeros(count, *first.shape[1:])
    for at, piece in parts:
        out = out.index_copy(0, at, piece)
    return out
