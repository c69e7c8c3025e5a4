"""Element types of gmsh, and the pieces that the readers of both versions of MSH fill in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...cells import CELL_TYPES
from ...errors import MeshError

IntArray = NDArray[np.int64]

_NODES: dict[str, dict[int, int]] = {  # {family: {gmsh's number of the type: nodes}}
    "vertex": {15: 1},
    "line": {1: 2, 8: 3, 26: 4, 27: 5, 28: 6, 62: 7, 63: 8, 64: 9, 65: 10, 66: 11},
    "triangle": {
        2: 3,
        9: 6,
        20: 9,
        21: 10,
        22: 12,
        23: 15,
        24: 15,
        25: 21,
        42: 28,
        43: 36,
        44: 45,
        45: 55,
        46: 66,
    },
    "quad": {3: 4, 16: 8, 10: 9, 36: 16, 37: 25, 38: 36, 47: 49, 48: 64, 49: 81, 50: 100, 51: 121},
    "tetra": {4: 4, 11: 10, 29: 20, 30: 35, 31: 56, 71: 84, 72: 120, 73: 165, 74: 220, 75: 286},
    "hexahedron": {
        5: 8,
        17: 20,
        12: 27,
        92: 64,
        93: 125,
        94: 216,
        95: 343,
        96: 512,
        97: 729,
        98: 1000,
    },
    "wedge": {
        6: 6,
        18: 15,
        13: 18,
        90: 40,
        91: 75,
        106: 126,
        107: 196,
        108: 288,
        109: 405,
        110: 550,
    },
    "pyramid": {
        7: 5,
        19: 13,
        14: 14,
        118: 30,
        119: 55,
        120: 91,
        121: 140,
        122: 204,
        123: 285,
        124: 385,
    },
}
TYPE_OF = {
    number: (family, nodes) for family, types in _NODES.items() for number, nodes in types.items()
}
"""Family and number of nodes of each of gmsh's element types."""

NUMBER_OF = {"vertex": 15, **{name: next(iter(_NODES[name])) for name in CELL_TYPES}}
"""Gmsh's number of each first-order type."""


UNTAGGED = "_untagged"
"""Name of the physical group of cells that have no tag."""


def element_type(number: int) -> tuple[str, int]:
    """Family and number of nodes of gmsh's element type `number`."""
    if number not in TYPE_OF:
        raise MeshError(f"gmsh's element type {number} is not supported; save another element type")
    return TYPE_OF[number]


def dimension(family: str) -> int:
    """Topological dimension of a family of elements."""
    return 0 if family == "vertex" else CELL_TYPES[family].dim


@dataclass
class Elements:
    """Elements of one type as they stand in a file.

    Attributes:
        family: `"triangle"`, ...
        nodes: gmsh's node tags `[k, nodes per element]`.
        number: gmsh's element tags `[k]`.
        groups: physical groups of all `k` elements.
        group: physical group of each element, 0 for none `[k]`, or None where `groups` tells all.
    """

    family: str
    nodes: IntArray
    number: IntArray
    groups: tuple[int, ...] = ()
    group: IntArray | None = None


@dataclass
class Msh:
    """What a file holds.

    Attributes:
        points: `[n, 3]`.
        node_number: gmsh's node tags `[n]`.
        names: name of a physical group by (dimension, number).
        data: post-processing data by ("node" | "element", name): entity tags and values.
    """

    points: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    node_number: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    elements: list[Elements] = field(default_factory=list)
    names: dict[tuple[int, int], str] = field(default_factory=dict)
    data: dict[tuple[str, str], tuple[IntArray, NDArray[Any]]] = field(default_factory=dict)
