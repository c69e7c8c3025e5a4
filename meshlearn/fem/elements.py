"""Reference elements: basis, degrees of freedom and quadrature from scikit-fem, as tensors.

Simplices are mapped with their nodes sorted by global number, so that edges and faces are seen in
the same direction from both sides: elements of higher degree, Raviart-Thomas and Nedelec elements
need no signs per cell. The basis of the latter is turned to the sorted direction here, once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import skfem
import torch
from numpy.typing import NDArray
from scipy.special import roots_jacobi
from torch import Tensor

from ..mesh import CELL_TYPES, MeshError

Array = NDArray[np.float64]


class Entity(NamedTuple):
    """Where a degree of freedom sits: the local nodes of an edge, face or cell, and its number."""

    nodes: tuple[int, ...]
    number: int


@dataclass(frozen=True)
class ReferenceElement:
    """One element on one cell type.

    Attributes:
        name: "P1" and so on.
        cell: cell type.
        kind: "scalar", "hdiv" or "hcurl".
        degree: polynomial degree of the basis.
        points: location of each degree of freedom `[k, d]`.
        entities: where each sits `[k]`; for discontinuous elements the cell.
        tabulate: points `[q, d]` to values `[q, k]` (or `[q, k, d]`) and derivatives `[q, k, d]`
            (divergences `[q, k]`, curls `[q, k]` or `[q, k, 3]`).
        nodal: whether coefficients are point values.
    """

    name: str
    cell: str
    kind: str
    degree: int
    points: Tensor
    entities: tuple[Entity, ...]
    tabulate: Callable[[Tensor], tuple[Tensor, Tensor]]
    nodal: bool

    @property
    def size(self) -> int:
        """Basis functions per cell."""
        return len(self.entities)


_SKFEM: dict[str, dict[str, tuple[type[skfem.Element], int]]] = {
    "P0": {
        "line": (skfem.ElementLineP0, 0),
        "triangle": (skfem.ElementTriP0, 0),
        "tetra": (skfem.ElementTetP0, 0),
        "quad": (skfem.ElementQuad0, 0),
        "hexahedron": (skfem.ElementHex0, 0),
    },
    "P1": {
        "line": (skfem.ElementLineP1, 1),
        "triangle": (skfem.ElementTriP1, 1),
        "tetra": (skfem.ElementTetP1, 1),
        "quad": (skfem.ElementQuad1, 1),
        "hexahedron": (skfem.ElementHex1, 1),
    },
    "P2": {
        "line": (skfem.ElementLineP2, 2),
        "triangle": (skfem.ElementTriP2, 2),
        "tetra": (skfem.ElementTetP2, 2),
        "quad": (skfem.ElementQuad2, 2),
        "hexahedron": (skfem.ElementHex2, 2),
    },
    "P3": {"triangle": (skfem.ElementTriP3, 3)},
    "CR": {"triangle": (skfem.ElementTriCR, 1), "tetra": (skfem.ElementTetCR, 1)},
    "RT": {"triangle": (skfem.ElementTriRT0, 1), "tetra": (skfem.ElementTetRT0, 1)},
    "N": {"triangle": (skfem.ElementTriN1, 1), "tetra": (skfem.ElementTetN0, 1)},
    "MINI": {"triangle": (skfem.ElementTriMini, 3), "tetra": (skfem.ElementTetMini, 4)},
}
_ALIASES = {"Q0": "P0", "Q1": "P1", "Q2": "P2", "RT0": "RT", "N0": "N", "N1": "N", "P1B": "MINI"}
NAMES = ("P0", "P1", "P2", "P3", "Q1", "Q2", "P1DG", "P2DG", "CR", "RT", "N", "MINI")
"""Element names; "P" and "Q" are the Lagrange elements of whatever the cells are."""

_REFDOM = {
    "line": skfem.refdom.RefLine,
    "triangle": skfem.refdom.RefTri,
    "quad": skfem.refdom.RefQuad,
    "tetra": skfem.refdom.RefTet,
    "hexahedron": skfem.refdom.RefHex,
}
_CUBE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]


@cache
def vertices(cell: str) -> Tensor:
    """Corners of the reference cell in meshio's order `[nodes, d]`."""
    d, count = CELL_TYPES[cell].dim, CELL_TYPES[cell].num_nodes
    if CELL_TYPES[cell].is_simplex:
        return torch.cat([torch.zeros(1, d), torch.eye(d)]).to(torch.float64)
    return torch.tensor([corner[:d] for corner in _CUBE[:count]], dtype=torch.float64)


