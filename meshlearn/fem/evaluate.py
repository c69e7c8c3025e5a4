"""Values of finite-element functions anywhere, projections, and degrees of freedom of a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..mesh import MeshError
from .assemble import assemble, assemble_linear
from .context import Context, Field
from .mapping import mapping
from .operators import inner
from .places import CellPlaces, Outside, Places, locate
from .polynomials import polynomials
from .pullback import pulled_back
from .solve import LinearSolver
from .space import FunctionSpace
from .values import Values

Function = Callable[[Tensor], Tensor] | float | Field


def evaluate(
    space: FunctionSpace, dofs: Tensor, points: Tensor | Places, outside: Outside = "raise"
) -> Any:
    """Values at points.

    Args:
        space: any space.
        dofs: coefficients `[num_dofs]`.
        points: `[m, d]`, or already located.
        outside: see `places.locate`; values of missing points are nan.

    Returns:
        `[m]`, or `[m, k]` for vectors; a tuple of these for mixed spaces. Differentiable in the
        coefficients, the points and the node positions.
    """
    found = values_at(space, dofs, _located(space, points, outside))
    return tuple(v.value for v in found) if space.mixed else found[0].value


def gradient(
    space: FunctionSpace, dofs: Tensor, points: Tensor | Places, outside: Outside = "raise"
) -> Any:
    """Gradients at points, `[m, d]` or `[m, k, d]`, in the cell that `locate` found.

    Raises:
        MeshError: an H(div) or H(curl) element.
    """
    if any(block.kind != "scalar" for block in space.blocks):
        raise MeshError("gradient needs elements of scalars; H(div) and H(curl) elements have none")
    found = values_at(space, dofs, _located(space, points, outside), slopes=True)
    return tuple(v.gradient for v in found) if space.mixed else found[0].gradient


def values_at(
    space: FunctionSpace, dofs: Tensor, places: Places, *, slopes: bool = False
) -> list[Values]:
    """Values (and gradients of scalar elements) of each element of a space at located points."""
    if dofs.shape != (space.num_dofs,):
        raise MeshError(
            f"the space has {space.num_dofs} degrees of freedom, got {list(dofs.shape)}"
        )
    out = []
    for k, block in enumerate(space.blocks):
        d, width = space.mesh.dim, max(block.components, 1)
        vector = block.kind != "scalar"
        shape = (places.count, d if vector else width)
        value = torch.full(shape, float("nan"), dtype=dofs.dtype, device=dofs.device)
        slope = value[:, :, None].expand(*shape, d)
        for part in places.parts:
            functions = basis(space, k, part, slopes=slopes and not vector)
            scalar = block.dofs[part.cell][part.rows] * width + block.offset
            local = [dofs[scalar + c] for c in range(width)]
            at = functions[0] if vector else functions[0][:, :, None]
            if vector:
                here = torch.einsum("kn,kni->ki", local[0], at)
            else:
                here = torch.stack([(c * functions[0]).sum(dim=1) for c in local], dim=1)
            value = value.index_copy(0, part.index, here)
            if slopes and not vector:
                tilt = [torch.einsum("kn,knj->kj", c, functions[1]) for c in local]
                slope = slope.index_copy(0, part.index, torch.stack(tilt, dim=1))
        if bool(places.missing.any()):
            value = torch.where(places.missing[:, None], float("nan"), value)
            slope = torch.where(places.missing[:, None, None], float("nan"), slope)
        if not (block.components or vector):
            value, slope = value[:, 0], slope[:, 0]
        out.append(Values(value, slope if slopes and not vector else None))
    return out


def basis(
    space: FunctionSpace, block: int, part: CellPlaces, *, slopes: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Physical basis functions of an element at located points.

    Returns:
        Values `[k, n]` (`[k, n, d]` for H(div) and H(curl)); gradients `[k, n, d]` if asked for.
    """
    element, d = space.blocks[block].elements[part.cell], space.mesh.dim
    table = polynomials(element)
    if element.kind == "scalar":
        value = table.at(part.reference)
        if not slopes:
            return value, None
        reference = [table.at(part.reference, (a,)) for a in range(d)]
        columns = [
            sum(
                reference[a - 1] * factor[0][:, None]
                for a, factor in pulled_back("scalar", 0, j, part.geometry)
            )
            for j in range(d)
        ]
        return value, torch.stack(columns, dim=2)
    reference_value = table.at(part.reference)
    columns = [
        sum(
            reference_value[:, :, a] * factor[0][:, None]
            for a, factor in pulled_back(element.kind, i, -1, part.geometry)
        )
        for i in range(d)
    ]
    return torch.stack(columns, dim=2), None


