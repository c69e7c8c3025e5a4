"""Krylov methods on the CPU with a preconditioner that is a function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]


def minres(
    matrix: sp.csr_array,
    right: Array,
    start: Array,
    preconditioner: Callable[[Array], Array],
    tol: float,
    steps: int,
) -> tuple[Array, list[float]]:
    """MINRES with a positive definite preconditioner P^-1.

    Elman, Silvester & Wathen, Finite Elements and Fast Iterative Solvers (2014), algorithm 4.1.

    Args:
        matrix: A, symmetric `[n, n]`.
        right: b `[n]`.
        start: x to begin with `[n]`.
        preconditioner: r -> P^-1 r.
        tol: of the residual, relative to that of x = 0, both in the norm r^T P^-1 r.
        steps: after which it gives up.

    Returns:
        x, and the norms of the residual at the start and after each step.
    """
    x, before = start.copy(), np.zeros_like(right)
    now = right - matrix @ x
    z = preconditioner(now)
    gamma, goal = _norm(now, z), tol * _norm(right, preconditioner(right))
    eta, last = gamma, 1.0
    sine, sine_before, cosine, cosine_before = 0.0, 0.0, 1.0, 1.0
    w, w_before = np.zeros_like(x), np.zeros_like(x)
    history = [abs(eta)]
    while history[-1] > goal and len(history) <= steps and gamma > 0:
        z = z / gamma
        image = matrix @ z
        delta = float(image @ z)
        after = image - (delta / gamma) * now - (gamma / last) * before
        z_after = preconditioner(after)
        gamma_after = _norm(after, z_after)
        a0 = cosine * delta - cosine_before * sine * gamma
        a1 = float(np.hypot(a0, gamma_after))
        a2 = sine * delta + cosine_before * cosine * gamma
        a3 = sine_before * gamma
        cosine_before, sine_before = cosine, sine
        cosine, sine = a0 / a1, gamma_after / a1
        w_before, w = w, (z - a3 * w_before - a2 * w) / a1
        x += cosine * eta * w
        eta *= -sine
        before, now, z, last, gamma = now, after, z_after, gamma, gamma_after
        history.append(abs(eta))
    return x, history


def flexible_gmres(
    matrix: sp.csr_array,
    right: Array,
    start: Array,
    preconditioner: Callable[[Array], Array],
    tol: float,
    steps: int,
    restart: int = 100,
) -> tuple[Array, list[float]]:
    """GMRES with a preconditioner that may change from step to step.

    Saad, SIAM J. Sci. Comput. 14 (1993) 461-469.

    Args:
        matrix: A `[n, n]`.
        right: b `[n]`.
        start: x to begin with `[n]`.
        preconditioner: r -> about A^-1 r.
        tol: of the norm of the residual, relative to that of b.
        steps: after which it gives up.
        restart: steps after which what is stored is thrown away.

    Returns:
        x, and the norms of the residual at the start and after each step.
    """
    x, goal = start.copy(), tol * float(np.linalg.norm(right))
    history = [float(np.linalg.norm(right - matrix @ x))]
    while history[-1] > goal and len(history) <= steps:
        r = right - matrix @ x
        size = float(np.linalg.norm(r))
        basis, found = [r / size], []
        h = np.zeros((restart + 1, restart))
        rotations: list[tuple[float, float]] = []
        g = np.zeros(restart + 1)
        g[0], k = size, 0
        while k < restart and history[-1] > goal and len(history) <= steps:
            found.append(preconditioner(basis[k]))
            w = matrix @ found[k]
            for _ in range(2):  # twice is enough for orthogonality to rounding
                for i, v in enumerate(basis):
                    part = float(v @ w)
                    h[i, k] += part
                    w = w - part * v
            h[k + 1, k] = np.linalg.norm(w)
            basis.append(w / h[k + 1, k] if h[k + 1, k] > 0 else w)
            for i, (c, s) in enumerate(rotations):
                h[i, k], h[i + 1, k] = c * h[i, k] + s * h[i + 1, k], c * h[i + 1, k] - s * h[i, k]
            length = float(np.hypot(h[k, k], h[k + 1, k]))
            c, s = (h[k, k] / length, h[k + 1, k] / length) if length > 0 else (1.0, 0.0)
            rotations.append((c, s))
            h[k, k], h[k + 1, k] = length, 0.0
            g[k], g[k + 1] = c * g[k], -s * g[k]
            history.append(abs(float(g[k + 1])))
            k += 1
        weights = np.linalg.lstsq(h[:k, :k], g[:k], rcond=None)[0]
        for weight, z in zip(weights, found, strict=True):
            x += weight * z
    return x, history


def _norm(r: Array, z: Array) -> float:
    return float(np.sqrt(np.maximum(r @ z, 0.0)))
