"""Physical values and derivatives of basis functions in terms of reference ones.

Every primitive of a form is a combination of *reference functions*, numbered alpha: the value and
the d reference derivatives of a scalar basis (0, 1..d); the d components and the divergence of an
H(div) basis, or the curl of an H(curl) basis (0..d-1, d..).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .elements import ReferenceElement, reference_element
from .mapping import Mapping
from .values import FormError

_SMALL = 1024
"""Tables at no more points than these, those of quadratures, are kept."""


def tabulated(element: ReferenceElement, reference: Tensor) -> Tensor:
    """Reference functions at points: `[alphas, q, k]`."""
    if len(reference) > _SMALL:
        return _tabulated(element, reference)
    points = reference.to("cpu", torch.float64).numpy()
    return _kept(element.name, element.cell, points.tobytes(), points.shape)


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # autograd must be able to use it later
def _kept(name: str, cell: str, points: bytes, shape: tuple[int, int]) -> Tensor:
    at = torch.from_numpy(np.frombuffer(points).reshape(shape).copy())
    return _tabulated(reference_element(name, cell), at)


def _tabulated(element: ReferenceElement, reference: Tensor) -> Tensor:
    value, slope = element.tabulate(reference)
    if element.kind == "scalar":
        return torch.cat([value[None], slope.movedim(2, 0)])
    first = value.movedim(2, 0)
    return torch.cat([first, slope[None] if slope.dim() == 2 else slope.movedim(2, 0)])


def pulled_back(
    kind: str, component: int, derivative: int, geometry: Mapping
) -> list[tuple[int, Any]]:
    """A primitive as a list of (alpha, factor `[1 or q, n_cells]` or 1)."""
    divided, parts = before_division(kind, component, derivative, geometry)
    return [(alpha, f * geometry.scale) for alpha, f in parts] if divided else parts


def before_division(
    kind: str, component: int, derivative: int, geometry: Mapping
) -> tuple[bool, list[tuple[int, Any]]]:
    """As `pulled_back`, and whether the factors are still to be divided by the determinant."""
    d = geometry.dim
    if kind == "scalar":
        if derivative < 0:
            return False, [(0, 1.0)]
        return True, [(a + 1, geometry.adjugate[a][derivative]) for a in range(d)]
    if kind == "hdiv":
        if derivative == d:
            return True, [(d, 1.0)]
        if derivative < 0:
            return True, [(a, geometry.forward[component][a]) for a in range(d)]
    if kind == "hcurl":
        if derivative < 0:
            return True, [(a, geometry.adjugate[a][component]) for a in range(d)]
        if derivative >= d and d == 2:
            return True, [(d, 1.0)]
        if derivative >= d:
            return True, [(d + a, geometry.forward[derivative - d][a]) for a in range(d)]
    raise FormError(f"this derivative is not defined for {kind} elements; use div or curl")
