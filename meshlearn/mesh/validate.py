"""Checks of a mesh, each with a sentence that names the first offenders."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from .errors import MeshError
from .geometry import diameters, extent, facet_normals, min_corner_jacobians

if TYPE_CHECKING:
    from .mesh import Mesh

_SHOWN = 3
_DEGENERATE = 1e-14
"""A corner determinant below this times the cell's diameter to the power d is zero in float64."""
_ON_FACET = 1e-9
"""A node nearer to a facet than this times the facet's size lies on it."""


def validate(mesh: Mesh, allow: Collection[str] = ()) -> None:
    """Run the checks of `CHECKS` in order.

    Args:
        mesh: the mesh.
        allow: names of checks to leave out.

    Raises:
        MeshError: the first check that fails.
    """
    unknown = sorted(set(allow) - set(CHECKS))
    if unknown:
        raise MeshError(f"there is no check {unknown[0]!r}; checks are {', '.join(CHECKS)}")
    sound: bool | None = None
    for name, check in CHECKS.items():
        if name in allow:
            continue
        if name in ("inverted", "degenerate"):
            sound = _cells_are_sound(mesh) if sound is None else sound
            if sound:
                continue
        if name == "hanging" and "nonmanifold" in allow and not _has_facets(mesh):
            continue  # facets of three cells have no sides to look at
        check(mesh)


def _has_facets(mesh: Mesh) -> bool:
    try:
        _ = mesh.topology.facets
    except MeshError:
        return False
    return True


