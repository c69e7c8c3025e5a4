"""Readers for the layouts of public data sets."""

from __future__ import annotations

from .grids import GridRun, read_cfdbench, read_pdebench
from .tfrecord import read_trajectories, read_trajectory, record_places, tfrecord_payloads

__all__ = [
    "GridRun",
    "read_cfdbench",
    "read_pdebench",
    "read_trajectories",
    "read_trajectory",
    "record_places",
    "tfrecord_payloads",
]
