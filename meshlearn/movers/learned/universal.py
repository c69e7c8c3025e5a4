"""The universal learned mover: any mesh, any monitor, a few network steps, never tangled.

Its features are local and without units (`state`), its global reach is an elliptic solve, its
motion is made of mesh edges (`network`): one set of weights serves every domain, mesh and monitor
of its dimension. Each step is shortened where it would tangle, and the guard ends the move as it
ends every move.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ...mesh import Mesh, MeshError
from ...monitors import Monitor
from ...monitors.base import checked
from ...nn.storage import load_weights, read_card, save_model
from ..base import Mover, Outcome, Progress
from ..constraints import Freedom
from ..equidistribution import density
from .network import MoverNet
from .state import Place, Problem
from .step import FEW, shortened

_SMALLEST = 1 / 16
"""Share of a step: of 1, 1/2, 1/4, ... the largest that lowers the energy is taken."""
_WORTH = 1e-4
"""Share of the energy that a step must gain; a mesh that cannot gain it stays where it is."""
_PLAIN = 1 / 4
"""Length of a step of plain preconditioned descent: about the gain that training starts from."""
_PLAIN_WORTH = 1e-2
"""The share that such a step must gain; it is taken where none of the network's gains enough."""
_ENOUGH = 0.1
"""Share of what a start has gained already that the first step from it must gain."""
_FITS = 0.1
"""Spread of the cells' loads (standard deviation over mean) below which a mesh fits a density."""
_SHIPPED = "universal_{}d"


class UniversalMover(Mover):
    """A trained network in the place of an optimiser.

    A step counts only where it lowers the Huang-Kamenski energy, whole or shortened: the mesh that
    comes out is never worse by its own energy than the one that went in. A mesh that fits its
    monitor takes no step.

    The residual is the largest displacement of the last step over the local size; `converged`
    means that it is below `tol`, or that the mesh fits.

    Args:
        networks: a trained `MoverNet` for each dimension of space (2, 3).
        steps: most network steps; the monitor is interpolated anew before each.
        tol: stop when no node would move by more than this share of its local size.
    """

    def __init__(self, networks: dict[int, MoverNet], steps: int = 4, tol: float = 0.05) -> None:
        if steps < 1:
            raise MeshError(f"steps must be at least 1, got {steps}")
        self.networks = {dim: network.eval() for dim, network in networks.items()}
        self.steps, self.tol = steps, tol

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, **options: Any) -> Self:
        """The weights that ship with the package, or those in a file of your own.

        Args:
            path: weights made by `meshlearn train mover` (the card lies beside them); by default
                those of the package, for 2D and 3D.
            options: see the class.

        Raises:
            MeshError: no such weights, or not those of this mover.
        """
        if path is not None:
            return cls(dict([_load(Path(path))]), **options)
        folder = Path(str(files("meshlearn") / "weights"))
        shipped = [folder / _SHIPPED.format(dim) for dim in (2, 3)]
        found = [_load(file) for file in shipped if file.with_suffix(".json").exists()]
        return cls(dict(found), **options)

    @property
    def max_iterations(self) -> int:
        """Most network steps, under the name that the other movers have for it."""
        return self.steps

    def save(self, path: str | Path, dim: int, card: dict[str, Any] | None = None) -> Path:
        """Write the network for one dimension, with a card beside it (see `nn.storage`)."""
        network = self.networks[dim]
        config = {**network.config, "dim": dim}
        return save_model(path, network, config, card or {})

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        if mesh.dim not in self.networks:
            known = ", ".join(f"{dim}D" for dim in sorted(self.networks)) or "no dimension"
            raise MeshError(f"this mover has weights for {known}, and the mesh is {mesh.dim}D")
        network = self.networks[mesh.dim]
        with torch.no_grad():
            value, hint = monitor.at(start)
            typical = float(density(checked(value)).mean())
            problem = Problem(mesh, monitor, free, typical)
            place, stuck = problem.place(start, hint, value), False
            worth = _worth(problem, place)
            # In a batch the meshes stop one by one, for good.
            moving = torch.ones(problem.graphs, dtype=torch.bool, device=start.device)
            for step in range(1, self.steps + 1):
                moving &= ~_fits(problem, place)
                if not bool(moving.any()):
                    return Outcome(place.pos, True, "the mesh fits its monitor", step - 1, 0.0)
                state = problem.look_at(place)
                displacement = network(problem, state) * moving[problem.graph][:, None]
                share = displacement.norm(dim=1) / state.local
                largest = problem.largest(share, problem.graph)
                residual = float(largest.max())
                moving &= largest > self.tol
                place, gained = _descend(problem, place, displacement, moving, worth, FEW)
                if bool((left := moving & ~gained).any()):
                    # Cells unlike all in training: the energy's own slope still leads down.
                    plain = _PLAIN * state.smooth
                    worth = worth.clamp(min=_PLAIN_WORTH)
                    place, more = _descend(problem, place, plain, left, worth, 0.0)
                    gained |= more
                    stuck |= bool((left & ~more).any())
                moving &= gained
                if not bool(moving.any()):
                    reason = f"no node would move by more than {self.tol:g} of its local size"
                    reason = "no share of a step lowers the energy" if stuck else reason
                    return Outcome(place.pos, not stuck, reason, step - 1, residual)
                worth = torch.full_like(worth, _WORTH)
                progress(step, residual)
        reason = f"{self.steps} network steps done"
        return Outcome(place.pos, False, reason, self.steps, residual)


