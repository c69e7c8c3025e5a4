"""Lowest layer: reductions over the edges of each node, and small matrices as arrays."""

from __future__ import annotations

from .segment import (
    Segments,
    gather,
    gather_combine,
    segment_max,
    segment_mean,
    segment_min,
    segment_softmax,
    segment_sum,
)

__all__ = [
    "Segments",
    "gather",
    "gather_combine",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_sum",
]
