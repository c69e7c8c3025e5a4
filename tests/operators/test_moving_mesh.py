"""A solver on a mesh and its moved copy: numbering, batches, files, conditions, rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from strategies import renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import MovingMeshSolver, load_operator
from meshlearn.training.rollout import Rollout, Stepper

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]
STATE = ("u", "P1", 2)
INPUTS = [("log_k", "P0", 0), STATE]
MOVERS = ("none", "universal", "variational")


def solver(mover: str = "variational", **changes: Any) -> MovingMeshSolver:
    torch.manual_seed(0)
    options = {"width": 8, "blocks": 2, "mover": mover} | changes
    return MovingMeshSolver(INPUTS, [STATE], **options).eval()


def given(mesh: Mesh) -> dict[str, Tensor]:
    """A front, and a wave."""
    x = mesh.pos
    front = ((x[:, 0] + 0.3 * x[:, 1] - 0.6) / 0.1).tanh()
    return {
        "log_k": mesh.centroids()[:, 0],
        "u": torch.stack([front, (3 * x[:, 1]).sin() * x[:, 0]], dim=1),
    }


def held(mesh: Mesh) -> dict[str, list[Dirichlet]]:
    space = FunctionSpace(mesh, STATE[1:])
    return {"u": [Dirichlet(space, "boundary", lambda x: x**2)]}


def call(model: MovingMeshSolver, mesh: Mesh) -> Tensor:
    with torch.no_grad():
        return model(mesh, given(mesh), held(mesh))["u"]


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return generate.polygon(SQUARE, 0.12, seed=0)


@pytest.mark.parametrize("mover", MOVERS)
def test_boundary_values_are_exact(mover: str, mesh: Mesh) -> None:
    found, edge = call(solver(mover), mesh), mesh.boundary_nodes
    assert torch.equal(found[edge], mesh.pos[edge] ** 2)
    assert found.dtype == torch.float64


@pytest.mark.parametrize("mover", MOVERS)
def test_renumbering_renumbers_the_result(mover: str, mesh: Mesh) -> None:
    other, node, _ = renumbered(mesh, seed=3)
    model = solver(mover)
    # an optimiser's last steps depend on the numbering
    tolerance = 5e-3 if mover == "variational" else 1e-4
    assert torch.allclose(call(model, mesh), call(model, other)[node], atol=tolerance)


@pytest.mark.parametrize("mover", MOVERS)
def test_a_batch_is_a_loop(mover: str, mesh: Mesh) -> None:
    meshes = [mesh, generate.rectangle(6, 5, upper=(2.0, 1.0))]
    model = solver(mover)
    alone = torch.cat([call(model, m) for m in meshes])
    batch = Batch.from_data_list(meshes)
    assert torch.allclose(call(model, batch), alone, atol=1e-5)
    # a second time from the moves that are kept
    assert torch.allclose(call(model, batch), alone, atol=1e-5)


@pytest.mark.parametrize("mover", MOVERS)
def test_saved_and_loaded_it_is_the_same(mover: str, mesh: Mesh, tmp_path: Path) -> None:
    options = {"steps": 2} if mover == "universal" else {}
    model = solver(mover, mover_options=options, every=3, strength=1.5)
    fields = given(mesh)
    model.fit_scales([(mesh, fields, {"u": fields["u"]})])
    again = load_operator(model.save(tmp_path / "weights"))
    assert again.config == model.config
    assert again.every == 3
    assert torch.equal(call(model, mesh), again(mesh, fields, held(mesh))["u"])


@pytest.mark.parametrize("mover", MOVERS)
def test_every_weight_is_trained_and_both_have_as_many(mover: str, mesh: Mesh) -> None:
    model = solver(mover).train()
    model(mesh, given(mesh))["u"].square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    sizes = [sum(p.numel() for p in m.parameters()) for m in (model, solver("none"))]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("mover", MOVERS[1:])
def test_the_copy_follows_the_front_and_is_valid(mover: str, mesh: Mesh) -> None:
    front = given(mesh)["u"][:, :1]
    moved = solver(mover).follower.pair(mesh, front).moved
    assert len(moved.inverted_cells()) == 0
    assert float(moved.volumes().sum()) == pytest.approx(float(mesh.volumes().sum()))
    x = [m.pos @ torch.tensor([1.0, 0.3]).double() - 0.6 for m in (mesh, moved)]
    near = [float((along.abs() < 0.15).double().mean()) for along in x]
    assert near[1] > 1.2 * near[0]


def test_without_a_mover_the_copy_is_the_mesh(mesh: Mesh) -> None:
    pair = solver("none").follower.pair(mesh, given(mesh)["u"])
    assert torch.equal(pair.moved.pos, mesh.pos)


def test_values_go_there_and_back(mesh: Mesh) -> None:
    """Linear fields exactly, others nearly."""
    model = solver("variational")
    pair = model.follower.pair(mesh, given(mesh)["u"])
    linear = (mesh.pos @ torch.tensor([[2.0], [-1.0]]).double() + 3).float()
    with torch.no_grad():
        there = model.there(linear, pair.there)
        assert torch.allclose(model.back(there, pair.back), linear, atol=1e-5)
    exact = pair.moved.pos @ torch.tensor([[2.0], [-1.0]]).double() + 3
    assert torch.allclose(there.double(), exact, atol=1e-5)


def test_a_box_in_3d() -> None:
    box = generate.box(3, 3, 3)
    torch.manual_seed(0)
    model = MovingMeshSolver(["u"], ["u"], dim=3, width=8, blocks=1, mover="variational")
    u = ((box.pos[:, 0] - 0.4) / 0.2).tanh()
    found = model(box, {"u": u})["u"]
    assert bool(torch.isfinite(found).all())
    pair = model.follower.pair(box, u[:, None])
    assert len(pair.moved.inverted_cells()) == 0
    assert float((pair.moved.pos - box.pos).abs().max()) > 1e-3


def test_a_move_is_made_once_for_each_state(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    model, moves = solver("variational"), []
    mover = model.follower._mover
    assert mover is not None
    plain = mover.move
    monkeypatch.setattr(mover, "move", lambda *a, **k: moves.append(1) or plain(*a, **k))
    fresh = generate.rectangle(6, 5)
    u = given(fresh)["u"]
    first = model.follower.pair(fresh, u).moved.pos
    assert torch.equal(model.follower.pair(fresh, u).moved.pos, first)
    # another model with the same settings and a moved copy of other positions
    model.follower.pair(fresh, u + 1e-3 * u.square())
    model.follower.pair(fresh.moved(2 * fresh.pos), u)
    assert len(moves) == 3


def test_in_a_rollout_the_mesh_moves_every_so_many_steps(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = solver("variational", every=3)
    asked: list[Tensor] = []
    plain = model.follower.pair
    monkeypatch.setattr(
        model.follower, "pair", lambda m, state: asked.append(state) or plain(m, state)
    )
    fields = given(mesh)
    rollout = Rollout(model, mesh, {"log_k": fields["log_k"]}, held(mesh), Stepper())
    with torch.no_grad():
        states = list(rollout.run({"u": fields["u"]}, 0.01, 7))
    assert len(states) == 7
    expected = [fields["u"], states[2]["u"], states[5]["u"]]
    assert len(asked) == 3
    assert all(torch.equal(a, b) for a, b in zip(asked, expected, strict=True))


def test_what_is_followed_is_what_is_used(mesh: Mesh) -> None:
    model, fields = solver("variational"), given(mesh)
    other = {**fields, "u": (4 * mesh.pos).cos()}
    with torch.no_grad():
        alone = model(mesh, fields)["u"]
        ready = model.follow(mesh, fields, model.prepare(mesh))
        assert torch.equal(model(mesh, fields, prepared=ready)["u"], alone)
        ready = model.follow(mesh, other, model.prepare(mesh))
        assert not torch.allclose(model(mesh, fields, prepared=ready)["u"], alone, atol=1e-5)


def test_errors() -> None:
    with pytest.raises(MeshError, match="output 'u' must be P1 and one of its inputs"):
        MovingMeshSolver(["f"], ["u"])
    with pytest.raises(MeshError, match="`every` must be at least 1, got 0"):
        solver(every=0)
    with pytest.raises(MeshError, match=r"mover must be one of none, variational, .*, got 'fast'"):
        solver("fast")
    with pytest.raises(MeshError, match=r"options of the mover variational: .*stride"):
        solver(mover_options={"stride": 1})
    with pytest.raises(MeshError, match="there is no mover, and its options are steps"):
        solver("none", mover_options={"steps": 1})
    with pytest.raises(MeshError, match="strength must be positive and smoothing not negative"):
        solver(strength=0)
    with pytest.raises(MeshError, match="strength must be positive and smoothing not negative"):
        solver(smoothing=-1.0)
    with pytest.raises(MeshError, match=r"monitor must be one of l2, .*, got 'arc'"):
        solver(monitor="arc")
    box = generate.box(1, 1, 1)
    with pytest.raises(MeshError, match="is for 2D, the mesh is 3D"):
        MovingMeshSolver(["u"], ["u"])(box, {"u": box.pos[:, 0]})
