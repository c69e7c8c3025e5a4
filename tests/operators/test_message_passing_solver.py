"""Windows go in and out; periodic meshes know no place; batch = loop; conditions are exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from strategies import renumbered
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import load_operator
from meshlearn.operators.message_passing_solver import MessagePassingSolver, each_normalised
from meshlearn.training.data.burgers_1d import LENGTH, ring
from meshlearn.training.data.trajectories import Trajectory, TrajectorySettings
from meshlearn.training.rollout import Rollout, Stepper

WINDOW = ("u", "P1", 4)


def solver(**changes: Any) -> MessagePassingSolver:
    torch.manual_seed(0)
    options = {"dim": 2, "window": 4, "width": 16, "blocks": 2} | changes
    return MessagePassingSolver(["nu", WINDOW], [WINDOW], **options)


def data(mesh: Mesh) -> dict[str, torch.Tensor]:
    x = mesh.pos[:, 0]
    u = torch.stack([torch.sin(x + 0.1 * k) for k in range(4)], dim=1)
    return {"nu": torch.cos(x), "u": u}


def test_without_changes_the_last_state_stays() -> None:
    mesh, model = generate.rectangle(4, 3), solver()
    model.fit_scales([(mesh, data(mesh), {"u": 2 * data(mesh)["u"]})])
    for parameter in model.decode.parameters():
        torch.nn.init.zeros_(parameter)
    found = model(mesh, data(mesh))["u"]
    assert torch.allclose(found, data(mesh)["u"][:, -1:].expand(-1, 4), atol=1e-6)


def test_a_periodic_line_has_no_first_node() -> None:
    mesh, _ = ring(12)
    model = solver(dim=1, period=[LENGTH])
    u = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).double()
    nu = torch.ones(12).double()
    found = model(mesh, {"nu": nu, "u": u})["u"]
    turned = model(mesh, {"nu": nu, "u": u.roll(5, 0)})["u"]
    assert torch.allclose(found.roll(5, 0), turned, atol=1e-5)
    without = solver(dim=1)(mesh, {"nu": nu, "u": u.roll(5, 0)})["u"]
    assert not torch.allclose(without, turned, atol=1e-4)


def test_a_batch_is_the_meshes_one_by_one_on_irregular_meshes() -> None:
    vertices = [[0, 0], [2, 0], [1, 1]]
    meshes = [generate.polygon(vertices, 0.3), generate.rectangle(3, 2)]
    model = solver()
    single = [model(m, data(m))["u"] for m in meshes]
    batch = Batch.from_data_list(meshes)
    assert torch.allclose(model(batch, data(batch))["u"], torch.cat(single), atol=1e-5)


def test_renumbering_renumbers_the_result() -> None:
    mesh, model = generate.rectangle(6, 5, diagonal="crossed"), solver()
    other, node, _ = renumbered(mesh, seed=3)
    one, two = (model(m, data(m))["u"] for m in (mesh, other))
    assert torch.allclose(one, two[node], atol=1e-5)


def test_parameters_matter() -> None:
    mesh, model = generate.rectangle(4, 3), solver()
    fields = data(mesh)
    other = model(mesh, {**fields, "nu": fields["nu"] + 1})["u"]
    assert not torch.allclose(model(mesh, fields)["u"], other, atol=1e-4)


def test_a_rollout_makes_windows_that_meet_their_conditions() -> None:
    mesh, model = generate.rectangle(4, 3), solver()
    held = {"u": [Dirichlet(FunctionSpace(mesh, ("P1", 4)), "boundary", 0.25)]}
    nu = {"nu": data(mesh)["nu"]}
    rollout = Rollout(model, mesh, nu, held, Stepper("next"))
    states = list(rollout.run({"u": data(mesh)["u"]}, 0.4, 3))
    for state in states:
        assert bool((state["u"][mesh.boundary_nodes] == 0.25).all())
    assert not torch.equal(states[0]["u"], states[1]["u"])


def test_it_learns_advection_on_irregular_meshes(tmp_path: Path) -> None:
    """Windows of held-out runs on meshes never seen, against keeping the last state."""
    settings = TrajectorySettings(kind="advection-diffusion", nodes=60, steps=8)
    train, held_out = settings.pool(4, tmp_path), settings.others().pool(2, tmp_path)

    def window(run: Trajectory, first: int) -> torch.Tensor:
        return run.states["u"][first : first + 4].T

    torch.manual_seed(0)
    inputs = [("log_k", "P0", 0), WINDOW, ("b", "P1", 2)]
    model = MessagePassingSolver(inputs, [WINDOW], window=4, width=24, blocks=3)
    model.fit_scales((r.mesh, {**r.fields, "u": window(r, 0)}, {"u": window(r, 4)}) for r in train)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(160):
        run, first = train[step % 4], step // 4 % 2
        found = model(run.mesh, {**run.fields, "u": window(run, first)})["u"]
        loss = (found - window(run, first + 4)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    made = kept = 0.0
    for run in held_out:
        with torch.no_grad():
            found = model(run.mesh, {**run.fields, "u": window(run, 0)})["u"]
        made += float((found - window(run, 4)).square().mean())
        kept += float((window(run, 0)[:, -1:] - window(run, 4)).square().mean())
    assert made < 0.5 * kept


def test_vector_states_and_files(tmp_path: Path) -> None:
    mesh, window = generate.rectangle(3, 3), ("w", "P1", 6)
    model = MessagePassingSolver([window], [window], window=3, width=16, blocks=1)
    fields = {"w": torch.randn(mesh.num_nodes, 6, dtype=torch.float64)}
    found = model(mesh, fields)["w"]
    assert found.shape == (mesh.num_nodes, 6)
    again = load_operator(model.save(tmp_path / "solver"))
    assert torch.equal(again(mesh, fields)["w"], found)


def test_each_mesh_is_normalised_by_itself() -> None:
    meshes = [generate.rectangle(3, 3), generate.rectangle(5, 4)]
    batch = Batch.from_data_list(meshes)
    x = torch.randn(batch.num_nodes, 3, generator=torch.Generator().manual_seed(0)).double()
    found = each_normalised(5 * x + 2, batch)
    for part in found.split([m.num_nodes for m in meshes]):
        assert torch.allclose(part.mean(dim=0), torch.zeros(3).double(), atol=1e-12)
        assert torch.allclose(part.square().mean(dim=0), torch.ones(3).double(), atol=1e-4)


def test_errors() -> None:
    with pytest.raises(MeshError, match="one output, the window of states"):
        MessagePassingSolver(["nu"], [WINDOW], window=4)
    with pytest.raises(MeshError, match="4 columns, which is no multiple of window=3"):
        solver(window=3)
    with pytest.raises(MeshError, match="period must be 2 numbers"):
        solver(period=[1.0])
    with pytest.raises(MeshError, match="a window of 4 states needs more than width=4"):
        solver(width=4)
