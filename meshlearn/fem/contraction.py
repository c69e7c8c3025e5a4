"""The one product of assembly: coefficients of a traced form times tables of reference functions.

With G the coefficients pulled back to the reference cell (geometry and quadrature weights included)
and R the products of reference functions at the quadrature points,

    K[i, j, cell] = sum over alpha, beta, points of R[i, j, (a b q)] G[(a b q), cell].

A form that is symmetric in u and v needs only half of both: G_ab = G_ba. At inner facets "cell" is
a pair of cells, whose functions are numbered one cell after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .elements import quadrature
from .expressions import Bilinear, Linear, Primitive, argument, vector_element
from .factors import Factors, Term, factors
from .mapping import Mapping
from .pullback import tabulated
from .space import FunctionSpace
from .values import FormError


class View(NamedTuple):
    """Cells of one type as quadrature points see them.

    Attributes:
        geometry: at the points.
        reference: the points in the reference cell `[q, d]`.
    """

    geometry: Mapping
    reference: Tensor


Keep = Callable[[Any, Callable[[], Factors]], Factors]
Local = list[tuple[slice, slice, Tensor]]
"""Rows, columns and entries `[rows, columns, n_cells]` of blocks of local matrices."""


def arguments(space: FunctionSpace, role: str, side: int = 0) -> Any:
    """What a form gets as "trial" or "test" function; `side` is -1 where jump and avg choose it."""
    d = space.mesh.dim
    parts = [
        argument(role, k, block.components, d, side)
        if block.kind == "scalar"
        else vector_element(role, k, d, block.kind, side)
        for k, block in enumerate(space.blocks)
    ]
    return tuple(parts) if space.mixed else parts[0]


def contracted(
    expression: Any,
    views: tuple[View, ...],
    measure: Callable[[], Tensor],
    weights: Tensor,
    trial: FunctionSpace | None,
    test: FunctionSpace,
    exact: int | None = None,
    tables: dict[Any, Any] | None = None,
    keep: Keep | None = None,
) -> Local:
    """Local matrices (vectors: one column) of a traced form.

    Args:
        expression: what the form returned.
        views: the cells; the two sides of inner facets.
        measure: gives |det J|, or that of the facets `[1 or q, n_cells]`.
        weights: of the quadrature `[q]`; not used with `exact`.
        trial: None for a linear form.
        test: space of v.
        exact: degree of the quadrature to be summed up in R, where coefficients are constant.
        tables: what calls with the same spaces and reference points share; filled here.
        keep: gives the factors of the geometry under a key, or builds and keeps them.

    Raises:
        FormError: the form is not bilinear (linear).
    """
    terms = _terms(expression, bilinear=trial is not None)
    rule = None if exact is None else quadrature(views[0].geometry.cell, exact)
    tables = {} if tables is None else tables
    symmetric = trial is test and len(views) == 1 and _is_symmetric(terms)
    groups: dict[tuple[Any, Any], dict[Any, _Group]] = defaultdict(dict)
    for (a, b), coefficient in terms.items():
        u_key, v_key = _group_of(trial, a), _group_of(test, b)
        if symmetric and u_key < v_key:
            continue
        tensor = coefficient if isinstance(coefficient, Tensor) else None
        group = groups[v_key, u_key].setdefault(id(tensor), _Group(tensor, []))
        group.terms.append((a, b, 1.0 if tensor is not None else coefficient))
    at = _Points(views, measure, None if exact is not None else weights)
    local: Local = []
    for (v_key, u_key), parts in groups.items():
        twice = symmetric and u_key == v_key
        pairs, pulled = at.pulled(list(parts.values()), (trial, test), keep, half=twice)
        r = _kernel(trial, test, (v_key, u_key), pairs, views, rule, tables, twice=twice)
        entries = (r.to(pulled).flatten(0, 1) @ pulled).reshape(*r.shape[:2], -1)
        rows, columns = _local_rows(test, v_key, views), _local_rows(trial, u_key, views)
        local.append((rows, columns, entries))
        if symmetric and not twice:
            local.append((columns, rows, entries.transpose(0, 1)))
    return local


class _Group(NamedTuple):
    """Terms with the same coefficient, None for numbers."""

    coefficient: Tensor | None
    terms: list[Term]


class _Points(NamedTuple):
    """Quadrature points of some cells; see `contracted`."""

    views: tuple[View, ...]
    measure: Callable[[], Tensor]
    weights: Tensor | None

    def pulled(
        self,
        groups: list[_Group],
        spaces: tuple[FunctionSpace | None, FunctionSpace],
        keep: Keep | None,
        *,
        half: bool,
    ) -> tuple[tuple[tuple[int, int], ...], Tensor]:
        """Coefficients times factors: pairs of reference functions, `[pairs (x points), n]`."""
        geometry = tuple(view.geometry for view in self.views)
        affine = all(g.affine for g in geometry)
        total: dict[tuple[int, int], Tensor] = {}
        for coefficient, listed in groups:
            scale, terms = self._scale(coefficient), tuple(listed)
            # The Jacobian of curved cells varies as coefficients do: they are multiplied first.
            first = None if affine else scale

            def build(terms: Any = terms, first: Tensor | None = first) -> Factors:
                measure = self.measure() if first is None else self.measure() * first
                return factors(terms, geometry, measure, spaces, half=half)

            found = build() if keep is None or not affine else keep((terms, half), build)
            values = found.values
            if affine and scale is not None:
                values = values * scale
            if len(groups) == 1:
                return found.pairs, values.flatten(0, 1)
            for pair, value in zip(found.pairs, values.unbind(), strict=True):
                total[pair] = total[pair] + value if pair in total else value
        return tuple(total), torch.cat(list(total.values()))

    def _scale(self, coefficient: Tensor | None) -> Tensor | None:
        """Coefficient times quadrature weights `[q, n_cells]` (or less, broadcast)."""
        count = len(self.views[0].reference)
        if coefficient is not None and coefficient.dim() > 0:
            coefficient = coefficient.reshape(count, -1)
        if self.weights is None:
            return coefficient
        weights = self.weights.to(self.views[0].geometry.determinant)[:, None]
        return weights if coefficient is None else weights * coefficient


def is_uniform(expression: Any) -> bool:
    """Whether no coefficient of a form has a value per point."""
    if isinstance(expression, Bilinear):
        coefficients = list(expression.terms.values())
    elif isinstance(expression, Linear):
        coefficients = [c for entry in expression.entries.flat for c in entry.values()]
    else:
        return False
    return not any(isinstance(c, Tensor) and c.dim() > 0 for c in coefficients)


def _is_symmetric(terms: dict[tuple[Any, Any], Any]) -> bool:
    """Whether exchanging u and v leaves a form as it is."""
    for (a, b), coefficient in terms.items():
        other = terms.get((b, a))
        if other is coefficient:
            continue
        numbers = isinstance(other, int | float) and isinstance(coefficient, int | float)
        if not numbers or other != coefficient:
            return False
    return True


@torch.inference_mode(False)  # tables are kept: autograd must be able to use them later
def _kernel(
    trial: FunctionSpace | None,
    test: FunctionSpace,
    key: tuple[Any, Any],
    pairs: tuple[tuple[int, int], ...],
    views: tuple[View, ...],
    rule: tuple[Tensor, Tensor] | None,
    tables: dict[Any, Any],
    *,
    twice: bool,
) -> Tensor:
    """Products of reference functions `[test functions, trial functions, pairs (x points)]`.

    With `twice` a pair (beta, alpha) also stands for (alpha, beta).
    """
    known, (v_key, u_key) = ("kernel", key, pairs, twice), key
    if known not in tables:
        v_table, u_table = _table(test, v_key, views, rule), _table(trial, u_key, views, rule)
        kernel = []
        for beta, alpha in pairs:
            product = torch.einsum("qi,qj->ijq", v_table[beta], u_table[alpha])
            if twice and alpha != beta:
                product = product + product.transpose(0, 1)
            kernel.append(product if rule is None else product @ rule[1][:, None])
        tables[known] = torch.cat(kernel, dim=2).to(test.mesh.pos.device)
    out: Tensor = tables[known]
    return out


def _terms(expression: Any, *, bilinear: bool) -> dict[tuple[Any, Any], Any]:
    if bilinear:
        if not isinstance(expression, Bilinear):
            raise FormError("a bilinear form must return a scalar linear in both u and v")
        return dict(expression.terms)
    if not isinstance(expression, Linear) or expression.shape != ():
        raise FormError("a linear form must return a scalar linear in v")
    return {(None, b): c for b, c in expression.entries[()].items()}


def _group_of(space: FunctionSpace | None, primitive: Primitive | None) -> Any:
    """Which degrees of freedom a primitive belongs to: block, component and side."""
    if space is None or primitive is None:
        return None
    scalar = space.blocks[primitive.block].kind == "scalar"
    return primitive.block, primitive.component if scalar else -1, primitive.side


def _table(
    space: FunctionSpace | None,
    key: Any,
    views: tuple[View, ...],
    rule: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Reference functions at the points `[alphas, q, k]`; the constant 1 for no space."""
    block, _, side = (0, 0, 0) if space is None else key
    points = views[side].reference if rule is None else rule[0]
    if space is None:
        return torch.ones(1, len(points), 1, dtype=torch.float64)
    return tabulated(space.blocks[block].elements[views[side].geometry.cell], points)


def _local_rows(space: FunctionSpace | None, key: Any, views: tuple[View, ...]) -> slice:
    """Rows of a group in the local numbering of `FunctionSpace.cell_dofs`, side after side."""
    if space is None:
        return slice(0, 1)
    block, component, side = key
    cells = [view.geometry.cell for view in views]
    before = [(b, cells[k]) for k in range(side) for b in space.blocks]
    before += [(b, cells[side]) for b in space.blocks[:block]]
    begin = sum(b.elements[cell].size * max(b.components, 1) for b, cell in before)
    count = max(space.blocks[block].components, 1)
    size = space.blocks[block].elements[cells[side]].size * count
    return slice(begin + max(component, 0), begin + size, count)
