"""What the unknowns of a linear system stand for, read off the space: for iterative solvers.

Multigrid for elasticity wants the rigid-body motions, a saddle-point solver the components of the
velocity and the pressure's mass matrix. Both come from the function space and the matrix.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .assemble import assemble
from .elements import quadrature
from .elimination import Reduction
from .multigrid import is_linear, near_of
from .operators import dot, grad
from .saddle import Saddle
from .space import Block, FunctionSpace

Array = NDArray[np.float64]
_NOTHING = 1e-9
_WIDER = 1.3
"""How much larger eigenvalues of a mass matrix can be on cells that are not affine."""


def is_saddle(space: FunctionSpace) -> bool:
    """Whether a space is one of velocities and pressures."""
    if not space.mixed or len(space.blocks) != 2:
        return False
    velocity, pressure = space.blocks
    scalars = velocity.kind == pressure.kind == "scalar"
    return scalars and velocity.components == space.mesh.dim and pressure.components == 0


@torch.no_grad()
def saddle_of(space: FunctionSpace, matrix: sp.csr_array, reduced: Reduction) -> Saddle | None:
    """Unknowns of a saddle-point system; None where its pressures are coupled to each other.

    nu and sigma are read off the matrix: constants are in the kernel of diffusion and convection,
    so that the row sums of F are those of sigma M; what is left of its diagonal is nu times that of
    the Laplacian.

    Args:
        space: velocities and pressures, see `is_saddle`.
        matrix: of all degrees of freedom.
        reduced: the conditions.
    """
    velocity, pressure = space.blocks
    d, size = space.mesh.dim, velocity.size
    low = matrix[size:, size:]
    if low.nnz and np.abs(low.data).max() > 0:
        return None
    mesh, number = space.mesh, reduced.number.cpu().numpy()
    scalar, linear = FunctionSpace(mesh, velocity.name), FunctionSpace(mesh, pressure.name)
    mass = to_scipy(assemble(lambda u, v, w: u * v, scalar))
    stiff = to_scipy(assemble(lambda u, v, w: dot(grad(u), grad(v)), scalar)).diagonal()
    near = near_of(space, velocity, rigid=False, width=1)
    one, inside = near.null[:, 0], _inside(scalar)
    mean = _mean(matrix, size, d)
    sigma = _reaction(mean, one, mass @ one, inside)
    nu = (mean.diagonal() - sigma * mass.diagonal()) / stiff
    viscosity = _per_cell(scalar, np.maximum(nu, _NOTHING * mean.diagonal() / stiff), inside)
    thick = assemble(lambda p, q, w: w.k * (p * q), linear, k=1 / viscosity)
    carried = None
    if is_linear(pressure):
        diffusion = assemble(lambda p, q, w: w.k * dot(grad(p), grad(q)), linear, k=viscosity)
        down = near.coarse if near.coarse is not None else sp.eye_array(len(one), format="csr")
        carried = _with_inflow(
            sp.csr_array(down.T @ mean @ down - to_scipy(diffusion)), ~_inside(linear)
        )
    lumped = mass.diagonal() * float(one @ mass @ one) / mass.diagonal()[one == 1].sum()
    momentum = np.ones(space.num_dofs)
    momentum[:size] = np.repeat(lumped, d)
    kept = np.flatnonzero(number[size:] >= 0)
    place = [number[c:size:d] for c in range(d)]
    return Saddle(
        components=[p[p >= 0] for p in place],
        places=[np.flatnonzero(p >= 0) for p in place],
        near=near,
        pressures=number[size:][kept],
        kept=kept,
        momentum=momentum[reduced.free.cpu().numpy()],
        reaction=sigma,
        carried=carried,
        mass=to_scipy(assemble(lambda p, q, w: p * q, linear)),
        thick=to_scipy(thick),
        bounds=_mass_bounds(pressure),
        closed=_is_closed(space, matrix, reduced),
    )


def _inside(scalar: FunctionSpace) -> NDArray[np.bool_]:
    """Degrees of freedom away from the boundary, where conditions may add to the form (all of
    them, where there are none)."""
    inside = np.ones(scalar.num_dofs, bool)
    inside[scalar.facet_dofs(scalar.mesh.topology.boundary_facets).cpu().numpy()] = False
    return inside if inside.any() else ~inside


def _mean(matrix: sp.csr_array, size: int, d: int) -> sp.csr_array:
    """Mean of the diagonal blocks of F: what Newton's method adds to convection drops out."""
    total = matrix[:size:d][:, :size:d]
    for c in range(1, d):
        total = total + matrix[c:size:d][:, c:size:d]
    return sp.csr_array(total / d)


