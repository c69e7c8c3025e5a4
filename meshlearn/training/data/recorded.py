"""Trajectories of MeshGraphNets' TFRecord files, as `train evolution` takes them.

    data: {kind: tfrecord, path: cylinder_flow, states: [[velocity, P1, 2]], dt: 0.01}

A record has `mesh_pos` and `cells` (triangles, or tetrahedra in space), `node_type`, and fields of
the nodes in time. The states are held at the nodes of some types, with the values of the start:
that of `cylinder_flow`, where the flow goes in and at the walls. Pfaff et al., "Learning mesh-based
simulation with graph networks", ICLR 2021.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Discriminator, field_validator
from pydantic import Field as Setting
from pydantic_core import PydanticCustomError
from torch import Tensor

from ...fem import Dirichlet
from ...mesh import Mesh, MeshError
from ...operators import Variable
from .readers import read_trajectory, record_places
from .trajectories import RunSettings, Trajectories, Trajectory, TrajectorySettings

Named = str | tuple[str, str, int]
Arrays = dict[str, NDArray[Any]]
_STILL = 1e-5
"""How far held values may move, over the largest value of the state."""


class RecordedSettings(RunSettings):
    """Which file, and what is in it.

    Attributes:
        path: folder of the records and their `meta.json`.
        states: fields that change in time, by name or as (name, "P1", components).
        fields: fields that do not change and are read, likewise.
        dt: the time between states of the file.
        every: one of so many states is kept.
        steps: states kept after the first; all by default.
        held: types of the nodes where the states are held: by default an obstacle, an airfoil, a
            handle, the inflow and walls, but not the outflow (5).
        part: of the file, "train", "valid" or "test".
        judged: the part to judge on.
    """

    kind: Literal["tfrecord"]
    path: str
    states: tuple[Named, ...] = Setting(min_length=1)
    fields: tuple[Named, ...] = ()
    dt: float = Setting(gt=0)
    every: int = Setting(1, ge=1)
    steps: int | None = Setting(None, ge=4)
    held: tuple[int, ...] = (1, 2, 3, 4, 6)
    part: Literal["train", "valid", "test"] = "train"
    judged: Literal["train", "valid", "test"] = "valid"

    @field_validator("states", "fields")
    @classmethod
    def _nodal(cls, given: tuple[Named, ...]) -> tuple[Named, ...]:
        if any(Variable.of(variable).element != "P1" for variable in given):
            raise PydanticCustomError("nodal", "records hold values of nodes: P1 only")
        return given

    @property
    def step(self) -> float:
        """The time between the states that are kept."""
        return self.dt * self.every

    def variables(self) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
        """See `RunSettings`."""
        fields, states = (tuple(map(Variable.of, v)) for v in (self.fields, self.states))
        return fields, states

    def make(self, number: int) -> Trajectory:
        """See `RunSettings`.

        Raises:
            MeshError: the file is damaged, or a field is missing, does not fit, or moves where it
                is held.
        """
        return recorded(self, number)

    def pool(self, count: int, folder: str | Path) -> Trajectories:
        """The first `count` records; as many as there are, if these are fewer."""
        known = len(record_places(Path(self.path) / f"{self.part}.tfrecord"))
        return Trajectories(self, min(count, known), folder)

    def others(self) -> Self:
        """The records to judge on."""
        return self.model_copy(update={"part": self.judged})


def _with_kind(given: Any) -> Any:
    """Settings without a kind are those of the heat equation."""
    return {"kind": "heat", **given} if isinstance(given, dict) else given


AnyTrajectories = Annotated[
    Annotated[TrajectorySettings | RecordedSettings, Discriminator("kind")],
    BeforeValidator(_with_kind),
]
"""Settings of any trajectories, told apart by `kind`."""


def recorded(settings: RecordedSettings, number: int) -> Trajectory:
    """Record `number`; see `RecordedSettings.make`."""
    arrays = read_trajectory(settings.path, settings.part, number)
    where = f"record {number} of {settings.path}/{settings.part}.tfrecord"
    mesh = _mesh(arrays, where)
    fields, states = settings.variables()
    kept = {v.name: _values(arrays, v, mesh, where) for v in (*fields, *states)}
    last = None if settings.steps is None else settings.steps * settings.every + 1
    found = {v.name: kept[v.name][: last : settings.every] for v in states}
    steps = {len(values) for values in found.values()}
    if len(steps) > 1 or min(steps) < 5:
        raise MeshError(f"the states of {where} need the same number of steps, at least 4")
    types = _array(arrays, "node_type", where).reshape(-1)
    nodes = torch.from_numpy(np.flatnonzero(np.isin(types, settings.held)))
    bcs = {v.name: [_held(v, mesh, nodes, found[v.name], where)] for v in states}
    constant = {v.name: kept[v.name][0] for v in fields}
    return Trajectory("tfrecord", mesh, settings.step, found, constant, bcs)


def _mesh(arrays: Arrays, where: str) -> Mesh:
    pos = _array(arrays, "mesh_pos", where)[0].astype(np.float64)
    cells = _array(arrays, "cells", where)[0].astype(np.int64)
    shape = {3: "triangle", 4: "tetra"}.get(cells.shape[-1])
    if shape is None:
        raise MeshError(f"cells of {where} must have 3 or 4 nodes, got {cells.shape[-1]}")
    return Mesh.from_cells(pos, {shape: cells}, repair=["inverted"])


def _values(arrays: Arrays, variable: Variable, mesh: Mesh, where: str) -> Tensor:
    """`[steps, n]` or `[steps, n, k]`."""
    values = torch.from_numpy(_array(arrays, variable.name, where).astype(np.float64))
    if not bool(values.isfinite().all()):
        raise MeshError(f"{variable.name!r} of {where} has values that are not finite")
    return torch.stack([variable.shaped(variable.columns(mesh, v)) for v in values])


def _held(variable: Variable, mesh: Mesh, nodes: Tensor, states: Tensor, where: str) -> Dirichlet:
    """The values of the start at nodes."""
    columns = states.reshape(len(states), mesh.num_nodes, variable.width)
    there = columns[:, nodes]
    moved = (there - there[:1]).abs().amax() if len(nodes) else 0.0
    if float(moved) > _STILL * float(columns.abs().max()):
        raise MeshError(
            f"{variable.name!r} of {where} changes at nodes where it is held; leave their types "
            "out of `held`"
        )
    dofs = nodes[:, None] * variable.width + torch.arange(variable.width)
    return Dirichlet(variable.space(mesh), dofs.reshape(-1), there[0].reshape(-1))


def _array(arrays: Arrays, name: str, where: str) -> NDArray[Any]:
    if name not in arrays:
        raise MeshError(f"{where} has no {name!r}; it has {', '.join(arrays)}")
    return arrays[name]
