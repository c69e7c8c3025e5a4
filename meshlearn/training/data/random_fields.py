r"""Stationary Gaussian fields of mean 0 and variance 1 by random Fourier features.

    z(x) = sqrt(2 / N) sum_j cos(w_j . x + b_j),   b_j uniform in [0, 2 pi)

where the frequencies w_j have the spectral density of the covariance C (Rahimi & Recht, NeurIPS
2007), with s = r / l:

    exponential   C = exp(-s)          multivariate Cauchy of scale 1 / l: w = normal / |normal|
    gaussian      C = exp(-s^2 / 2)    normal of deviation 1 / l
    cubic         C = 1 - 7 s^2 + 35/4 s^3 - 7/2 s^5 + 3/4 s^7 for s < 1, else 0

The length of the cubic one's frequencies has, in the plane, the density k S(k) with the Hankel
transform S(k) = int_0^1 C(s) J_0(k s) s ds, tabulated once (Chiles & Delfiner, Geostatistics, 2012,
section 2.5).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import j0
from torch import Tensor

from ..settings import TrainingError

Floats = NDArray[np.float64]
Rng = np.random.Generator
COVARIANCES = ("cubic", "exponential", "gaussian")

_WAVES = 256


def gaussian_field(
    rng: Rng, points: Tensor, length: float, covariance: str = "exponential"
) -> Tensor:
    """A field at points `[n, d]`: `[n]`.

    Args:
        rng: the same generator draws the same field.
        points: any; of the plane for the cubic covariance.
        length: l, in the points' units.
        covariance: one of `COVARIANCES`.

    Raises:
        TrainingError: an unknown covariance, or the cubic one outside the plane.
    """
    scaled = _frequencies(rng, points.shape[1], covariance) / length
    frequency = torch.from_numpy(scaled)
    phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, _WAVES))
    waves = (points @ frequency.T.to(points) + phase.to(points)).cos()
    return waves.sum(dim=1) * math.sqrt(2 / _WAVES)


def _frequencies(rng: Rng, dim: int, covariance: str) -> Floats:
    """Frequencies `[waves, d]` for l = 1."""
    normal = rng.normal(size=(_WAVES, dim))
    if covariance == "gaussian":
        return normal
    if covariance == "exponential":
        return normal / np.abs(rng.normal(size=(_WAVES, 1)))
    if covariance != "cubic":
        raise TrainingError(f"the covariance must be one of {COVARIANCES}, got {covariance!r}")
    if dim != 2:
        raise TrainingError(f"the cubic covariance is for points of the plane, got {dim}D")
    share, lengths = _cubic_lengths()
    drawn = np.interp(rng.uniform(0, share[-1], (_WAVES, 1)), share, lengths)
    return np.asarray(drawn * normal / np.linalg.norm(normal, axis=1, keepdims=True))


@cache
def _cubic_lengths() -> tuple[Floats, Floats]:
    """Distribution function of |w| and where it takes these values."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    s, ds = (nodes + 1) / 2, weights / 2
    covariance = 1 - 7 * s**2 + 8.75 * s**3 - 3.5 * s**5 + 0.75 * s**7
    k = np.linspace(0, 150, 3001)
    density = np.maximum(k * (j0(np.outer(k, s)) @ (covariance * s * ds)), 0)
    steps = (density[1:] + density[:-1]) / 2 * np.diff(k)
    return np.concatenate([[0.0], np.cumsum(steps)]), k
