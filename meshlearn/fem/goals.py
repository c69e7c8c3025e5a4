r"""Dual-weighted residual: the error of a functional of the solution of a linear problem.

With the residual :math:`\rho(v) = l(v) - a(u_h, v)` and z the solution of the adjoint problem
:math:`a(v, z) = J'(u_h)(v)`, the error is :math:`J(u) - J(u_h) \approx \rho(z - I_h z)`. z comes
from elements of one degree more, or from patch recovery of the adjoint solution in the same space.
It is brought to cells by a partition of unity: :math:`\eta_i = \rho((z - I_h z) \varphi_i)` with
the P1 functions, shared by the cells around node i; no strong residuals or jumps are needed, so
that any weak form will do. Becker & Rannacher, Acta Numerica 10 (2001); Richter & Wick, J. Comput.
Appl. Math. 279 (2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ..mesh import MeshError
from .assemble import Form, assemble, assemble_linear
from .context import Field
from .dirichlet import Dirichlet
from .estimators import Estimate
from .evaluate import reinterpolate
from .expressions import Linear, from_parts
from .recovery import recover
from .solve import LinearSolver
from .space import FunctionSpace, Spec, geometry_nodes
from .values import Values

Forms = Form | Mapping[str, Form]
"""A form over the cells, or several by where they are integrated: {"cells": ..., "outlet": ...}."""
Functional = Callable[[Field], Tensor]
Conditions = Callable[[FunctionSpace], Sequence[Dirichlet]]
Dual = Literal["enriched", "recovered"]

_NEXT = {"P0": "P1", "P1": "P2", "P2": "P3", "Q1": "Q2", "P1DG": "P2DG", "CR": "P2"}


def goal_estimate(
    space: FunctionSpace,
    dofs: Tensor,
    bilinear: Forms,
    linear: Forms,
    functional: Functional,
    bcs: Conditions,
    *,
    dual: Dual = "enriched",
    degree: int | None = None,
    **fields: Any,
) -> Estimate:
    """Estimate J(u) - J(u_h) for the problem a(u, v) = l(v) with strong boundary values.

    Args:
        space: P1, P2 or Q1, scalar or vector; mixed ones of these.
        dofs: the discrete solution `[num_dofs]`.
        bilinear: `(u, v, w)`, linear in u.
        linear: `(v, w)`.
        functional: J, a differentiable function of a field, as
            `lambda u: integrate(lambda w: w.u.value * weight(w.x), mesh, u=u)`.
        bcs: the Dirichlet conditions of any space, `lambda V: [Dirichlet(V, "walls")]`. Their
            values do not matter: what u_h lacks of the boundary data is not part of the estimate.
        dual: "enriched" solves the adjoint problem in the next degree; "recovered" in the same
            space (P1 scalars), with a quadratic recovered on patches of nodes.
        degree: of the quadrature; one more than twice that of the dual by default.
        **fields: of the forms.

    Returns:
        Signed contributions of the cells, and their sum.
    """
    rich = FunctionSpace(space.mesh, _enriched(space))
    a, load = _by_place(bilinear), _by_place(linear)
    if dual == "enriched":
        start = Field(rich, reinterpolate(Field(space, dofs), rich).detach())
        adjoint = _adjoint(rich, start, a, functional, bcs, fields)
    else:
        plain = _adjoint(space, Field(space, dofs.detach()), a, functional, bcs, fields)
        adjoint = _raised(space, plain, rich, bcs)
    coarse = reinterpolate(Field(space, reinterpolate(Field(rich, adjoint), space)), rich)
    degree = 2 * rich.degree + 1 if degree is None else degree
    nodal = _localised(Field(space, dofs), Field(rich, adjoint - coarse), a, load, degree, fields)
    return Estimate(_to_cells(space, nodal), nodal.sum())


def _enriched(space: FunctionSpace) -> Any:
    raised: list[Spec] = []
    for block, spec in zip(space.blocks, space.specs, strict=True):
        if block.name not in _NEXT:
            raise MeshError(f"there is no element of the next degree for {block.name!r}")
        name = _NEXT[block.name]
        raised.append((name, block.components) if isinstance(spec, tuple) else name)
    return raised if space.mixed else raised[0]


def _by_place(forms: Forms) -> Mapping[str, Form]:
    return {"cells": forms} if callable(forms) else forms


def _adjoint(
    space: FunctionSpace,
    at: Field,
    bilinear: Mapping[str, Form],
    functional: Functional,
    bcs: Conditions,
    fields: dict[str, Any],
) -> Tensor:
    """z with a(v, z) = J'(u)(v): autograd gives the transposed solve and J'."""
    parts = [assemble(form, space, on=on, **fields) for on, form in bilinear.items()]
    matrix = parts[0]
    for part in parts[1:]:
        matrix = matrix + part
    with torch.enable_grad():
        u = at.dofs.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(functional(Field(space, u)), u)
        right = torch.zeros_like(slope).requires_grad_(True)
        solution = LinearSolver(matrix.detach(), bcs(space))(right)
        (adjoint,) = torch.autograd.grad(solution, right, slope)
    return adjoint


def _raised(space: FunctionSpace, values: Tensor, rich: FunctionSpace, bcs: Conditions) -> Tensor:
    """Quadratic coefficients from the P1 values and their recovered derivatives at the nodes."""
    block = space.blocks[0]
    if space.mixed or block.components or block.name != "P1":
        raise MeshError('dual="recovered" needs P1 scalars; use dual="enriched"')
    mesh = space.mesh
    found = recover(mesh, values)
    where = rich.dof_points.detach()
    out = values.new_zeros(rich.num_dofs)
    for cell, nodes in mesh.cells.items():
        mapped = geometry_nodes(cell, nodes)
        for k, entity in enumerate(rich.blocks[0].elements[cell].entities):
            dofs = rich.blocks[0].dofs[cell][:, k]
            total = torch.zeros_like(out[dofs])
            for corner in entity.nodes:
                node = mapped[:, corner]
                step = where[dofs] - mesh.pos.detach()[node]
                bend = torch.einsum("ci,cij,cj->c", step, found.hessian[node], step) / 2
                total += values[node] + (found.gradient[node] * step).sum(dim=1) + bend
            out[dofs] = total / len(entity.nodes)
    for bc in bcs(rich):
        out[bc.dofs] = 0.0
    return out


def _localised(
    solution: Field,
    weight: Field,
    bilinear: Mapping[str, Form],
    linear: Mapping[str, Form],
    degree: int,
    fields: dict[str, Any],
) -> Tensor:
    """rho(weight phi_i) for each node `[n]`."""
    unity = FunctionSpace(solution.space.mesh, "P1")
    fields = {**fields, "solution_": solution, "weight_": weight}

    def load(form: Form) -> Form:
        return lambda v, w: form(_product(v, w.weight_), w)

    def defect(form: Form) -> Form:
        return lambda v, w: form(w.solution_, _product(v, w.weight_), w) * -1.0

    total = solution.dofs.new_zeros(unity.num_dofs)
    for forms, wrapped in ((linear, load), (bilinear, defect)):
        for on, form in forms.items():
            total = total + assemble_linear(wrapped(form), unity, on=on, degree=degree, **fields)
    return total


def _product(v: Linear, weight: Any) -> Any:
    """The test function v times a known function, with its gradient by the product rule."""
    if isinstance(weight, tuple):
        return tuple(_product(v, part) for part in weight)
    known: Values = weight
    slope = v.derivatives
    assert slope is not None
    d = len(slope)
    if known.gradient is None:
        raise MeshError("the dual needs elements of scalars")
    if known.value.dim() == 1:
        rise: dict[tuple[int, ...], Any] = {
            (j,): slope[j] * known.value + v * known.gradient[:, j] for j in range(d)
        }
        product = v * known.value
        return Linear("test", product.entries, from_parts(rise, (d,)))
    count = known.value.shape[1]
    values: dict[tuple[int, ...], Any] = {(i,): v * known.value[:, i] for i in range(count)}
    rise = {
        (i, j): slope[j] * known.value[:, i] + v * known.gradient[:, i, j]
        for i in range(count)
        for j in range(d)
    }
    product = from_parts(values, (count,))
    return Linear("test", product.entries, from_parts(rise, (count, d)))


def _to_cells(space: FunctionSpace, nodal: Tensor) -> Tensor:
    """Nodal values shared equally by the cells around each node `[n_cells]`."""
    topology = space.mesh.topology
    count = topology.node_cells_ptr.diff()
    share = (nodal / count.clamp(min=1)).repeat_interleave(count)
    return nodal.new_zeros(topology.num_cells).index_add(0, topology.node_cells, share)
