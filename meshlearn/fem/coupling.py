"""Matrices between spaces on two meshes: point values, and L2 products of basis functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh
from .elements import quadrature
from .evaluate import basis
from .mapping import mapping
from .places import CellPlaces, Outside, locate, places_in
from .polynomials import polynomials
from .space import FunctionSpace
from .sparse import csr_matrix
from .supermesh import Supermesh, intersect

_CHUNK = 100_000
"""Simplices or points treated at once."""
_COVERED = 1e-10
"""Share of a cell that may be missing from the intersections for round-off."""

Entries = tuple[Tensor, Tensor, Tensor]
"""Rows, columns and values of a matrix, flat."""


@torch.no_grad()
def point_matrix(source: FunctionSpace, target: FunctionSpace, outside: Outside) -> Tensor:
    """Values of the source basis where the target's degrees of freedom sit, CSR `[nt, ns]`."""
    places = locate(source.mesh, target.dof_points, outside, source.locator)
    entries = []
    for part in places.parts:
        value, _ = basis(source, 0, part)
        dofs = source.blocks[0].dofs[part.cell][part.rows]
        entries.append((part.index[:, None].expand_as(dofs), dofs, value))
    return _matrix(iter(entries), (target.num_dofs, source.num_dofs))


@torch.no_grad()
def product_matrix(
    source: FunctionSpace, target: FunctionSpace, outside: Outside, *, exact: bool
) -> Tensor:
    """L2 products of scalar basis functions, `B[i, j] = (phi_j, psi_i)`, CSR `[nt, ns]`.

    Args:
        source: space of phi.
        target: space of psi, over whose mesh the integrals run.
        outside: what to do where the target's mesh leaves the source's.
        exact: integrate over the intersections of cells, or else at quadrature points of the
            target's cells, of an order high enough for smooth functions.
    """
    shape = (target.num_dofs, source.num_dofs)
    if not exact:
        return _matrix(_by_quadrature(source, target, outside, None), shape)
    common = intersect(source.mesh, target.mesh)
    volume = target.mesh.volumes().abs()
    bare = (volume - common.covered(len(volume))) > _COVERED * volume
    # Cells that reach out of the source's mesh, as at curved boundaries, are sampled instead.
    common = _without(common, bare)
    rest = torch.nonzero(bare).squeeze(1)

    def entries() -> Iterator[Entries]:
        yield from _by_intersections(source, target, common)
        if len(rest):
            yield from _by_quadrature(source, target, outside, rest)

    return _matrix(entries(), shape)


def simplicial(*meshes: Mesh) -> bool:
    """Whether all cells of all meshes are simplices of one type, which can be intersected."""
    types = {cell for mesh in meshes for cell in mesh.cells}
    return len(types) == 1 and CELL_TYPES[types.pop()].is_simplex


