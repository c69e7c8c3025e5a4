"""How the nodes of a mesh may move: inside freely, on sides along them, corners not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.boundary import FLAT_TOLERANCE, constraint_facets, sliding_directions
from ..mesh.features import Chains, inflections, patches_and_ridges, side_chains
from .curves import curves_through
from .freedom import TOLERANCE, Freedom, Shape, Track
from .geometry import Geometry, given
from .layers import layer_nodes
from .periodic import PeriodicPairs, Ties, ties
from .stretch import LIMIT, Stretch, stretch
from .surfaces import surfaces_through

__all__ = ["Curved", "Freedom", "Slide", "fixed_nodes", "freedom"]

Mode = Literal["flat", "none", "curved"]
_MODES = ("flat", "none", "curved")


@dataclass(frozen=True)
class Curved:
    """Sliding on curved sides, with options.

    Attributes:
        angle: a turn of the boundary by more (degrees) is a corner, a fold in 3D a ridge.
        stretch: how many times longer an edge of a curved side may get, above 1.
        tolerance: largest relative change of the measure of the domain, and of each cell tag, that
            sliding may cause: chords and facets lie inside curves, by more where they get longer.
    """

    angle: float = 30.0
    stretch: float = LIMIT
    tolerance: float = TOLERANCE


Slide = Mode | Curved | Mapping[str, "Mode | Curved | Geometry"]
"""How boundary nodes slide, for all of the boundary or by tag (the rest slides on flat sides).

