"""Superconvergent patch recovery: a continuous gradient from the gradients inside the cells.

The gradient of a finite-element function is sampled where it is most accurate (Gauss points of the
reduced rule), and around each node a polynomial of the element's degree is fitted to the samples
in the cells that meet there. Places inside edges, faces and cells take the mean of the polynomials
of their corners. Patches that do not determine the polynomial, as at corners, are widened ring by
ring. Zienkiewicz & Zhu, "The superconvergent patch recovery and a posteriori error estimates",
Int. J. Numer. Meth. Eng. 33 (1992).
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..mesh import MeshError
from .context import Context, Field
from .elements import corner_weights, quadrature
from .mapping import mapping
from .polynomials import monomials
from .recovery import rounding
from .space import FunctionSpace, geometry_nodes
from .values import Values

_MAX_RINGS = 4
_CONDITION = 1e-6
_CHUNK = 4_000_000


def recover_gradient(space: FunctionSpace, dofs: Tensor) -> Field:
    """Recovered gradient as a continuous function.

    Args:
        space: P1, P2, P3, Q1 or Q2, scalar or vector.
        dofs: coefficients `[num_dofs]`.

    Returns:
        A field of the same element with d components (k d for k components: d u_i / d x_j is
        component i d + j), differentiable in the coefficients and the node positions.

    Raises:
        MeshError: another element, or a mesh too small for the fit.
    """
    name, degree = _checked(space)
    mesh, d = space.mesh, space.mesh.dim
    width = max(space.blocks[0].components, 1) * d
    at, slopes, owner = _samples(space, dofs, degree)
    powers = [p for p in itertools.product(range(degree + 1), repeat=d) if sum(p) <= degree]
    exponents = torch.tensor(powers, device=at.device)
    centre, scale, fitted = _fitted(space, at, slopes, owner, exponents)
    target = FunctionSpace(mesh, (name, width))
    out = {}
    for cell, nodes in mesh.cells.items():
        element, mapped = target.blocks[0].elements[cell], geometry_nodes(cell, nodes)
        weights = corner_weights(cell, element.points).to(at)
        corners, columns = mesh.pos[mapped], []
        for k, entity in enumerate(element.entities):
            place = torch.einsum("n,cnd->cd", weights[k], corners)
            patches = mapped[:, list(entity.nodes)]
            each = [_value(place, p, centre, scale, fitted, exponents) for p in patches.unbind(1)]
            columns.append(torch.stack(each).mean(dim=0))
        out[cell] = torch.cat(columns, dim=1)
    return Field(target, target.from_cells(out))


def _checked(space: FunctionSpace) -> tuple[str, int]:
    block = space.blocks[0]
    if space.mixed or block.name not in ("P1", "P2", "P3", "Q1", "Q2"):
        raise MeshError("gradients are recovered for one of P1, P2, P3, Q1, Q2, scalar or vector")
    return block.name, next(iter(block.elements.values())).degree


def _samples(space: FunctionSpace, dofs: Tensor, degree: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points `[s, d]`, gradients there `[s, k d]` and their cells `[s]`."""
    at, slopes, owner = [], [], []
    for cell, ids in space.mesh.cell_ids.items():
        reference, _ = quadrature(cell, 2 * (degree - 1))
        geometry = mapping(space.mesh, cell, reference)
        rows = torch.arange(len(ids), device=ids.device)
        context = Context(geometry, reference, {}, rows, ids)
        values: Values = context.evaluate(Field(space, dofs))
        assert values.gradient is not None
        at.append(geometry.points(reference))
        slopes.append(values.gradient.flatten(1))
        owner.append(ids.repeat(len(reference)))
    return torch.cat(at), torch.cat(slopes), torch.cat(owner)


def _value(
    place: Tensor,
    patch: Tensor,
    centre: Tensor,
    scale: Tensor,
    fitted: Tensor,
    exponents: Tensor,
) -> Tensor:
    """Polynomials of patches at a place each `[m, k d]`."""
    offset = (place - centre[patch])[:, None] @ scale[patch]
    return torch.einsum("mt,mtc->mc", monomials(offset[:, 0], exponents), fitted[patch])


