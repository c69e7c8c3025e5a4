"""Named sets of facets, cells and nodes, stored as flat tensors so that meshes batch.

Each kind of tag is two tensors and a tuple of names: the tagged entities one after the other, the
number of each entry's name, and the names. Within a batch the names of the meshes follow each
other and equal names are one tag again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .errors import MeshError

if TYPE_CHECKING:
    from .mesh import Mesh

FACET_WIDTH = {1: 1, 2: 2, 3: 4}
"""Columns of stored facet nodes by dimension of the cells (a triangle repeats its last)."""


def flatten_names(names: Any) -> list[str]:
    """Names of a mesh (a tuple of strings) or of a batch (nested lists of them)."""
    if isinstance(names, str):
        return [names]
    return [name for item in names for name in flatten_names(item)]


def encode(tags: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Tags by name to (entities, number of the name of each, names)."""
    names = tuple(tags)
    values = list(tags.values())
    entities = torch.cat(values) if values else torch.empty(0, dtype=torch.int64)
    sizes = torch.tensor([len(value) for value in values], dtype=torch.int64)
    return entities, torch.repeat_interleave(torch.arange(len(names)), sizes), names


def decode(entities: Tensor, number: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """The inverse of `encode`, joining equal names."""
    number_of = {name: i for i, name in enumerate(dict.fromkeys(names))}
    joined = torch.tensor([number_of[name] for name in names], dtype=torch.int64)
    label = joined.to(number.device)[number] if names else number
    return {name: entities[label == i] for name, i in number_of.items()}


def as_tensor(values: Any, what: str) -> Tensor:
    """Numbers as a tensor, whatever numpy's byte order and strides; else an error on `what`."""
    if isinstance(values, Tensor):
        return values
    try:
        array = np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values
        if isinstance(array, np.ndarray) and not (array.dtype.isnative and array.flags.writeable):
            array = array.astype(array.dtype.newbyteorder("="))
        return torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise MeshError(f"{what} must be numbers in an array or a list: {error}") from error


def as_index_tensor(values: Any, what: str) -> Tensor:
    """Integers as int64; anything else is an error that names `what`."""
    tensor = as_tensor(values, what)
    if tensor.numel() == 0:
        return tensor.to(torch.int64)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise MeshError(f"{what} must be integer indices, got {tensor.dtype}")
    return tensor.to(torch.int64)


def check_tags(
    kind: str,
    tags: Mapping[Any, Tensor],
    count: int,
    what: str,
    columns: Iterable[int] | None = None,
) -> None:
    """Raise `MeshError` where a tag points outside `count` entities or has the wrong shape."""
    for name, values in tags.items():
        if not isinstance(name, str) or not name:
            raise MeshError(f"the name of a {kind} tag must be a non-empty string, got {name!r}")
        if columns is not None:
            if values.dim() != 2 or values.shape[1] not in columns:
                raise MeshError(
                    f"{kind} tag {name!r} must be node indices [k, nodes per facet] with "
                    f"{' or '.join(str(c) for c in columns)} columns, got {list(values.shape)}"
                )
        elif values.dim() != 1:
            raise MeshError(
                f"{kind} tag {name!r} must be a list of indices, got {list(values.shape)}"
            )
        outside = (values < 0) | (values >= count)
        if outside.any():
            bad = values[outside][0].item()
            raise MeshError(
                f"{kind} tag {name!r} names {what} {bad}, but there are {count} (0 to {count - 1})"
            )


def widen_facets(nodes: Tensor, width: int) -> Tensor:
    """Repeat the last node up to `width` columns `[k, width]`."""
    if nodes.shape[1] == width:
        return nodes
    return torch.cat([nodes, nodes[:, -1:].expand(-1, width - nodes.shape[1])], dim=1)


def trim_facets(nodes: Tensor) -> Tensor:
    """Drop the repeated column where all facets are triangles."""
    if nodes.shape[1] == 4 and bool((nodes[:, 2] == nodes[:, 3]).all()):
        return nodes[:, :3]
    return nodes


def tagged_nodes(mesh: Mesh, name: str) -> Tensor:
    """Nodes of a facet, point or cell tag, or of the whole "boundary" (see `Mesh.tagged_nodes`)."""
    if name in mesh.facet_tags:
        return torch.unique(mesh.facet_tags[name])
    if name in mesh.point_tags:
        return torch.unique(mesh.point_tags[name])
    if name in mesh.cell_tags:
        member = torch.zeros(mesh.num_cells, dtype=torch.bool, device=mesh.pos.device)
        member[mesh.cell_tags[name]] = True
        parts = [cell[member[mesh.cell_ids[kind]]].reshape(-1) for kind, cell in mesh.cells.items()]
        return torch.unique(torch.cat(parts))
    if name == "boundary":
        return mesh.boundary_nodes
    known = [*mesh.facet_tags, *mesh.point_tags, *mesh.cell_tags]
    raise MeshError(
        f"there is no tag {name!r}; the mesh has {', '.join(map(repr, known)) or 'no tags'}"
    )
