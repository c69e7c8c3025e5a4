"""A posteriori error estimates of -div(k grad u) + c u = f, cell by cell.

- `recovery_estimate` (Zienkiewicz-Zhu): the distance of the gradient from the recovered one, a
  smoother and more accurate one; asymptotically exact where that one superconverges.
- `residual_estimate`: what is left of the equation in each cell, and the jumps of the flux; an
  upper bound up to a constant, and a local lower bound (Verfuerth, *A Posteriori Error Estimation
  Techniques for Finite Element Methods*, 2013, ch. 1 and 4, for the weights).

Both estimate the energy norm, (k grad e, grad e)^(1/2), of the error. Estimates of functionals are
in `goals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh, MeshError
from .assemble import Form, assemble_linear
from .context import Context, Field
from .mapping import mapping
from .operators import div, grad
from .reference import gradient_of
from .space import FunctionSpace
from .spr import recover_gradient
from .traces import Trace, trace
from .values import Values

Data = float | Tensor | Callable[[Tensor], Tensor]
"""A number, a value per cell `[n_cells]`, or a function of positions `[m, d] -> [m]`."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of an error.

    Attributes:
        cells: indicator of each cell `[n_cells]` in canonical order. Of a norm: not negative, with
            the square of the total the sum of squares; of a functional: signed, with sum `total`.
        total: the estimate (a scalar).
    """

    cells: Tensor
    total: Tensor

    def effectivity(self, error: float) -> float:
        """Estimate over error: 1 is exact."""
        return float(self.total) / error


def recovery_estimate(space: FunctionSpace, dofs: Tensor, k: Data = 1.0) -> Estimate:
    """The Zienkiewicz-Zhu estimate, from superconvergent patch recovery.

    Args:
        space: P1, P2, P3, Q1 or Q2, scalar or vector.
        dofs: coefficients `[num_dofs]`.
        k: conductivity; where it jumps so does the gradient, and the estimate is too large there.
    """
    recovered = recover_gradient(space, dofs)

    def distance(w: Any) -> Tensor:
        slope = w.u.gradient.flatten(1)
        return _at(w.k if "k" in given else k, w) * ((w.g.value - slope) ** 2).sum(dim=1)

    given = {"k": k} if isinstance(k, Tensor) and k.dim() else {}
    squares = cell_integrals(
        distance,
        space.mesh,
        degree=2 * space.degree + 2 * int(callable(k)),
        u=Field(space, dofs),
        g=recovered,
        **given,
    )
    return _norm(squares)


def residual_estimate(
    space: FunctionSpace,
    dofs: Tensor,
    f: Data,
    k: Data = 1.0,
    c: Data = 0.0,
    neumann: Mapping[str, Data] | None = None,
) -> Estimate:
    """The residual estimate.

    With a_K = min(h_K k^(-1/2), c^(-1/2)) (robust for large c) and the same for facets,
    eta_K^2 = a_K^2 ||f + div(k grad u) - c u||^2 + 1/2 sum of a_F k^(-1/2) ||[k du/dn]||^2 over
    its inner facets + sum of a_F k^(-1/2) ||g - k du/dn||^2 over its Neumann facets.

    Args:
        space: one continuous scalar Lagrange element.
        dofs: coefficients `[num_dofs]`.
        f, k, c: data of the equation; a function k must be continuous.
        neumann: g by facet tag; u is prescribed on the rest of the boundary.
    """
    block = space.blocks[0]
    if space.mixed or block.components or block.name not in ("P1", "P2", "P3", "Q1", "Q2"):
        raise MeshError("residual_estimate needs one continuous scalar Lagrange element")
    field = Field(space, dofs)
    data = {"f_": f, "k_": k, "c_": c}
    given: dict[str, Any] = {n: v for n, v in data.items() if isinstance(v, Tensor) and v.dim()}

    def value(name: str, w: Any) -> Tensor:
        return _at(getattr(w, name) if name in given else data[name], w)

    def residual(w: Any) -> Tensor:
        conductivity, reaction, u = value("k_", w), value("c_", w), w.u
        source = value("f_", w)
        # Where k varies, div(k grad u) = k lap u + grad k . grad u.
        bend = conductivity * div(w.slope)
        if callable(k):
            bend = bend + (gradient_of(k)(w.x) * grad(u)).sum(dim=1)
        rest = source + bend - reaction * u.value
        return _weight(w.h, conductivity, reaction) ** 2 * rest**2

    squares = cell_integrals(
        residual, space.mesh, degree=2 * space.degree + 2, u=field, slope=_broken(field), **given
    )
    return _norm(squares + _facet_squares(field, k, c, neumann or {}))


def cell_integrals(form: Form, mesh: Mesh, *, degree: int = 4, **fields: Any) -> Tensor:
    """Integral of `form(w)` over each cell `[n_cells]`, in canonical order."""
    return assemble_linear(
        lambda v, w: form(w) * v, FunctionSpace(mesh, "P0"), degree=degree, **fields
    )


def _norm(squares: Tensor) -> Estimate:
    squares = squares.clamp(min=0)
    return Estimate(squares.sqrt(), squares.sum().sqrt())


def _at(data: Any, w: Context) -> Tensor:
    if isinstance(data, Tensor):
        return data
    return data(w.x) if callable(data) else torch.full_like(w.x[:, 0], float(data))


def _weight(h: Tensor, k: Tensor, c: Tensor) -> Tensor:
    """min(h / sqrt(k), 1 / sqrt(c)), without dividing by a c of 0."""
    return h / torch.maximum(k, h**2 * c).sqrt()


def _broken(field: Field) -> Field:
    """The gradient cell by cell in a discontinuous space that holds it."""
    mesh, d = field.space.mesh, field.space.mesh.dim
    name = "P2DG" if field.space.degree > 2 or not _simplicial(mesh) else "P1DG"
    target = FunctionSpace(mesh, (name, d))
    out = field.dofs.new_zeros(target.num_dofs)
    block = target.blocks[0]
    for cell, ids in mesh.cell_ids.items():
        reference = block.elements[cell].points
        rows = torch.arange(len(ids), device=ids.device)
        context = Context(mapping(mesh, cell, reference), reference, {}, rows, ids)
        values: Values = context.evaluate(field)
        assert values.gradient is not None
        index = block.dofs[cell].T[:, :, None] * d + torch.arange(d, device=ids.device)
        out = out.index_copy(0, index.reshape(-1), values.gradient.reshape(-1))
    return Field(target, out)


def _simplicial(mesh: Mesh) -> bool:
    return all(CELL_TYPES[cell].is_simplex for cell in mesh.cells)


def _facet_squares(field: Field, k: Data, c: Data, neumann: Mapping[str, Data]) -> Tensor:
    """Weighted squares of jumps, half to each neighbour, and of Neumann data `[n_cells]`."""
    mesh = field.space.mesh
    out = field.dofs.new_zeros(mesh.num_cells)
    if bool((mesh.topology.facet_cells[:, 1] >= 0).any()):
        sides = [trace(field.space, field.dofs, "interior", side=side) for side in (0, 1)]
        jump = _flux(sides[0], k) + _flux(sides[1], k)
        diffusion = torch.maximum(*(_on(k, t) for t in sides))
        reaction = torch.maximum(*(_on(c, t) for t in sides))
        for t in sides:
            out = out.index_add(0, t.cells, _square(jump, t, diffusion, reaction) / 2)
    for tag, g in neumann.items():
        t = trace(field.space, field.dofs, tag)
        rest = _on(g, t) - _flux(t, k)
        out = out.index_add(0, t.cells, _square(rest, t, _on(k, t), _on(c, t)))
    return out


def _square(value: Tensor, t: Trace, k: Tensor, c: Tensor) -> Tensor:
    size = t.measure ** (1 / max(t.x.shape[2] - 1, 1))
    weight = _weight(size[:, None].expand_as(k), k, c) / k.sqrt()
    return (weight * value**2 * t.weight).sum(dim=1)


def _flux(t: Trace, k: Data) -> Tensor:
    """Outward flux k du/dn `[facets, q]`."""
    return _on(k, t) * (t.gradient * t.normal).sum(dim=2)


def _on(data: Data, t: Trace) -> Tensor:
    """Data at the points of facets, seen from the trace's cells `[facets, q]`."""
    if callable(data):
        return data(t.x.flatten(0, 1)).reshape(t.weight.shape)
    if isinstance(data, Tensor) and data.dim():
        return data[t.cells][:, None].expand_as(t.weight)
    return torch.full_like(t.weight, float(data))
