"""Strong boundary values: which degrees of freedom, and what value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..mesh import MeshError
from .facets import tagged_facets
from .space import FunctionSpace

Where = str | Sequence[str] | Callable[[Tensor], Tensor] | Tensor
Value = float | Tensor | Callable[[Tensor], Tensor]


class Dirichlet:
    """u = value on a part of the boundary, imposed by elimination (exact to rounding).

    Args:
        space: the function space.
        where: facet tag, "boundary", several tags, a function `[m, d] -> [m]` bool that picks
            boundary facets by the positions of their nodes (all must satisfy it), or indices of
            degrees of freedom.
        value: number, function `[m, d] -> [m]` (`[m, k]` for k components), or coefficients `[k]`
            of the degrees of freedom in ascending order.
        components: components of a vector element that are fixed; all by default.
        block: which element of a mixed space.

    Attributes:
        dofs: degrees of freedom, sorted `[k]`.
        values: their values `[k]`, differentiable.

    Raises:
        MeshError: unknown tag, or values that do not fit.
    """

    def __init__(
        self,
        space: FunctionSpace,
        where: Where = "boundary",
        value: Value = 0.0,
        components: Sequence[int] | None = None,
        block: int = 0,
    ) -> None:
        self.space = space
        dofs = self._dofs(where, block)
        component = space.component(dofs, block)
        if components is not None:
            keep = torch.isin(component, torch.tensor(list(components), device=dofs.device))
            dofs, component = dofs[keep], component[keep]
        self.dofs = dofs
        self.values = self._values(value, component, components, block)

    def _dofs(self, where: Where, block: int) -> Tensor:
        space = self.space
        if isinstance(where, Tensor):
            return torch.unique(where)
        if callable(where):
            boundary = space.mesh.topology.boundary_facets
            at = space.mesh.pos.detach()[space.mesh.topology.facets[boundary]]
            hit = where(at.flatten(0, 1)).reshape(at.shape[:2]).all(dim=1)
            return space.facet_dofs(boundary[hit], block)
        names = [where] if isinstance(where, str) else list(where)
        facets = torch.cat([tagged_facets(space.mesh, name) for name in names])
        return space.facet_dofs(facets, block)

    def _values(
        self, value: Value, component: Tensor, components: Sequence[int] | None, block: int
    ) -> Tensor:
        count = len(self.dofs)
        if isinstance(value, Tensor) and value.dim() == 1:
            if len(value) != count:
                raise MeshError(f"{count} values are needed for the boundary, got {len(value)}")
            return value.to(torch.float64)
        if not callable(value):
            number = torch.as_tensor(value, dtype=torch.float64, device=self.dofs.device)
            return number.expand(count)
        # On facets MINI has the point values of P1: its bubble is a function of the cell.
        elements = self.space.blocks[block].elements.values()
        if not all(e.nodal or e.name in ("MINI", "P1B") for e in elements):
            raise MeshError("values from a function need an element with point values")
        result = value(self.space.dof_points[self.dofs])
        if result.dim() == 1:
            return result.to(torch.float64)
        width = self.space.blocks[block].components
        order = list(range(width)) if components is None else list(components)
        if result.dim() != 2 or result.shape[1] not in (len(order), width):
            raise MeshError(
                f"the boundary function must return [m] or [m, {len(order)}], "
                f"got {list(result.shape)}"
            )
        if result.shape[1] == width:
            column = component
        else:
            numbers = torch.tensor(order, device=component.device)
            column = (component[:, None] == numbers).to(torch.int64).argmax(dim=1)
        return result.gather(1, column[:, None]).squeeze(1).to(torch.float64)


def gathered(
    bcs: Sequence[Dirichlet], num_dofs: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mask of fixed degrees of freedom `[n]` and their values `[n]`; later conditions win."""
    fixed = torch.zeros(num_dofs, dtype=torch.bool, device=device)
    values = torch.zeros(num_dofs, dtype=torch.float64, device=device)
    for bc in bcs:
        fixed[bc.dofs] = True
        values = values.index_copy(0, bc.dofs, bc.values.to(values))
    return fixed, values
