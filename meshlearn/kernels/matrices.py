"""Many small matrices at once, as structures of arrays.

A d x d matrix per cell (or point) is a list of rows of vectors over the cells: every operation runs
over contiguous memory, without LAPACK calls or short trailing axes, and is differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor

Matrix = list[list[Tensor]]


def determinant(m: Matrix) -> Tensor:
    """Determinant of 1 x 1, 2 x 2 or 3 x 3 matrices."""
    if len(m) == 1:
        return m[0][0]
    if len(m) == 2:
        return _minor(m[0][0], m[0][1], m[1][0], m[1][1])
    total = m[0][0] * _cofactor(m, 0, 0)
    for j in (1, 2):
        total = torch.addcmul(total, m[0][j], _cofactor(m, 0, j))
    return total


def inverse(m: Matrix) -> Matrix:
    """Inverse by cofactors."""
    scale = 1 / determinant(m)
    return [[entry * scale for entry in row] for row in adjugate(m)]


def adjugate(m: Matrix) -> Matrix:
    """The inverse times the determinant."""
    if len(m) == 1:
        return [[torch.ones_like(m[0][0])]]
    if len(m) == 2:
        (a, b), (c, d) = m
        return [[d, -b], [-c, a]]
    return [[_cofactor(m, j, i) for j in range(3)] for i in range(3)]


def _cofactor(m: Matrix, i: int, j: int) -> Tensor:
    """Signed minor of a 3 x 3 matrix without row i and column j."""
    above, below = m[(i + 1) % 3], m[(i + 2) % 3]
    left, right = (j + 1) % 3, (j + 2) % 3
    return _minor(above[left], above[right], below[left], below[right])


def _minor(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """a d - b c."""
    return torch.addcmul(a * d, b, c, value=-1)


def product(a: Matrix, b: Matrix) -> Matrix:
    """Matrix product."""
    out = []
    for row in a:
        line = []
        for j in range(len(b[0])):
            total = row[0] * b[0][j]
            for k in range(1, len(b)):
                total = torch.addcmul(total, row[k], b[k][j])
            line.append(total)
        out.append(line)
    return out


def transposed(m: Matrix) -> Matrix:
    """Transpose; shares the vectors."""
    return [list(row) for row in zip(*m, strict=True)]


def trace(m: Matrix) -> Tensor:
    """Trace of a square matrix."""
    total = m[0][0]
    for i in range(1, len(m)):
        total = total + m[i][i]
    return total