def orphan_nodes(mesh: Mesh) -> Tensor:
    """Nodes that belong to no cell `[k]`."""
    used = torch.zeros(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    used[mesh["cell_index"]] = True
    return torch.nonzero(~used).squeeze(1)


def duplicate_nodes(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Nodes at exactly the place of an earlier node of the same graph: (node, earlier node)."""
    pos = mesh.pos.detach().cpu().numpy() + 0.0  # -0.0 and 0.0 are one place
    columns = [pos[:, k] for k in range(pos.shape[1])]
    if "batch" in mesh:
        columns.append(mesh["batch"].cpu().numpy().astype(np.float64))
    mix = np.zeros(len(pos), np.uint64)
    for column, factor in zip(columns, _FACTORS, strict=False):
        mix ^= np.ascontiguousarray(column).view(np.uint64) * factor
        mix ^= mix >> np.uint64(29)
    ordered = np.sort(mix)
    empty = torch.empty(0, dtype=torch.int64)
    if not (ordered[1:] == ordered[:-1]).any():  # the usual case costs one sort of integers
        return empty, empty
    order = np.lexsort((np.arange(len(pos)), *columns[::-1]))
    same = np.all([column[order][1:] == column[order][:-1] for column in columns], axis=0)
    group = np.cumsum(np.r_[True, ~same]) - 1
    first = order[np.flatnonzero(np.r_[True, ~same])][group]
    later = np.sort(order[first != order])
    twin = np.empty(len(pos), np.int64)
    twin[order] = first
    return torch.from_numpy(later), torch.from_numpy(twin[later])


_FACTORS = tuple(
    np.uint64(f)
    for f in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
)


def hanging_nodes(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Nodes that lie inside a boundary facet of other nodes: (node, facet).

    A conforming mesh has none; they appear where two sides of an interface are meshed differently.
    Nodes exactly at a corner of the facet are duplicate nodes, not hanging ones.
    """
    empty = torch.empty(0, dtype=torch.int64)
    if mesh.dim != mesh.cell_dim or mesh.dim == 1:
        return empty, empty
    pos = mesh.pos.detach().cpu().numpy()
    facets = mesh.topology.boundary_facets.cpu().numpy()
    nodes = mesh.topology.facets[mesh.topology.boundary_facets].cpu().numpy()
    finite = np.isfinite(pos[nodes]).all(axis=(1, 2))
    facets, nodes = facets[finite], nodes[finite]
    corners = pos[nodes]
    middle = corners.mean(axis=1)
    radius = np.linalg.norm(corners - middle[:, None], axis=2).max(axis=1)
    own = np.unique(nodes)
    if not len(facets):
        return empty, empty
    near = cKDTree(pos[own]).query_ball_point(middle, radius * (1 + 1e-6))
    counts = np.array([len(c) for c in near])
    which = np.repeat(np.arange(len(facets)), counts)
    node = own[np.concatenate(near).astype(np.int64)]
    other = (corners[which] != pos[node][:, None]).any(axis=2).all(axis=1)
    which, node = which[other], node[other]
    inside = _lies_on(corners[which], pos[node], _ON_FACET * radius[which])
    if "batch" in mesh:
        graph = mesh["batch"].cpu().numpy()
        inside &= graph[nodes[which, 0]] == graph[node]
    return torch.from_numpy(node[inside]), torch.from_numpy(facets[which[inside]])


def _lies_on(corners: np.ndarray, point: np.ndarray, tolerance: np.ndarray) -> np.ndarray:
    """Whether each point lies on its segment, triangle or (as two triangles) quad."""
    if corners.shape[1] == 4:
        halves = [
            _lies_on(corners[:, list(half)], point, tolerance) for half in ((0, 1, 2), (0, 2, 3))
        ]
        return np.asarray(halves[0] | halves[1])
    relative = point - corners[:, 0]
    edges = corners[:, 1:] - corners[:, :1]
    gram = edges @ edges.transpose(0, 2, 1)
    flat = np.linalg.det(gram) <= 0  # the second half of a triangle among quads
    gram[flat] = np.eye(edges.shape[1])
    weights = np.linalg.solve(gram, edges @ relative[:, :, None])[:, :, 0]
    off = np.linalg.norm(relative - (weights[:, None] @ edges)[:, 0], axis=1)
    margin = -tolerance / np.linalg.norm(edges, axis=2).max(axis=1)
    inside = (weights.min(axis=1) >= margin) & (1 - weights.sum(axis=1) >= margin)
    return np.asarray(~flat & (off <= tolerance) & inside)


def _check_finite(mesh: Mesh) -> None:
    bad = torch.nonzero(~torch.isfinite(mesh.pos).all(dim=1)).squeeze(1)
    _raise_nodes(mesh, bad, "coordinates are not finite", "correct the file or the positions")


def _check_orphans(mesh: Mesh) -> None:
    what = "nodes belong to no cell"
    _raise_nodes(mesh, orphan_nodes(mesh), what, 'drop them with repair=["orphan"]')


def _check_duplicates(mesh: Mesh) -> None:
    node, twin = duplicate_nodes(mesh)
    if len(node):
        shown = ", ".join(f"{a} and {b}" for a, b in _first(twin, node))
        raise MeshError(
            f"{len(node)} nodes lie exactly on an earlier node (nodes {shown}); merge them with "
            'repair=["duplicate"] or keep them with allow=["duplicate"]'
        )


def _cells_are_sound(mesh: Mesh) -> bool:
    """One pass that clears most meshes of both defects of cells."""
    if mesh.dim != mesh.cell_dim:
        return False
    return float(min_corner_jacobians(mesh).detach().min()) > _DEGENERATE * extent(mesh) ** mesh.dim


def _corner_defects(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Smallest corner Jacobians, and the scale below which they count as zero."""
    smallest = min_corner_jacobians(mesh).detach()
    return smallest, _DEGENERATE * diameters(mesh) ** mesh.dim


def _check_inverted(mesh: Mesh) -> None:
    if mesh.dim != mesh.cell_dim:
        return  # a surface in space has no sign
    smallest, zero = _corner_defects(mesh)
    bad = torch.nonzero((smallest < -zero) & torch.isfinite(smallest)).squeeze(1)
    if len(bad):
        shown = ", ".join(
            f"{c} (nodes {_nodes_of(mesh, c)}, {float(smallest[c]):.3g})"
            for c in bad[:_SHOWN].tolist()
        )
        raise MeshError(
            f"{len(bad)} of {mesh.num_cells} cells are inverted (smallest corner Jacobian "
            f'negative): cell {shown}; turn cells round with repair=["inverted"]'
        )


def _check_degenerate(mesh: Mesh) -> None:
    if mesh.dim == mesh.cell_dim:
        smallest, zero = _corner_defects(mesh)
        bad = torch.nonzero((smallest.abs() <= zero) & torch.isfinite(smallest)).squeeze(1)
    else:
        size = mesh.volumes()
        bad = torch.nonzero(size <= _DEGENERATE * diameters(mesh) ** mesh.cell_dim).squeeze(1)
    if len(bad):
        shown = ", ".join(f"{c} (nodes {_nodes_of(mesh, c)})" for c in bad[:_SHOWN].tolist())
        raise MeshError(
            f"{len(bad)} of {mesh.num_cells} cells are degenerate (zero volume): cell {shown}; "
            "remove them from the mesh"
        )


def _check_manifold(mesh: Mesh) -> None:
    _ = mesh.topology.facets  # raises where a facet has more than two cells
    tagged = mesh["tagged_facets"]
    if len(tagged):
        mesh.topology.find_facets(tagged)
    inner = torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1)
    if mesh.dim != mesh.cell_dim or not len(inner):
        return
    first, second = mesh.topology.facet_cells[inner].unbind(dim=1)
    centre = mesh.centroids()
    apart = ((centre[second] - centre[first]) * facet_normals(mesh, inner)).sum(dim=1)
    bad = torch.nonzero((apart <= 0) & torch.isfinite(apart)).squeeze(1)
    if len(bad):
        shown = ", ".join(f"{a} and {b}" for a, b in _first(first[bad], second[bad]))
        raise MeshError(
            f"{len(bad)} pairs of neighbouring cells overlap (they lie on the same side of their "
            f"common facet): cells {shown}; remove duplicate cells or unfold the mesh"
        )


def _check_hanging(mesh: Mesh) -> None:
    node, facet = hanging_nodes(mesh)
    if len(node):
        ends = mesh.topology.facets[facet]
        shown = ", ".join(f"{a} on the facet of nodes {b}" for a, b in _first(node, ends))
        raise MeshError(
            f"{len(torch.unique(node))} hanging nodes: node {shown}; make the mesh conforming or "
            'keep the two sides apart with allow=["hanging"]'
        )


CHECKS: dict[str, Callable[[Mesh], None]] = {
    "nonfinite": _check_finite,
    "orphan": _check_orphans,
    "duplicate": _check_duplicates,
    "inverted": _check_inverted,
    "degenerate": _check_degenerate,
    "nonmanifold": _check_manifold,
    "hanging": _check_hanging,
}
"""Checks by name, in the order they run."""


def _raise_nodes(mesh: Mesh, bad: Tensor, what: str, remedy: str) -> None:
    if len(bad):
        shown = ", ".join(f"{i} {_point(mesh.pos[i])}" for i in bad[:_SHOWN].tolist())
        raise MeshError(f"{len(bad)} of {len(mesh.pos)} {what}: node {shown}; {remedy}")


def _point(position: Tensor) -> str:
    return "(" + ", ".join(f"{x:.6g}" for x in position.tolist()) + ")"


def _first(*columns: Tensor) -> list[list[object]]:
    return [list(row) for row in zip(*(c[:_SHOWN].tolist() for c in columns), strict=True)]


def _nodes_of(mesh: Mesh, cell: int) -> list[int]:
    for name, ids in mesh.cell_ids.items():
        row = torch.nonzero(ids == cell)
        if len(row):
            nodes: list[int] = mesh.cells[name][int(row[0])].tolist()
            return nodes
    raise IndexError(cell)
