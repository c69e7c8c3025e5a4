"""Integrators have their orders, and conditions hold in every state, whatever the model returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.kernels import sparse_dense
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.nn import segments
from meshlearn.operators import MeshGraphNet, Operator
from meshlearn.operators.diffusion import heat_generator
from meshlearn.training.rollout import (
    INTEGRATORS,
    STRATEGIES,
    Integration,
    Rollout,
    State,
    Stepper,
    combined,
)


class Known(Operator):
    """An operator that returns a given function of the state; Dirichlet values stay exact."""

    def __init__(self, answer: Callable[[Mesh, Tensor], Tensor]) -> None:
        super().__init__(["u"], ["u"])
        self.answer = answer

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        return self.answer(mesh, nodes[:, :1].double())


def heat_rate(mesh: Mesh, u: Tensor) -> Tensor:
    generator = heat_generator(mesh)
    return sparse_dense(generator.edge, u, segments(mesh).sparsity) + generator.node[:, None] * u


def dense_heat(mesh: Mesh) -> Tensor:
    return torch.stack(
        [heat_rate(mesh, e[:, None])[:, 0] for e in torch.eye(mesh.num_nodes).double()], dim=1
    )


def small_net(width: int = 8) -> MeshGraphNet:
    torch.manual_seed(0)
    return MeshGraphNet(["u"], ["u"], width=width, blocks=2)


@pytest.mark.parametrize(("method", "order"), INTEGRATORS.items())
def test_orders_of_the_integrators(method: str, order: int) -> None:
    """Against exp(t L) of the finite-element heat equation."""
    mesh = generate.rectangle(4, 4)
    generator = dense_heat(mesh)
    start = torch.sin(3 * mesh.pos[:, 0]) + mesh.pos[:, 1]
    end = 0.05
    exact = torch.linalg.matrix_exp(end * generator) @ start
    errors = []
    for steps in (32, 64):
        advance = Integration(method, lambda u, t: {"u": generator @ u["u"]})
        state: State = {"u": start}
        for k in range(steps):
            state = advance(state, k * end / steps, end / steps)
        errors.append(float((state["u"] - exact).norm()))
    assert float(torch.tensor(errors[0] / errors[1]).log2()) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize(("method", "order"), INTEGRATORS.items())
def test_orders_where_the_rate_depends_on_time(method: str, order: int) -> None:
    """u' = u / (1 + t) + t: the stages know their times."""
    exact = 4 - 2 * math.log(2)
    errors = []
    for steps in (20, 40):
        advance = Integration(method, lambda u, t: {"u": u["u"] / (1 + t) + t})
        state: State = {"u": torch.ones(1).double()}
        for k in range(steps):
            state = advance(state, k / steps, 1 / steps)
        errors.append(abs(float(state["u"] - exact)))
    assert float(torch.tensor(errors[0] / errors[1]).log2()) == pytest.approx(order, abs=0.35)


