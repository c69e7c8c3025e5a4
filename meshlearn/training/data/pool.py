"""Cases of a data set, made on demand by one or several processes and kept in a folder.

A file holds one case; it is written under another name and renamed, so that it is whole or not
there, and an interrupted run goes on where it was.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...fem import Dirichlet
from ...mesh import Mesh, MeshError
from ...operators import Variable


@dataclass(frozen=True)
class Case:
    """One problem and its solution.

    Attributes:
        kind: what sort of case, for tables.
        mesh: where the fields live.
        inputs, outputs: fields by name, coefficients in the variable's space.
        bcs: Dirichlet conditions by name of the output.
    """

    kind: str
    mesh: Mesh
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    bcs: dict[str, list[Dirichlet]]


Make = Callable[[int], Case]


class Pool(ABC):
    """The first `count` cases of a data set.

    Args:
        folder: of the cache, one for each data set and seed.
        count: how many there are.

    Attributes:
        inputs, outputs: variables of the fields.
    """

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]

    def __init__(self, folder: str | Path, count: int) -> None:
        self.folder, self.count = Path(folder), count
        self._loaded: dict[int, Case] = {}

    @abstractmethod
    def maker(self) -> Make:
        """A function, for other processes too, that makes case `number`."""

    @abstractmethod
    def baseline(self, case: Case) -> dict[str, Tensor]:
        """Outputs that need no learning: what a model has to beat."""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Case:
        if not 0 <= number < self.count:
            raise IndexError(f"there are {self.count} cases, no case {number}")
        if number not in self._loaded:
            file = _cached(self.folder, self.maker(), number)
            self._loaded[number] = _read(file, self.outputs)
        return self._loaded[number]

    def __iter__(self) -> Iterator[Case]:
        return (self[number] for number in range(self.count))

    def prepare(self, workers: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Make all cases that are not there yet, with so many processes."""
        missing = [k for k in range(self.count) if not _file(self.folder, k).exists()]
        make = partial(_cached, self.folder, self.maker())
        if workers <= 1:
            for done, number in enumerate(missing, 1):
                make(number)
                if progress:
                    progress(done, len(missing))
            return
        with ProcessPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(make, missing, chunksize=4), 1):
                if progress:
                    progress(done, len(missing))


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"


def _cached(folder: Path, make: Make, number: int) -> Path:
    """Make a case unless its file is there."""
    file = _file(folder, number)
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        case = make(number)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        torch.save(_state(case), temporary)
        temporary.replace(file)
    return file


def _state(case: Case) -> dict[str, Any]:
    return {
        "kind": case.kind,
        "pos": case.mesh.pos,
        "cells": dict(case.mesh.cells),
        "facet_tags": dict(case.mesh.facet_tags),
        "inputs": case.inputs,
        "outputs": case.outputs,
        "bcs": {name: [(b.dofs, b.values) for b in bcs] for name, bcs in case.bcs.items()},
    }


def _read(file: Path, outputs: Sequence[Variable]) -> Case:
    try:
        state: Mapping[str, Any] = torch.load(file, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise MeshError(f"the cached case {file} is damaged; delete it") from error
    mesh = Mesh.from_cells(state["pos"], state["cells"], facet_tags=state["facet_tags"])
    spaces = {v.name: v.space(mesh) for v in outputs}
    bcs = {
        name: [Dirichlet(spaces[name], dofs, values) for dofs, values in pairs]
        for name, pairs in state["bcs"].items()
    }
    return Case(state["kind"], mesh, state["inputs"], state["outputs"], bcs)