- "flat": along flat sides and straight ridges; nodes of curved parts stay.
- "curved" (or `Curved` with options): also along curves and surfaces rebuilt from the mesh.
- "none": not at all.
- a geometry (see `geometry`), by tag only: nodes of the tag slide on it.
"""


def freedom(
    mesh: Mesh,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
    flat_tolerance: float = FLAT_TOLERANCE,
    *,
    rigid: Iterable[str] = (),
    periodic: PeriodicPairs = (),
) -> Freedom:
    """The space of motions that keep the shape of the domain.

    Corners, ends of ridges, nodes where tags change and `fixed` never move.

    Args:
        mesh: the mesh whose shape is to be kept.
        fixed: names of tags ("boundary" for all), or node indices `[k]`.
        slide: see `Slide`.
        flat_tolerance: angle in radians below which neighbouring facets are one flat side.
        rigid: cell tags whose cells keep their shape and place.
        periodic: pairs of sides that move together, see `periodic.Periodic`.

    Raises:
        MeshError: unknown tag, node or way to slide; a node that is not on its given geometry;
            periodic sides that do not match.
    """
    whole, by_tag = _modes(mesh, slide)
    nodes, directions, free = sliding_directions(mesh, flat_tolerance)
    d, device = mesh.dim, nodes.device
    all_free = torch.full((len(mesh.pos),), d, device=device)
    rows = torch.eye(d, dtype=torch.float64, device=device).repeat(len(mesh.pos), 1, 1)
    all_free[nodes], rows[nodes] = free, directions
    flat = torch.zeros_like(all_free)
    flat[nodes] = free
    blocked = _blocked(mesh, whole, by_tag, fixed, rigid)
    tracks, limit = _tracks(mesh, whole, by_tag, flat, blocked)
    for track in tracks:
        all_free[track.nodes] = track.shape.dim
    all_free[blocked] = 0
    bound = torch.nonzero(all_free < d).squeeze(1)
    out = Freedom(bound, rows[bound], all_free[bound], len(mesh.pos), mesh.pos, tracks)
    options = [m for m in (whole, *by_tag.values()) if isinstance(m, Curved)]
    tolerance = min([m.tolerance for m in options], default=TOLERANCE)
    out = replace(out, stretch=limit, tolerance=tolerance)
    tied = ties(mesh, periodic)
    out = out.at(mesh.pos)
    return out if tied is None else _tied(out, tied)


def _modes(mesh: Mesh, slide: Slide) -> tuple[Mode | Curved, dict[str, Mode | Curved | Geometry]]:
    """The way to slide of the whole boundary, and those of tags."""
    table: dict[str, Mode | Curved | Geometry] = {}
    if isinstance(slide, Mapping):
        table = {name: Curved() if mode == "curved" else mode for name, mode in slide.items()}
        slide = "flat"
    whole = Curved() if slide == "curved" else slide
    for mode in (whole, *table.values()):
        if not (isinstance(mode, Curved) or callable(mode) or mode in _MODES):
            raise MeshError(
                'slide must be "flat", "curved" or "none", or map tags to these or to geometries; '
                f"got {mode!r}"
            )
    if callable(whole):
        raise MeshError('a geometry is given by tag: slide={"wall": geometry}')
    for name in table:
        if name != "boundary" and name not in mesh.facet_tags:
            known = ", ".join(map(repr, mesh.facet_tags)) or "none"
            raise MeshError(f"slide names {name!r}, which is no facet tag; there are {known}")
    if "boundary" in table and "boundary" not in mesh.facet_tags:
        rest = table.pop("boundary")
        table = {"boundary": rest, **table}  # other tags are more particular
    return whole, table


def _blocked(
    mesh: Mesh,
    whole: Mode | Curved,
    by_tag: Mapping[str, Mode | Curved | Geometry],
    fixed: Iterable[str] | Tensor,
    rigid: Iterable[str],
) -> Tensor:
    """Nodes that do not move because somebody says so."""
    kept = [fixed_nodes(mesh, fixed), layer_nodes(mesh, rigid)]
    if whole == "none":
        kept.append(torch.unique(mesh.topology.facets[constraint_facets(mesh)]))
    kept += [mesh.tagged_nodes(name) for name, mode in by_tag.items() if mode == "none"]
    return torch.cat(kept)


def _tracks(
    mesh: Mesh,
    whole: Mode | Curved,
    by_tag: Mapping[str, Mode | Curved | Geometry],
    flat: Tensor,
    blocked: Tensor,
) -> tuple[tuple[Track, ...], Stretch | None]:
    """Nodes that slide on curves, surfaces and given geometry, and the limit on their edges."""
    modes = [("", whole), *by_tag.items()]
    options = [mode for _, mode in modes if isinstance(mode, Curved)]
    shapes = [(name, mode) for name, mode in modes if callable(mode)]
    if mesh.dim < 2 or not (options or shapes):
        return (), None
    angle = min([mode.angle for mode in options], default=Curved().angle)
    if mesh.dim == 2:
        chains, numbers = side_chains(mesh, angle)
        facets, inside = chains.edges, chains.smooth
        ridges = Chains(facets[:0], torch.zeros_like(inside))
    else:
        patches, ridges = patches_and_ridges(mesh, angle)
        facets, numbers, inside = patches.facets, patches.numbers, patches.smooth
    kind = _kinds(mesh, numbers, modes)
    still = torch.zeros_like(inside)
    still[blocked] = True
    tracks = []
    for k, (name, mode) in enumerate(modes):
        if callable(mode):
            nodes = torch.unique(facets[kind == k])
            mine = nodes[(inside & ~still)[nodes]]
            if len(mine):
                tracks.append(Track(mine, given(mesh, mine, mode, name)))
    rebuilt = torch.tensor([isinstance(mode, Curved) for _, mode in modes], device=kind.device)
    on = rebuilt[kind]
    is_flat = flat >= mesh.dim - 1
    if mesh.dim == 2:
        is_flat &= ~inflections(mesh.pos, chains, is_flat)
    smooth = _off_flat(facets[on], inside, is_flat)
    mine = torch.nonzero(smooth & ~still).squeeze(1)
    if len(mine) and mesh.dim == 2:
        tracks.append(Track(mine, curves_through(mesh.pos, facets, smooth, mine)))
    elif len(mine):
        shape = surfaces_through(mesh.pos, facets, patches.patch, smooth, mine)
        tracks.append(Track(mine, shape))
    # A ridge curves where both its sides may, and straight ones are flat.
    sides = torch.zeros_like(inside)
    sides[facets[on].reshape(-1)] = True
    sides[facets[~on].reshape(-1)] = False
    is_flat = flat >= 1
    is_flat &= ~inflections(mesh.pos, ridges, is_flat)
    smooth = _off_flat(ridges.edges, ridges.smooth & sides, is_flat)
    mine = torch.nonzero(smooth & ~still).squeeze(1)
    if len(mine):
        tracks.append(Track(mine, curves_through(mesh.pos, ridges.edges, smooth, mine)))
    if not tracks:
        return (), None
    sliding = torch.cat([track.nodes for track in tracks])
    limit = min([mode.stretch for mode in options], default=LIMIT)
    return tuple(tracks), stretch(mesh, facets, sliding, limit)


def _kinds(
    mesh: Mesh, numbers: Tensor, modes: Sequence[tuple[str, Mode | Curved | Geometry]]
) -> Tensor:
    """Which way of sliding each facet has `[k]`; the last that names it."""
    kind = torch.zeros(mesh.topology.num_facets, dtype=torch.int64, device=numbers.device)
    for k, (name, _) in enumerate(modes):
        if name in mesh.facet_tags:
            kind[mesh.topology.find_facets(mesh.facet_tags[name])] = k
        elif name == "boundary":
            kind[mesh.topology.boundary_facets] = k
    return kind[numbers]


def _off_flat(edges: Tensor, allowed: Tensor, is_flat: Tensor) -> Tensor:
    """Allowed nodes that are not on a flat part, nor beside one: flat sides stay flat to their end.

    Args:
        edges: nodes of edges or facets `[k, w]`.
        allowed: `[n]`, bool.
        is_flat: nodes of flat parts `[n]`, bool.

    Returns:
        `[n]`, bool; only nodes of the edges.
    """
    beside = torch.zeros_like(is_flat)
    beside[edges[(is_flat & allowed)[edges].any(dim=1)].reshape(-1)] = True
    touched = torch.zeros_like(is_flat)
    touched[edges.reshape(-1)] = True
    return touched & allowed & ~is_flat & ~beside


def _tied(free: Freedom, tied: Ties) -> Freedom:
    """The motions that all partners allow.

    A node that is bound at one of its places is bound at all of them.
    """
    d, n = free.directions.shape[1], free.num_nodes
    keep = torch.arange(d, device=free.free.device) >= free.free[:, None]
    rows = free.directions * keep[:, :, None]
    bound = torch.zeros(n, d, d, dtype=torch.float64, device=rows.device)
    bound[free.nodes] = rows.transpose(1, 2) @ rows
    turn = tied.rotations
    bound.index_add_(0, tied.roots, turn.transpose(1, 2) @ bound[tied.members] @ turn)
    values, vectors = torch.linalg.eigh(bound[tied.roots])
    count = (values < _TIED_TOLERANCE).sum(dim=1)
    directions = vectors.transpose(1, 2)
    nodes = torch.unique(torch.cat([free.nodes, tied.roots, tied.members]))
    all_rows = torch.eye(d, dtype=torch.float64, device=rows.device).repeat(n, 1, 1)
    all_free = torch.full((n,), d, device=free.free.device)
    all_rows[free.nodes], all_free[free.nodes] = free.directions, free.free
    # On a curve the tangents of the root count; where partners leave less, it stays.
    tracked = torch.zeros_like(all_free)
    for track in free.tracks:
        tracked[track.nodes] = track.shape.dim
    lost = torch.zeros_like(all_free, dtype=torch.bool)
    lost[tied.roots] = (tracked[tied.roots] > 0) & (count < tracked[tied.roots])
    lost[tied.members] = lost[tied.roots]
    straight = tracked[tied.roots] == 0
    all_rows[tied.roots[straight]] = directions[straight]
    all_free[tied.roots[straight]] = count[straight]
    all_free[lost] = 0
    all_rows[tied.members] = all_rows[tied.roots] @ turn.transpose(1, 2)
    all_free[tied.members] = all_free[tied.roots]
    member = torch.zeros_like(lost)
    member[tied.members] = True
    tracks = [_part(track, ~(lost | member)[track.nodes]) for track in free.tracks]
    return replace(
        free,
        nodes=nodes,
        directions=all_rows[nodes],
        free=all_free[nodes],
        tracks=tuple(track for track in tracks if len(track.nodes)),
        ties=tied,
    )


_TIED_TOLERANCE = 1e-8
"""Square of the angle between the sides of partners that rounding explains."""


@dataclass(frozen=True)
class _Some:
    """A shape for some of its nodes."""

    shape: Shape
    rows: Tensor

    @property
    def dim(self) -> int:
        return self.shape.dim

    def closest(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.shape.closest(points, self.rows[rows])


def _part(track: Track, keep: Tensor) -> Track:
    """The track with some of its nodes."""
    return Track(track.nodes[keep], _Some(track.shape, torch.nonzero(keep).squeeze(1)))


def fixed_nodes(mesh: Mesh, fixed: Iterable[str] | Tensor) -> Tensor:
    """Nodes named by tags or given by index `[k]`."""
    if isinstance(fixed, str):
        fixed = [fixed]
    if not isinstance(fixed, Tensor) and all(isinstance(item, str) for item in fixed):
        names: Sequence[str] = list(fixed)
        empty = torch.empty(0, dtype=torch.int64, device=mesh.pos.device)
        return torch.cat([empty, *(mesh.tagged_nodes(name) for name in names)])
    nodes = torch.as_tensor(fixed, dtype=torch.int64, device=mesh.pos.device).reshape(-1)
    outside = (nodes < 0) | (nodes >= len(mesh.pos))
    if outside.any():
        raise MeshError(
            f"fixed names node {int(nodes[outside][0])}, but there are {len(mesh.pos)} nodes"
        )
    return nodes
