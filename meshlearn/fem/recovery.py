"""Gradients and Hessians of a piecewise-linear field by quadratic least squares on node patches.

Around each node a quadratic polynomial is fitted to the nodal values of its patch: the nodes of the
cells around it, widened ring by ring where they do not determine the six (ten in 3D) coefficients,
as at corners. Quadratic fields are reproduced exactly up to the boundary; on meshes too small for
that, linear ones. Zhang & Naga, "A new
finite element gradient recovery method: superconvergence property", SIAM J. Sci. Comput. 26 (2005).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import skfem
import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.locate import Locator
from .p1 import simplex_volumes, simplices

_MAX_RINGS = 4
_CONDITION = 1e-5
"""Smallest pivot of a patch's normal equations (unit trace) that determines the polynomial."""
_CHUNK_BYTES = 64_000_000


@dataclass(frozen=True)
class Recovered:
    """Derivatives of a nodal field at the nodes.

    Attributes:
        gradient: `[n, d]`.
        hessian: symmetric `[n, d, d]`.
    """

    gradient: Tensor
    hessian: Tensor


def recover(mesh: Mesh, values: Tensor) -> Recovered:
    """Gradient and Hessian of a nodal field at every node.

    Args:
        mesh: any cell types.
        values: nodal values `[n]`.

    Raises:
        MeshError: wrong shape, or values that are not finite.
    """
    if values.shape != (len(mesh.pos),):
        raise MeshError(
            f"recovery needs one value per node, [{len(mesh.pos)}], got {list(values.shape)}"
        )
    if not bool(torch.isfinite(values).all()):
        raise MeshError(
            f"the field is not finite at node {int((~torch.isfinite(values)).nonzero()[0])}"
        )
    pos, field = mesh.pos.detach().cpu(), values.detach().to(torch.float64).cpu()
    n, d = pos.shape
    gradient, hessian = torch.empty(n, d, dtype=pos.dtype), torch.empty(n, d, d, dtype=pos.dtype)
    ring = _patches(mesh)
    patch, todo = ring, torch.arange(n)
    for rings in range(1, _MAX_RINGS + 1):
        bad = []
        for rows in _chunks(patch, todo, d):
            fitted, sound = _fit(pos, field, patch, rows, d)
            gradient[rows], hessian[rows] = fitted.gradient, fitted.hessian
            bad.append(rows[~sound])
        todo = torch.cat(bad)
        if not len(todo) or rings == _MAX_RINGS:
            break
        patch = _widened(patch, ring, todo)
    return Recovered(gradient.to(mesh.pos.device), hessian.to(mesh.pos.device))


def l2_error_estimate(mesh: Mesh, background: Mesh, hessian: Tensor) -> float:
    """Estimated L2 norm of the error of linear interpolation on a mesh, to compare meshes.

    At each quadrature point of each simplex: the largest |eᵀ H e| / 8 over the edges e of the
    simplex (the bound for a quadratic function), with H interpolated there. One Hessian, of the
    best solution at hand, must serve all the meshes that are compared: on a mesh that does not
    resolve a layer, the solution's own Hessian does not show it.

    Args:
        mesh: the mesh to judge.
        background: the mesh of the Hessian, on the same domain.
        hessian: `[n of background, d, d]`.
    """
    nodes = simplices(mesh)
    points = mesh.pos[nodes]
    width, d = nodes.shape[1], mesh.dim
    barycentric, weights = quadrature(d)
    at = torch.einsum("qi,sid->sqd", barycentric.to(points), points).reshape(-1, d)
    locator = Locator(background)
    flat = locator.interpolate(hessian.reshape(len(hessian), -1), locator.find(at))
    local = flat.reshape(len(nodes), len(weights), d, d)
    pairs = [(i, j) for i in range(width) for j in range(i + 1, width)]
    edges = points[:, [j for _, j in pairs]] - points[:, [i for i, _ in pairs]]
    along = torch.einsum("sei,sqij,sej->sqe", edges, local, edges).abs().amax(dim=2) / 8
    volume = simplex_volumes(mesh.pos, nodes)
    return float((volume * (along**2 @ weights.to(points))).sum().sqrt())


def quadrature(dim: int) -> tuple[Tensor, Tensor]:
    """Barycentric points `[q, d + 1]` and weights `[q]` that sum to 1."""
    reference = {1: skfem.refdom.RefLine, 2: skfem.refdom.RefTri, 3: skfem.refdom.RefTet}[dim]
    points, weights = skfem.quadrature.get_quadrature(reference, {1: 7, 2: 6, 3: 3}[dim])
    last = torch.from_numpy(points.T.copy())
    share = torch.from_numpy(weights / weights.sum())
    return torch.cat([1 - last.sum(dim=1, keepdim=True), last], dim=1), share


