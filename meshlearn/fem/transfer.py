"""Fields from one mesh to another of the same domain.

- "interpolate": values at the target's degrees of freedom; cheapest, not conservative.
- "project": the L2 projection. On simplices the products of basis functions are integrated exactly
  over the intersections of cells, and mass is kept wherever the domains agree; elsewhere at
  quadrature points of the target.
- "conservative": the projection, with the integral of the source to round-off (each integral by
  its own mesh), and within bounds if asked to.

All are linear but for the bounds, exact for what both spaces hold (on the same mesh, the identity),
and differentiable in the coefficients.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..mesh import MeshError
from .assemble import assemble_linear
from .bounded import limited, with_mass
from .context import Field
from .coupling import point_matrix, product_matrix, simplicial
from .evaluate import mass_matrix
from .places import Outside
from .solve import LinearSolver
from .space import FunctionSpace
from .sparse import csr_values, multiply, rows_of

Method = Literal["interpolate", "project", "conservative"]
Bounds = Literal["local"] | tuple[float, float]

_BOUNDED = {"P0", "P1", "Q1", "P1DG"}


class Transfer:
    """A transfer whose geometry is worked out once, for many fields.

    Args:
        source: space of the fields, one element of scalars (or a vector of them).
        target: space on the other mesh, with as many components.
        method: see the module.
        exact: integrate over intersections of cells; by default if both meshes are simplicial.
        outside: where the target's mesh leaves the source's: the value at the nearest point of the
            source ("nearest") or an error ("raise").

    Raises:
        MeshError: mixed spaces, other elements, or components that differ.
    """

    def __init__(
        self,
        source: FunctionSpace,
        target: FunctionSpace,
        method: Method = "conservative",
        *,
        exact: bool | None = None,
        outside: Outside = "nearest",
    ) -> None:
        if method not in ("interpolate", "project", "conservative"):
            raise MeshError(
                f'unknown method {method!r}; there are "interpolate", "project", "conservative"'
            )
        if outside == "nan":
            raise MeshError('a transfer needs values everywhere: outside is "nearest" or "raise"')
        self.source, self.target, self.method = source, target, method
        self._components = _components(source, target)
        scalar_source, scalar_target = _scalar(source), _scalar(target)
        if method == "interpolate":
            if not _nodal(target):
                raise MeshError("interpolation needs a target with point values; use project")
            self._matrix = point_matrix(scalar_source, scalar_target, outside)
            return
        if exact is None:
            exact = simplicial(source.mesh, target.mesh)
        self._matrix = product_matrix(scalar_source, scalar_target, outside, exact=exact)
        self._mass = mass_matrix(scalar_target)
        self._solver = LinearSolver(self._mass)
        self._source_weights = assemble_linear(lambda v, w: v, scalar_source)
        self._weights = assemble_linear(lambda v, w: v, scalar_target)

    def __call__(self, dofs: Tensor, bounds: Bounds | None = None) -> Tensor:
        """Coefficients on the target `[target.num_dofs]`.

        Args:
            dofs: coefficients on the source `[source.num_dofs]`.
            bounds: of a conservative transfer to P0, P1, Q1 or P1DG: "local", those of the source
                around each degree of freedom, or (lower, upper).

        Raises:
            MeshError: shapes, bounds that the source leaves, or a method that has no bounds.
        """
        if dofs.shape != (self.source.num_dofs,):
            raise MeshError(
                f"the source has {self.source.num_dofs} degrees of freedom, got {list(dofs.shape)}"
            )
        values = dofs.reshape(-1, self._components)
        if bounds is not None:
            self._check_bounds(values, bounds)
        product = multiply(self._matrix, values)
        if self.method == "interpolate":
            return product.reshape(-1)
        if bounds is not None:
            return self._within(values, product, bounds).reshape(-1)
        result = self._solver(product)
        if self.method == "conservative":
            result = self._spread(result, self._source_weights @ values)
        return result.reshape(-1)

    def _spread(self, result: Tensor, mass: Tensor) -> Tensor:
        """The constant that brings back the mass, added to functions with point values."""
        if _nodal(self.target):
            return with_mass(result, self._weights, mass, None, None)
        one = self._solver(self._weights)
        defect = mass - self._weights @ result
        return result + one[:, None] * defect / (self._weights @ one)

    def _within(self, values: Tensor, product: Tensor, bounds: Bounds) -> Tensor:
        low = product / self._weights[:, None]
        if bounds == "local":
            lower, upper = self._local_bounds(values)
        else:
            assert not isinstance(bounds, str)
            lower, upper = (torch.full_like(low, b) for b in bounds)
        # Round-off may have carried a mean out of the bounds of what it is a mean of.
        low = torch.minimum(torch.maximum(low, lower), upper)
        high = self._solver(self._weights[:, None] * low)
        found = limited(self._mass, low, high, lower, upper)
        found = torch.minimum(torch.maximum(found, lower), upper)
        return with_mass(found, self._weights, self._source_weights @ values, lower, upper)

    def _local_bounds(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Least and largest source value that each target degree of freedom sees `[nt, k]`."""
        matrix = self._matrix
        row = rows_of(matrix)
        seen = csr_values(matrix) > 1e-12 * self._weights[row]
        index = row[seen][:, None].expand(-1, values.shape[1])
        at = values[matrix.col_indices()[seen]]
        start = values.new_zeros(matrix.shape[0], values.shape[1])
        lower = start.scatter_reduce(0, index, at, "amin", include_self=False)
        upper = start.scatter_reduce(0, index, at, "amax", include_self=False)
        return lower, upper

    def _check_bounds(self, values: Tensor, bounds: Bounds) -> None:
        names = {self.source.blocks[0].name, self.target.blocks[0].name}
        if self.method != "conservative" or not names <= _BOUNDED:
            raise MeshError(
                'bounds need method="conservative" and elements among P0, P1, Q1 and P1DG'
            )
        if isinstance(bounds, str):
            if bounds != "local":
                raise MeshError('bounds are "local" or (lower, upper)')
            return
        least, largest = float(values.detach().min()), float(values.detach().max())
        if least < bounds[0] or largest > bounds[1]:
            raise MeshError(
                f"the source, in [{least:g}, {largest:g}], leaves the bounds "
                f"[{bounds[0]:g}, {bounds[1]:g}]"
            )


def transfer(
    field: Field,
    target: FunctionSpace,
    method: Method = "conservative",
    *,
    bounds: Bounds | None = None,
    exact: bool | None = None,
    outside: Outside = "nearest",
) -> Tensor:
    """Coefficients of a field on another mesh `[target.num_dofs]`; arguments as `Transfer`."""
    return Transfer(field.space, target, method, exact=exact, outside=outside)(field.dofs, bounds)


def _components(source: FunctionSpace, target: FunctionSpace) -> int:
    for space in (source, target):
        if space.mixed or space.blocks[0].kind != "scalar":
            raise MeshError(
                "transfers are between single elements of scalars or vectors of scalars; transfer "
                "the parts of a mixed space one by one"
            )
    counts = [space.blocks[0].components for space in (source, target)]
    if counts[0] != counts[1]:
        raise MeshError(f"the spaces have {counts[0]} and {counts[1]} components")
    return max(counts[0], 1)


def _scalar(space: FunctionSpace) -> FunctionSpace:
    return FunctionSpace(space.mesh, space.blocks[0].name) if space.blocks[0].components else space


def _nodal(space: FunctionSpace) -> bool:
    return all(element.nodal for element in space.blocks[0].elements.values())
