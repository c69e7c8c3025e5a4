"""Limited-memory BFGS: directions from the last steps and a preconditioner.

D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Math.
Program. 45 (1989) 503-528.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from ..fem.linear import Solve

Array = NDArray[np.float64]

_PAIRS = 8
_CURVATURE = 1e-8
"""Pairs whose step and change are nearer to perpendicular say nothing of the curvature."""


class Memory:
    """Steps and the changes of the gradient that they caused."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Array, Array, float]] = deque(maxlen=_PAIRS)

    def direction(self, gradient: Array, precondition: Solve) -> Array:
        """Descent direction by the two-loop recursion.

        Args:
            gradient: at the current point `[k]`.
            precondition: approximate inverse Hessian, symmetric positive definite, of a vector
                or of two as columns.
        """
        q, shares = gradient.copy(), []
        for s, y, sy in reversed(self._pairs):
            share = (s @ q) / sy
            shares.append(share)
            q -= share * y
        if self._pairs:
            _, y, sy = self._pairs[-1]
            # Both at once: a triangular solve mostly reads its factors.
            r, preconditioned = precondition(np.stack([q, y], axis=1)).T
            r = r * (sy / (y @ preconditioned))
        else:
            r = precondition(q)
        for (s, y, sy), share in zip(self._pairs, reversed(shares), strict=True):
            r += (share - (y @ r) / sy) * s
        return -r

    def remember(self, step: Array, change: Array) -> None:
        """Keep a step and the change of the gradient along it, if its curvature is positive."""
        sy = float(step @ change)
        if sy > _CURVATURE * float(np.linalg.norm(step) * np.linalg.norm(change)):
            self._pairs.append((step, change, sy))

    def forget(self) -> bool:
        """Drop all; False if there was nothing."""
        had = bool(self._pairs)
        self._pairs.clear()
        return had
