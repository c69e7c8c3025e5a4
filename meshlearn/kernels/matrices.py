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
        return m[0][0] * m[1][1] - m[0][1] * m[1][0]
    return (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )


def inverse(m: Matrix) -> Matrix:
    """Inverse by cofactors."""
    scale = 1 / determinant(m)
    if len(m) == 1:
        return [[scale]]
    if len(m) == 2:
        (a, b), (c, d) = m
        return [[d * scale, -b * scale], [-c * scale, a * scale]]
    cofactor = [
        [
            m[(i + 1) % 3][(j + 1) % 3] * m[(i + 2) % 3][(j + 2) % 3]
            - m[(i + 1) % 3][(j + 2) % 3] * m[(i + 2) % 3][(j + 1) % 3]
            for j in range(3)
        ]
        for i in range(3)
    ]
    return [[cofactor[j][i] * scale for j in range(3)] for i in range(3)]


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
