"""Jacobi-preconditioned Krylov methods in torch, on the device of the matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from .elimination import summed
from .linear import SolveError, not_converged
from .sparse import csr_matrix

_MAX_ITERATIONS = 10_000


def conjugate_gradients(
    row: Tensor, column: Tensor, values: Tensor, right: Tensor, tol: float
) -> Tensor:
    """Solve a symmetric positive definite system given in coordinates.

    Raises:
        SolveError: not converged, with the last residuals.
    """
    matrix = _csr(row, column, values, len(right))
    inverse = _jacobi(row, column, values, len(right))
    x = torch.zeros_like(right)
    r = right.clone()
    z = inverse * r
    p, rz = z.clone(), r @ z
    goal, history = tol * float(right.norm()), [float(right.norm())]
    for _ in range(_MAX_ITERATIONS):
        if history[-1] <= goal:
            return x
        ap = matrix @ p
        alpha = rz / (p @ ap)
        x, r = x + alpha * p, r - alpha * ap
        z = inverse * r
        rz, old = r @ z, rz
        p = z + (rz / old) * p
        history.append(float(r.norm()))
    raise not_converged("conjugate gradients", tol, history)


def bicgstab(row: Tensor, column: Tensor, values: Tensor, right: Tensor, tol: float) -> Tensor:
    """Solve a general system given in coordinates (van der Vorst's BiCGStab).

    Raises:
        SolveError: not converged or broken down, with the last residuals.
    """
    matrix = _csr(row, column, values, len(right))
    inverse = _jacobi(row, column, values, len(right))
    x, r = torch.zeros_like(right), right.clone()
    shadow, p = r.clone(), r.clone()
    rho = shadow @ r
    goal, history = tol * float(right.norm()), [float(right.norm())]
    for _ in range(_MAX_ITERATIONS):
        if history[-1] <= goal:
            return x
        y = inverse * p
        v = matrix @ y
        alpha = rho / (shadow @ v)
        s = r - alpha * v
        z = inverse * s
        t = matrix @ z
        omega = (t @ s) / (t @ t)
        x, r = x + alpha * y + omega * z, s - omega * t
        rho, old = shadow @ r, rho
        p = r + (rho / old) * (alpha / omega) * (p - omega * v)
        history.append(float(r.norm()))
        if not torch.isfinite(rho):
            break
    raise not_converged("BiCGStab", tol, history)


def _csr(row: Tensor, column: Tensor, values: Tensor, size: int) -> Tensor:
    row, column, values = summed(row, column, values, size)
    ends = torch.cumsum(torch.bincount(row, minlength=size), 0)
    rowptr = torch.cat([ends.new_zeros(1), ends])
    return csr_matrix(rowptr, column, values, (size, size))


def diagonal_of(row: Tensor, column: Tensor, values: Tensor, size: int) -> Tensor:
    """The diagonal of a matrix given in coordinates `[size]`."""
    on = row == column
    return values.new_zeros(size).index_add(0, row[on], values[on])


def _jacobi(row: Tensor, column: Tensor, values: Tensor, size: int) -> Tensor:
    diagonal = diagonal_of(row, column, values, size)
    if not bool((diagonal != 0).all()):
        raise SolveError("the matrix has zeros on its diagonal; use method='direct'")
    return 1 / diagonal