def _with_inflow(carried: sp.csr_array, boundary: NDArray[np.bool_]) -> sp.csr_array:
    """R with a Robin condition where the flow comes in: without, R lets pressures grow there.

    R^T 1 - R 1 is the integral of w.n times each function over the boundary (Elman, Silvester &
    Wathen, Finite Elements and Fast Iterative Solvers (2014), section 9.3).
    """
    one = np.ones(carried.shape[0])
    across = np.where(boundary, carried.T @ one - carried @ one, 0.0)
    return sp.csr_array(carried + sp.diags_array(np.maximum(-across, 0.0)))


def _reaction(mean: sp.csr_array, one: Array, share: Array, inside: NDArray[np.bool_]) -> float:
    """sigma from the row sums of F."""
    sigma = float((one * (mean @ one))[inside].sum() / (one * share)[inside].sum())
    small = _NOTHING * np.abs(mean.diagonal()).sum()
    return sigma if sigma * share.sum() > small else 0.0


def _is_closed(space: FunctionSpace, matrix: sp.csr_array, reduced: Reduction) -> bool:
    """Whether a constant pressure does nothing to the velocities that are free."""
    size = space.blocks[0].size
    level = np.zeros(space.num_dofs)
    level[size:] = near_of(space, space.blocks[1], rigid=False).null[:, 0]
    force = torch.from_numpy(matrix @ level).to(reduced.given)
    size_of = torch.from_numpy(abs(matrix) @ level).to(reduced.given)
    force[size:] = 0.0
    size_of[size:] = 0.0
    left, whole = reduced.restricted(force).norm(), reduced.restricted(size_of).norm()
    return bool(left <= _NOTHING * whole)


def _mass_bounds(block: Block) -> tuple[float, float]:
    """Extreme eigenvalues of D^-1 M (Wathen, IMA J. Numer. Anal. 7 (1987) 449-457)."""
    low, high = [], []
    for cell, element in block.elements.items():
        points, weights = quadrature(cell, 2 * element.degree + 2)
        value, _ = element.tabulate(points)
        local = (value.T * weights @ value).numpy()
        found = np.linalg.eigvals(local / np.diag(local)[:, None]).real
        low.append(found.min())
        high.append(found.max())
    return float(min(low)) / _WIDER, float(max(high)) * _WIDER


def _per_cell(scalar: FunctionSpace, values: Array, inside: NDArray[np.bool_]) -> Tensor:
    """Mean of the values inside, cell by cell; that of all where a cell has none `[n_cells]`."""
    mesh = scalar.mesh
    out = np.full(mesh.num_cells, values[inside].mean())
    for cell, ids in mesh.cell_ids.items():
        dofs = scalar.cell_dofs(cell).cpu().numpy()
        count = inside[dofs].sum(axis=1)
        total = (values * inside)[dofs].sum(axis=1)
        where = ids.cpu().numpy()
        out[where] = np.where(count > 0, total / np.maximum(count, 1), out[where])
    return torch.from_numpy(out).to(mesh.pos)


def to_scipy(matrix: Tensor) -> sp.csr_array:
    """A CSR tensor on the CPU, without derivatives."""
    parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
    data = tuple(p.detach().cpu().numpy() for p in parts)
    return sp.csr_array(data, shape=(matrix.shape[0], matrix.shape[1]))
