"""A mesh in one line for people, and its value for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .layout import FIELD_KINDS, STRUCTURE, TAG_KINDS

if TYPE_CHECKING:
    from .mesh import Mesh

_PLURAL = {"hexahedron": "hexahedra", "tetra": "tetrahedra"}


def comparable(mesh: Mesh) -> dict[str, Any]:
    """All that makes two meshes equal, by name; nothing that is derived."""
    out = {key: value for key, value in mesh._store.items() if key not in STRUCTURE}
    out |= {
        key: mesh._store[key] for key in ("pos", "cell_index", "cell_type", "batch") if key in mesh
    }
    out |= {f"{kind} tags": mesh._tags(kind) for kind in TAG_KINDS}
    return out | {"field kinds": mesh.field_kinds}


def describe(mesh: Mesh) -> str:
    """Dimension, sizes, tags and fields in one line."""
    count = {name: len(nodes) for name, nodes in mesh.cells.items()}
    parts = [f"{mesh.dim}D", f"{mesh.num_nodes} nodes"]
    parts += [
        f"{k} {name if k == 1 else _PLURAL.get(name, name + 's')}" for name, k in count.items()
    ]
    for kind in TAG_KINDS:
        named = [f"{name} ({len(entities)})" for name, entities in mesh._tags(kind).items()]
        parts += [f"{kind} tags: {', '.join(named)}"] if named else []
    for kind in FIELD_KINDS:
        shown = [f"{name}{list(v.shape[1:]) or ''}" for name, v in mesh._fields(kind).items()]
        parts += [f"{kind} fields: {', '.join(shown)}"] if shown else []
    return f"{type(mesh).__name__}({'; '.join(parts)})"


def same(first: Any, second: Any) -> bool:
    """Exact equality of tensors, mappings and plain values; NaN equals NaN."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.shape != second.shape or first.dtype != second.dtype:
            return False
        equal = first == second.to(first.device)
        return bool((equal | ((first != first) & (second != second).to(first.device))).all())
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)
