"""The one product of assembly: coefficients of a traced form times tables of reference functions.

With G the coefficients pulled back to the reference cell (geometry and quadrature weights included)
and R the products of reference functions at the quadrature points,

    K[i, j, cell] = sum over alpha, beta, points of R[i, j, (a b q)] G[(a b q), cell].

A form that is symmetric in u and v needs only half of both: G_ab = G_ba. At inner facets "cell" is
a pair of cells, whose functions are numbered one cell after the other.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .elements import quadrature
from .expressions import Bilinear, Linear, Primitive, argument, vector_element
from .mapping import Mapping
from .pullback import before_division, tabulated
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
    measure: Tensor,
    trial: FunctionSpace | None,
    test: FunctionSpace,
    exact: int | None = None,
    tables: dict[Any, Any] | None = None,
) -> Local:
    """Local matrices (vectors: one column) of a traced form.

    Args:
        expression: what the form returned.
        views: the cells; the two sides of inner facets.
        measure: quadrature weights times |det J| `[q, n_cells]`; |det J| alone with `exact`.
        trial: None for a linear form.
        test: space of v.
        exact: degree of the quadrature to be summed up in R, where coefficients are constant.
        tables: what calls with the same spaces and reference points share; filled here.

    Raises:
        FormError: the form is not bilinear (linear).
    """
    terms = _terms(expression, bilinear=trial is not None)
    count = len(views[0].reference)
    rule = None if exact is None else quadrature(views[0].geometry.cell, exact)
    tables = {} if tables is None else tables
    symmetric = trial is test and len(views) == 1 and _is_symmetric(terms)
    groups: dict[tuple[Any, Any], dict[tuple[int, int], Any]] = defaultdict(dict)
    weights: dict[Any, Tensor] = {}
    for (a, b), coefficient in terms.items():
        u_key, u_sides, u_pull = _pulled(trial, a, views)
        v_key, v_sides, v_pull = _pulled(test, b, views)
        if symmetric and u_key < v_key:
            continue
        sides = (*v_sides, *u_sides)
        if (sides, id(coefficient)) not in weights:
            varies = isinstance(coefficient, Tensor) and coefficient.dim() > 0
            scale = _times(measure, coefficient.reshape(count, -1) if varies else coefficient)
            for side in sides:
                scale = scale * views[side].geometry.scale
            weights[sides, id(coefficient)] = scale
        scale = weights[sides, id(coefficient)]
        target = groups[v_key, u_key]
        for beta, g in v_pull:
            scaled = _times(scale, g)
            for alpha, f in u_pull:
                if not symmetric or u_key != v_key or alpha <= beta:
                    _add_product(target, (beta, alpha), scaled, f)
    local: Local = []
    for (v_key, u_key), pulled in groups.items():
        twice = symmetric and u_key == v_key
        r = _kernel(trial, test, (v_key, u_key), tuple(pulled), views, rule, tables, twice=twice)
        r = r.to(measure)
        stack = [value.expand(r.shape[2] // len(pulled), -1) for value in pulled.values()]
        entries = (r.flatten(0, 1) @ torch.cat(stack)).reshape(*r.shape[:2], -1)
        rows, columns = _local_rows(test, v_key, views), _local_rows(trial, u_key, views)
        local.append((rows, columns, entries))
        if symmetric and not twice:
            local.append((columns, rows, entries.transpose(0, 1)))
    return local


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
    v_key, u_key = key
    known = ("kernel", key, pairs, twice)
    if known not in tables:
        v_table = _table(test, v_key, views, rule, tables, "test")
        u_table = _table(trial, u_key, views, rule, tables, "trial")
        kernel = []
        for beta, alpha in pairs:
            product = torch.einsum("qi,qj->ijq", v_table[beta], u_table[alpha])
            if twice and alpha != beta:
                product = product + product.transpose(0, 1)
            kernel.append(product if rule is None else product @ rule[1][:, None])
        tables[known] = torch.cat(kernel, dim=2)
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


def _pulled(
    space: FunctionSpace | None, primitive: Primitive | None, views: tuple[View, ...]
) -> tuple[Any, tuple[int, ...], list[tuple[int, Any]]]:
    """Group of degrees of freedom that a primitive belongs to, and its reference functions.

    Between them: by the determinants of which sides the latter are still to be divided.
    """
    if space is None or primitive is None:
        return None, (), [(0, 1.0)]
    if primitive.side < 0:
        raise FormError("at inner facets u and v have two values: use jump, avg or side")
    kind = space.blocks[primitive.block].kind
    component = primitive.component if kind == "scalar" else -1
    geometry = views[primitive.side].geometry
    divided, pull = before_division(kind, primitive.component, primitive.derivative, geometry)
    sides = (primitive.side,) if divided else ()
    return (primitive.block, component, primitive.side), sides, pull


def _table(
    space: FunctionSpace | None,
    key: Any,
    views: tuple[View, ...],
    rule: tuple[Tensor, Tensor] | None,
    tables: dict[Any, Any],
    role: str,
) -> Tensor:
    points = views[0].reference if rule is None else rule[0]
    if space is None:
        return torch.ones(1, len(points), 1, dtype=torch.float64)
    block, _, side = key
    if (block, side, role) not in tables:
        points = views[side].reference if rule is None else rule[0]
        element = space.blocks[block].elements[views[side].geometry.cell]
        tables[block, side, role] = tabulated(element, points)
    out: Tensor = tables[block, side, role]
    return out


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
