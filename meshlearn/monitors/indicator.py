"""Monitors from error indicators: small cells where an estimator says that the error comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from .field import Field
from .solution import mean_size, mean_value


class Indicator(Field):
    """The density that spreads the contributions of an error estimate evenly over the cells.

    If the contribution of a cell K of size h is e_K = c |K| h^order, their sum over a given number
    of cells is smallest for the density c^g with g = d / (d + order): all e_K are then equal. The
    monitor is (1 + c / a)^g with a such that (c / a)^g has mean `strength`.

    >>> import meshlearn as ml
    >>> mesh = ml.generate.rectangle(16, 16)
    >>> s = ml.problems.named_problem("bell", mesh).solve(mesh)
    >>> estimate = ml.fem.recovery_estimate(s.field.space, s.field.dofs)
    >>> monitor = ml.monitors.Indicator(mesh, estimate.cells**2, order=2)
    >>> bool((mesh.pos[monitor.values.argmax()] - 0.5).norm() < 0.15)
    True

    Args:
        mesh: mesh of the estimate, kept as background mesh.
        contributions: e_K `[n_cells]`, to be added up: the squares of the indicators of a norm
            (`fem.recovery_estimate`, `fem.residual_estimate`); those of a functional
            (`fem.goal_estimate`) as they are, signs do not count.
        order: power of h by which they fall per volume: twice the degree of the elements for the
            energy norm and for functionals.
        strength: share of the nodes that the monitor gets, as for `Hessian`.
        smoothing: length of the Helmholtz filter, in the mesh's units; by default 0.7 times the
            mean distance of nodes. 0 switches it off.

    Raises:
        MeshError: another number of contributions, some not finite, or numbers out of range.
    """

    def __init__(
        self,
        mesh: Mesh,
        contributions: Tensor,
        order: float = 2.0,
        strength: float = 3.0,
        smoothing: float | None = None,
    ) -> None:
        if contributions.shape != (mesh.num_cells,):
            raise MeshError(
                f"an indicator needs one value per cell, [{mesh.num_cells}], got "
                f"{list(contributions.shape)}"
            )
        size = contributions.detach().abs().to(torch.float64)
        if not bool(torch.isfinite(size).all()):
            cell = int((~torch.isfinite(size)).nonzero()[0])
            raise MeshError(f"the indicator is not finite in cell {cell}")
        if order <= 0 or strength <= 0:
            raise MeshError(f"order and strength must be positive, got {order} and {strength}")
        d = mesh.dim
        volume = mesh.volumes().detach().abs()
        nodal = _to_nodes(mesh, size / volume ** (order / d), volume)
        gamma = d / (d + order)
        level = (mean_value(mesh, nodal**gamma) / strength) ** (1 / gamma)
        values = (1 + nodal / level) ** gamma if level > 0 else torch.ones_like(nodal)
        length = 0.7 * mean_size(mesh) if smoothing is None else smoothing
        super().__init__(mesh, Field(mesh, values).smoothed(length).values)


def _to_nodes(mesh: Mesh, totals: Tensor, volume: Tensor) -> Tensor:
    """Sum of cell totals over the sum of volumes of the cells around each node `[n]`."""
    topology = mesh.topology
    count = topology.node_cells_ptr.diff()
    node = torch.arange(len(count), device=count.device).repeat_interleave(count)
    cell = topology.node_cells
    zero = volume.new_zeros(len(count))
    share = zero.index_add(0, node, volume[cell])
    return zero.index_add(0, node, totals[cell]) / share