def _fitted(
    space: FunctionSpace, at: Tensor, slopes: Tensor, owner: Tensor, exponents: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Centre `[n, d]`, scaling `[n, d, d]` and coefficients `[n, terms, k d]` of each patch."""
    pos = space.mesh.pos
    n, d, terms = len(pos), pos.shape[1], len(exponents)
    scale, fitted = pos.new_zeros(n, d, d), slopes.new_zeros(n, terms, slopes.shape[1])
    member, ring = _incidence(space, owner)
    patch, todo = member, np.arange(n)
    for _ in range(_MAX_RINGS):
        left = []
        for rows in _chunks(patch, todo, terms):
            index, valid = _padded(patch, rows, pos.device)
            chosen = torch.from_numpy(rows).to(pos.device)
            offset = (at[index] - pos[chosen][:, None]) * valid[..., None]
            to_round = rounding(offset.detach())
            xi = (offset @ to_round).flatten(0, 1)
            rows_of = monomials(xi, exponents).reshape(*index.shape, terms) * valid[..., None]
            normal = rows_of.transpose(1, 2) @ rows_of
            factor, info = torch.linalg.cholesky_ex(normal.detach())
            pivot = factor.diagonal(dim1=1, dim2=2).amin(dim=1) ** 2
            total = normal.detach().diagonal(dim1=1, dim2=2).sum(dim=1)
            # One sample more than unknowns: the fit is to smooth, not to follow each sample.
            sound = (info == 0) & (pivot > _CONDITION * total) & (valid.sum(dim=1) > terms)
            right = (rows_of.transpose(1, 2) @ slopes[index])[sound]
            solution = torch.linalg.solve(normal[sound], right)
            scale = scale.index_copy(0, chosen[sound], to_round[sound])
            fitted = fitted.index_copy(0, chosen[sound], solution)
            left.append(rows[~sound.cpu().numpy()])
        todo = np.concatenate(left)
        if not len(todo):
            return pos, scale, fitted
        patch = _rows_of(patch, todo, ring)
    raise MeshError(
        f"the gradient cannot be recovered at node {int(todo[0])}: the mesh is too small"
    )


def _incidence(space: FunctionSpace, owner: Tensor) -> tuple[sp.csr_array, sp.csr_array]:
    """Which samples lie around each node `[n, s]`, and which nodes share a cell `[n, n]`."""
    topology = space.mesh.topology
    n, n_cells = topology.num_nodes, topology.num_cells
    pointer, cells = topology.node_cells_ptr.cpu().numpy(), topology.node_cells.cpu().numpy()
    around = sp.csr_array((np.ones(len(cells), np.int32), cells, pointer), shape=(n, n_cells))
    column = owner.cpu().numpy()
    count = np.arange(len(column))
    within = sp.csr_array(
        (np.ones(len(column), np.int32), (column, count)), shape=(n_cells, len(column))
    )
    return sp.csr_array(around @ within), sp.csr_array(around @ around.T)


def _rows_of(patch: sp.csr_array, rows: np.ndarray, ring: sp.csr_array) -> sp.csr_array:
    """Patches one ring wider, for some rows; the others become empty."""
    n = patch.shape[0]
    select = sp.csr_array((np.ones(len(rows), np.int32), (rows, rows)), shape=(n, n))
    wider = sp.csr_array((select @ ring) @ patch)
    wider.data[:] = 1
    return wider


def _padded(patch: sp.csr_array, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """Samples of each row `[k, largest]`, and which of them count."""
    start = patch.indptr[rows]
    size = patch.indptr[rows + 1] - start
    slot = np.arange(max(int(size.max()), 1))
    valid = slot < size[:, None]
    index = np.where(valid, patch.indices[np.where(valid, start[:, None] + slot, 0)], 0)
    as_tensor = torch.from_numpy(index.astype(np.int64)).to(device)
    return as_tensor, torch.from_numpy(valid).to(device)


def _chunks(patch: sp.csr_array, rows: np.ndarray, terms: int) -> list[np.ndarray]:
    """Rows by patch size, cut so that the padded arrays stay small."""
    size = np.diff(patch.indptr)[rows]
    order = rows[np.argsort(size, kind="stable")]
    step = max(1, _CHUNK // (terms * max(int(size.max()), 1)))
    return [order[i : i + step] for i in range(0, len(order), step)]
