r"""Moving-mesh PDE solver: message passing on the mesh and on a copy whose nodes follow the state.

    N(u) = G1(u; T) + I2 G2(I1 u; T'),   T' = T moved after u,   I1: T -> T',   I2: T' -> T

G1 and G2 are message-passing solvers of the same shape (see `message_passing_solver`) on the same
edges, with the node positions of T and T'; I1 and I2 are learned interpolations (see
`interpolation`) of all that is read and all that is returned. T' comes from a mover and a monitor
of the Hessian of the state (see `following`); no gradient flows through its positions.

With `mover="none"` T' is T: the same networks with as many parameters on a mesh that stays, which
is what a moving mesh has to be better than. Neither returns the state itself: both are made for the
strategies "residual" and "derivative" of `training.rollout`, which add it.

In a rollout the mesh is moved after the state of each `every`-th step, and stays for the steps and
stages between (see `Operator.follow`); called alone, the solver moves it after the state it reads.

Hu, Wang & Ma, "Better neural PDE solvers through data-free mesh movers" (MM-PDE), ICLR 2024. There
a residual network of its own carries the state on, which the baseline lacks; I1 and I2 weigh the 30
nearest nodes freely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..mesh import Mesh, MeshError
from ..nn import mlp, segments
from .base import Conditions, Fields, Operator
from .following import Follower, Pair
from .interpolation import LearnedInterpolation
from .message_passing_solver import SolverLayer
from .variables import Variable, checked_fields, columns_of

_STEEP = 10.0
"""A difference of neighbours is a tenth or so of the deviation."""


@dataclass(frozen=True)
class Followed:
    """What the solver needs of a mesh.

    Attributes:
        pair: the mesh and its moved copy; None to move it after the state that is read.
    """

    pair: Pair | None = None


class MovingMeshSolver(Operator):
    """Message passing on a mesh and on its moved copy; see the module.

    Args:
        inputs: the state, and parameters of the equation, P0 or P1.
        outputs: the state, P1: what is returned is its change or its rate.
        boundary: see `Operator`.
        dim: dimension of space.
        width: of node features.
        blocks: rounds of messages on each mesh.
        mover: name in `movers.MOVERS`, or "none".
        mover_options: arguments of the mover.
        monitor, strength, smoothing: see `following.Follower`.
        every: steps of a rollout from one move to the next.

    Raises:
        MeshError: outputs that are not read or not P1, or an unknown mover.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        width: int = 32,
        blocks: int = 3,
        mover: str = "universal",
        mover_options: Mapping[str, Any] | None = None,
        monitor: str = "l2",
        strength: float = 3.0,
        smoothing: float = 1.0,
        every: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        for variable in self.outputs:
            if variable not in self.inputs or variable.element != "P1":
                raise MeshError(
                    f"the solver carries a state: its output {variable.name!r} must be P1 and one "
                    "of its inputs"
                )
        if every < 1:
            raise MeshError(f"`every` must be at least 1, got {every}")
        self.every = every
        self.follower = Follower(mover, mover_options or {}, monitor, strength, smoothing)
        self.config |= {"dim": dim, "width": width, "blocks": blocks, "mover": mover}
        self.config |= {"mover_options": dict(mover_options or {}), "monitor": monitor}
        self.config |= {"strength": strength, "smoothing": smoothing, "every": every}
        state = [own for v, own in columns_of(self.inputs) if v in self.outputs]
        others = [own for v, own in columns_of(self.inputs) if v not in self.outputs]
        self._state, self._others = _indices(state), _indices(others)
        shape = (self.columns_in, len(self._state), len(self._others), self.columns_out)
        self.fixed = Branch(*shape, dim, width, blocks)
        self.moving = Branch(*shape, dim, width, blocks)
        self.there, self.back = LearnedInterpolation(dim), LearnedInterpolation(dim)

    def prepare(self, mesh: Mesh) -> Followed:
        """Nothing but that the dimension fits: the mesh is moved when the state is known."""
        self._check_dim(mesh)
        return Followed()

    def follow(self, mesh: Mesh, fields: Fields, prepared: Followed) -> Followed:
        """See `Operator`: the mesh moved after the state among the fields."""
        return Followed(self.follower.pair(mesh, self._read(mesh, fields)))

    def forward(
        self,
        mesh: Mesh,
        fields: Fields,
        bcs: Conditions | None = None,
        *,
        integrals: Fields | None = None,
        prepared: Followed | None = None,
    ) -> dict[str, Tensor]:
        """See `Operator`."""
        ready = self.prepare(mesh) if prepared is None else prepared
        if ready.pair is None:
            ready = self.follow(mesh, fields, ready)
        return super().forward(mesh, fields, bcs, integrals=integrals, prepared=ready)

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Followed) -> Tensor:
        """See `Operator`."""
        pair = prepared.pair
        assert pair is not None
        size = float(self.typical_size)
        there = self.there(nodes, pair.there)
        return self._on(self.fixed, mesh, nodes, size) + self.back(
            self._on(self.moving, pair.moved, there, size), pair.back
        )

    def _on(self, branch: Branch, mesh: Mesh, nodes: Tensor, size: float) -> Tensor:
        found: Tensor = branch(mesh, nodes, nodes[:, self._state], nodes[:, self._others], size)
        return found

    def _read(self, mesh: Mesh, fields: Fields) -> Tensor:
        """The state `[n, k]`."""
        return torch.cat(checked_fields(mesh, self.outputs, fields), dim=1)


class Branch(nn.Module):
    """Message passing on one mesh: encode, rounds, decode.

    Args:
        read: columns of the node features.
        state: columns whose differences the messages see.
        others: columns of the parameters.
        given: columns of the result.
        dim: dimension of space.
        width: of node features.
        blocks: rounds.
    """

    def __init__(
        self, read: int, state: int, others: int, given: int, dim: int, width: int, blocks: int
    ) -> None:
        super().__init__()
        self.encode = mlp([read, width, width], norm=False, between="silu")
        self.layers = nn.ModuleList(SolverLayer(width, state + dim, others) for _ in range(blocks))
        self.decode = mlp([width, width, given], norm=False, between="silu")

    def forward(
        self, mesh: Mesh, nodes: Tensor, state: Tensor, others: Tensor, size: float
    ) -> Tensor:
        """Features `[n, read]`, states and parameters to `[n, given]`; `size` is the unit."""
        sender, receiver = mesh.topology.edge_index
        offset = (mesh.pos[receiver] - mesh.pos[sender]).detach() / size
        near = torch.cat([_STEEP * (state[receiver] - state[sender]), offset.float()], dim=1)
        hidden, by_receiver = self.encode(nodes), segments(mesh)
        for layer in self.layers:
            hidden = layer(hidden, near, others, mesh, by_receiver)
        found: Tensor = self.decode(hidden)
        return found


def _indices(columns: list[slice]) -> list[int]:
    return [k for own in columns for k in range(own.start, own.stop)]
