"""Optimal transport of the mesh: nodes move by the gradient of a Monge-Ampere potential.

On convex domains the continuous equation has one solution, which equidistributes exactly and moves
the domain as little as possible. On other domains its gradient is singular, and with nodes held
inside it has none; there, and where it stalls, another mover takes over, and the report says so.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.boundary import FLAT_TOLERANCE
from ..mesh.geometry import facet_normals
from ..monitors import Monitor
from .base import Mover, Outcome, Progress
from .constraints import Freedom
from .continuation import solve
from .equidistribution import equidistribution
from .potential import Equation
from .potential_solvers import newton, relax, warm
from .variational import Variational

Method = Literal["newton", "relaxation"]

MAX_SPREAD = 0.2
"""std/mean of the share of each cell above which a solution is not called one."""
_STABILISATION = {1: 0.05, 2: 0.05, 3: 0.2}


class MongeAmpere(Mover):
    """Solves m(x) det(dx/dX) = theta for x = X + grad phi (see `potential` for the discretisation).

    McRae, Cotter & Budd, SIAM J. Sci. Comput. 40 (2018), for the relaxation and the monitor tests;
    here the equation holds on the actual cells. In 2D and 3D, on every cell type; scalar monitors,
    and of metrics the density.

    The residual is the norm over nodes of the mean error of m |K_x| / (theta |K|) around each,
    stabilisation included; `converged` means that it is below `tol` and that the spread over the
    cells, std/mean, is below 0.2 (above, cells are too coarse for the monitor).

    A domain that is not convex, or with nodes held inside (interfaces, rigid layers), is left to
    `fallback` at once, any other where the iteration stalls with a spread above 0.2. The report
    then names both: `mover` is "MongeAmpere (fell back to Variational: <why>)".

    Args:
        tol: tolerance on the residual.
        method: "newton", or "relaxation": slower, without derivatives, to the same solution.
        max_iterations: gives up after so many.
        stabilisation: weight of the term that keeps potentials smooth (tau in `potential`); by
            default 0.05 in 2D and 0.2 in 3D. Where no solution is found it grows by 4, up to
            twice, and the reason says so.
        fallback: mover for what this one cannot do; None tries, and says where it stalled.
        flat_tolerance: radians, see `constraints.freedom`.
    """

    def __init__(
        self,
        tol: float = 1e-8,
        method: Method = "newton",
        max_iterations: int = 200,
        stabilisation: float | None = None,
        fallback: Mover | None = Variational(theta=0.1),  # noqa: B008  (has no state)
        flat_tolerance: float = Mover.flat_tolerance,
    ) -> None:
        if method not in ("newton", "relaxation"):
            raise MeshError(f'method must be "newton" or "relaxation", got {method!r}')
        if not tol > 0:
            raise MeshError(f"tol must be positive, got {tol}")
        if stabilisation is not None and not stabilisation >= 0:
            raise MeshError(f"stabilisation must not be negative, got {stabilisation}")
        self.tol, self.method, self.max_iterations = tol, method, max_iterations
        self.stabilisation, self.fallback = stabilisation, fallback
        self.flat_tolerance = flat_tolerance

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        why = _unfit(mesh, free)
        if why is not None and self.fallback is not None:
            return self._instead(why, mesh, monitor, free, start, progress)
        equation = Equation(mesh, monitor, free)
        tau = self.stabilisation
        tau = _STABILISATION[mesh.dim] if tau is None else tau
        unmoved = equation.evaluate(np.zeros(equation.size), tau)
        assert unmoved is not None
        first = warm(equation, start, unmoved)
        iterate = newton if self.method == "newton" else relax
        found = solve(equation, first, iterate, self.tol, self.max_iterations, progress)
        state = found.state
        pos = torch.from_numpy(state.pos).to(mesh.pos)
        moved = mesh.moved(pos)
        spread, _ = equidistribution(mesh, moved, monitor(moved))
        fine = spread <= MAX_SPREAD
        reason = found.reason
        if not fine:
            reason += f", but the cells hold unequal shares, std/mean {spread:.2g} above 0.2"
        if not (found.reached or fine) and self.fallback is not None:
            return self._instead(found.reason, mesh, monitor, free, start, progress)
        return Outcome(pos, found.reached and fine, reason, found.iterations, state.norm)

    def _instead(
        self,
        why: str,
        mesh: Mesh,
        monitor: Monitor,
        free: Freedom,
        start: Tensor,
        progress: Progress,
    ) -> Outcome:
        """The other mover's outcome, under both names."""
        assert self.fallback is not None
        other = self.fallback._relocate(mesh, monitor, free, start, progress)
        return Outcome(
            other.pos,
            other.converged,
            other.reason,
            other.iterations,
            other.residual,
            f"MongeAmpere (fell back to {type(self.fallback).__name__}: {why})",
        )


def _unfit(mesh: Mesh, free: Freedom) -> str | None:
    """Why the equation has no smooth solution on a domain, or None."""
    if not is_convex(mesh):
        return "the domain is not convex"
    inner = torch.ones(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    inner[mesh.boundary_nodes] = False
    if free.ties is None and bool(inner[free.nodes].any()):
        return "nodes inside the domain are held"
    return None


def is_convex(mesh: Mesh, tolerance: float = FLAT_TOLERANCE) -> bool:
    """Whether each connected part of the domain is convex.

    Closed connected sets are convex where they are so locally (Tietze and Nakajima, 1928), that
    is, where neighbouring boundary facets do not bend inwards.

    Args:
        mesh: cells that fill space.
        tolerance: angle in radians that still counts as flat.
    """
    if mesh.dim == 1:
        return True
    facets = mesh.topology.boundary_facets
    nodes = mesh.topology.facets[facets]
    normals = facet_normals(mesh, facets)
    normals = normals / normals.norm(dim=1, keepdim=True)
    centre = mesh.pos[nodes].mean(dim=1)
    owner = torch.arange(len(facets), device=nodes.device).repeat_interleave(nodes.shape[1])
    if mesh.dim == 2:
        ridge = nodes.reshape(-1, 1)
    else:
        ridge = torch.stack([nodes, nodes.roll(-1, dims=1)], dim=2).reshape(-1, 2)
        proper = ridge[:, 0] != ridge[:, 1]
        ridge, owner = ridge[proper].sort(dim=1).values, owner[proper]
    _, label, count = torch.unique(ridge, dim=0, return_inverse=True, return_counts=True)
    if bool((count != 2).any()):
        return False
    first, second = owner[torch.argsort(label, stable=True)].view(-1, 2).unbind(dim=1)
    across = centre[second] - centre[first]
    slack = tolerance * across.norm(dim=1)
    ahead = (normals[first] * across).sum(dim=1)
    back = -(normals[second] * across).sum(dim=1)
    return bool(((ahead <= slack) & (back <= slack)).all())
