"""Errors of a finite-element function against an exact one, by high-order quadrature."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .assemble import integrate
from .context import Field
from .reference import gradient_of
from .space import FunctionSpace

_ORDER = {1: 20, 2: 12, 3: 8}


def errors(
    space: FunctionSpace,
    dofs: Tensor,
    exact: Callable[[Tensor], Tensor],
    exact_gradient: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """L2 and H1 error and the largest one.

    Args:
        space: one scalar or vector element.
        dofs: coefficients `[num_dofs]`.
        exact: `[m, d] -> [m]` or `[m, k]`.
        exact_gradient: `[m, d] -> [m, d]` or `[m, k, d]`; by autograd if not given.

    Returns:
        "l2", "h1" (of the gradient, where the element has one) and "max" (over quadrature points).
    """
    largest = 0.0
    degree = max(_ORDER[space.mesh.dim], 2 * space.degree + 2)
    if "tetra" in space.mesh.cells:
        degree = min(degree, 9)  # there is no higher rule
    slope_of = exact_gradient or _gradient(exact)

    def square(w: object) -> Tensor:
        nonlocal largest
        difference = w.u.value - exact(w.x)  # type: ignore[attr-defined]
        size = difference**2 if difference.dim() == 1 else (difference**2).sum(dim=1)
        largest = max(largest, float(size.detach().max()) ** 0.5)
        return size

    def tilt(w: object) -> Tensor:
        difference = w.u.gradient - slope_of(w.x)  # type: ignore[attr-defined]
        return (difference**2).flatten(1).sum(dim=1)

    field = Field(space, dofs)
    found = {"l2": float(integrate(square, space.mesh, degree=degree, u=field)) ** 0.5}
    if space.blocks[0].kind == "scalar":
        found["h1"] = float(integrate(tilt, space.mesh, degree=degree, u=field)) ** 0.5
    found["max"] = largest
    return found


def _gradient(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def gradient(x: Tensor) -> Tensor:
        columns = function(x[:1])
        if columns.dim() == 1:
            return gradient_of(function)(x)
        parts = [gradient_of(partial(_column, function, k))(x) for k in range(columns.shape[1])]
        return torch.stack(parts, dim=1)

    return gradient


def _column(function: Callable[[Tensor], Tensor], k: int, x: Tensor) -> Tensor:
    return function(x)[:, k]
