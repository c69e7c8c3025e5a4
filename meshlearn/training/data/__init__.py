"""Data sets for operators: seeded, made when asked for, kept on disk."""

from __future__ import annotations

from .darcy import DOMAINS, Darcy, DarcySettings, make_darcy
from .pool import Case, Pool

__all__ = ["Case", "DOMAINS", "Darcy", "DarcySettings", "Pool", "make_darcy"]
