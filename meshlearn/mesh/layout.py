"""What a mesh keeps in its PyG store: names of structural entries, and field kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch_geometric.data.storage import GlobalStorage

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


class MeshStore(GlobalStorage):
    """PyG's store, where its transforms and predicates look for the edges and for kinds of fields.

    The entry `edge_index` is the mesh's own until another one is set; it is not listed, as it
    follows from the cells.
    """

    def __getitem__(self, key: str) -> Any:
        if key == "edge_index" and self._mapping.get(key) is None and "cell_index" in self._mapping:
            return self._parent().topology.edge_index
        return super().__getitem__(key)

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return int(self["edge_index"].shape[1]) if "edge_index" in self else 0

    def is_node_attr(self, key: str) -> bool:
        """Whether `key` is a node field: by declared kind, by length only where undeclared."""
        kind = self._parent().field_kinds.get(key)
        if kind is not None or key in STRUCTURE:
            return kind == "node" or key in ("pos", "batch")
        return bool(super().is_node_attr(key))

    def is_edge_attr(self, key: str) -> bool:
        """Whether `key` is an edge-level attribute; declared fields never are."""
        if key in STRUCTURE or key in self._parent().field_kinds:
            return key == "edge_index"
        return bool(super().is_edge_attr(key))


def kind_pairs(value: Any) -> Iterable[tuple[str, str]]:
    """(name, kind) pairs of a mesh, or of the nested lists of a batch."""
    if len(value) == 2 and all(isinstance(item, str) for item in value):
        yield value
    else:
        for item in value:
            yield from kind_pairs(item)
