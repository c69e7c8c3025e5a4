"""The universal mover's structure holds for any weights: invariance, validity, fixed points."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Field, Function
from meshlearn.movers import MoverNet, UniversalMover, Variational
from meshlearn.movers.constraints import freedom
from meshlearn.movers.learned.state import Problem
from meshlearn.nn.storage import load_weights, save_model

CENTRE = 0.4


def network(seed: int = 0, size: float = 0.02) -> MoverNet:
    """Random weights, the last layers included, so that every path counts."""
    torch.manual_seed(seed)
    net = MoverNet(16, 2)
    for last in (net.weights, net.gain):
        torch.nn.init.normal_(last.weight, std=size)
    return net


def mover(seed: int = 0, size: float = 0.02, **options) -> UniversalMover:
    return UniversalMover({2: network(seed, size), 3: network(seed + 1, size)}, **options)


def bump(x: Tensor) -> Tensor:
    """A density in the plane or in space, about the point CENTRE on all axes."""
    return 1 + 8 * torch.exp(-30 * ((x - CENTRE) ** 2).sum(dim=1))


def metric(x: Tensor) -> Tensor:
    """A metric that is finer along the direction (1, 2)."""
    direction = torch.tensor([1.0, 2.0], dtype=x.dtype) / math.sqrt(5)
    eye = torch.eye(2, dtype=x.dtype)
    return eye + (bump(x) - 1)[:, None, None] * direction[:, None] * direction


def plate() -> Mesh:
    hole = [[0.6, 0.6], [0.8, 0.6], [0.7, 0.8]]
    return generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.09, holes=[hole], seed=1)


MESHES = {
    "plate": plate,
    "grid": lambda: generate.rectangle(8, 8),
    "box": lambda: generate.box(4, 4, 4),
}


@pytest.mark.parametrize("name", MESHES)
def test_moves_and_keeps_the_contract(name):
    mesh = MESHES[name]()
    result = mover().move(mesh, Function(bump))
    assert result.report.iterations > 0
    assert result.report.max_displacement > 1e-3
    assert result.report.inverted_cells == 0
    assert result.report.boundary_error < 1e-12
    assert result.report.volume_error < 1e-12


@pytest.mark.parametrize("name", MESHES)
def test_turns_shifts_and_scales_with_the_mesh(name):
    mesh = MESHES[name]()
    d = mesh.dim
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]
    turn = turn * torch.sign(torch.linalg.det(turn)) if d == 3 else turn
    if torch.linalg.det(turn) < 0:
        turn[:, 0] *= -1
    shift, scale = torch.randn(d, generator=generator, dtype=torch.float64), 37.0

    def placed(x: Tensor) -> Tensor:
        return scale * x @ turn.T + shift

    moved = mover().move(mesh, Function(bump)).mesh.pos
    back = Function(lambda y: bump(((y - shift) / scale) @ turn))
    other = mover().move(mesh.moved(placed(mesh.pos)), back).mesh.pos
    assert float((other - placed(moved)).norm(dim=1).max()) < 1e-5 * scale


def test_a_metric_turns_with_the_mesh():
    mesh = plate()
    c, s = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    moved = mover().move(mesh, Function(metric)).mesh.pos
    turned = Function(lambda y: turn @ metric(y @ turn) @ turn.T)
    other = mover().move(mesh.moved(mesh.pos @ turn.T), turned).mesh.pos
    assert float((other - moved @ turn.T).abs().max()) < 1e-5


@pytest.mark.parametrize("name", MESHES)
def test_does_not_depend_on_numbering(name):
    mesh = MESHES[name]()
    generator = torch.Generator().manual_seed(4)
    order = torch.randperm(len(mesh.pos), generator=generator)
    (kind, cells) = next(iter(mesh.cells.items()))
    shuffled = torch.argsort(order)[cells][torch.randperm(len(cells), generator=generator)]
    other = Mesh.from_cells(mesh.pos[order], {kind: shuffled})
    expected = mover().move(mesh, Function(bump)).mesh.pos[order]
    # Tags of the generator pin corners that geometry pins as well: the meshes are the same problem.
    found = mover().move(other, Function(bump)).mesh.pos
    assert float((found - expected).abs().max()) < 1e-5


def test_a_symmetric_problem_gives_a_symmetric_mesh():
    mesh = generate.rectangle(8, 8, diagonal="crossed")
    centred = Function(lambda x: 1 + 8 * torch.exp(-30 * ((x - 0.5) ** 2).sum(dim=1)))
    pos = mover().move(mesh, centred).mesh.pos
    mirrored = torch.stack([1 - mesh.pos[:, 0], mesh.pos[:, 1]], dim=1)
    partner = torch.cdist(mirrored, mesh.pos).argmin(dim=1)
    image = torch.stack([1 - pos[:, 0], pos[:, 1]], dim=1)
    assert float((image - pos[partner]).abs().max()) < 1e-5


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("value", [1.0, 1e6])
def test_a_constant_monitor_moves_nothing(name, value):
    mesh = MESHES[name]()
    result = mover().move(mesh, Constant(value))
    assert torch.equal(result.mesh.pos, mesh.pos)
    assert (result.report.iterations, result.report.converged) == (0, True)


@pytest.mark.parametrize("seed", range(6))
def test_wild_weights_never_tangle(seed):
    corners = generate.random_polygon(7, seed=seed)
    mesh = generate.polygon(corners, h=0.15, seed=seed)
    sharp = Function(lambda x: 1 + 1e4 * torch.exp(-300 * ((x - 0.1) ** 2).sum(dim=1)))
    report = mover(seed, size=20.0).move(mesh, sharp).report
    assert report.inverted_cells == 0
    assert report.min_volume_ratio > 0
    assert report.boundary_error < 1e-12


@pytest.mark.parametrize("size", [0.02, 0.5, 20.0])
@pytest.mark.parametrize("name", MESHES)
def test_no_weights_raise_the_energy(name, size):
    mesh, monitor = MESHES[name](), Function(bump)
    problem = Problem(mesh, monitor, freedom(mesh), 1.0)
    before = float(problem.place(mesh.pos, None).energy.sum())
    result = mover(3, size).move(mesh, monitor)
    after = float(problem.place(result.mesh.pos, None).energy.sum())
    assert after < before if result.report.iterations else after == before


def test_wild_weights_leave_a_mesh_of_the_least_energy_alone():
    mesh, monitor = plate(), Function(bump)
    best = Variational(theta=0.2).move(mesh, monitor).mesh
    result = mover(3, size=20.0).move(mesh, monitor, start=best)
    assert torch.equal(result.mesh.pos, best.pos)
    assert (result.report.iterations, result.report.converged) == (0, False)
    assert result.report.reason == "no share of a step lowers the energy"


def test_where_the_network_fails_the_slope_of_the_energy_leads_down():
    # Half of what an optimiser of the same energy gets, with weights that know nothing.
    mesh, monitor = plate(), Function(bump)
    found = mover(3, size=1e6).move(mesh, monitor).report
    least = Variational(theta=0.2).move(mesh, monitor).report.equidistribution_after
    before = found.equidistribution_before
    assert found.equidistribution_after < before - 0.5 * (before - least)


def test_a_mesh_that_fits_says_so():
    mesh = plate()
    assert mover().move(mesh, Constant()).report.reason == "the mesh fits its monitor"


@pytest.mark.parametrize("name", MESHES)
def test_tile_by_tile_is_all_at_once(name):
    mesh, net = MESHES[name](), network()
    problem = Problem(mesh, Function(bump), freedom(mesh), 1.0)
    state = problem.look(mesh.pos, None)
    whole = net(problem, state)
    with torch.no_grad():
        tiled = net(problem, state)
    assert whole.requires_grad
    assert float((tiled - whole.detach()).abs().max()) < 1e-5 * float(state.local.mean())


def test_factors_are_kept_for_the_same_mesh_and_freedom_only():
    mesh, fresh, field = plate(), plate(), Function(bump)
    first = mover().move(mesh, field).mesh.pos
    assert torch.equal(mover().move(mesh, field).mesh.pos, first)
    held = mover().move(mesh, field, slide="none").mesh.pos
    assert torch.equal(held, mover().move(plate(), field, slide="none").mesh.pos)
    assert not torch.equal(held, first)
    for copy in (mesh, fresh):  # the same topology with other positions, and a new one
        copy.pos *= torch.tensor([2.0, 1.0], dtype=torch.float64)
    wide = Function(lambda x: bump(x / 2))
    expected = mover().move(fresh, wide).mesh.pos
    assert torch.equal(mover().move(mesh, wide).mesh.pos, expected)


def test_batch_moves_as_its_members_do():
    meshes = [plate(), generate.rectangle(6, 9)]
    fields = [Function(bump).on(mesh) for mesh in meshes]
    alone = torch.cat([mover().move(m, f).mesh.pos for m, f in zip(meshes, fields, strict=True)])
    batch = Batch.from_data_list(meshes)
    together = mover(tol=1e-9).move(batch, Field(batch, torch.cat([f.values for f in fields])))
    assert float((together.mesh.pos - alone).abs().max()) < 1e-6


def test_saved_weights_move_the_same(tmp_path):
    own = mover()
    own.save(tmp_path / "mine", 2, {"seed": 0})
    loaded = UniversalMover.from_pretrained(tmp_path / "mine")
    mesh = plate()
    first = own.move(mesh, Function(bump)).mesh.pos
    assert torch.equal(loaded.move(mesh, Function(bump)).mesh.pos, first)
    with pytest.raises(MeshError, match="weights for 2D, and the mesh is 3D"):
        loaded.move(generate.box(2, 2, 2), Constant())
    assert json.loads((tmp_path / "mine.json").read_text())["seed"] == 0


def test_missing_or_damaged_weights(tmp_path):
    with pytest.raises(MeshError, match="cannot read the model's card"):
        UniversalMover.from_pretrained(tmp_path / "none")
    path = mover().save(tmp_path / "mine", 2)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(MeshError, match="damaged"):
        UniversalMover.from_pretrained(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(MeshError, match="is not JSON"):
        UniversalMover.from_pretrained(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(MeshError, match="does not say which model"):
        UniversalMover.from_pretrained(path)


def test_weights_of_another_model(tmp_path):
    path = save_model(tmp_path / "line", torch.nn.Linear(1, 1), {"dim": 2}, {})
    with pytest.raises(MeshError, match="holds a Linear, not a MoverNet"):
        load_weights(path, network())


def test_at_least_one_step():
    with pytest.raises(MeshError, match="steps must be at least 1, got 0"):
        mover(steps=0)