def _by_intersections(
    source: FunctionSpace, target: FunctionSpace, common: Supermesh
) -> Iterator[Entries]:
    cell, d = common.cell, source.mesh.dim
    points, weights = quadrature(cell, source.degree + target.degree)
    inner = torch.cat([1 - points.sum(dim=1, keepdim=True), points], dim=1).to(common.volume)
    share = (weights / weights.sum()).to(common.volume)
    s_table, t_table = (polynomials(s.blocks[0].elements[cell]) for s in (source, target))
    order = torch.argsort(common.target * len(source.mesh.cells[cell]) + common.source)
    for rows in torch.split(order, max(1, _CHUNK // len(points))):
        s_at = torch.einsum("qv,pvn->pqn", inner, common.in_source[rows])[..., 1:].reshape(-1, d)
        t_at = torch.einsum("qv,pvn->pqn", inner, common.in_target[rows])[..., 1:].reshape(-1, d)
        phi, psi = s_table.at(s_at), t_table.at(t_at)
        phi = phi.reshape(len(rows), len(points), -1) * share[:, None]
        psi = psi.reshape(len(rows), len(points), -1) * common.volume[rows][:, None, None]
        local = psi.transpose(1, 2) @ phi
        yield _summed(
            local,
            target.blocks[0].dofs[cell],
            common.target[rows],
            source.blocks[0].dofs[cell],
            common.source[rows],
        )


def _by_quadrature(
    source: FunctionSpace, target: FunctionSpace, outside: Outside, cells: Tensor | None
) -> Iterator[Entries]:
    """Products at the quadrature points of some target cells (all: None)."""
    mesh = target.mesh
    for cell, ids in mesh.cell_ids.items():
        every = torch.arange(len(ids), device=ids.device)
        chosen = every if cells is None else every[torch.isin(ids, cells)]
        curved = not CELL_TYPES[cell].is_simplex
        points, weights = quadrature(cell, source.degree + target.degree + 2 + 2 * curved)
        for rows in torch.split(chosen, max(1, _CHUNK // len(points))):
            geometry = mapping(mesh, cell, points, rows)
            measure = weights.to(mesh.pos)[:, None] * geometry.determinant.abs()
            found = locate(source.mesh, geometry.points(points), outside, source.locator)
            at_target = points.to(mesh.pos).repeat_interleave(len(rows), dim=0)
            (there,) = places_in(mesh, cell, rows.repeat(len(points)), at_target).parts
            psi, _ = basis(target, 0, there)
            psi = psi * measure.reshape(-1, 1)
            for part in found.parts:
                yield _sampled(source, target, cell, psi, there, part)


def _sampled(
    source: FunctionSpace,
    target: FunctionSpace,
    cell: str,
    psi: Tensor,
    there: CellPlaces,
    part: CellPlaces,
) -> Entries:
    phi, _ = basis(source, 0, part)
    rows = there.rows[part.index]
    order = torch.argsort(rows * len(source.mesh.cells[part.cell]) + part.rows)
    local = psi[part.index][:, :, None] * phi[:, None, :]
    return _summed(
        local[order],
        target.blocks[0].dofs[cell],
        rows[order],
        source.blocks[0].dofs[part.cell],
        part.rows[order],
    )


def _summed(
    local: Tensor, t_dofs: Tensor, t_rows: Tensor, s_dofs: Tensor, s_rows: Tensor
) -> Entries:
    """Entries of local matrices `[p, kt, ks]`, those of equal neighbouring pairs added up."""
    new = torch.ones(len(t_rows), dtype=torch.bool, device=t_rows.device)
    new[1:] = (t_rows[1:] != t_rows[:-1]) | (s_rows[1:] != s_rows[:-1])
    pair = torch.cumsum(new, 0) - 1
    total = local.new_zeros(int(new.sum()), *local.shape[1:]).index_add(0, pair, local)
    rows, columns = t_dofs[t_rows[new]], s_dofs[s_rows[new]]
    return (
        rows[:, :, None].expand_as(total),
        columns[:, None, :].expand_as(total),
        total,
    )


def _without(common: Supermesh, cells: Tensor) -> Supermesh:
    if not bool(cells.any()):
        return common
    keep = ~cells[common.target]
    return Supermesh(
        common.cell,
        common.source[keep],
        common.target[keep],
        common.in_source[keep],
        common.in_target[keep],
        common.volume[keep],
    )


def _matrix(entries: Iterator[Entries], shape: tuple[int, int]) -> Tensor:
    """Sum of entries as a CSR tensor; chunk by chunk, so that few are held at once."""
    total = sp.csr_array(shape)
    device = torch.device("cpu")
    for rows, columns, values in entries:
        device = values.device
        row, column, value = (
            np.ascontiguousarray(a.reshape(-1).cpu().numpy()) for a in (rows, columns, values)
        )
        total = total + sp.csr_array(sp.coo_array((value, (row, column)), shape=shape))
    total.sort_indices()
    parts = [
        torch.from_numpy(np.ascontiguousarray(a)).to(device)
        for a in (total.indptr.astype(np.int64), total.indices.astype(np.int64), total.data)
    ]
    return csr_matrix(parts[0], parts[1], parts[2], shape)
