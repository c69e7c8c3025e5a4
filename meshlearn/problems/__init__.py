"""Ready problems: a mesh goes in, a solution with its errors comes out."""

from __future__ import annotations

from .base import Problem, Solution
from .library import PROBLEMS, named_problem
from .poisson import Helmholtz, Poisson

__all__ = ["PROBLEMS", "Helmholtz", "Poisson", "Problem", "Solution", "named_problem"]
