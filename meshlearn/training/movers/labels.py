"""The data set of UM2N: the unit square, sums of Gaussians, and the meshes to aim at.

-lap u + u = f with u a sum of 1 to 6 Gaussians, on meshes of the square with edges of .05 to .055.
A label is where our own Monge-Ampere mover takes the nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...mesh import Mesh, generate
from ...monitors import Monitor
from ...movers import MongeAmpere
from ...problems import Helmholtz
from ..pool import CachedPool, State
from .cases import um2n_gaussians
from .published import um2n_monitor
from .samples import Sample, manufactured, sample_state, squared_error

_SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
_VERSION = 1

Label = Callable[[Mesh, Monitor], Tensor]
"""Where the nodes should go `[n, 2]`."""


@dataclass(frozen=True)
class Labelled(Sample):
    """A sample with its label.

    Attributes:
        target: positions to aim at `[n, 2]`.
    """

    target: Tensor


def monge_ampere(mesh: Mesh, monitor: Monitor) -> Tensor:
    """The label of UM2N and M2N."""
    return MongeAmpere().move(mesh, monitor).mesh.pos


def unmoved(mesh: Mesh, monitor: Monitor) -> Tensor:
    """No label: for what is trained without."""
    return mesh.pos


class SquarePool(CachedPool[Labelled]):
    """The first `count` samples of a seed, kept in a folder.

    Args:
        folder: of the cache.
        seed: of the samples.
        count: how many there are.
        h: shortest and longest edge length of a mesh.
        label: gives the targets.
    """

    def __init__(
        self, folder: str | Path, seed: int, count: int, h: tuple[float, float], label: Label
    ) -> None:
        name = f"square_seed{seed}_h{h[0]:g}-{h[1]:g}_{label.__name__}_v{_VERSION}"
        super().__init__(Path(folder) / name, count)
        self.seed, self.h, self.label = seed, h, label

    def maker(self) -> Callable[[int], Labelled]:
        """See `CachedPool`."""
        return partial(make_labelled, self.seed, h=self.h, label=self.label)

    @staticmethod
    def state(item: Labelled) -> State:
        """See `CachedPool`."""
        return {**sample_state(item), "target": item.target}

    def restored(self, number: int, state: State) -> Labelled:
        """The functions are drawn again from the seed: only arrays are kept."""
        mesh = Mesh.from_cells(state["pos"], state["cells"])
        problem = _problem(_rng(self.seed, number, 1))
        return Labelled(mesh, problem, state["u"], state["error"], state["target"])


def make_labelled(seed: int, number: int, h: tuple[float, float], label: Label) -> Labelled:
    """Sample `number` of a seed."""
    rng = _rng(seed, number, 0)
    mesh = generate.polygon(_SQUARE, h=rng.uniform(*h), seed=int(rng.integers(2**31)))
    problem = _problem(_rng(seed, number, 1))
    with torch.no_grad():
        solution = problem.solve(mesh)
        error = float(squared_error(problem, solution))
        target = label(mesh, um2n_monitor(mesh, solution.u))
        return Labelled(mesh, problem, solution.u, error, target)


def _rng(seed: int, number: int, stream: int) -> np.random.Generator:
    """The functions have their own stream: a mesh from the cache need not be made again."""
    return np.random.default_rng([seed, number, stream])


def _problem(rng: np.random.Generator) -> Helmholtz:
    return manufactured(um2n_gaussians(rng), 1.0)