@cache
def quadrature(cell: str, degree: int) -> tuple[Tensor, Tensor]:
    """Points `[q, d]` and weights `[q]` exact for polynomials of `degree` on the reference cell."""
    if cell == "point":
        return torch.zeros(1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    if degree <= 1:
        centre = vertices(cell).mean(dim=0, keepdim=True)
        volume = 1 / math.factorial(CELL_TYPES[cell].dim) if CELL_TYPES[cell].is_simplex else 1.0
        return centre, torch.tensor([volume], dtype=torch.float64)
    if cell == "tetra" and degree >= 5:  # scikit-fem's tables are wrong by up to 5 % there
        return _collapsed(degree)
    try:
        points, weights = skfem.quadrature.get_quadrature(_REFDOM[cell], degree)
    except NotImplementedError as error:
        raise MeshError(f"there is no quadrature of degree {degree} on {cell} cells") from error
    return torch.from_numpy(np.ascontiguousarray(points.T)), torch.from_numpy(weights.copy())


def _collapsed(degree: int) -> tuple[Tensor, Tensor]:
    """Gauss-Jacobi rule of the tetrahedron seen as a collapsed cube (Stroud's conical product)."""
    nodes, weights = [], []
    for power in range(3):  # (1 - x)^power on (0, 1) takes up the Jacobian of the collapse
        x, w = roots_jacobi(degree // 2 + 1, power, 0)
        nodes.append((x + 1) / 2)
        weights.append(w / 2 ** (power + 1))
    z, y, x = (a.reshape(-1) for a in np.meshgrid(nodes[2], nodes[1], nodes[0], indexing="ij"))
    points = np.stack([x * (1 - y) * (1 - z), y * (1 - z), z], axis=1)
    product = np.einsum("i,j,k->ijk", weights[2], weights[1], weights[0]).reshape(-1)
    return torch.from_numpy(points), torch.from_numpy(product)


@cache
def reference_element(name: str, cell: str) -> ReferenceElement:
    """The element `name` on cells of one type.

    Raises:
        MeshError: there is no such element, or not on these cells.
    """
    plain = _ALIASES.get(name, name)
    broken = plain.endswith("DG")
    plain = plain.removesuffix("DG")
    if plain not in _SKFEM or name not in (*NAMES, *_ALIASES):
        raise MeshError(f"unknown element {name!r}; there are {', '.join(NAMES)}")
    if plain == "P3" and cell == "tetra":
        return _lattice(name, cell, 3)
    if cell not in _SKFEM[plain]:
        raise MeshError(f"there is no element {name!r} on {cell} cells")
    kind = {"RT": "hdiv", "N": "hcurl"}.get(plain, "scalar")
    element, degree = _SKFEM[plain][cell]
    instance = element()
    where = _locations(instance, cell, plain)
    whole = tuple(range(CELL_TYPES[cell].num_nodes))
    if broken or plain == "P0":
        entities = tuple(Entity(whole, k) for k in range(len(where)))
    else:
        entities = _entities(cell, where)
    tabulate = _tabulator(instance, len(where))
    if kind != "scalar":
        tabulate = _oriented(tabulate, _directions(kind, tabulate, where, entities, cell))
    nodal = plain in ("P0", "P1", "P2", "P3", "CR")
    return ReferenceElement(name, cell, kind, degree, where, entities, tabulate, nodal)


def _locations(instance: Any, cell: str, name: str) -> Tensor:
    """scikit-fem's locations of degrees of freedom; bubbles sit at the centre of the cell."""
    where = torch.from_numpy(np.asarray(instance.doflocs, dtype=np.float64).copy())
    corner = vertices(cell)
    if name == "RT":  # scikit-fem puts those of tetrahedra on edges
        facets = torch.tensor(instance.refdom.facets)
        return corner[facets].mean(dim=1)
    return torch.where(torch.isnan(where), corner.mean(dim=0), where)


def _tabulator(instance: Any, size: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def tabulate(points: Tensor) -> tuple[Tensor, Tensor]:
        x = np.ascontiguousarray(points.cpu().numpy().T)
        parts = [instance.lbasis(x, i) for i in range(size)]
        count = x.shape[1]
        first, second = (
            [np.broadcast_to(np.asarray(p[k], float), (*np.shape(p[k])[:-1], count)) for p in parts]
            for k in (0, 1)
        )
        return tuple(  # type: ignore[return-value]
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.stack(f), -1, 0)))
            for f in (first, second)
        )

    return tabulate


