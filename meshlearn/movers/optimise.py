"""Quality optimisation and untangling: the one mover that accepts an invalid mesh."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from torch import Tensor

from ..kernels.matrices import Matrix, determinant, inverse, product
from ..mesh import CELL_TYPES, Mesh
from ..mesh.cells import CellType
from ..mesh.geometry import edge_lengths
from .constraints import Freedom, Slide, freedom
from .corners import Corners
from .guard import guard
from .periodic import PeriodicPairs

Array = NDArray[np.float64]

_SHORT, _SHORTEST = 0.3, 1e-3
"""Of the shortest edge at a node: a step along the tangent of a curved side, and its least share
where such steps fail."""
_SMALL = 1e-6
"""Regularisation of valid meshes; squared it must still count beside 1."""


@dataclass(frozen=True)
class OptimiseReport:
    """How an optimisation went.

    Attributes:
        converged: all corner Jacobians are positive and the gradient is small.
        reason: why it stopped, one sentence.
        rounds: outer iterations of the regularisation.
        seconds: wall time.
        inverted_before, inverted_cells: cells with a corner that is not positive.
        min_quality_before, min_quality: smallest mean-ratio quality of a cell (0 if inverted).
        mean_quality_before, mean_quality: mean over the cells.
        max_displacement: largest distance a node moved.
    """

    converged: bool
    reason: str
    rounds: int
    seconds: float
    inverted_before: int
    inverted_cells: int
    min_quality_before: float
    min_quality: float
    mean_quality_before: float
    mean_quality: float
    max_displacement: float


@dataclass(frozen=True)
class OptimiseResult:
    """The optimised mesh and the report."""

    mesh: Mesh
    report: OptimiseReport


class Optimise:
    """Moves nodes so that cells come near regular ones, from valid or tangled meshes.

    Minimises, over the simplices at the corners of all cells, with A the map from the corner of a
    regular cell of mean size,

        |A|^2 / (d chi(det A)^(2/d)) + lambda (det A^2 + 1) / (2 chi(det A))

    with chi(D) = (D + sqrt(eps^2 + D^2)) / 2, which is positive for tangled cells too; eps falls to
    zero as the worst cell improves, at the rate for which the method provably untangles where it
    can (Garanzha, Kaporin, Kudryavtseva, Protais, Ray & Sokolov, ACM Trans. Graph. 40 (2021)).

    Args:
        size_weight: how much cells are kept from differing in size (lambda), 0 or more.
        max_rounds: of the regularisation.
    """

    def __init__(self, size_weight: float = 0.1, max_rounds: int = 60) -> None:
        self.size_weight, self.max_rounds = size_weight, max_rounds

    def move(
        self,
        mesh: Mesh,
        *,
        fixed: Iterable[str] | Tensor = (),
        slide: Slide = "flat",
        rigid: Iterable[str] = (),
        periodic: PeriodicPairs = (),
    ) -> OptimiseResult:
        """Optimise a mesh; `mesh` itself is not changed.

        Args:
            mesh: cells that fill space; may be tangled inside, with a sound boundary.
            fixed, slide, rigid, periodic: see `Mover.move`.

        Returns:
            The optimised mesh; a valid mesh never becomes invalid, nor its worst cell worse.
        """
        begin = time.perf_counter()
        free = freedom(mesh, fixed, slide, rigid=rigid, periodic=periodic)
        shape = _ShapeEnergy(mesh, free, self.size_weight)
        before = len(mesh.inverted_cells())
        quality = mesh.quality("mean_ratio")
        pos, rounds, settled = shape.optimise(self.max_rounds)
        moved = mesh.moved(guard(mesh, pos, free) if before == 0 else free.retract(pos))
        inverted = len(moved.inverted_cells())
        if inverted > before or (
            before == 0 and float(moved.quality("mean_ratio").min()) < float(quality.min())
        ):
            moved, inverted = mesh, before
        after = moved.quality("mean_ratio")
        if inverted:
            reason = f"{inverted} cells are still inverted after {rounds} rounds"
        elif settled:
            reason = "the energy no longer falls"
        else:
            reason = f"stopped after {rounds} rounds"
        report = OptimiseReport(
            converged=settled and inverted == 0,
            reason=reason,
            rounds=rounds,
            seconds=time.perf_counter() - begin,
            inverted_before=before,
            inverted_cells=inverted,
            min_quality_before=float(quality.min()),
            min_quality=float(after.min()),
            mean_quality_before=float(quality.mean()),
            mean_quality=float(after.mean()),
            max_displacement=float((moved.pos - mesh.pos).norm(dim=1).max()),
        )
        return OptimiseResult(moved, report)


class _ShapeEnergy:
    """Regularised shape energy over the degrees of freedom."""

    def __init__(self, mesh: Mesh, free: Freedom, size_weight: float) -> None:
        self.mesh, self.dim, self.size_weight = mesh, mesh.dim, size_weight
        self.free, self.base = free, mesh.pos
        self.basis = free.basis()
        self.bounds = _along_curves(mesh, free, self.basis) if free.curved else None
        self.reach = 1.0
        self.corners = Corners(mesh)
        targets = [
            _regular_corners(CELL_TYPES[name]).repeat(len(cell), 1, 1)
            for name, cell in mesh.cells.items()
        ]
        target = torch.cat(targets).to(mesh.pos)
        before = self.corners.shapes(mesh.pos).determinant
        mean = float(before.abs().mean()) ** (1 / self.dim)
        scale = mean / float(torch.linalg.det(target).abs().mean()) ** (1 / self.dim)
        ideal_edges = [[scale * target[:, i, j] for j in range(self.dim)] for i in range(self.dim)]
        self.inverse_target = inverse(ideal_edges)

    def _map(self, pos: Tensor) -> Matrix:
        return product(self.corners.edges(pos), self.inverse_target)

    def value(self, y: Array, eps: float) -> tuple[float, Array]:
        """Energy and gradient at displacements `y` of the degrees of freedom."""
        pos = self._position(y).requires_grad_(True)
        with torch.enable_grad():
            a = self._map(pos)
            det = determinant(a)
            chi = (det + torch.sqrt(eps**2 + det**2)) / 2
            norm = sum((entry**2 for row in a for entry in row), torch.zeros_like(det))
            shape = norm / chi ** (2 / self.dim) / self.dim
            size = (det**2 + 1) / chi / 2
            energy = (shape + self.size_weight * size).sum()
            (slope,) = torch.autograd.grad(energy, pos)
        return float(energy.detach()), self.basis.T @ slope.detach().cpu().numpy().reshape(-1)

    def optimise(self, max_rounds: int) -> tuple[Tensor, int, bool]:
        """Positions, rounds used, and whether the energy has settled."""
        y = np.zeros(self.basis.shape[1])
        lowest = self._lowest(y)
        eps = self._epsilon(lowest, 1.0)
        energy, settled, rounds = self.value(y, eps)[0], False, 0
        while rounds < max_rounds and not settled:
            rounds += 1
            found = minimize(
                self.value, y, args=(eps,), jac=True, method="L-BFGS-B",
                bounds=self._limits(),
                options={"maxiter": 200, "maxcor": 10, "ftol": 1e-10},
            )  # fmt: skip
            y, new = found.x, float(found.fun)
            if self.free.curved:
                new = self._back_on_curves(y, energy, eps)
                y = np.zeros_like(y)
                if new == math.inf:  # the energy is that of before: try again, not so far
                    continue
            ratio = max(1 - new / energy, 0.1) if energy > 0 else 1.0
            lowest = self._lowest(y)
            settled = lowest > 0 and abs(energy - new) <= 1e-6 * abs(energy)
            eps = self._epsilon(lowest, eps * (1 - ratio / 2))
            energy = self.value(y, eps)[0]
        return self._position(y), rounds, settled

    def _back_on_curves(self, y: Array, energy: float, eps: float) -> float:
        """Take the step along tangents to the curves, if it lowers the energy there too.

        Returns:
            The energy at the base, which is the new one unless the step failed; the next is shorter
            then.
        """
        base, basis = self.base, self.basis
        self.base = self.free.retract(self._position(y))
        self.basis = self.free.at(self.base).basis()
        new = self.value(np.zeros_like(y), eps)[0]
        if new <= energy or self.reach < _SHORTEST:
            return new
        self.base, self.basis = base, basis
        self.reach /= 2
        return math.inf

    def _limits(self) -> Bounds | None:
        """Bounds on the steps of a round, None on flat sides."""
        if self.bounds is None:
            return None
        return Bounds(-self.reach * self.bounds, self.reach * self.bounds)

    def _position(self, y: Array) -> Tensor:
        step = torch.from_numpy(self.basis @ y).reshape(self.base.shape)
        return self.base + step.to(self.base)

    def _lowest(self, y: Array) -> float:
        return float(determinant(self._map(self._position(y))).min())

    @staticmethod
    def _epsilon(lowest: float, current: float) -> float:
        """Regularisation for a worst determinant: none once all are safely positive."""
        if lowest > 1e-3:
            return _SMALL
        return max(min(current, 1.0), 1e-3 * math.sqrt(1 + lowest**2))


def _along_curves(mesh: Mesh, free: Freedom, basis: sp.csr_array) -> Array:
    """Longest steps `[k]` of a round: tangents hold near where they touch only."""
    edges, length = mesh.topology.edges, edge_lengths(mesh).repeat_interleave(2)
    nearest = torch.full((len(mesh.pos),), math.inf, dtype=mesh.pos.dtype, device=mesh.pos.device)
    nearest = nearest.scatter_reduce(0, edges.reshape(-1), length, "amin")
    most = torch.full_like(nearest, math.inf)
    for track in free.tracks:
        most[track.nodes] = _SHORT * nearest[track.nodes]
    d = mesh.dim
    limit = np.full(basis.shape[1], math.inf)
    entries = sp.coo_array(basis)
    np.minimum.at(limit, entries.col, most.cpu().numpy()[entries.row // d])
    return limit


def _regular_corners(cell: CellType) -> Tensor:
    """Edge vectors (columns) at each corner of a regular cell `[corners, d, d]`."""
    d = cell.dim
    half = math.sqrt(3) / 2
    shapes: dict[str, list[tuple[float, ...]]] = {
        "line": [(0.0,), (1.0,)],
        "triangle": [(0, 0), (1, 0), (0.5, half)],
        "quad": [(0, 0), (1, 0), (1, 1), (0, 1)],
        "tetra": [(0, 0, 0), (1, 0, 0), (0.5, half, 0), (0.5, half / 3, math.sqrt(2 / 3))],
        "hexahedron": [
            *((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
            *((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
        ],
        "wedge": [(0, 0, 0), (1, 0, 0), (0.5, half, 0), (0, 0, 1), (1, 0, 1), (0.5, half, 1)],
        "pyramid": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, math.sqrt(0.5))],
    }
    at = torch.tensor(shapes[cell.name], dtype=torch.float64).reshape(-1, d)[
        torch.tensor(cell.corners)
    ]
    return (at[:, 1:] - at[:, :1]).transpose(1, 2)
