"""Entities, nodes and elements of MSH 4.1."""

from __future__ import annotations

import numpy as np

from ...errors import MeshError
from .source import Source
from .types import Elements, Msh, element_type

Groups = dict[tuple[int, int], tuple[int, ...]]
"""Physical groups of each entity (dimension, tag)."""


def read_entities(source: Source, groups: Groups, partitioned: bool) -> None:
    """Section `$Entities` or `$PartitionedEntities`."""
    size = f"u{source.size_t}"
    if partitioned:
        source.take(size, 1)
        source.take("i4", 2 * int(source.take(size, 1)[0]))  # ghost entities
    counts = [int(c) for c in source.take(size, 4)]
    if sum(counts) > source.left():
        raise MeshError(f"the file ends inside ${source.section}")
    for dim, count in enumerate(counts):
        for _ in range(count):
            tag = int(source.take("i4", 1)[0])
            if partitioned:
                source.take("i4", 2)  # the entity it is a part of
                source.take("i4", int(source.take(size, 1)[0]))  # partitions
            source.take("f8", 3 if dim == 0 else 6)  # bounding box
            physical = source.take("i4", int(source.take(size, 1)[0]))
            groups[dim, tag] = tuple(abs(int(p)) for p in physical)  # negative: turned round
            if dim > 0:
                source.take("i4", int(source.take(size, 1)[0]))  # entities that bound it
    source.close()


def read_nodes(source: Source, msh: Msh) -> None:
    """Section `$Nodes`: blocks of node tags and coordinates, by entity."""
    size = f"u{source.size_t}"
    blocks, total, _, _ = (int(v) for v in source.take(size, 4))
    if total > source.left():
        raise MeshError("the file ends inside $Nodes")
    number, points, at = np.empty(total, np.int64), np.empty((total, 3)), 0
    for _ in range(blocks):
        dim, _, parametric = (int(v) for v in source.take("i4", 3))
        count = int(source.take(size, 1)[0])
        if count > total - at:
            raise MeshError(f"$Nodes announces {total} nodes but holds more")
        number[at : at + count] = source.take(size, count)
        width = 3 + (dim if parametric else 0)
        points[at : at + count] = source.take("f8", count * width).reshape(count, width)[:, :3]
        at += count
    if at != total:
        raise MeshError(f"$Nodes announces {total} nodes but holds {at}")
    msh.node_number, msh.points = number, points
    source.close()


def read_elements(source: Source, msh: Msh, groups: Groups) -> None:
    """Section `$Elements`: blocks of rows `number, nodes`, by entity."""
    size = f"u{source.size_t}"
    blocks, total, _, _ = (int(v) for v in source.take(size, 4))
    done = 0
    for _ in range(blocks):
        dim, tag, kind = (int(v) for v in source.take("i4", 3))
        count = int(source.take(size, 1)[0])
        family, nodes = element_type(kind)
        rows = source.take(size, count * (1 + nodes)).reshape(count, 1 + nodes)
        rows = rows.view(np.int64) if source.size_t == 8 else rows.astype(np.int64)
        physical = groups.get((dim, tag), ())
        msh.elements.append(Elements(family, rows[:, 1:], rows[:, 0].copy(), groups=physical))
        done += count
    if done != total:
        raise MeshError(f"$Elements announces {total} elements but holds {done}")
    source.close()
