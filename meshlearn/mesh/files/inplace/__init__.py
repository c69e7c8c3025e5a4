"""Other coordinates in a mesh file, in which every other byte stays as it is.

Comments, sections and sets that this package knows nothing about survive, and so do the nodes of
higher-order cells and the numbering. Coordinates that do not change keep their text.
"""

from __future__ import annotations

from .slots import Slots
from .table import find_slots, rewritable, rewrite

__all__ = ["Slots", "find_slots", "rewritable", "rewrite"]
