"""Residual forms: vectors at a state, and exact tangents by automatic differentiation.

A residual form F(u; v, w) is a function of the current field u (known values: `u`, `grad(u)`, and
products and functions of them), linear in the test function v. Its tangent

    J(u; du, v, w) = d/de F(u + e du; v, w)

needs the derivatives of the coefficients of v with respect to the values and gradients of u at each
quadrature point only. These come from autograd, for all points at once, and enter assembly as any
other coefficient: the tangent is exact and consistent with the residual, for scalar, vector and
mixed spaces, in cells and on facets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .assemble import assemble, assemble_linear
from .context import Field
from .expressions import Bilinear, Coefficient, Linear, Primitive
from .space import FunctionSpace
from .sparse import plus
from .values import FormError, Sides, Values

Form = Callable[..., Any]
Forms = Form | Sequence[tuple[Form, str]]
_STATE = "_state"


def residual(
    form: Forms,
    space: FunctionSpace,
    dofs: Tensor,
    *,
    on: str = "cells",
    degree: int | None = None,
    **fields: Any,
) -> Tensor:
    """Vector of a residual form at a state, `F_i = F(u; psi_i)` `[num_dofs]`.

    Args:
        form: `(u, v, w) -> scalar`, linear in v; u is the state as `Values`, a tuple of them in
            mixed spaces (on "interior" facets: pairs for `jump` and `avg`). Or several integrals:
            pairs (form, on).
        space: of u and v.
        dofs: the state `[num_dofs]`.
        on: where to integrate, for a single form; see `assemble`.
        degree: of the quadrature; see `assemble`.
        **fields: see `assemble`.
    """
    known: dict[str, Any] = {**fields, _STATE: Field(space, dofs)}
    parts = [
        assemble_linear(_at_state(one), space, on=where, degree=degree, **known)
        for one, where in listed(form, on)
    ]
    return sum(parts[1:], parts[0])


def jacobian(
    form: Forms,
    space: FunctionSpace,
    dofs: Tensor,
    *,
    on: str = "cells",
    degree: int | None = None,
    **fields: Any,
) -> Tensor:
    """Exact tangent matrix of `residual`, `J_ij = dF_i / du_j`, sparse CSR; arguments alike.

    With gradients enabled the matrix is differentiable in the state and in all that F depends on.
    """
    pairs = [(derivative(one), where) for one, where in listed(form, on)]
    return tangent(pairs, space, dofs, degree, fields)


def derivative(form: Form) -> Form:
    """The bilinear form `(du, v, w)` that linearises a residual form `(u, v, w)` at `w._state`."""

    def linearised(du: Any, v: Any, w: Any) -> Bilinear:
        exact = torch.is_grad_enabled() and _depends(_coefficients(form(w._state, v, w)))
        with torch.enable_grad():
            state, leaves = _leaves(w._state)
            found = _coefficients(form(state, v, w))
            active = {b: c for b, c in found.items() if isinstance(c, Tensor) and c.requires_grad}
            terms: dict[tuple[Primitive, Primitive], Coefficient] = {}
            for b, coefficient in active.items():
                slopes = torch.autograd.grad(
                    coefficient.sum(),
                    [leaf for _, leaf in leaves],
                    create_graph=exact,
                    retain_graph=True,
                    allow_unused=True,
                )
                for (primitives, _), slope in zip(leaves, slopes, strict=True):
                    if slope is not None:
                        terms |= _terms(primitives, b, slope, exact=exact)
        return Bilinear(terms)

    return linearised


def listed(form: Forms, on: str) -> list[tuple[Form, str]]:
    """Pairs (form, on)."""
    return [(form, on)] if callable(form) else list(form)


def tangent(
    pairs: Sequence[tuple[Form, str]],
    space: FunctionSpace,
    dofs: Tensor,
    degree: int | None,
    fields: dict[str, Any],
) -> Tensor:
    """Sum of bilinear forms (form, on) that find the state as `w._state`, sparse CSR."""
    known: dict[str, Any] = {**fields, _STATE: Field(space, dofs)}
    parts = [assemble(one, space, on=where, degree=degree, **known) for one, where in pairs]
    return reduce(plus, parts)


def _at_state(form: Form) -> Form:
    return lambda v, w: form(w._state, v, w)


def _coefficients(expression: Any) -> dict[Primitive, Coefficient]:
    if not isinstance(expression, Linear) or expression.shape != ():
        raise FormError("a residual form must return a scalar linear in v")
    return expression.entries[()]


def _depends(coefficients: dict[Primitive, Coefficient]) -> bool:
    return any(isinstance(c, Tensor) and c.requires_grad for c in coefficients.values())


Leaf = tuple[dict[Any, Primitive], Tensor]
"""Primitive of each entry of an array of values `[m, ...]`, and the array."""


def _leaves(state: Any) -> tuple[Any, list[Leaf]]:
    """The state as independent variables: values and gradients of every block and side."""
    leaves: list[Leaf] = []

    def variable(block: int, side: int, known: Values) -> Values:
        value = _variable(known.value)
        shape = tuple(known.value.shape[1:])
        names = {k: Primitive(block, k[0] if k else 0, -1, side) for k in np.ndindex(shape)}
        leaves.append((names, value))
        if known.special is not None:
            return Values(value, None, derived(block, side, known))
        if known.gradient is None:
            return Values(value)
        gradient = _variable(known.gradient)
        shape = tuple(known.gradient.shape[1:])
        names = {k: Primitive(block, k[0] if k[1:] else 0, k[-1], side) for k in np.ndindex(shape)}
        leaves.append((names, gradient))
        return Values(value, gradient)

    def derived(block: int, side: int, known: Values) -> dict[str, Tensor]:
        ((name, at_points),) = (known.special or {}).items()
        special, d = _variable(at_points), known.value.shape[1]
        shape = tuple(special.shape[1:])
        names = {k: Primitive(block, 0, d + (k[0] if k else 0), side) for k in np.ndindex(shape)}
        leaves.append((names, special))
        return {name: special}

    def of_block(block: int, known: Any) -> Any:
        if isinstance(known, Sides):
            return Sides(*(variable(block, side, part) for side, part in enumerate(known)))
        return variable(block, 0, known)

    if isinstance(state, Values | Sides):
        return of_block(0, state), leaves
    return tuple(of_block(k, block) for k, block in enumerate(state)), leaves


def _variable(known: Tensor) -> Tensor:
    """A copy to differentiate by, still tied to what the values depend on."""
    return known.clone() if known.requires_grad else known.detach().clone().requires_grad_(True)


def _terms(
    primitives: dict[Any, Primitive], b: Primitive, slope: Tensor, *, exact: bool
) -> dict[tuple[Primitive, Primitive], Coefficient]:
    """Coefficients of (trial, test) pairs; those that vanish at every point are left out."""
    terms: dict[tuple[Primitive, Primitive], Coefficient] = {}
    for index, a in primitives.items():
        part = slope[(slice(None), *index)]
        if exact or bool(part.any()):
            terms[a, b] = part if exact else part.detach()
    return terms
