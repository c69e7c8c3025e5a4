"""Cases to train operators on: a mesh, fields on it and the conditions that they meet."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet
from ...mesh import Mesh
from ...operators import Variable
from ..pool import HELD_OUT, CachedPool, State
from ..settings import Settings, TrainingError


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


class DataSettings(Settings):
    """Base of the settings of data sets; each makes its own pool of cases.

    A new data set is a class of these with a `kind` of its own, a member of `kinds.AnyData`.

    Attributes:
        title: what the data set is, for the cards of weights.
        kind: its name in settings files.
        seed: of all cases.
    """

    title: ClassVar[str]
    kind: str
    seed: int = Setting(0, ge=0)

    @abstractmethod
    def pool(self, count: int, folder: str | Path) -> Pool:
        """The first `count` cases.

        Args:
            count: how many.
            folder: of the caches; data sets with other settings may share it.
        """

    def others(self) -> Self:
        """Settings of cases of the same kind to judge on: none is among the first ones."""
        return self.model_copy(update={"seed": self.seed + HELD_OUT})

    def resized(self, nodes: int) -> Self:
        """The same data set on meshes of another size.

        Raises:
            TrainingError: its meshes are what they are.
        """
        if "nodes" not in type(self).model_fields:
            raise TrainingError(f"the meshes of {self.kind!r} cannot be made with other sizes")
        return self.model_copy(update={"nodes": nodes})

    def cache_name(self) -> str:
        """Name of the folder of the cache: other settings, another folder."""
        digest = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
        return f"{self.kind}_seed{self.seed}_{digest}"


class Pool(CachedPool[Case]):
    """The first `count` cases of a data set, see `CachedPool`.

    Args:
        settings: of the data set.
        count: how many there are.
        folder: of the caches; it may be shared by data sets with other settings.

    Attributes:
        inputs, outputs: variables of the fields.
    """

    settings: DataSettings
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]

    def __init__(self, settings: DataSettings, count: int, folder: str | Path) -> None:
        super().__init__(Path(folder) / settings.cache_name(), count)
        self.settings = settings

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """Outputs that need no learning: what a model has to beat.

        Without a better one of the data set: the mean value of the case's own outputs (of each
        component), and the Dirichlet values where there are some.
        """
        found = {}
        for variable in self.outputs:
            columns = variable.columns(case.mesh, case.outputs[variable.name])
            flat = columns.mean(dim=0).expand_as(columns).reshape(-1)
            for held in case.bcs.get(variable.name, ()):
                flat = flat.index_copy(0, held.dofs, held.values)
            found[variable.name] = variable.shaped(flat.reshape(columns.shape))
        return found

    @staticmethod
    def state(item: Case) -> State:
        """See `CachedPool`."""
        return {
            "kind": item.kind,
            "pos": item.mesh.pos,
            "cells": dict(item.mesh.cells),
            "facet_tags": dict(item.mesh.facet_tags),
            "inputs": item.inputs,
            "outputs": item.outputs,
            "bcs": {name: [(b.dofs, b.values) for b in bcs] for name, bcs in item.bcs.items()},
        }

    def restored(self, number: int, state: State) -> Case:
        """See `CachedPool`."""
        mesh = Mesh.from_cells(state["pos"], state["cells"], facet_tags=state["facet_tags"])
        spaces = {v.name: v.space(mesh) for v in self.outputs}
        bcs = {
            name: [Dirichlet(spaces[name], dofs, values) for dofs, values in pairs]
            for name, pairs in state["bcs"].items()
        }
        return Case(state["kind"], mesh, state["inputs"], state["outputs"], bcs)
