"""Learned movers: networks under the same contract, guard and report as the classical ones."""

from __future__ import annotations

from .network import MoverNet
from .universal import UniversalMover

__all__ = ["MoverNet", "UniversalMover"]