def _patches(mesh: Mesh) -> sp.csr_array:
    """Node-node pattern: both belong to one cell (the node itself included) `[n, n]`."""
    rows, columns = [], []
    for cell in mesh.cells.values():
        index = cell.cpu().numpy()
        rows.append(np.repeat(index, index.shape[1], axis=1).reshape(-1))
        columns.append(np.tile(index, (1, index.shape[1])).reshape(-1))
    row, column = np.concatenate(rows), np.concatenate(columns)
    pattern = sp.coo_array((np.ones(len(row), bool), (row, column)), shape=(len(mesh.pos),) * 2)
    return sp.csr_array(pattern)


def _widened(patch: sp.csr_array, ring: sp.csr_array, rows: Tensor) -> sp.csr_array:
    """One ring more for some rows; other rows become empty."""
    select = sp.csr_array(
        (np.ones(len(rows), bool), (rows.numpy(), rows.numpy())), shape=patch.shape
    )
    return sp.csr_array(sp.csr_array(select @ patch) @ ring)


def _chunks(patch: sp.csr_array, rows: Tensor, d: int) -> list[Tensor]:
    """Rows in order of patch size, cut so that a padded block stays small."""
    size = torch.from_numpy(np.diff(patch.indptr).astype(np.int64))[rows]
    order = rows[torch.argsort(size, stable=True)]
    terms = (d + 1) * (d + 2) // 2
    largest = int(size.max()) if len(size) else 1
    return list(torch.split(order, max(1, _CHUNK_BYTES // (8 * terms * largest))))


def _fit(
    pos: Tensor, values: Tensor, patch: sp.csr_array, rows: Tensor, d: int
) -> tuple[Recovered, Tensor]:
    """Least squares on padded patches; also whether each patch determines the polynomial."""
    start = torch.from_numpy(patch.indptr.astype(np.int64))
    size = start[rows + 1] - start[rows]
    slot = torch.arange(int(size.max()))
    member = slot < size[:, None]
    index = torch.from_numpy(patch.indices.astype(np.int64))
    node = index[(start[rows][:, None] + slot).clamp(max=len(index) - 1)]
    node = torch.where(member, node, rows[:, None])
    offset = pos[node] - pos[rows][:, None]
    to_round = rounding(offset)
    xi = offset @ to_round
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    squares = [xi[..., i] * xi[..., j] * (0.5 if i == j else 1.0) for i, j in pairs]
    basis = torch.stack([torch.ones_like(xi[..., 0]), *xi.unbind(dim=2), *squares], dim=2)
    basis = basis * member[..., None]
    normal = basis.transpose(1, 2) @ basis
    target = (values[node] - values[rows][:, None])[..., None]
    right = basis.transpose(1, 2) @ target
    factor, info = torch.linalg.cholesky_ex(normal)
    pivot = factor.diagonal(dim1=1, dim2=2).amin(dim=1) ** 2
    trace = normal.diagonal(dim1=1, dim2=2).sum(dim=1)
    sound = (info == 0) & (pivot > _CONDITION * trace)
    solution = torch.empty_like(right)
    fitted = torch.cholesky_solve(right[sound], factor[sound])
    # Once more for the residual: as accurate as if the squares had not been formed.
    rest = basis[sound].transpose(1, 2) @ (target[sound] - basis[sound] @ fitted)
    solution[sound] = fitted + torch.cholesky_solve(rest, factor[sound])
    if not bool(sound.all()):  # kept only where no wider patch helps: linear, then smallest rest
        matrix, rest = normal[~sound], right[~sound]
        linear = torch.linalg.pinv(matrix[:, : d + 1, : d + 1], hermitian=True) @ rest[:, : d + 1]
        rest = rest - matrix[:, :, : d + 1] @ linear
        solution[~sound] = torch.linalg.pinv(matrix, rtol=_CONDITION, hermitian=True) @ rest
        solution[~sound, : d + 1] += linear
    gradient = (to_round @ solution[:, 1 : d + 1])[..., 0]
    curved = torch.empty(len(rows), d, d, dtype=pos.dtype)
    for k, (i, j) in enumerate(pairs):
        curved[:, i, j] = curved[:, j, i] = solution[:, d + 1 + k, 0]
    hessian = to_round @ curved @ to_round.transpose(1, 2)
    return Recovered(gradient, (hessian + hessian.transpose(1, 2)) / 2), sound


def rounding(offset: Tensor) -> Tensor:
    """Matrices `[k, d, d]` that map offsets `[k, m, d]` to round patches of radius 1.

    A patch of stretched cells then determines its polynomial as well as any other.
    """
    spread = offset.transpose(1, 2) @ offset
    axes, flat = torch.linalg.cholesky_ex(spread)
    round_already = torch.eye(offset.shape[2]).to(offset).expand_as(axes)
    axes = torch.where((flat > 0)[:, None, None], round_already, axes)
    to_round = torch.linalg.inv(axes).transpose(1, 2)
    return to_round / (offset @ to_round).norm(dim=2).amax(dim=1)[:, None, None]
