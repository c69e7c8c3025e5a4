"""What a client puts into messages: meshes, tags and numbers as arrays. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Tags = Mapping[str, Mapping[str, ArrayLike]]

_KINDS = ("facet", "cell", "point")


def put_cells(
    arrays: dict[str, NDArray[Any]],
    cells: Mapping[str, ArrayLike] | Sequence[tuple[str, ArrayLike]],
) -> list[str]:
    """Enter cells as arrays "cells 0", ...; their types."""
    blocks = list(cells.items()) if isinstance(cells, Mapping) else list(cells)
    for k, (kind, nodes) in enumerate(blocks):
        arrays[f"cells {k}"] = as_integers(nodes, f"cells of type {kind!r}")
    return [kind for kind, _ in blocks]


def put_tags(arrays: dict[str, NDArray[Any]], tags: Tags) -> dict[str, list[str]]:
    """Enter tags as arrays "facet 0", ...; their names by kind.

    Raises:
        ValueError: a kind that there is not.
    """
    unknown = sorted(set(tags) - set(_KINDS))
    if unknown:
        raise ValueError(f"tags are of the kinds {', '.join(_KINDS)}, not {unknown[0]!r}")
    for kind, named in tags.items():
        for k, (name, members) in enumerate(named.items()):
            arrays[f"{kind} {k}"] = as_integers(members, f"{kind} tag {name!r}")
    return {kind: [str(name) for name in named] for kind, named in tags.items()}


def as_floats(values: ArrayLike, what: str) -> FloatArray:
    """Real numbers as float64; anything else is a ValueError about `what`."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{what} must be real numbers, got {array.dtype}")
    return array.astype(np.float64, copy=False)


def as_integers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """Integers as int64; anything else is a ValueError about `what`."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{what} must be integer indices, got {array.dtype}")
    return array.astype(np.int64, copy=False)
