"""One small mesh of each cell type, with tags and fields of every kind."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from meshlearn.mesh import Mesh

_CUBE = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float
)
_PLANE = np.array([[0, 0], [1, 0], [1, 1 / 3], [0, 1], [2, 0.1]])
_TRIANGLES = [[0, 1, 2], [0, 2, 3], [1, 4, 2]]

Sample = tuple[
    NDArray[np.float64], list[tuple[str, list[list[int]]]], list[list[int]], list[list[int]]
]

SAMPLES: dict[str, Sample] = {  # positions, cells, two sets of facets
    "line": (
        np.array([[0.0], [0.3], [1.1], [2]]),
        [("line", [[0, 1], [1, 2], [2, 3]])],
        [[0]],
        [[3]],
    ),
    "curve": (
        np.array([[0.0, 0], [0.3, 1], [1.1, 0], [2, 1]]),
        [("line", [[0, 1], [1, 2], [2, 3]])],
        [[0]],
        [[3]],
    ),
    "triangle": (_PLANE, [("triangle", _TRIANGLES)], [[0, 1], [1, 4]], [[2, 3], [1, 2]]),
    "surface": (
        np.c_[_PLANE, _PLANE[:, 0] ** 2 / 7],
        [("triangle", _TRIANGLES)],
        [[0, 1], [1, 4]],
        [[2, 3], [4, 2]],
    ),
    "quad": (
        np.array([[0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1 / 3]]),
        [("quad", [[0, 1, 2, 3], [1, 4, 5, 2]])],
        [[3, 0]],
        [[4, 5], [1, 2]],
    ),
    "triangle and quad": (
        np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1], [3, 0]]),
        [("triangle", [[4, 6, 5]]), ("quad", [[0, 1, 2, 3]]), ("triangle", [[1, 4, 5], [1, 5, 2]])],
        [[3, 0]],
        [[6, 5], [4, 6]],
    ),
    "tetra": (
        np.r_[_CUBE[[0, 1, 3, 4]], [[1 / 3, 0.9, 0.9]]],
        [("tetra", [[0, 1, 2, 3], [1, 4, 2, 3]])],
        [[0, 1, 2]],
        [[1, 2, 4], [0, 1, 3]],
    ),
    "hexahedron": (
        np.r_[_CUBE, _CUBE[4:] + np.array([0, 0, 1 / 3])],
        [("hexahedron", [[0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9, 10, 11]])],
        [[0, 1, 2, 3]],
        [[8, 9, 10, 11], [0, 1, 5, 4]],
    ),
    "wedge": (
        _CUBE[[0, 1, 3, 4, 5, 7]],
        [("wedge", [[0, 1, 2, 3, 4, 5]])],
        [[0, 1, 2, 2], [0, 1, 4, 3]],
        [[3, 4, 5, 5]],
    ),
    "pyramid": (
        np.r_[_CUBE[:4], [[0.5, 0.5, 1]]],
        [("pyramid", [[0, 1, 2, 3, 4]])],
        [[0, 1, 2, 3]],
        [[0, 1, 4, 4]],
    ),
    "hexahedron, wedge and pyramid": (
        np.r_[_CUBE, [[0.5, 0.5, 2.0], [2, 0, 0], [2, 0, 1]]],
        [
            ("pyramid", [[4, 5, 6, 7, 8]]),
            ("hexahedron", [[0, 1, 2, 3, 4, 5, 6, 7]]),
            ("wedge", [[1, 9, 2, 5, 10, 6]]),
        ],
        [[0, 1, 2, 3], [4, 5, 8, 8]],
        [[1, 9, 2, 2], [9, 2, 6, 10]],
    ),
}


def sample(
    name: str,
    *,
    facet_tags: bool = True,
    cell_tags: bool = True,
    point_tags: bool = True,
    fields: bool = True,
    facet_fields: bool = True,
) -> Mesh:
    """The sample `name` with overlapping and numbered tags and fields of many shapes."""
    pos, cells, first, second = SAMPLES[name]
    n, k = len(pos), sum(len(rows) for _, rows in cells)
    rng = np.random.default_rng(0)
    mesh = Mesh.from_cells(
        pos,
        cells,
        facet_tags={"in flow": first, "7": second, "both": first + second} if facet_tags else None,
        cell_tags={"fluid": np.arange(k), "12": [k - 1]} if cell_tags else None,
        point_tags={"corner": [0, n - 1], "5": [1]} if point_tags else None,
    )
    if fields:
        node = {
            "u": rng.random(n),
            "velocity": rng.random((n, pos.shape[1])),
            "vector": rng.random((n, 3)),
            "tensor": rng.random((n, 2, 2)),
            "number": np.arange(n),
            "single": rng.random(n).astype(np.float32),
            "flag": np.arange(n) % 2 == 0,
            "column": rng.random((n, 1)),
        }
        for key, values in node.items():
            mesh.set_field(key, values, "node")
        mesh.set_field("index", np.arange(k), "cell")
        mesh.set_field("stress", rng.random((k, 3, 3)), "cell")
    if facet_fields:
        mesh.set_field("flux", rng.random((mesh.topology.num_facets, 2)), "facet")
    return mesh


def tag_sets(mesh: Mesh) -> dict[str, dict[str, set[tuple[int, ...]]]]:
    """Tags without regard to the order of their members, for formats that group entities."""
    return {
        "facet": {
            k: {tuple(sorted(set(f))) for f in v.tolist()} for k, v in mesh.facet_tags.items()
        },
        "cell": {k: {(i,) for i in v.tolist()} for k, v in mesh.cell_tags.items()},
        "point": {k: {(i,) for i in v.tolist()} for k, v in mesh.point_tags.items()},
    }


def same_geometry(a: Mesh, b: Mesh) -> bool:
    """Equal positions, bit by bit, and equal cells in the same order."""
    return all(torch.equal(a[key], b[key]) for key in ("pos", "cell_index", "cell_type"))