def _fits(problem: Problem, place: Place) -> Tensor:
    """Meshes whose cells hold equal shares of a density `[graphs]`; a metric also turns cells."""
    graph, reference = problem.simplex_graph, problem.energy.reference_volume
    if place.value.dim() > 1:
        return torch.zeros(problem.graphs, dtype=torch.bool, device=graph.device)
    load = place.value[problem.energy.nodes].mean(dim=1) * place.shapes.volume
    sums = torch.stack([reference, load, load**2 / reference], dim=1)
    whole, mean, square = sums.new_zeros(problem.graphs, 3).index_add(0, graph, sums).unbind(dim=1)
    return square * whole / mean**2 - 1 < _FITS**2


def _worth(problem: Problem, place: Place) -> Tensor:
    """Share of its energy that the first step must gain `[graphs]`: more from a start that is good.

    What a start has gained on the mesh before the move says how much there was to gain.
    """
    here = problem.total(place.energy)
    least = torch.full_like(here, _WORTH)
    if torch.equal(place.pos, problem.mesh.pos):
        return least
    before = problem.total(problem.place(problem.mesh.pos, None).energy)
    return torch.maximum(least, _ENOUGH * (before / here - 1))


def _descend(
    problem: Problem,
    here: Place,
    displacement: Tensor,
    moving: Tensor,
    worth: Tensor,
    few: float,
) -> tuple[Place, Tensor]:
    """The largest share of a step that lowers the energy of each moving mesh, none where none does.

    Args:
        here: before the step.
        displacement: the step `[n, d]`.
        moving: the meshes that take it `[graphs]`.
        worth: share of the energy that it must gain `[graphs]`.
        few: see `step.advance`.

    Returns:
        Where that leads, and which meshes took a step `[graphs]`.
    """
    before = problem.total(here.energy)
    share, gained = moving.to(before.dtype), torch.zeros_like(moving)
    new, trying = here, moving.clone()
    while bool(trying.any()):
        step = displacement * share[problem.graph][:, None]
        factor, whole = shortened(problem, here.pos, step, few)
        new = problem.place(here.pos + factor[:, None] * step, here.hint)
        lower = trying & (problem.total(new.energy) < (1 - worth) * before)
        gained |= lower
        # Half of what was taken in the end: not what was tried and shortened already.
        share = torch.where(gained, share, share * whole / 2)
        trying &= ~lower & (share >= _SMALLEST)
    if not bool((moving & ~gained).any()):
        return new, gained
    if not bool(gained.any()):
        return here, gained
    step = displacement * (share * gained)[problem.graph][:, None]
    factor, _ = shortened(problem, here.pos, step, few)
    return problem.place(here.pos + factor[:, None] * step, here.hint), gained


def _load(path: Path) -> tuple[int, MoverNet]:
    config = dict(read_card(path)["config"])
    dim = config.pop("dim", None)
    if dim not in (2, 3):
        raise MeshError(f"the card of {path} does not say the dimension of the mover")
    network = MoverNet(**config)
    load_weights(path, network)
    return dim, network