def project(
    space: FunctionSpace, function: Function | Sequence[Function], degree: int | None = None
) -> Tensor:
    """L2 projection, the coefficients `[num_dofs]` with (u - f, v) = 0 for all v of the space.

    Args:
        space: any space; a mixed one takes a list of functions, one for each element.
        function: `[m, d] -> [m]` or `[m, k]`, a number, or a `Field` on the same mesh.
        degree: of the quadrature; twice that of the space and 2 more by default.
    """
    parts = list(function) if isinstance(function, list | tuple) else [function]
    if len(parts) != len(space.blocks):
        raise MeshError(f"a space of {len(space.blocks)} elements needs as many functions")
    degree = 2 * space.degree + 2 if degree is None else degree
    fields: dict[str, Any] = {f"f{k}": f for k, f in enumerate(parts) if isinstance(f, Field)}

    def load(v: Any, w: Context) -> Any:
        tests = v if space.mixed else (v,)
        terms = [
            inner(_known(getattr(w, f"f{k}") if f"f{k}" in fields else f, w, t.shape), t)
            for k, (f, t) in enumerate(zip(parts, tests, strict=True))
        ]
        return sum(terms[1:], terms[0])

    right = assemble_linear(load, space, degree=degree, **fields)
    return LinearSolver(mass_matrix(space))(right)


def mass_matrix(space: FunctionSpace) -> Tensor:
    """Sparse CSR matrix of the L2 product `[num_dofs, num_dofs]`, element by element."""

    def product(u: Any, v: Any, w: Context) -> Any:
        pairs = zip(u, v, strict=True) if space.mixed else [(u, v)]
        terms = [inner(a, b) for a, b in pairs]
        return sum(terms[1:], terms[0])

    return assemble(product, space)


def restrict(space: FunctionSpace, tag: str, block: int | None = None) -> Tensor:
    """Degrees of freedom of the cells of a tag, their closure included, sorted `[k]`.

    Args:
        space: any space.
        tag: cell tag.
        block: which element of a mixed space; all by default.

    Raises:
        MeshError: no such cell tag.
    """
    tags = space.mesh.cell_tags
    if tag not in tags:
        known = ", ".join(map(repr, tags)) or "none"
        raise MeshError(f"there is no cell tag {tag!r}; there are {known}")
    member = torch.zeros(space.mesh.num_cells, dtype=torch.bool, device=space.mesh.pos.device)
    member[tags[tag]] = True
    chosen = [space.cell_dofs(c)[member[ids]].reshape(-1) for c, ids in space.mesh.cell_ids.items()]
    dofs = torch.unique(torch.cat(chosen))
    if block is None:
        return dofs
    begin, size = space.blocks[block].offset, space.blocks[block].size
    return dofs[(dofs >= begin) & (dofs < begin + size)]


def reinterpolate(field: Field, space: FunctionSpace) -> Tensor:
    """Coefficients `[num_dofs]` of a function in another space on the same mesh.

    Exact where the spaces are nested; where values jump, those of one of the cells.

    Raises:
        MeshError: elements without point values, or spaces that do not match.
    """
    old = [max(b.components, 1) for b in field.space.blocks]
    if old != [max(b.components, 1) for b in space.blocks]:
        raise MeshError("the spaces must have the same elements with the same components")
    if not all(e.nodal for b in space.blocks for e in b.elements.values()):
        raise MeshError("reinterpolate needs elements with point values; use project")
    out = {}
    for cell, ids in space.mesh.cell_ids.items():
        rows, columns = torch.arange(len(ids), device=ids.device), []
        for k, block in enumerate(space.blocks):
            reference = block.elements[cell].points
            geometry = mapping(space.mesh, cell, reference)
            values = Context(geometry, reference, {}, rows, ids).evaluate(field)
            value = (values[k] if field.space.mixed else values).value
            by_place = value.reshape(len(reference), len(ids), -1)
            columns.append(by_place.transpose(0, 1).flatten(1))
        out[cell] = torch.cat(columns, dim=1)
    return space.from_cells(out)


def _known(function: Any, w: Context, shape: tuple[int, ...]) -> Any:
    """A function at the quadrature points, as an array that `inner` takes."""
    if isinstance(function, Values):
        return function
    value = function(w.x) if callable(function) else torch.full_like(w.x[:, 0], float(function))
    if value.shape[1:] != shape:
        value = value[(..., *[None] * len(shape))].expand(len(value), *shape)
    return value


def _located(space: FunctionSpace, points: Tensor | Places, outside: Outside) -> Places:
    if isinstance(points, Places):
        return points
    return locate(space.mesh, points, outside, space.locator)
