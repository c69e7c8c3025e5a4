"""Geometry of a form: its pulled-back terms without their coefficients, kept while nodes stay.

A term of a form couples a primitive of v with one of u; pulled back to the reference cell it is a
sum over pairs (beta, alpha) of reference functions, times the measure and factors of the Jacobian.
These *factors* depend on node positions only. They are cheap beside the rest when nodes move, but a
third of the work when only a coefficient changes: so they are kept for the positions at hand.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..mesh import Mesh
from .expressions import Primitive
from .mapping import Mapping
from .pullback import before_division
from .space import FunctionSpace
from .values import FormError

KEPT_MB = 256
"""Bound of the factors that are kept per topology; what does not fit is computed each time."""

Term = tuple[Primitive | None, Primitive, float]
"""Primitives of u (None in linear forms) and of v, and a number."""


class Factors(NamedTuple):
    """Sum of some terms.

    Attributes:
        pairs: reference functions of v and of u (beta, alpha).
        values: of each pair `[pairs, 1 or q, n_cells]`.
    """

    pairs: tuple[tuple[int, int], ...]
    values: Tensor


def factors(
    terms: tuple[Term, ...],
    geometry: tuple[Mapping, ...],
    measure: Tensor,
    spaces: tuple[FunctionSpace | None, FunctionSpace],
    *,
    half: bool,
) -> Factors:
    """Factors of terms that couple the same degrees of freedom.

    Args:
        terms: what to sum up.
        geometry: of the cells; of the two sides of inner facets.
        measure: what everything is multiplied by `[1 or q, n_cells]`.
        spaces: of u and v.
        half: leave out pairs with beta < alpha, which a symmetric form has twice.
    """
    total: dict[tuple[int, int], Tensor] = {}
    scaled: dict[Any, Tensor] = {}
    for a, b, number in terms:
        u_sides, u_pull = _pulled(spaces[0], a, geometry)
        v_sides, v_pull = _pulled(spaces[1], b, geometry)
        key = (*v_sides, *u_sides, number)
        if key not in scaled:
            scale = _times(measure, number)
            for side in (*v_sides, *u_sides):
                scale = scale * geometry[side].scale
            scaled[key] = scale
        for beta, g in v_pull:
            first = _times(scaled[key], g)
            for alpha, f in u_pull:
                if not half or alpha <= beta:
                    _add_product(total, (beta, alpha), first, f)
    return Factors(tuple(total), torch.stack(list(total.values())))


class Kept:
    """Factors of one tensor of node positions, in one or several forms."""

    def __init__(self, pos: Tensor) -> None:
        self._pos, self._copy = weakref.ref(pos, self._forget), pos.clone()
        self._found: dict[Any, Factors] = {}

    @property
    def size(self) -> int:
        """Bytes kept."""
        return sum(found.values.nbytes for found in self._found.values())

    def is_of(self, pos: Tensor) -> bool:
        """Whether these are the positions, unchanged.

        Their values are compared: numpy arrays can share the memory of a tensor and change it
        unseen.
        """
        return self._pos() is pos and torch.equal(self._copy, pos)

    def get(self, key: Any, build: Callable[[], Factors]) -> Factors:
        """What is kept under a key, or else is built, and kept if there is room."""
        found = self._found.get(key)
        if found is None:
            found = build()
            if self.size + found.values.nbytes <= KEPT_MB * 2**20:
                self._found[key] = found
        return found

    def _forget(self, _: Any) -> None:
        self._found.clear()


class _Shelf:
    """The last positions that a topology was assembled at, and their factors from the second time.

    Positions that are used once, as in each step of a moving mesh, cost nothing.
    """

    def __init__(self) -> None:
        self.last: tuple[Callable[[], Tensor | None], int] = (lambda: None, 0)
        self.kept: Kept | None = None


def kept_factors(mesh: Mesh) -> Kept | None:
    """Factors for the positions of a mesh; None where they are new or differentiated by."""
    pos = mesh.pos
    if pos.requires_grad or torch.is_inference_mode_enabled():
        return None
    if forward_ad.unpack_dual(pos).tangent is not None:  # type: ignore[no-untyped-call]
        return None
    shelf: _Shelf = mesh.topology.remember("factors", _Shelf)
    kept = shelf.kept
    if kept is not None and kept.is_of(pos):
        return kept
    (last, version), now = shelf.last, pos._version
    again = last() is pos and version == now
    shelf.last = weakref.ref(pos), now
    shelf.kept = Kept(pos) if again else None
    return shelf.kept


def _pulled(
    space: FunctionSpace | None, primitive: Primitive | None, geometry: tuple[Mapping, ...]
) -> tuple[tuple[int, ...], list[tuple[int, Any]]]:
    """Sides by whose determinant a primitive is still to be divided, and its reference functions
    with their factors."""
    if space is None or primitive is None:
        return (), [(0, 1.0)]
    if primitive.side < 0:
        raise FormError("at inner facets u and v have two values: use jump, avg or side")
    kind = space.blocks[primitive.block].kind
    at = geometry[primitive.side]
    divided, pull = before_division(kind, primitive.component, primitive.derivative, at)
    return (primitive.side,) if divided else (), pull


def _times(values: Tensor, factor: Any) -> Tensor:
    return values if isinstance(factor, int | float) and factor == 1 else values * factor


def _add_product(target: dict[Any, Any], key: Any, first: Tensor, second: Any) -> None:
    known = target.get(key)
    if known is None:
        target[key] = _times(first, second)
    elif isinstance(second, Tensor):
        target[key] = torch.addcmul(known, first, second)
    else:
        target[key] = known + _times(first, second)
