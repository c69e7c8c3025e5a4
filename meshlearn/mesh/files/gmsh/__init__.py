"""Gmsh's MSH format, versions 2.2 and 4.1, text and binary, with physical groups and data."""

from __future__ import annotations

from .reader import read
from .writer import write22, write41

__all__ = ["read", "write22", "write41"]
