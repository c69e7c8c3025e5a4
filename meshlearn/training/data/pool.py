"""Cases to train operators on: a mesh, fields on it and the conditions that they meet."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from ...fem import Dirichlet
from ...mesh import Mesh
from ...operators import Variable
from ..pool import CachedPool, State


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


class Pool(CachedPool[Case]):
    """The first `count` cases of a data set, see `CachedPool`.

    Attributes:
        inputs, outputs: variables of the fields.
    """

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]

    @abstractmethod
    def baseline(self, case: Case) -> dict[str, Tensor]:
        """Outputs that need no learning: what a model has to beat."""

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
