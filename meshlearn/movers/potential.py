"""The Monge-Ampere equation on the cells of a mesh: residual, derivative, preconditioner.

Nodes move by the gradient of a potential, x = X + G phi: G averages the gradients of the piecewise
linear phi around each node by volume and keeps the result on the sides of the domain. With the
monitor m_K averaged over the corners of K and psi_i the hat functions, the equations are

    r_i = sum_K int_K psi_i (e_K - 1) - tau int grad psi_i . (grad phi - G phi) = 0,
    e_K = m_K |K_x| / (theta |K|),

with theta such that the mean of e is 1. The volumes |K_x| are those of the moved cells: a solution
cannot be tangled, and equidistributes what is measured. For a smooth phi the second term vanishes
with the cell size. Without it (tau = 0) there is no solution on structured meshes: G does not see
potentials that oscillate from node to node, nor can any motion of nodes by G change what r says of
them. It is the stabilisation of mixed Darcy elements of A. Masud, T. J. R. Hughes, Comput. Methods
Appl. Mech. Eng. 191 (2002) 4341-4370, applied to u = grad phi, div u = f.

Up to the error of the discretisation the r_i are the derivatives of the convex dual of the optimal
transport problem, whose solution is unique up to constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..fem.p1 import basis_gradients
from ..fem.pattern import build_pattern
from ..kernels.matrices import Matrix, product
from ..mesh import Mesh
from ..monitors import Monitor, Sample
from ..monitors.base import checked
from .constraints import Freedom
from .corners import FACTORIAL, Corners, Shapes
from .equidistribution import density, log_density_gradient

Array = NDArray[np.float64]

_LEAST_SHARE = 0.1
"""Smallest eigenvalue of the preconditioner's conductivity over its mean."""


@dataclass(frozen=True)
class Load:
    """What the simplices hold of the monitor.

    Attributes:
        shapes: of the moved simplices.
        volume: of the moved simplices `[s]`.
        slope: gradient of the monitor at the nodes `[n, d]`.
        target: theta |K| of each simplex `[s]`.
        share: e `[s]`, 1 where the simplex holds what it should.
        imbalance: r without the stabilisation `[n]`.
        hint: where the monitor found the nodes.
    """

    shapes: Shapes
    volume: Tensor
    slope: Tensor
    target: Tensor
    share: Tensor
    imbalance: Array
    hint: Tensor | None

    @property
    def spread(self) -> float:
        """std/mean of e over the simplices, weighted by the reference volumes."""
        weight = self.target / self.target.sum()
        return float((weight * (self.share - 1) ** 2).sum().sqrt())


@dataclass(frozen=True)
class State:
    """A potential and what follows from it.

    Attributes:
        phi: potential `[n]`.
        tau: weight of the stabilisation.
        exponent: power to which the monitor is raised.
        pos: moved nodes `[n, d]`.
        load: of the simplices there.
        residual: r `[n]`.
        norm: of the residual as a density, relative to 1.
    """

    phi: Array
    tau: float
    exponent: float
    pos: Array
    load: Load
    residual: Array
    norm: float


