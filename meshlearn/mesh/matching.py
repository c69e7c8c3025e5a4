"""Points of one place that lie on those of another: the two sides of a periodic domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from .errors import MeshError

Image = Callable[[Tensor], Tensor]
TOLERANCE = 1e-8
"""Distance of partners, relative to the size of the mesh."""


def image_of(image: Any, first: Tensor, second: Tensor) -> Image:
    """The map from one side to another as a function.

    Args:
        image: a function of points `[m, d]`, a translation `[d]`, or None for the translation
            between the centres of the boxes around both sides.
        first, second: points of the two sides `[k, d]`.
    """
    if callable(image):
        return image
    if image is None:
        low, high = second.amin(dim=0) - first.amin(dim=0), second.amax(dim=0) - first.amax(dim=0)
        step = (low + high) / 2
    else:
        step = torch.as_tensor(image, dtype=torch.float64, device=first.device)
    return lambda x: x + step


def partners(
    moved: Tensor,
    points: Tensor,
    size: float,
    names: Sequence[Tensor],
    tags: tuple[str, str],
    what: str,
) -> Tensor:
    """Which point each moved point lies on `[k]`; each is used once.

    Args:
        moved: images of the points of the first side `[k, d]`.
        points: of the second side `[m, d]`.
        size: of the mesh; partners are nearer than `TOLERANCE` of it.
        names: numbers of the points of both sides, for the message.
        tags: names of both sides.
        what: a point is, in a word.

    Raises:
        MeshError: a point without a partner; the first is named.
    """
    here, there = moved.cpu().numpy(), points.cpu().numpy()
    distance, index = KDTree(there).query(here)
    back, _ = KDTree(here).query(there)
    for lost, at, name, (own, other) in (
        (np.asarray(distance > TOLERANCE * size), here, names[0], tags),
        (np.asarray(back > TOLERANCE * size), there, names[1], tags[::-1]),
    ):
        if lost.any():
            first = int(np.flatnonzero(lost)[0])
            where = ", ".join(f"{c:.6g}" for c in at[first])
            raise MeshError(
                f"{what} {int(name[first])} of {own!r} has no partner on {other!r}, looked for at "
                f"({where}); {int(lost.sum())} of {len(lost)} have none"
            )
    return torch.from_numpy(np.asarray(index, dtype=np.int64)).to(points.device)
