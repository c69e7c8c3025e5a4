"""What a mesh keeps in its PyG store: names of structural entries, and field kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FIELD_KINDS = ("node", "cell", "facet")
TAG_KINDS = ("facet", "cell", "point")
STRUCTURE = frozenset(
    {
        *("pos", "cell_index", "cell_type", "field_kinds_"),
        *("edge_index", "batch", "ptr", "num_nodes"),
        *(f"{kind}_tag_{part}" for kind in TAG_KINDS for part in ("number", "names")),
        *(f"tagged_{kind}s" for kind in TAG_KINDS),
    }
)
"""Entries that are not fields; a field cannot take their names."""


def kind_pairs(value: Any) -> Iterable[tuple[str, str]]:
    """(name, kind) pairs of a mesh, or of the nested lists of a batch."""
    if len(value) == 2 and all(isinstance(item, str) for item in value):
        yield value
    else:
        for item in value:
            yield from kind_pairs(item)