class Equation:
    """The equations of one mesh and one monitor.

    Args:
        mesh: the reference; other cells than simplices enter with the simplices at their corners.
        monitor: density, or metric of which the density counts.
        free: allowed motions.

    Attributes:
        size: number of unknowns n.
        laplacian: stiffness matrix of the reference `[n, n]`.
    """

    def __init__(self, mesh: Mesh, monitor: Monitor, free: Freedom) -> None:
        self.mesh, self.monitor, self.free = mesh, monitor, free
        pos = mesh.pos.detach().cpu()
        self._corners = Corners(mesh, pos.device)
        nodes, self._columns = self._corners.nodes, self._corners.columns
        self.origin = pos.numpy()
        self.dim = mesh.dim
        before = self._corners.shapes(pos)
        self._reference_edges = before.edges
        self._scale = self._corners.weight / FACTORIAL[self.dim]
        self.volume = self._scale * before.determinant
        self._gradients = basis_gradients(pos, nodes)
        self.size = len(pos)
        self._pattern = build_pattern([nodes], [nodes], (self.size,) * 2, pos.device)
        ones = torch.ones_like(self.volume)
        isotropic = [
            [ones if i == j else 0 * ones for j in range(self.dim)] for i in range(self.dim)
        ]
        self.laplacian = self._stiffness(isotropic, self.volume, 0.0)
        self._build_transfer(nodes)
        count, part = connected_components(self.laplacian, directed=False)
        self.parts = torch.from_numpy(part.astype(np.int64))[nodes[:, 0]] if count > 1 else None
        self._part_count = count
        self._part_volume = self._per_part(self.volume)

    def _build_transfer(self, nodes: Tensor) -> None:
        """Sparse matrices: sums at unknowns, weighted gradients, G."""
        n, d, (s, k) = len(self.origin), self.dim, nodes.shape
        index = np.dtype(np.int32 if max(s * k * d, n * d) < 2**31 else np.int64)

        corner = nodes.numpy().astype(index).reshape(-1)
        rows = np.arange(0, s * k + 1, k, dtype=index)

        def at_corners(values: Array) -> sp.csr_array:
            return sp.csr_array((values.reshape(-1), corner, rows), shape=(s, n))

        self.gather = sp.csr_array(at_corners(np.full(s * k, 1 / k)).T)
        """Sum of a share 1 / (d + 1) of simplex values at each node `[n, s]`."""
        self._entries = (nodes.numpy()[:, :, None] * d + np.arange(d)).astype(index).reshape(-1)
        self._starts = np.arange(0, s * k * d + 1, k * d, dtype=index)
        volume = self.volume.numpy()
        self.mass = np.asarray(self.gather @ volume)
        weighted = (self.volume[:, None, None] * self._gradients).numpy()
        parts = [self.gather @ at_corners(weighted[:, :, c]) for c in range(d)]
        order = np.arange(n * d).reshape(d, n).T.reshape(-1)
        sums = sp.csr_array(sp.csr_array(sp.vstack(parts))[order])
        self._sums_t = sp.csr_array(sums.T)
        # Mean over the volume around each node: the mass of a degree of freedom is a number.
        basis = self.free.basis()
        mass = basis.multiply(basis).T @ np.repeat(self.mass, d)
        mean = sp.csr_array(sp.diags_array(1 / mass) @ sp.csr_array(basis.T @ sums))
        self.transfer = sp.csr_array(basis @ mean)
        """G `[n d, n]`."""

    def _per_part(self, values: Tensor) -> Tensor:
        """Sum over the simplices of each connected part, `[parts]`."""
        if self.parts is None:
            return values.sum()[None]
        total = torch.zeros(self._part_count, dtype=values.dtype)
        return total.index_add_(0, self.parts, values)

    def _spread_parts(self, values: Tensor) -> Tensor:
        """A value of each part at its simplices `[s]` (or `[1]`, which broadcasts)."""
        return values if self.parts is None else values[self.parts]

    def toward(self, pos: Tensor) -> Array:
        """Right-hand side b of `stabilised` phi = b for the potential that moves nodes to `pos`."""
        shift = (pos.detach().cpu().numpy() - self.origin).reshape(-1)
        out: Array = self._sums_t @ shift
        return out

    def stabilised(self, phi: Array, tau: float) -> Array:
        """tau times the stiffness of grad phi, and 1 - tau that of G phi `[n]`."""
        out: Array = tau * (self.laplacian @ phi)
        out += (1 - tau) * (self._sums_t @ (self.transfer @ phi))
        return out

    def evaluate(
        self, phi: Array, tau: float, exponent: float = 1.0, hint: Tensor | None = None
    ) -> State | None:
        """Residual at a potential; None where a moved simplex is not positive.

        Raises:
            MeshError: the monitor is not finite and positive.
        """
        shift = self.transfer @ phi
        pos = self.origin + shift.reshape(self.origin.shape)
        if self.free.curved:
            pos = self.free.retract(torch.from_numpy(pos).to(self.mesh.pos)).cpu().numpy()
        load = self.weigh(pos, exponent, hint)
        if load is None:
            return None
        residual = load.imbalance - tau * (self.laplacian @ phi - self._sums_t @ shift)
        norm = float(np.sqrt((residual**2 / self.mass).sum() / self.mass.sum()))
        return State(phi, tau, exponent, pos, load, residual, norm)

    def weigh(self, pos: Array, exponent: float = 1.0, hint: Tensor | None = None) -> Load | None:
        """What the simplices hold at positions `[n, d]`; None where one is not positive."""
        shapes = self._corners.shapes(torch.from_numpy(pos))
        volume = self._scale * shapes.determinant
        if not bool((volume > 0).all()):
            return None
        sample = self.monitor.sample(torch.from_numpy(pos).to(self.mesh.pos.device), hint)
        value, slope = _scalar(sample, exponent)
        total = value[self._columns[0]]
        for column in self._columns[1:]:
            total += value[column]
        load = total * volume / len(self._columns)
        theta = self._per_part(load) / self._part_volume
        target = self._spread_parts(theta) * self.volume
        share = load / target
        imbalance = self.gather @ (self.volume * (share - 1)).numpy()
        return Load(shapes, volume, slope, target, share, imbalance, sample.hint)

    def derivative(self, state: State) -> Callable[[Array], Array]:
        """The exact derivative of the residual with respect to phi, as a function of a direction.

        Exact where the monitor has a derivative; else (on the edges of a background mesh of a
        `Field`) one of its generalised derivatives.
        """
        s, k = len(self.volume), len(self._columns)
        load = state.load
        held = load.share * load.target
        rows = load.shapes.inverse
        first = [-sum(column[1:], column[0]) for column in zip(*rows, strict=True)]
        by_shape = torch.empty(s, k, self.dim, dtype=torch.float64)
        for a, row in enumerate([first, *rows]):
            weight = load.volume / k
            for c, entry in enumerate(row):
                torch.mul(held, entry, out=by_shape[:, a, c])
                by_shape[:, a, c] += weight * load.slope[:, c][self._columns[a]]
        loads = sp.csr_array(
            (by_shape.numpy().reshape(-1), self._entries, self._starts),
            shape=(s, self.origin.size),
        )
        if self.free.curved:  # a step ends where the curve is, not where its tangent was
            basis = self.free.at(torch.from_numpy(state.pos).to(self.mesh.pos)).basis()
            loads = sp.csr_array(sp.csr_array(loads @ basis) @ basis.T)
        relative = (self.volume / load.target).numpy()
        share, total = (self.volume * load.share).numpy(), self._part_volume
        whole = float(total.sum())

        def apply(direction: Array) -> Array:
            shift = self.transfer @ direction
            change = relative * (loads @ shift)
            if self.parts is None:
                change -= share * (change.sum() / whole)
            else:
                mean = self._per_part(torch.from_numpy(change)) / total
                change -= share * self._spread_parts(mean).numpy()
            out: Array = self.gather @ change
            out -= state.tau * (self.laplacian @ direction - self._sums_t @ shift)
            return out

        return apply

    def tangent(self, state: State) -> sp.csr_array:
        """Minus the derivative on smooth potentials: stiffness with conductivity e F^-1 + tau.

        F = dx/dX is symmetric up to the discretisation and positive; where its symmetric part is
        not, the conductivity is made so.
        """
        jacobian = product(self._reference_edges, state.load.shapes.inverse)
        weight = self.volume * state.load.share
        return self._stiffness(_positive(jacobian), weight, state.tau)

    def _stiffness(self, conductivity: Matrix, weight: Tensor, tau: float) -> sp.csr_array:
        """Stiffness matrix with conductivity `weight` times a matrix, plus `tau`, per volume."""
        d, k = self.dim, len(self._columns)
        gradient = [[self._gradients[:, a, c].contiguous() for c in range(d)] for a in range(k)]
        isotropic = tau * self.volume
        data = np.zeros(self._pattern.nnz)
        slots = self._pattern.slots[0].numpy()
        for a in range(k):
            flux = []
            for i in range(d):
                total = conductivity[i][0] * gradient[a][0]
                for j in range(1, d):
                    total = torch.addcmul(total, conductivity[i][j], gradient[a][j])
                flux.append(torch.addcmul(weight * total, isotropic, gradient[a][i]))
            for b in range(k):
                local = flux[0] * gradient[b][0]
                for i in range(1, d):
                    local = torch.addcmul(local, flux[i], gradient[b][i])
                data += np.bincount(slots[a, b], local.numpy(), len(data))
        columns, rowptr = self._pattern.columns.numpy(), self._pattern.rowptr.numpy()
        return sp.csr_array((data, columns, rowptr), shape=(self.size, self.size))


