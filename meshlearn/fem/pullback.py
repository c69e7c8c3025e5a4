"""Physical values and derivatives of basis functions in terms of reference ones.

Every primitive of a form is a combination of *reference functions*, numbered alpha: the value and
the d reference derivatives of a scalar basis (0, 1..d); the d components and the divergence of an
H(div) basis, or the curl of an H(curl) basis (0..d-1, d..).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .elements import ReferenceElement
from .expressions import FormError
from .mapping import Mapping


def tabulated(element: ReferenceElement, reference: Tensor) -> Tensor:
    """Reference functions at points: `[alphas, q, k]`."""
    value, slope = element.tabulate(reference)
    if element.kind == "scalar":
        return torch.cat([value[None], slope.movedim(2, 0)])
    first = value.movedim(2, 0)
    return torch.cat([first, slope[None] if slope.dim() == 2 else slope.movedim(2, 0)])


def pulled_back(
    kind: str, component: int, derivative: int, geometry: Mapping
) -> list[tuple[int, Any]]:
    """A primitive as a list of (alpha, factor `[1 or q, n_cells]` or 1)."""
    d = len(geometry.forward)
    if kind == "scalar":
        if derivative < 0:
            return [(0, 1.0)]
        return [(a + 1, geometry.inverse[a][derivative]) for a in range(d)]
    if kind == "hdiv":
        if derivative == d:
            return [(d, 1 / geometry.determinant)]
        if derivative < 0:
            scale = 1 / geometry.determinant
            return [(a, geometry.forward[component][a] * scale) for a in range(d)]
    if kind == "hcurl":
        if derivative < 0:
            return [(a, geometry.inverse[a][component]) for a in range(d)]
        if derivative >= d and d == 2:
            return [(d, 1 / geometry.determinant)]
        if derivative >= d:
            scale = 1 / geometry.determinant
            return [(d + a, geometry.forward[derivative - d][a] * scale) for a in range(d)]
    raise FormError(f"this derivative is not defined for {kind} elements; use div or curl")
