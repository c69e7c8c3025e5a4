"""Reference solves with scikit-fem: -lap u + c u = f with Dirichlet values, on one cell type.

scikit-fem's elements, quadrature and assembly, on the mesh's own numbering; the source of truth for
errors before and after a move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import skfem
import torch
from numpy.typing import NDArray
from skfem.helpers import dot, grad
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh, MeshError
from .elements import quadrature
from .linear import solve_spd

Scalar = Callable[[Tensor], Tensor]
"""A torch function of positions `[m, d]` that returns `[m]`."""
Array = NDArray[np.float64]

_ELEMENTS: dict[tuple[str, int], type[skfem.Element]] = {
    ("line", 1): skfem.ElementLineP1,
    ("line", 2): skfem.ElementLineP2,
    ("triangle", 1): skfem.ElementTriP1,
    ("triangle", 2): skfem.ElementTriP2,
    ("quad", 1): skfem.ElementQuad1,
    ("quad", 2): skfem.ElementQuad2,
    ("tetra", 1): skfem.ElementTetP1,
    ("tetra", 2): skfem.ElementTetP2,
    ("hexahedron", 1): skfem.ElementHex1,
    ("hexahedron", 2): skfem.ElementHex2,
}
_ERROR_ORDER = {1: 20, 2: 12, 3: 8}
"""Order of the quadrature of errors by dimension: sharp layers inside a cell are seen."""


@dataclass(frozen=True)
class DiscreteField:
    """A finite-element function on a mesh.

    Attributes:
        mesh: the mesh.
        degree: of the Lagrange element, 1 or 2.
        basis: scikit-fem's basis.
        dofs: coefficients `[degrees of freedom]`.
    """

    mesh: Mesh
    degree: int
    basis: skfem.Basis
    dofs: Array

    @property
    def nodal(self) -> Tensor:
        """Values at the mesh's nodes `[n]`."""
        return torch.from_numpy(self.dofs[self.basis.nodal_dofs[0]]).to(self.mesh.pos.device)

    def errors(self, exact: Scalar, exact_gradient: Scalar | None = None) -> dict[str, float]:
        """Distance from an exact solution.

        Args:
            exact: `[m, d] -> [m]`.
            exact_gradient: `[m, d] -> [m, d]`; by automatic differentiation if not given.

        Returns:
            "l2" and "h1" (of the gradient) over the domain by high-order quadrature, "max" over
            the quadrature points and nodes.
        """
        order = _ERROR_ORDER[self.mesh.dim]
        fine = _finer(self.mesh, self.basis, order)
        field = fine.interpolate(self.dofs)
        points = _points(fine.global_coordinates())
        shape = np.shape(field)
        difference = np.asarray(field) - exact(points).detach().numpy().reshape(shape)
        slope = gradient_of(exact)(points) if exact_gradient is None else exact_gradient(points)
        tilt = field.grad - np.moveaxis(slope.detach().numpy().reshape(*shape, -1), -1, 0)
        nodes = self.nodal.cpu() - exact(self.mesh.pos.detach().cpu()).detach()
        return {
            "l2": float(np.sqrt((difference**2 * fine.dx).sum())),
            "h1": float(np.sqrt(((tilt**2).sum(axis=0) * fine.dx).sum())),
            "max": max(float(np.abs(difference).max()), float(nodes.abs().max())),
        }


def solve_reaction_diffusion(
    mesh: Mesh, source: Scalar, boundary: Scalar | float, reaction: float = 0.0, degree: int = 1
) -> DiscreteField:
    """Solve -lap u + c u = f with u = g on the whole boundary.

    Args:
        mesh: triangles, quads, tetrahedra or hexahedra (or lines), one type.
        source: f.
        boundary: g, a function or a number.
        reaction: c >= 0.
        degree: 1 or 2.

    Raises:
        MeshError: mixed cells, other degree, negative reaction, or a source that is not finite.
    """
    if reaction < 0:
        raise MeshError(f"the reaction coefficient must not be negative, got {reaction}")
    basis = lagrange_basis(mesh, degree)
    order = 2 * degree + 4  # sources with layers deserve more than the element's own order
    fine = _finer(mesh, basis, order)
    points = fine.global_coordinates()
    values = source(_points(points)).detach().numpy().reshape(np.shape(points)[1:])
    if not np.isfinite(values).all():
        raise MeshError("the source is not finite in the domain")

    @skfem.BilinearForm
    def operator(u, v, w):  # type: ignore[no-untyped-def]
        return dot(grad(u), grad(v)) + reaction * u * v

    @skfem.LinearForm
    def load(v, w):  # type: ignore[no-untyped-def]
        return w.f * v

    matrix = operator.assemble(basis)
    right = load.assemble(fine, f=values)
    return _with_dirichlet(mesh, degree, basis, matrix, right, boundary)