def _oriented(
    tabulate: Callable[[Tensor], tuple[Tensor, Tensor]], signs: Tensor
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def turned(points: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = tabulate(points)
        return value * signs[:, None], slope * (signs if slope.dim() == 2 else signs[:, None])

    return turned


def _directions(
    kind: str,
    tabulate: Callable[[Tensor], tuple[Tensor, Tensor]],
    where: Tensor,
    entities: tuple[Entity, ...],
    cell: str,
) -> Tensor:
    """+-1 that turns each function along the sorted edge or the sorted facet's normal."""
    corner = vertices(cell)
    value, _ = tabulate(where)
    signs = []
    for k, entity in enumerate(entities):
        nodes = sorted(entity.nodes)
        edges = corner[nodes[1:]] - corner[nodes[0]]
        if kind == "hcurl":
            direction = edges[0]
        elif len(nodes) == 2:
            direction = torch.stack([edges[0, 1], -edges[0, 0]])
        else:
            direction = torch.linalg.cross(edges[0], edges[1])
        signs.append(torch.sign(value[k, k] @ direction))
    return torch.stack(signs)


def _entities(cell: str, where: Tensor) -> tuple[Entity, ...]:
    """The smallest node, edge, face or cell whose closure contains each location."""
    shape = CELL_TYPES[cell]
    closures: list[tuple[int, ...]] = [(i,) for i in range(shape.num_nodes)]
    closures += [tuple(sorted(edge)) for edge in shape.edges]
    if shape.dim == 3:
        closures += [tuple(sorted(face)) for face in shape.facets]
    closures.append(tuple(range(shape.num_nodes)))
    weights = corner_weights(cell, where)
    found = []
    for row in weights:
        support = {int(i) for i in torch.nonzero(row > 1e-9)}
        found.append(next(c for c in closures if support <= set(c)))
    numbered = []
    for k, nodes in enumerate(found):
        same = [j for j, other in enumerate(found) if other == nodes]
        # Along a sorted edge the functions are numbered from its first node.
        same.sort(key=lambda j: -float(weights[j, nodes[0]]))
        numbered.append(Entity(nodes, same.index(k)))
    return tuple(numbered)


def corner_weights(cell: str, where: Tensor) -> Tensor:
    """Linear or multilinear weights of the corners at reference points `[k, nodes]`."""
    if CELL_TYPES[cell].is_simplex:
        return torch.cat([1 - where.sum(dim=1, keepdim=True), where], dim=1)
    corner = vertices(cell)
    factors = corner * where[:, None] + (1 - corner) * (1 - where[:, None])
    return factors.prod(dim=2)


def _lattice(name: str, cell: str, degree: int) -> ReferenceElement:
    """Lagrange element on the regular lattice of a simplex, where scikit-fem has none."""
    d = CELL_TYPES[cell].dim
    powers = [p for p in itertools.product(range(degree + 1), repeat=d) if sum(p) <= degree]
    where = torch.tensor(powers, dtype=torch.float64) / degree
    exponent = torch.tensor(powers, dtype=torch.float64)
    inverse = torch.linalg.inv(_monomials(where, exponent))

    def tabulate(points: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for j in range(d):
            lower = exponent.clone()
            lower[:, j] = (lower[:, j] - 1).clamp(min=0)
            slopes.append((exponent[:, j] * _monomials(points, lower)) @ inverse)
        return _monomials(points, exponent) @ inverse, torch.stack(slopes, dim=2)

    entities = _entities(cell, where)
    return ReferenceElement(name, cell, "scalar", degree, where, entities, tabulate, nodal=True)


def _monomials(points: Tensor, exponent: Tensor) -> Tensor:
    return (points[:, None, :] ** exponent).prod(dim=2)
