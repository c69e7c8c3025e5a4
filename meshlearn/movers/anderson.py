"""Anderson's acceleration of a fixed-point iteration.

D. G. Anderson, Iterative procedures for nonlinear integral equations, J. ACM 12 (1965); H. F.
Walker, P. Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011)
1715-1735.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS = 5
_DEPENDENT = 1e-8
"""Singular values below this fraction of the largest are steps that say nothing new."""


class Anderson:
    """Steps of an iteration x + f(x), and the changes of f that they caused."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Array, Array]] = deque(maxlen=_STEPS)

    def step(self, f: Array, share: float) -> Array:
        """From where f is `[k]`: what the last steps leave of it, of which `share` is taken."""
        if not self._pairs:
            return share * f
        steps, changes = (np.stack(column, axis=1) for column in zip(*self._pairs, strict=True))
        mix = np.linalg.lstsq(changes, f, rcond=_DEPENDENT)[0]
        found: Array = share * (f - changes @ mix) - steps @ mix
        return found

    def remember(self, step: Array, change: Array) -> None:
        """Keep a step `[k]` and the change of f along it."""
        self._pairs.append((step, change))

    def forget(self) -> bool:
        """Drop all; False if there was nothing."""
        had = bool(self._pairs)
        self._pairs.clear()
        return had
