"""Assembly: a traced form becomes one matrix product per group of cells, and one scatter.

The product is that of `contraction`. Where coefficients and Jacobian are constant in each cell the
sum over quadrature points is done in advance, exactly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..kernels import add_at
from ..mesh import CELL_TYPES, Mesh, MeshError
from .context import Context
from .contraction import Local, View, arguments, contracted, is_uniform
from .elements import quadrature
from .expressions import plain
from .facets import FacetGroup, facet_groups, facet_quadrature
from .factors import Factors, Kept, kept_factors
from .interior import integrate_interior, interior_matrix, interior_vector
from .mapping import Mapping, coordinates_of, mapping
from .pattern import Pattern, build_pattern
from .space import FunctionSpace

Form = Callable[..., Any]
MEMORY_MB = 16
"""Cells are assembled in chunks whose working arrays stay below this: in the cache of a CPU, where
they are reused from chunk to chunk (new pages cost more than the arithmetic)."""
_GPU_MEMORY_MB = 1024
_ARRAYS = 64
"""Working vectors per quadrature point, besides the local matrix."""


def assemble(
    form: Form,
    trial: FunctionSpace,
    test: FunctionSpace | None = None,
    *,
    on: str = "cells",
    degree: int | None = None,
    memory_mb: int | None = None,
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
        memory_mb: bound of the working memory of one chunk of cells; by default `MEMORY_MB`,
            and more on a GPU.
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
    memory_mb = _memory(trial.mesh) if memory_mb is None else memory_mb
    if on == "interior":
        return interior_matrix(form, trial, test, degree, memory_mb, fields)
    pattern = cell_pattern(trial, test)
    values = trial.mesh.pos.new_zeros(pattern.nnz)
    for part in _parts(form, trial, test, on, degree, memory_mb, fields):
        slots = pattern.slots[part.group]
        for v_rows, u_rows, local in part.local:
            chosen = slots[v_rows, u_rows][:, :, part.rows]
            add_at(values, chosen.reshape(-1), local.reshape(-1))
    return pattern.matrix(values)


def assemble_linear(
    form: Form,
    test: FunctionSpace,
    *,
    on: str = "cells",
    degree: int | None = None,
    memory_mb: int | None = None,
    **fields: Any,
) -> Tensor:
    """Vector of a linear form, `b[i] = l(psi_i)`; arguments as `assemble`."""
    memory_mb = _memory(test.mesh) if memory_mb is None else memory_mb
    if on == "interior":
        return interior_vector(form, test, degree, memory_mb, fields)
    out = test.mesh.pos.new_zeros(test.num_dofs)
    for part in _parts(form, None, test, on, degree, memory_mb, fields):
        dofs = test.cell_dofs(part.cell)[part.rows].T
        for v_rows, _, local in part.local:
            add_at(out, dofs[v_rows].reshape(-1), local.reshape(-1))
    return out


def integrate(
    form: Form, mesh: Mesh, *, on: str = "cells", degree: int = 4, **fields: Any
) -> Tensor:
    """Integral of `form(w)` over the mesh or what `on` names (see `assemble`), a scalar."""
    if on == "interior":
        return integrate_interior(form, mesh, degree, _memory(mesh), fields)
    total = mesh.pos.new_zeros(())
    for chunk in _chunks(mesh, on, degree, _memory(mesh)):
        context = chunk.context(fields)
        value = plain(form(context))
        if isinstance(value, int | float):
            value = torch.full((chunk.weights.numel(),), float(value)).to(total)
        weights = chunk.weights
        total = total + (value.reshape(weights.shape) * weights).sum()
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


def _memory(mesh: Mesh) -> int:
    return MEMORY_MB if mesh.pos.device.type == "cpu" else _GPU_MEMORY_MB


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
        rule: tuple[Tensor, Tensor],
        facet: FacetGroup | None = None,
        coordinates: Callable[[], list[Tensor]] | None = None,
    ) -> None:
        self.mesh, self.cell, self.rows = mesh, cell, rows
        self.reference, self.rule_weights = rule
        self.geometry: Mapping = mapping(mesh, cell, self.reference, rows, coordinates)
        self._facet = facet

    @cached_property
    def _surface(self) -> tuple[Tensor, Tensor | None]:
        if self._facet is None:
            return self.geometry.determinant.abs(), None
        return self._facet.surface(self.geometry)

    def measure(self) -> Tensor:
        """|det J|, or that of the facets `[1 or q, n_cells]`."""
        return self._surface[0]

    @property
    def weights(self) -> Tensor:
        """Quadrature weights times the measure `[q, n_cells]`."""
        return self.rule_weights.to(self.measure())[:, None] * self.measure()

    def context(self, fields: dict[str, Any]) -> Context:
        ids = self.mesh.cell_ids[self.cell][self.rows]
        normal = None if self._facet is None else self._surface[1]
        return Context(self.geometry, self.reference, fields, self.rows, ids, normal)


def _chunks(mesh: Mesh, on: str, degree: int, memory_mb: int, entries: int = 0) -> Iterator[_Chunk]:
    """All cells or facets that `on` names, cut so that working arrays fit.

    `entries` is the size of a local matrix.
    """
    coordinates = cache(partial(coordinates_of, mesh))
    if on == "cells" or on in mesh.cell_tags:
        member = None
        if on != "cells":
            member = torch.zeros(mesh.num_cells, dtype=torch.bool, device=mesh.pos.device)
            member[mesh.cell_tags[on]] = True
        for cell, ids in mesh.cell_ids.items():
            rule = quadrature(cell, degree)
            rows = None if member is None else torch.nonzero(member[ids]).squeeze(1)
            count = len(ids) if rows is None else len(rows)
            size = max(1, memory_mb * 125_000 // (_ARRAYS * len(rule[0]) + 2 * entries))
            for begin in range(0, count, size):
                piece: Any = slice(begin, min(begin + size, count))
                piece = piece if rows is None else rows[piece]
                yield _Chunk(mesh, cell, piece, rule, None, coordinates)
        return
    for facet in facet_groups(mesh, on):
        rule = facet_quadrature(facet, degree)
        yield _Chunk(mesh, facet.cell, facet.rows, rule, facet, coordinates)


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
    call = partial(form, v) if u is None else partial(form, u, v)
    spaces = [s for s in (trial, test) if s is not None]
    order = 2 * max(s.degree for s in spaces) if degree is None else degree
    types = list(mesh.cells)
    on_cells = on == "cells" or on in mesh.cell_tags
    curved = any(not CELL_TYPES[cell].is_simplex for cell in types)
    traced = _traced(call, mesh, fields) if on_cells else _Traced(None, constant=False)
    exact = order if on_cells and not curved and traced.constant else None
    # One point: coefficients and Jacobian are constant in each cell, R integrates exactly.
    order = 1 if exact is not None else order + (2 if curved and degree is None else 0)
    entries = math.prod(max(s.cell_dofs(cell).shape[1] for cell in types) for s in spaces)
    key = ("tables", *(s.specs for s in spaces), order, exact)
    tables = mesh.topology.remember(key, lambda: defaultdict(dict)) if on_cells else {}
    kept = kept_factors(mesh) if on == "cells" and exact is not None else None
    for number, chunk in enumerate(_chunks(mesh, on, order, memory_mb, entries)):
        part = _Part(chunk.cell, types.index(chunk.cell), chunk.rows)
        views = (View(chunk.geometry, chunk.reference),)
        uniform = traced.expression is not None
        expression = traced.expression if uniform else call(chunk.context(fields))
        shared = tables[chunk.cell] if on_cells else None
        keep = None if kept is None else partial(_kept, kept, (key, memory_mb, number))
        part.local = contracted(
            expression,
            views,
            chunk.measure,
            chunk.rule_weights,
            trial,
            test,
            exact,
            shared,
            keep,
        )
        yield part


def _kept(kept: Kept, where: Any, key: Any, build: Callable[[], Factors]) -> Factors:
    return kept.get((where, key), build)


class _Traced(NamedTuple):
    """What reading a form on one cell of each type tells.

    Attributes:
        expression: of the form, if it is the same in all cells.
        constant: whether the form asks for nothing that varies inside a cell.
    """

    expression: Any
    constant: bool


def _traced(call: Callable[[Any], Any], mesh: Mesh, fields: dict[str, Any]) -> _Traced:
    expression, constant = None, True
    for cell in mesh.cells:
        context = _Chunk(mesh, cell, slice(0, 1), quadrature(cell, 1)).context(fields)
        expression = call(context)
        constant = constant and not context.varying
    return _Traced(expression if is_uniform(expression) else None, constant)
