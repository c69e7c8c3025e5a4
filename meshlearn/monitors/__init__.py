"""Monitors: where the nodes should go."""

from __future__ import annotations

from .base import Constant, Function, Monitor, Sample

__all__ = ["Constant", "Function", "Monitor", "Sample"]