def _scalar(sample: Sample, exponent: float) -> tuple[Tensor, Tensor]:
    """Density `[n]` to a power, and its gradient `[n, d]`."""
    value, slope = checked(sample.value).cpu(), sample.gradient.cpu()
    if value.dim() == 3:
        log_slope = log_density_gradient(value, slope)
        value = density(value)
        slope = value[:, None] * log_slope
    if exponent != 1.0:
        slope = exponent * value[:, None] ** (exponent - 1) * slope
        value = value**exponent
    return value, slope


def _positive(m: Matrix) -> Matrix:
    """Symmetric part, shifted where its smallest eigenvalue is below a share of its mean."""
    d = len(m)
    symmetric = [[(m[i][j] + m[j][i]) / 2 for j in range(d)] for i in range(d)]
    mean = sum((symmetric[i][i] for i in range(1, d)), symmetric[0][0]).abs() / d
    off = [
        sum((symmetric[i][j].abs() for j in range(d) if j != i), torch.zeros_like(mean))
        for i in range(d)
    ]
    bound = torch.stack([symmetric[i][i] - off[i] for i in range(d)]).amin(dim=0)
    doubtful = torch.nonzero(bound < _LEAST_SHARE * mean).squeeze(1)
    if len(doubtful):
        block = torch.stack(
            [torch.stack([x[doubtful] for x in row], dim=1) for row in symmetric], dim=1
        )
        least = torch.linalg.eigvalsh(block)[:, 0]
        shift = (_LEAST_SHARE * mean[doubtful] - least).clamp(min=0)
        for i in range(d):
            symmetric[i][i].index_add_(0, doubtful, shift)
    return symmetric