def test_strategies_agree_where_they_say_the_same() -> None:
    """u' = L u by Euler, its change and the next state are one thing."""
    mesh, dt = generate.rectangle(4, 4), 1e-3
    start = {"u": torch.sin(3 * mesh.pos[:, 0]).float().double()}
    answers = {
        "derivative": heat_rate,
        "residual": lambda mesh, u: dt * heat_rate(mesh, u),
        "next": lambda mesh, u: u + dt * heat_rate(mesh, u),
    }
    found = {}
    for strategy, answer in answers.items():
        rollout = Rollout(Known(answer), mesh, stepper=Stepper(strategy, "euler"))
        found[strategy] = list(rollout.run(start, dt, 5))[-1]["u"]
    # the network's border is float32
    assert torch.allclose(found["derivative"], found["residual"], atol=1e-6)
    assert torch.allclose(found["derivative"], found["next"], atol=1e-6)
    assert float((found["next"] - start["u"]).abs().max()) > 1e-3


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("method", INTEGRATORS)
def test_conditions_hold_in_every_state(strategy: str, method: str) -> None:
    mesh = generate.rectangle(5, 4)
    space = FunctionSpace(mesh, "P1")

    def held(time: float) -> dict[str, list[Dirichlet]]:
        return {"u": [Dirichlet(space, "boundary", lambda x: x[:, 0] + 3 * time)]}

    seen: list[State] = []
    rollout = Rollout(small_net(), mesh, bcs=held, stepper=Stepper(strategy, method))
    inner = rollout.answer
    rollout.answer = lambda state, time, dt: (seen.append(state), inner(state, time, dt))[1]  # type: ignore[method-assign]
    dofs = held(0.0)["u"][0].dofs
    start = rollout.set({"u": torch.zeros(mesh.num_nodes).double()}, 0.0)
    for k, state in enumerate(rollout.run(start, 0.1, 4), 1):
        assert torch.allclose(state["u"][dofs], mesh.pos[dofs, 0] + 0.3 * k, rtol=0, atol=1e-12)
    for state in seen:  # at the stages too: x + 3 t for a time t of the step
        time = (state["u"][dofs] - mesh.pos[dofs, 0]) / 3
        assert float(time.max() - time.min()) <= 1e-12


def test_a_rate_meets_the_rate_of_moving_conditions() -> None:
    mesh = generate.rectangle(3, 3)
    space = FunctionSpace(mesh, "P1")
    rollout = Rollout(
        small_net(), mesh, bcs=lambda t: {"u": [Dirichlet(space, "boundary", 2 * t + t**2)]}
    )
    rate = rollout.rate({"u": torch.zeros(mesh.num_nodes).double()}, 1.5)["u"]
    assert torch.allclose(rate[mesh.boundary_nodes], torch.tensor(5.0).double(), atol=2e-4)


def test_a_batch_is_the_meshes_one_by_one() -> None:
    meshes = [generate.rectangle(3, 4), generate.rectangle(5, 2)]
    net, stepper = small_net(), Stepper("derivative", "rk4")
    starts = [torch.sin(4 * m.pos[:, 0]) for m in meshes]
    single = [
        list(Rollout(net, m, stepper=stepper).run({"u": u}, 0.1, 3))[-1]["u"]
        for m, u in zip(meshes, starts, strict=True)
    ]
    batch = Batch.from_data_list(meshes)
    together = Rollout(net, batch, stepper=stepper).run({"u": torch.cat(starts)}, 0.1, 3)
    assert torch.allclose(list(together)[-1]["u"], torch.cat(single), atol=1e-5)


def test_gradients_go_through_all_steps() -> None:
    mesh, net = generate.rectangle(3, 3), small_net()
    start = torch.sin(mesh.pos[:, 0]).requires_grad_()
    states = list(Rollout(net, mesh, stepper=Stepper("residual")).run({"u": start}, 0.1, 3))
    (slope,) = torch.autograd.grad(states[-1]["u"].sum(), start)
    assert float(slope.abs().max()) > 0


def test_sums_of_states() -> None:
    state = {"u": torch.ones(2), "p": torch.zeros(3)}
    found = combined(state, (2.0, {"u": torch.ones(2)}), (-1.0, {"u": torch.ones(2)}))
    assert found["u"].tolist() == [2, 2]
    assert found["p"] is state["p"]


@pytest.mark.parametrize(("name", "value"), [("strategy", "guess"), ("integrator", "rk5")])
def test_unknown_names(name: str, value: str) -> None:
    with pytest.raises(MeshError, match=f"{name} must be one of .*, got '{value}'"):
        Stepper(**{name: value})


def test_an_operator_that_does_not_read_its_state() -> None:
    net = MeshGraphNet(["f"], ["u"], width=8, blocks=1)
    with pytest.raises(MeshError, match="cannot be rolled out: its output 'u'"):
        Rollout(net, generate.rectangle(2, 2))
