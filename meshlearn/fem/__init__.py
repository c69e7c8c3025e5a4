"""Finite elements: reference solves, P1 matrices, recovery of derivatives."""

from __future__ import annotations

from .linear import SolveError
from .recovery import Recovered, l2_error_estimate, recover
from .reference import DiscreteField, interpolate, solve_reaction_diffusion

__all__ = [
    "DiscreteField",
    "Recovered",
    "SolveError",
    "interpolate",
    "l2_error_estimate",
    "recover",
    "solve_reaction_diffusion",
]