def interpolate(mesh: Mesh, exact: Scalar, degree: int = 1) -> DiscreteField:
    """The Lagrange interpolant of a function."""
    basis = lagrange_basis(mesh, degree)
    return DiscreteField(mesh, degree, basis, exact(_points(basis.doflocs)).detach().numpy())


def lagrange_basis(mesh: Mesh, degree: int) -> skfem.Basis:
    """scikit-fem's Lagrange basis of a mesh of one cell type.

    Raises:
        MeshError: mixed cells, a type or degree without an element, or a surface mesh.
    """
    if len(mesh.cells) != 1:
        raise MeshError(
            f"reference solves need one cell type, the mesh has {', '.join(mesh.cells)}"
        )
    (name,) = mesh.cells
    if (name, degree) not in _ELEMENTS or mesh.dim != mesh.cell_dim:
        raise MeshError(
            f"no Lagrange element of degree {degree} on {name} cells in {mesh.dim}D; there are "
            "degrees 1 and 2 on lines, triangles, quads, tetrahedra and hexahedra that fill space"
        )
    other = mesh.to_skfem()
    if CELL_TYPES[name].is_simplex:  # sorted nodes, as in our spaces: the same quadrature points
        other = type(other)(other.p, np.sort(other.t, axis=0))
    return skfem.Basis(other, _ELEMENTS[name, degree]())


def _finer(mesh: Mesh, basis: skfem.Basis, order: int) -> skfem.Basis:
    """The basis with another quadrature: ours, since scikit-fem's on tetrahedra are inexact."""
    (cell,) = mesh.cells
    points, weights = quadrature(cell, order)
    rule = (points.numpy().T.copy(), weights.numpy().copy())
    return skfem.Basis(basis.mesh, basis.elem, quadrature=rule)


def gradient_of(function: Scalar) -> Scalar:
    """Gradient `[m, d]` of a scalar torch function; differentiable where the positions are."""

    def gradient(x: Tensor) -> Tensor:
        keep = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            point = x if keep else x.detach().requires_grad_(True)
            value = function(point)
            if not value.requires_grad:
                return torch.zeros_like(x)
            return torch.autograd.grad(value.sum(), point, create_graph=keep)[0]

    return gradient


def laplacian_of(function: Scalar) -> Scalar:
    """Laplacian `[m]` of a scalar torch function; differentiable where the positions are."""

    def laplacian(x: Tensor) -> Tensor:
        keep = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            point = x if keep else x.detach().requires_grad_(True)
            total, value = torch.zeros_like(x[:, 0]), function(point)
            if not value.requires_grad:
                return total
            slope = torch.autograd.grad(value.sum(), point, create_graph=True)[0]
            for k in range(x.shape[1]):
                if slope.requires_grad:
                    (second,) = torch.autograd.grad(
                        slope[:, k].sum(), point, retain_graph=True, create_graph=keep
                    )
                    total = total + second[:, k]
        return total

    return laplacian


def _with_dirichlet(
    mesh: Mesh,
    degree: int,
    basis: skfem.Basis,
    matrix: object,
    right: Array,
    boundary: Scalar | float,
) -> DiscreteField:
    fixed = basis.get_dofs().flatten()
    value = np.zeros(basis.N)
    if callable(boundary):
        value[fixed] = boundary(_points(basis.doflocs[:, fixed])).detach().numpy()
    else:
        value[fixed] = boundary
    reduced, load, _, inner = skfem.condense(matrix, right, x=value, D=fixed)
    value[inner] = solve_spd(reduced, load, mesh.dim)
    return DiscreteField(mesh, degree, basis, value)


def _points(coordinates: object) -> Tensor:
    """scikit-fem's `[d, ...]` coordinates as torch rows `[m, d]`."""
    array = np.asarray(coordinates)
    return torch.from_numpy(np.ascontiguousarray(array.reshape(len(array), -1).T))
