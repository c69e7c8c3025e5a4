"""What a form sees besides its arguments: `w.x`, `w.h`, `w.n` and the fields passed along."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..mesh import MeshError
from .mapping import Mapping
from .pullback import pulled_back, tabulated
from .values import Values

if TYPE_CHECKING:
    from .space import Block, FunctionSpace


@dataclass(frozen=True)
class Field:
    """A known finite-element function, to be passed to a form.

    Attributes:
        space: its space.
        dofs: coefficients `[num_dofs]`, differentiable.
    """

    space: FunctionSpace
    dofs: Tensor


class Context:
    """Quantities at the quadrature points of some cells or facets, each `[m]` or `[m, ...]`.

    m runs over the points, then over the cells. Nothing is computed before a form asks for it;
    `varying` tells afterwards whether something was that is not constant in each cell.
    """

    def __init__(
        self,
        geometry: Mapping,
        reference: Tensor,
        fields: Dictionary[str, Any],
        rows: Tensor | slice,
        ids: Tensor,
        normal: Tensor | None = None,
    ) -> None:
        self._geometry, self._reference = geometry, reference
        self._fields, self._rows, self._ids = fields, rows, ids
        self._normal = normal
        self.varying = False
        self._count = len(reference)

    @property
    def x(self) -> Tensor:
        """Positions `[m, d]`."""
        self.varying = True
        return self._geometry.points(self._reference)

    @property
    def h(self) -> Tensor:
        """Diameter of the cell `[m]`."""
        corners = torch.stack([torch.stack(row, dim=1) for row in self._geometry.corners], dim=2)
        size = torch.cdist(corners, corners).amax(dim=(1, 2))
        return self._spread(size)

    @property
    def n(self) -> Tensor:
        """Outward unit normal of the facet `[m, d]` (of the first cell, at inner facets)."""
        if self._normal is None:
            raise MeshError("w.n is defined on facets only; pass on=... a facet tag")
        self.varying = True
        return self._normal.expand(self._count, *self._normal.shape[1:]).flatten(0, 1)

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("_fields", {})
        if name not in fields:
            known = ", ".join(["x", "h", "n", *fields])
            raise AttributeError(f"the form asks for w.{name}, but there are only {known}")
        return self.evaluate(fields[name])

    def evaluate(self, field: Any) -> Any:
        """A field at the quadrature points."""
        if isinstance(field, Field):
            self.varying = True
            parts = [self._block(field, k) for k in range(len(field.space.blocks))]
            return tuple(parts) if field.space.mixed else parts[0]
        if isinstance(field, Tensor) and field.dim() >= 1:
            return self._spread(field.index_select(0, self._ids))
        return field

    def _spread(self, per_cell: Tensor) -> Tensor:
        return per_cell.expand(self._count, *per_cell.shape).flatten(0, 1)

    def _block(self, field: Field, index: int) -> Values:
        space, geometry = field.space, self._geometry
        block = space.blocks[index]
        element, count = block.elements[geometry.cell], max(block.components, 1)
        dofs = block.dofs[geometry.cell][self._rows]
        table = tabulated(element, self._reference).to(field.dofs)
        d = geometry.dim
        if block.kind != "scalar":
            local = field.dofs[block.offset + dofs].T
            pieces = [table[a] @ local for a in range(len(table))]
            value = [
                sum(pieces[a] * f for a, f in pulled_back(block.kind, i, -1, geometry))
                for i in range(d)
            ]
            return Values(
                torch.stack(value, dim=2).flatten(0, 1), None, self._special(block, pieces)
            )
        values, slopes = [], []
        for c in range(count):
            local = field.dofs[block.offset + dofs * count + c].T
            pieces = [table[a] @ local for a in range(d + 1)]
            values.append(pieces[0])
            slopes.append(
                torch.stack(
                    [
                        sum(pieces[a] * f for a, f in pulled_back("scalar", 0, j, geometry))
                        for j in range(d)
                    ],
                    dim=2,
                )
            )
        if not block.components:
            return Values(values[0].flatten(0, 1), slopes[0].flatten(0, 1))
        stacked = torch.stack(values, dim=2).flatten(0, 1)
        return Values(stacked, torch.stack(slopes, dim=2).flatten(0, 1))

    def _special(self, block: Block, pieces: list[Tensor]) -> dict[str, Tensor]:
        """Divergence or curl of a field from its reference functions at the points."""
        geometry, d = self._geometry, self._geometry.dim
        rows = [
            sum(pieces[a] * f for a, f in pulled_back(block.kind, 0, d + k, geometry)).reshape(-1)
            for k in range(3 if block.kind == "hcurl" and d == 3 else 1)
        ]
        name = "div" if block.kind == "hdiv" else "curl"
        return {name: rows[0] if len(rows) == 1 else torch.stack(rows, dim=1)}
