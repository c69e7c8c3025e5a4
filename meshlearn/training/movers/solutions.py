"""Random functions with features to adapt to, with their Laplacians in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Rng = np.random.Generator
Scalar = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Exact:
    """A function and its Laplacian, both `[m, d] -> [m]`."""

    value: Scalar
    laplacian: Scalar


def random_solution(rng: Rng, low: np.ndarray, high: np.ndarray) -> Exact:
    """A sum of Gaussians, plane waves, or fronts, flat or round, in the box [low, high] `[d]`."""
    kinds = (_gaussians, _gaussians, _waves, _front, _ring)
    return kinds[rng.integers(len(kinds))](rng, low, high)


def _gaussians(rng: Rng, low: np.ndarray, high: np.ndarray) -> Exact:
    """1 to 6 Gaussians of different width along turned axes."""
    d, count = len(low), int(rng.integers(1, 7))
    span = float((high - low).max())
    centres = torch.from_numpy(rng.uniform(low, high, (count, d)))
    heights = torch.from_numpy(rng.uniform(0.2, 1.0, count) * rng.choice([-1, 1, 1], count))
    width = span * rng.uniform(0.05, 0.35, (count, 1)) * rng.uniform(0.5, 1.5, (count, d))
    axes = np.linalg.qr(rng.normal(size=(count, d, d)))[0]
    # exp(-y^T y), y = B (x - c): gradient of the exponent -2 B^T y, Laplacian -2 |B|^2.
    shape = torch.from_numpy(axes / width[:, :, None])

    def local(x: Tensor, k: int) -> Tensor:
        return (x - centres[k]) @ shape[k].T

    def value(x: Tensor) -> Tensor:
        parts = [heights[k] * torch.exp(-(local(x, k) ** 2).sum(1)) for k in range(count)]
        return torch.stack(parts).sum(0)

    def laplacian(x: Tensor) -> Tensor:
        total = torch.zeros_like(x[:, 0])
        for k in range(count):
            y = local(x, k)
            slope = 4 * ((y @ shape[k]) ** 2).sum(1) - 2 * (shape[k] ** 2).sum()
            total = total + heights[k] * torch.exp(-(y**2).sum(1)) * slope
        return total

    return Exact(value, laplacian)


def _waves(rng: Rng, low: np.ndarray, high: np.ndarray) -> Exact:
    """Products of cosines, as sums of plane waves: 1 to 2.5 periods across the box."""
    d, span = len(low), high - low
    across = 2 * math.pi * rng.uniform(0.5, 1.5, d) * rng.choice([0, 1, 1, 1], d) / span
    if not across.any():
        across = 2 * math.pi / span
    shift = torch.from_numpy(rng.uniform(0, 2 * math.pi, d) * rng.choice([0, 1], d))
    k = torch.from_numpy(across)
    origin = torch.from_numpy(low)

    def value(x: Tensor) -> Tensor:
        return torch.cos((x - origin) * k + shift).prod(dim=1)

    def laplacian(x: Tensor) -> Tensor:
        return -(k**2).sum() * value(x)

    return Exact(value, laplacian)


def _front(rng: Rng, low: np.ndarray, high: np.ndarray) -> Exact:
    """tanh(s / w) across a plane, on top of a slow wave."""
    d, span = len(low), float((high - low).max())
    normal = rng.normal(size=d)
    unit = torch.from_numpy(normal / np.linalg.norm(normal))
    point = torch.from_numpy(rng.uniform(low, high))
    width = span * 10 ** rng.uniform(-1.7, -0.7)

    def value(x: Tensor) -> Tensor:
        return torch.tanh((x - point) @ unit / width)

    def laplacian(x: Tensor) -> Tensor:
        t = value(x)
        return -2 * t * (1 - t**2) / width**2

    return Exact(value, laplacian)


def _ring(rng: Rng, low: np.ndarray, high: np.ndarray) -> Exact:
    """tanh((r^2 - a^2) / (2 a w)) across a sphere about a point in the box."""
    d, span = len(low), float((high - low).max())
    centre = torch.from_numpy(rng.uniform(low, high))
    radius = span * rng.uniform(0.15, 0.6)
    width = span * 10 ** rng.uniform(-1.6, -0.8)
    scale = 1 / (2 * radius * width)

    def value(x: Tensor) -> Tensor:
        return torch.tanh((((x - centre) ** 2).sum(1) - radius**2) * scale)

    def laplacian(x: Tensor) -> Tensor:
        square = ((x - centre) ** 2).sum(1)
        t = torch.tanh((square - radius**2) * scale)
        # u = tanh(q): lap u = (1 - t^2) (lap q - 2 t |grad q|^2), q = scale (r^2 - a^2).
        return (1 - t**2) * (2 * d * scale - 8 * t * scale**2 * square)

    return Exact(value, laplacian)
