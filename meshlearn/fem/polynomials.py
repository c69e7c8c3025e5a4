"""Reference bases as polynomials: values and derivatives of any order, at a point of its own each.

All basis functions of `elements` are polynomials. Their monomial coefficients are found once from
the tabulated values, about the centre of the reference cell; after that they are evaluated in
torch, on the device of the points, and autograd sees the points.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..mesh import CELL_TYPES
from .elements import ReferenceElement


@dataclass(frozen=True)
class Polynomials:
    """Basis functions in monomials of t = 2 xi - 1.

    Attributes:
        exponents: `[terms, d]`.
        coefficients: `[terms, k]` of scalar, `[terms, k, d]` of vector-valued functions.
    """

    exponents: Tensor
    coefficients: Tensor

    def at(self, reference: Tensor, derivative: tuple[int, ...] = ()) -> Tensor:
        """Basis functions, or a derivative of them, at reference points.

        Args:
            reference: `[m, d]`.
            derivative: directions to differentiate in, `(0, 1)` for d^2 / d xi_0 d xi_1.

        Returns:
            `[m, k]` or `[m, k, d]`.
        """
        exponents, factor = self.exponents.to(reference.device), 1.0
        scale = torch.ones(len(exponents), dtype=reference.dtype, device=reference.device)
        for axis in derivative:
            scale = scale * exponents[:, axis]
            lower = exponents.clone()
            lower[:, axis] = (lower[:, axis] - 1).clamp(min=0)
            exponents, factor = lower, 2 * factor
        columns = monomials(2 * reference - 1, exponents) * (scale * factor)
        return torch.tensordot(columns, self.coefficients.to(columns), dims=1)


def monomials(points: Tensor, exponents: Tensor) -> Tensor:
    """Products of powers `[m, terms]` of coordinates `[m, d]`."""
    degree = int(exponents.max()) if exponents.numel() else 0
    powers = [torch.ones_like(points)]
    for _ in range(degree):
        powers.append(powers[-1] * points)
    table = torch.stack(powers)
    out = table[exponents[:, 0], :, 0]
    for axis in range(1, points.shape[1]):
        out = out * table[exponents[:, axis], :, axis]
    return out.T


@cache
def polynomials(element: ReferenceElement) -> Polynomials:
    """Monomial form of a reference element."""
    shape = CELL_TYPES[element.cell]
    degree = max(element.degree, 1)
    lattice = list(itertools.product(range(degree + 1), repeat=shape.dim))
    if shape.is_simplex:
        lattice = [p for p in lattice if sum(p) <= degree]
    exponents = torch.tensor(lattice)
    points = exponents.to(torch.float64) / degree
    value, _ = element.tabulate(points)
    flat = torch.linalg.solve(monomials(2 * points - 1, exponents), value.flatten(1))
    return Polynomials(exponents, flat.reshape(len(lattice), *value.shape[1:]))
