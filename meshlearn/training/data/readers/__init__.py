"""Readers for the layouts of public data sets."""

from __future__ import annotations

from .tfrecord import read_trajectories, tfrecord_payloads

__all__ = ["read_trajectories", "tfrecord_payloads"]
