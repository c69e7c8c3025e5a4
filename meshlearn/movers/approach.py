"""Milder metrics on the way to one whose cells are far from those of a mesh.

A thin straight front asks for cells hundreds of times longer than wide. A search that starts from
round cells then ends in a poor local minimum: cells jump over the front, in whose middle the
curvature vanishes. With M + c I, c falling threefold from search to search, it mostly does not;
the energy with the metric sampled inside the cells says where it still does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..monitors import Monitor, Sample
from .energy import HuangKamenski

THETA = 0.1
"""Weight of alignment on the way, if that of the mover is larger."""
ITERATIONS = 20
"""Of each search on the way, at most."""
TOL = 1e-3
"""Tolerance of a search on the way."""
_FAR = 5.0
"""Misalignment of a simplex above which a search does not start."""
_FACTOR = 10**0.5
_MARGIN = 1.01


def approach(functional: HuangKamenski, monitor: Monitor, start: Tensor) -> list[Monitor]:
    """The monitors to follow before the last search, the given one included; none if it is near.

    The first is the least mild one with all misalignments below 5, among those whose eigenvalues
    are raised by the largest one over r / 10^(1/2), r / 10, ..., where r is the largest ratio of
    eigenvalues at a node.

    Args:
        functional: says what is far.
        monitor: a density is never far.
        start: positions `[n, d]`.
    """
    value = monitor.sample(start).value
    if value.dim() == 1:
        return []
    spread = torch.linalg.eigvalsh(value)
    largest, ratio = float(spread.max()), float((spread[:, -1] / spread[:, 0]).max())
    steps: list[Monitor] = []
    current = monitor
    while float(functional.misalignment(start, current.sample(start).value).max()) > _FAR:
        steps.insert(0, current)
        ratio /= _FACTOR
        if ratio < 1:
            return steps
        current = _Milder(monitor, largest / ratio)
    return [current, *steps] if steps else []


def jumped(functional: HuangKamenski, monitor: Monitor, before: Tensor, after: Tensor) -> bool:
    """Whether the energy of metrics sampled inside the cells rose by more than 1 %.

    Args:
        functional: lowered by a search, as the corners see it.
        monitor: a metric.
        before: positions `[n, d]` at the start of the search.
        after: at its end.
    """
    return _sampled(functional, monitor, after) > _MARGIN * _sampled(functional, monitor, before)


def _sampled(functional: HuangKamenski, monitor: Monitor, pos: Tensor) -> float:
    """Energy with the metric averaged over the centroid and the middles of the edges."""
    corners = pos[functional.nodes]
    one, two = torch.triu_indices(corners.shape[1], corners.shape[1], offset=1)
    middles = (corners[:, one] + corners[:, two]) / 2
    points = torch.cat([middles, corners.mean(dim=1, keepdim=True)], dim=1)
    value = monitor.sample(points.flatten(0, 1)).value
    mean = value.reshape(*points.shape[:2], *value.shape[1:]).mean(dim=1)
    return functional.energy_of(pos, mean)


class _Milder(Monitor):
    """A metric with a multiple of the identity added."""

    def __init__(self, metric: Monitor, added: float) -> None:
        self.metric, self.added = metric, added

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        inner = self.metric.sample(pos, hint)
        identity = torch.eye(pos.shape[1]).to(inner.value)
        return Sample(inner.value + self.added * identity, inner.gradient, inner.hint)
