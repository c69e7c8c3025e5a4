"""The data set of UM2N: the unit square, sums of Gaussians, and the meshes to aim at.

-lap u + u = f with u a sum of 1 to 6 Gaussians, on meshes of the square with edges of .05 to .055.
A label is where our own Monge-Ampere mover takes the nodes. Sample k of a seed is always the same;
samples are kept on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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
from .cases import um2n_gaussians
from .published import um2n_monitor
from .samples import Sample, manufactured, squared_error

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


class SquarePool:
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
        self.folder = Path(folder) / name
        self.seed, self.count, self.h, self.label = seed, count, h, label
        self._loaded: dict[int, Labelled] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Labelled:
        if number not in self._loaded:
            self._make(number)
            state = torch.load(_file(self.folder, number), weights_only=True)
            mesh = Mesh.from_cells(state["pos"], state["cells"])
            problem = _problem(_rng(self.seed, number, 1))
            self._loaded[number] = Labelled(
                mesh, problem, state["u"], state["error"], state["target"]
            )
        return self._loaded[number]

    def __iter__(self) -> Iterator[Labelled]:
        return (self[number] for number in range(self.count))

    def prepare(self, workers: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Make all samples that are not there yet, with so many processes."""
        missing = [k for k in range(self.count) if not _file(self.folder, k).exists()]
        if workers <= 1:
            self._report(map(self._make, missing), len(missing), progress)
            return
        make = partial(_cached, self.folder, self.seed, self.h, self.label)
        with ProcessPoolExecutor(workers) as pool:
            self._report(pool.map(make, missing, chunksize=4), len(missing), progress)

    def _make(self, number: int) -> None:
        _cached(self.folder, self.seed, self.h, self.label, number)

    @staticmethod
    def _report(
        made: Iterator[None], total: int, progress: Callable[[int, int], None] | None
    ) -> None:
        for done, _ in enumerate(made, 1):
            if progress:
                progress(done, total)


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


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"


def _cached(folder: Path, seed: int, h: tuple[float, float], label: Label, number: int) -> None:
    """Make a sample unless its file is there."""
    file = _file(folder, number)
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sample = make_labelled(seed, number, h, label)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    state = {
        "pos": sample.mesh.pos,
        "cells": dict(sample.mesh.cells),
        "u": sample.u,
        "error": sample.error,
        "target": sample.target,
    }
    torch.save(state, temporary)
    temporary.replace(file)
