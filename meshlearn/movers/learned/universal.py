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
from .step import advance

_SHARES = (1.0, 1 / 4, 1 / 16, 1 / 64, 0.0)
"""Of a step: the largest that does not raise the energy is taken."""
_SLACK = 0.1
"""Energy over the lowest so far that a step may end with."""
_SHIPPED = "universal_{}d"


class UniversalMover(Mover):
    """A trained network in the place of an optimiser.

    The residual is the largest displacement of the last step over the local size; `converged`
    means that it is below `tol`. A mesh that fits its monitor takes no step.

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
            typical = float(density(checked(monitor.sample(start).value)).mean())
            problem = Problem(mesh, monitor, free, typical)
            place = problem.place(start, None)
            lowest = problem.total(place.energy)
            for step in range(1, self.steps + 1):
                state = problem.look_at(place)
                displacement = network(problem, state)
                share = displacement.norm(dim=1) / state.local
                largest = problem.largest(share, problem.graph)
                residual = float(largest.max())
                if residual <= self.tol:
                    reason = f"no node would move by more than {self.tol:g} of its local size"
                    return Outcome(place.pos, True, reason, step - 1, residual)
                # In a batch the meshes stop one by one.
                moving = (largest > self.tol)[problem.graph]
                place = _safe(problem, place, displacement * moving[:, None], lowest)
                lowest = torch.minimum(lowest, problem.total(place.energy))
                progress(step, residual)
        reason = f"{self.steps} network steps done"
        return Outcome(place.pos, False, reason, self.steps, residual)


def _safe(problem: Problem, here: Place, displacement: Tensor, lowest: Tensor) -> Place:
    """The step, quartered for meshes whose energy it would raise, and left out if that is no help.

    Training leaves the energy some room: the error of a solve is not always lowest where it is.
    """
    share, worse = torch.ones_like(lowest), torch.ones_like(lowest, dtype=torch.bool)
    for smaller in _SHARES:
        share[worse] = smaller
        pos = advance(problem, here.pos, displacement * share[problem.graph][:, None])
        new = problem.place(pos, here.sample.hint)
        worse = problem.total(new.energy) > (1 + _SLACK) * lowest
        if not bool(worse.any()):
            break
    return new


def _load(path: Path) -> tuple[int, MoverNet]:
    config = dict(read_card(path)["config"])
    dim = config.pop("dim", None)
    if dim not in (2, 3):
        raise MeshError(f"the card of {path} does not say the dimension of the mover")
    network = MoverNet(**config)
    load_weights(path, network)
    return dim, network
