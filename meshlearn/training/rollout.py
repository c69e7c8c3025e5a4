r"""States that an operator carries forward in time, step by step.

    "next":        u(t + dt) = N(u)
    "residual":    u(t + dt) = u + N(u)
    "derivative":  du/dt = N(u), integrated by a method of `INTEGRATORS`

The operator reads the state among its inputs, under the names of its outputs. Dirichlet conditions
hold in every state, those between the steps included: what the operator returns meets the values
that its own quantity has there (the state's, their change, or their rate), and each state is set to
the conditions of its time. Learning rates in the place of states: Zhou et al., "Predicting change,
not states: an alternate framework for neural PDE surrogates", CMAME 441 (2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..fem import Dirichlet
from ..mesh import Mesh, MeshError
from ..operators import Operator

State = dict[str, Tensor]
Held = Mapping[str, Sequence[Dirichlet]]
Conditions = Held | Callable[[float], Held]
"""Dirichlet conditions by output, or a function of time; what they hold does not change."""
Rate = Callable[[State, float], State]

STRATEGIES = ("next", "residual", "derivative")
INTEGRATORS = {"euler": 1, "ab2": 2, "heun": 2, "rk4": 4}
"""Methods and their orders: Euler, Adams-Bashforth, Heun, Runge-Kutta."""


@dataclass(frozen=True)
class Stepper:
    """How a state is carried on.

    Attributes:
        strategy: of `STRATEGIES`: what the operator returns.
        integrator: of `INTEGRATORS`, for rates.

    Raises:
        MeshError: an unknown name.
    """

    strategy: str = "derivative"
    integrator: str = "rk4"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("strategy", self.strategy, STRATEGIES),
            ("integrator", self.integrator, tuple(INTEGRATORS)),
        ):
            if value not in known:
                raise MeshError(f"{name} must be one of {known}, got {value!r}")


@dataclass
class Rollout:
    """An operator on a mesh or batch, ready to carry states.

    Attributes:
        model: reads the state and `fields`, returns what `stepper.strategy` says.
        mesh: where the fields live.
        fields: inputs that do not change.
        bcs: see `Conditions`.
        stepper: how to step.
        prepared: of `model.prepare(mesh)`.

    Raises:
        MeshError: an output that is not among the inputs, or is not the same kind of field.
    """

    model: Operator
    mesh: Mesh
    fields: Mapping[str, Tensor] = field(default_factory=dict)
    bcs: Conditions = field(default_factory=dict)
    stepper: Stepper = Stepper()
    prepared: Any = None

    def __post_init__(self) -> None:
        for variable in self.model.outputs:
            if variable not in self.model.inputs:
                raise MeshError(
                    f"the operator cannot be rolled out: its output {variable.name!r} is not one "
                    "of its inputs, in the same space"
                )
        if self.prepared is None:
            self.prepared = self.model.prepare(self.mesh)

    def run(self, start: State, dt: float, steps: int, time: float = 0.0) -> Iterator[State]:
        """States after each of so many steps; the start itself is not among them.

        Args:
            start: coefficients of the outputs by name, `[n]` or `[n, k]`.
            dt: time step.
            steps: how many.
            time: of the start.
        """
        advance = Integration(self.stepper.integrator, self.rate, self.set)
        state = start
        for k in range(steps):
            now = time + k * dt
            if self.model.every and k % self.model.every == 0:
                self.follow(state)
            state = (
                advance(state, now, dt)
                if self.stepper.strategy == "derivative"
                else self.set(self._stepped(state, now, dt), now + dt)
            )
            yield state

    def follow(self, state: State) -> None:
        """Let the model prepare for the steps that begin with a state, see `Operator.follow`."""
        self.prepared = self.model.follow(self.mesh, {**self.fields, **state}, self.prepared)

    def answer(self, state: State, time: float, dt: float) -> State:
        """What the operator returns for a state, whatever the strategy.

        Args:
            state: at `time`.
            time: of the state.
            dt: to the next state; for rates, over which those of moving conditions are taken.
        """
        return self.model(
            self.mesh,
            {**self.fields, **state},
            self._asked(time, dt),
            prepared=self.prepared,
        )

    def rate(self, state: State, time: float) -> State:
        """du/dt of a state at a time, for a model of rates."""
        return self.answer(state, time, _MOMENT)

    def set(self, state: State, time: float) -> State:
        """The state with the values that are held at a time."""
        out = dict(state)
        for name, conditions in self._held(time).items():
            flat = out[name].reshape(-1)
            for condition in conditions:
                flat = flat.index_copy(0, condition.dofs, condition.values.to(flat))
            out[name] = flat.view_as(out[name])
        return out

    def _stepped(self, state: State, time: float, dt: float) -> State:
        found = self.answer(state, time, dt)
        if self.stepper.strategy == "next":
            return found
        return combined(state, (1.0, found))

    def _held(self, time: float) -> Held:
        return self.bcs(time) if callable(self.bcs) else self.bcs

    def _asked(self, time: float, dt: float) -> dict[str, list[Dirichlet]]:
        """Conditions on what the operator returns."""
        later = self._held(time + dt)
        if self.stepper.strategy == "next":
            return {name: list(conditions) for name, conditions in later.items()}
        scale = 1 / dt if self.stepper.strategy == "derivative" else 1.0
        now = self._held(time)
        return {
            name: [
                Dirichlet(b.space, b.dofs, scale * (b.values - a.values))
                for a, b in zip(now[name], conditions, strict=True)
            ]
            for name, conditions in later.items()
        }


_MOMENT = 1e-4
"""Time over which the rates of Dirichlet values are taken."""


class Integration:
    """An explicit method for du/dt = rate(u, t); it remembers the last rate where it needs it.

    Args:
        method: of `INTEGRATORS`.
        rate: the right-hand side.
        project: applied to every state, those of stages too.
    """

    def __init__(
        self, method: str, rate: Rate, project: Callable[[State, float], State] = lambda u, t: u
    ) -> None:
        self.method, self.rate, self.project = method, rate, project
        self._last: State | None = None

    def __call__(self, state: State, time: float, dt: float) -> State:
        """The state one step later; steps of "ab2" have to follow each other."""
        first = self.rate(state, time)

        def after(share: float, *terms: tuple[float, State]) -> State:
            moved = combined(state, *((dt * c, k) for c, k in terms))
            return self.project(moved, time + share * dt)

        if self.method == "euler":
            return after(1, (1, first))
        if self.method == "ab2":
            last, self._last = self._last, first
            if last is not None:
                return after(1, (1.5, first), (-0.5, last))
        if self.method in ("ab2", "heun"):  # the first step of ab2 is one of Heun's: order 2 stays
            second = self.rate(after(1, (1, first)), time + dt)
            return after(1, (0.5, first), (0.5, second))
        second = self.rate(after(0.5, (0.5, first)), time + dt / 2)
        third = self.rate(after(0.5, (0.5, second)), time + dt / 2)
        fourth = self.rate(after(1, (1, third)), time + dt)
        return after(1, (1 / 6, first), (1 / 3, second), (1 / 3, third), (1 / 6, fourth))


def combined(state: State, *terms: tuple[float, State]) -> State:
    """state + sum of c * term."""
    out = dict(state)
    for factor, term in terms:
        for name, values in term.items():
            out[name] = out[name] + factor * values
    return out
