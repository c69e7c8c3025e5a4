"""Tags in formats where each cell has one integer reference.

Cells that are in the same tags share a reference. Which tags a reference stands for is said in
comment lines; a tag called "7" alone is the reference 7 without a comment, as other codes mean it.
"""

from __future__ import annotations

from collections.abc import Mapping

import meshio
import numpy as np

from ..convert.arrays import IntArray, partition
from ..errors import MeshError


def references(
    members: Mapping[str, IntArray], n: int, reserved: set[int], none: int = 0
) -> tuple[IntArray, list[tuple[int, str]]]:
    """A reference for each of `n` entities and the tags that each reference stands for.

    Args:
        members: the entities of each tag.
        n: number of entities.
        reserved: references in use, extended with the new ones.
        none: reference of untagged entities.

    Returns:
        References `[n]` and pairs (reference, tag) for the comments.
    """
    names = list(members)
    code, classes = partition(list(members.values()), n)
    own = {int(name) for name in names if is_number(name)}
    value = np.full(len(classes), none)
    pairs: list[tuple[int, str]] = []
    free = 1
    empty: list[tuple[str, ...]] = [(name,) for name, ids in members.items() if not len(ids)]
    for i, tags in enumerate([tuple(names[j] for j in c) for c in classes] + empty):
        if not tags:
            continue
        if any("\n" in tag for tag in tags):
            raise MeshError(f"the tag name {tags!r} has a line break; rename it")
        if len(tags) == 1 and is_number(tags[0]) and int(tags[0]) not in reserved:
            number = int(tags[0])
        else:
            while free in reserved or free in own:
                free += 1
            number = free
        if (number, tags) != (number, (str(number),)) or i >= len(classes):
            pairs += [(number, tag) for tag in tags]
        reserved.add(number)
        if i < len(classes):
            value[i] = number
    return value[code], pairs


def is_number(name: str) -> bool:
    """Whether a tag is called like a reference, "1" to "99999999"."""
    return name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 9


def add_sets(
    m: meshio.Mesh,
    block: int,
    refs: IntArray,
    names: Mapping[int, list[str]],
    untagged: frozenset[int] = frozenset({0}),
) -> None:
    """Name the cells of a block in `m.cell_sets` after their references."""
    none = np.empty(0, np.int64)
    for ref in np.unique(refs):
        if int(ref) in untagged:
            continue
        for name in names.get(int(ref), [str(ref)]):
            sets = m.cell_sets.setdefault(name, [none] * len(m.cells))
            sets[block] = np.union1d(sets[block], np.flatnonzero(refs == ref))
