"""Assembly: a traced form becomes one matrix product per group of cells, and one scatter.

The product is that of `contraction`. Where coefficients and Jacobian are constant in each cell the
sum over quadrature points is done in advance, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh, MeshError
from .context import Context
from .contraction import Local, View, arguments, contracted
from .elements import quadrature
from .expressions import plain
from .facets import FacetGroup, facet_groups, facet_quadrature
from .interior import integrate_interior, interior_matrix, interior_vector
from .mapping import Mapping, mapping
from .pattern import Pattern, build_pattern
from .space import FunctionSpace

Form = Callable[..., Any]
MEMORY_MB = 256
"""Cells are assembled in chunks whose working arrays stay below this."""


def assemble(
    form: Form,
    trial: FunctionSpace,
    test: FunctionSpace | None = None,
    *,
    on: str = "cells",
    degree: int | None = None,
    memory_mb: int = MEMORY_MB,
    **fields: Any,
) -> Tensor:
    """Matrix of a bilinear form, `A[i, j] = a(phi_j, psi_i)`.

    Args:
        form: `(u, v, w) -> scalar`; arguments of mixed spaces are tuples.
        trial: space of u.
        test: space of v; that of u by default.
        on: "cells", a cell tag, "boundary", a facet tag, or "interior": the facets between
            two cells, where forms are written with `jump`, `avg` and `side` of u, v and fields,
            `w.n` points from the first side to the second, and the matrix couples both cells.
        degree: of the quadrature where coefficients vary in a cell; twice the degree of the
            elements by default (and 2 more for quads and hexahedra).
        memory_mb: bound of the working memory of one chunk of cells.
        **fields: what the form finds as `w.<name>`: a `Field`, a value per cell `[n_cells]` in
            canonical order, or a number.

    Returns:
        Sparse CSR tensor `[test dofs, trial dofs]`, differentiable in fields and node positions.
        (Where gradients are wanted take `multiply(A, x)`: that of torch's `A @ x` is dense.)

    Raises:
        FormError: the form is not bilinear.
        MeshError: unknown tag, or spaces on different meshes.
    """
    test = trial if test is None else test
    if test.mesh.topology is not trial.mesh.topology:
        raise MeshError("trial and test space must be on the same mesh")
    if on == "interior":
        return interior_matrix(form, trial, test, degree, memory_mb, fields)
    pattern = cell_pattern(trial, test)
    values = trial.mesh.pos.new_zeros(pattern.nnz)
    for part in _parts(form, trial, test, on, degree, memory_mb, fields):
        slots = pattern.slots[part.group]
        for v_rows, u_rows, local in part.local:
            chosen = slots[v_rows][:, u_rows][:, :, part.rows]
            values = values.index_add(0, chosen.reshape(-1), local.reshape(-1))
    return pattern.matrix(values)


def assemble_linear(
    form: Form,
    test: FunctionSpace,
    *,
    on: str = "cells",
    degree: int | None = None,
    memory_mb: int = MEMORY_MB,
    **fields: Any,
) -> Tensor:
    """Vector of a linear form, `b[i] = l(psi_i)`; arguments as `assemble`."""
    if on == "interior":
        return interior_vector(form, test, degree, memory_mb, fields)
    out = test.mesh.pos.new_zeros(test.num_dofs)
    for part in _parts(form, None, test, on, degree, memory_mb, fields):
        dofs = test.cell_dofs(part.cell)[part.rows].T
        for v_rows, _, local in part.local:
            out = out.index_add(0, dofs[v_rows].reshape(-1), local.reshape(-1))
    return out


def integrate(
    form: Form, mesh: Mesh, *, on: str = "cells", degree: int = 4, **fields: Any
) -> Tensor:
    """Integral of `form(w)` over the mesh or what `on` names (see `assemble`), a scalar."""
    if on == "interior":
        return integrate_interior(form, mesh, degree, MEMORY_MB, fields)
    total = mesh.pos.new_zeros(())
    for chunk in _chunks(mesh, on, degree, MEMORY_MB, 1):
        context = chunk.context(fields)
        value = plain(form(context))
        if isinstance(value, int | float):
            value = torch.full((chunk.weights.numel(),), float(value)).to(total)
        total = total + (value.reshape(chunk.weights.shape) * chunk.weights).sum()
    return total


def cell_pattern(trial: FunctionSpace, test: FunctionSpace) -> Pattern:
    """Pattern of two spaces coupled through cells, one group a cell type; kept per topology."""
    mesh = trial.mesh

    def build() -> Pattern:
        return build_pattern(
            [test.cell_dofs(cell) for cell in mesh.cells],
            [trial.cell_dofs(cell) for cell in mesh.cells],
            (test.num_dofs, trial.num_dofs),
            mesh.pos.device,
        )

    key = ("pattern", trial.specs, test.specs)
    pattern: Pattern = mesh.topology.remember(key, build)
    return pattern


class _Part:
    """Local matrices or vectors of some cells of one type."""

    def __init__(self, cell: str, group: int, rows: Tensor | slice) -> None:
        self.cell, self.group, self.rows = cell, group, rows
        self.local: Local = []


class _Chunk:
    """Cells (or facets of cells) of one type with their geometry at the quadrature points."""

    def __init__(
        self,
        mesh: Mesh,
        cell: str,
        rows: Tensor | slice,
        reference: Tensor,
        weights: Tensor,
        facet: FacetGroup | None,
    ) -> None:
        self.mesh, self.cell, self.rows, self.reference = mesh, cell, rows, reference
        self.geometry: Mapping = mapping(mesh, cell, reference, rows)
        self.normal: Tensor | None = None
        if facet is None:
            self.weights = weights.to(mesh.pos)[:, None] * self.geometry.determinant.abs()
        else:
            scale, self.normal = facet.surface(self.geometry)
            self.weights = weights.to(mesh.pos)[:, None] * scale

    def context(self, fields: dict[str, Any]) -> Context:
        ids = self.mesh.cell_ids[self.cell][self.rows]
        every = torch.arange(len(self.mesh.cells[self.cell]), device=ids.device)[self.rows]
        return Context(self.geometry, self.reference, fields, every, ids, self.normal)


def _chunks(mesh: Mesh, on: str, degree: int, memory_mb: int, arrays: int) -> Iterator[_Chunk]:
    """All cells or facets that `on` names, cut so that `arrays` vectors per point fit."""
    if on == "cells" or on in mesh.cell_tags:
        member = None
        if on != "cells":
            member = torch.zeros(mesh.num_cells, dtype=torch.bool, device=mesh.pos.device)
            member[mesh.cell_tags[on]] = True
        for cell in mesh.cells:
            points, weights = quadrature(cell, degree)
            ids = mesh.cell_ids[cell]
            rows = None if member is None else torch.nonzero(member[ids]).squeeze(1)
            count = len(ids) if rows is None else len(rows)
            size = max(1, memory_mb * 125_000 // (arrays * len(points)))
            for begin in range(0, count, size):
                piece: Any = slice(begin, min(begin + size, count))
                piece = piece if rows is None else rows[piece]
                yield _Chunk(mesh, cell, piece, points, weights, None)
        return
    for facet in facet_groups(mesh, on):
        points, weights = facet_quadrature(facet, degree)
        yield _Chunk(mesh, facet.cell, facet.rows, points, weights, facet)


def _parts(
    form: Form,
    trial: FunctionSpace | None,
    test: FunctionSpace,
    on: str,
    degree: int | None,
    memory_mb: int,
    fields: dict[str, Any],
) -> Iterator[_Part]:
    """Trace and contract the form, chunk by chunk."""
    mesh = test.mesh
    u = None if trial is None else arguments(trial, "trial")
    v = arguments(test, "test")
    call = (lambda w: form(v, w)) if u is None else (lambda w: form(u, v, w))
    spaces = [s for s in (trial, test) if s is not None]
    order = 2 * max(s.degree for s in spaces) if degree is None else degree
    types = list(mesh.cells)
    on_cells = on == "cells" or on in mesh.cell_tags
    curved = any(not CELL_TYPES[cell].is_simplex for cell in types)
    if on_cells and not curved and _constant(call, mesh, on, fields):
        # One point: coefficients and Jacobian are constant in each cell, R integrates exactly.
        for chunk in _chunks(mesh, on, 1, memory_mb, 64):
            yield _part(call, chunk, types, trial, test, fields, order)
        return
    order += 2 if curved and degree is None else 0
    for chunk in _chunks(mesh, on, order, memory_mb, 64):
        yield _part(call, chunk, types, trial, test, fields, None)


def _constant(call: Callable[[Any], Any], mesh: Mesh, on: str, fields: dict[str, Any]) -> bool:
    """Whether the form asks for nothing that varies inside a cell (traced on one cell)."""
    for cell in mesh.cells:
        points, weights = quadrature(cell, 1)
        chunk = _Chunk(mesh, cell, slice(0, 1), points, weights, None)
        context = chunk.context(fields)
        call(context)
        if context.varying:
            return False
    return True


def _part(
    call: Callable[[Any], Any],
    chunk: _Chunk,
    types: list[str],
    trial: FunctionSpace | None,
    test: FunctionSpace,
    fields: dict[str, Any],
    exact: int | None,
) -> _Part:
    """Local matrices of a chunk; `exact` is the quadrature degree summed up in R, if constant."""
    part = _Part(chunk.cell, types.index(chunk.cell), chunk.rows)
    measure = chunk.weights if exact is None else chunk.geometry.determinant.abs()
    views = (View(chunk.geometry, chunk.reference),)
    part.local = contracted(call(chunk.context(fields)), views, measure, trial, test, exact)
    return part
