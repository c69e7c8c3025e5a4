"""SPON: any spaces, levels, dimension; what does not depend on numbering, turns and width."""

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
from meshlearn.operators import SPON, Guided, joined
from meshlearn.training.operators import OperatorSettings
from meshlearn.training.settings import read_settings

VELOCITY = ("v", "P2", 2)
PROCESSORS = ("flat", "multigrid", "elliptic")


def flow(x: Tensor) -> Tensor:
    return torch.stack([x[:, 1] ** 2, x[:, 0] * x[:, 1]], dim=1)


def held(mesh: Mesh) -> dict[str, list[Dirichlet]]:
    return {"v": [Dirichlet(FunctionSpace(mesh, ("P2", 2)), "boundary", flow)]}


def stokes(processor: str, dim: int = 2) -> SPON:
    torch.manual_seed(0)
    outputs = [("v", "P2", dim), ("p", "P1", 0)]
    return SPON(["f"], outputs, dim=dim, processor=processor, width=8, blocks=7, levels=2).eval()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_quadratic_vectors(processor: str) -> None:
    mesh = generate.rectangle(4, 3)
    space = FunctionSpace(mesh, ("P2", 2))
    model = stokes(processor)
    with torch.no_grad():
        found = model(mesh, {"f": mesh.pos[:, 0]}, held(mesh))
    assert found["v"].shape == (space.num_dofs // 2, 2)
    assert found["p"].shape == (mesh.num_nodes,)
    exact = space.interpolate(flow)
    edge = held(mesh)["v"][0].dofs
    assert float((found["v"].reshape(-1) - exact)[edge].abs().max()) <= 1e-12
    # the field itself, not only its coefficients: between the nodes of the boundary, too
    trace = space.trace(found["v"].reshape(-1), "boundary")
    expected = flow(trace.x.reshape(-1, 2))
    assert float((trace.value.reshape(-1, 2) - expected).abs().max()) <= 1e-12


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_batch_of_quadratic_fields_is_a_loop(processor: str) -> None:
    meshes = [generate.rectangle(4, 3), generate.rectangle(3, 5, diagonal="crossed")]
    batch = Batch.from_data_list(meshes)
    model = stokes(processor)
    with torch.no_grad():
        alone = [model(m, {"f": m.pos[:, 0]}, held(m)) for m in meshes]
        found = model(batch, {"f": batch.pos[:, 0]}, held(batch))
    for variable in model.outputs:
        expected = joined(variable, meshes, [a[variable.name] for a in alone])
        assert torch.allclose(found[variable.name], expected, atol=1e-5)


def test_nested_levels_do_not_see_the_numbering() -> None:
    meshes = [generate.rectangle(n, n) for n in (8, 4, 2)]
    moved = [renumbered(mesh, seed=k) for k, mesh in enumerate(meshes)]
    torch.manual_seed(0)
    model = SPON(["f"], ["u"], width=8, blocks=6, levels=3).eval()
    found = []
    for fine, *coarser in (meshes, [m[0] for m in moved]):
        levels = model.prepare(fine, coarser)
        found.append(model(fine, {"f": fine.pos.sin().sum(dim=1)}, prepared=levels)["u"])
    assert torch.allclose(found[0], found[1][moved[0][1]], atol=1e-5)


def test_levels_and_solves_reach_across_the_mesh_where_flat_does_not() -> None:
    mesh = generate.rectangle(24, 2, upper=(12.0, 1.0))
    far = int(mesh.pos[:, 0].argmax())
    spot = mesh.pos[:, 0].argmin()
    reached = []
    for processor in PROCESSORS:
        torch.manual_seed(0)
        model = SPON(["f"], ["u"], processor=processor, width=8, blocks=7, levels=4)
        f = torch.zeros(mesh.num_nodes, dtype=torch.float64, requires_grad=True)
        model(mesh, {"f": f})["u"][far].backward()
        assert f.grad is not None
        reached.append(float(f.grad[spot].abs()))
    assert reached[0] == 0
    assert min(reached[1:]) > 0


@pytest.mark.parametrize("processor", PROCESSORS)
def test_extended_conditions_reach_the_inside_and_stay_exact(processor: str) -> None:
    mesh = generate.rectangle(12, 12)
    space = FunctionSpace(mesh, "P2")
    edge = Dirichlet(space, "boundary", lambda x: x[:, 0] ** 2)
    middle = (space.dof_points - 0.5).square().sum(dim=1).argmin()
    moves = []
    for conditions in ("nodal", "extended"):
        torch.manual_seed(0)
        model = SPON(
            ["f"], [("u", "P2", 0)], processor=processor, width=8, blocks=5, levels=2,
            conditions=conditions,
        ).eval()  # fmt: skip
        values = edge.values.clone().requires_grad_()
        u = model(mesh, {"f": mesh.pos[:, 0]}, {"u": [Dirichlet(space, edge.dofs, values)]})["u"]
        assert torch.equal(u[edge.dofs], values)
        (gradient,) = torch.autograd.grad(u[middle], values)
        moves.append(float(gradient.abs().max()))
    assert moves[1] > 1e-5
    if processor == "flat":
        assert moves[0] == 0


def darcy(**options: Any) -> SPON:
    torch.manual_seed(1)
    inputs = [("log_k", "P0", 0), "f"]
    return SPON(inputs, ["u"], processor="elliptic", width=8, blocks=3, **options).eval()


def problem(mesh: Mesh) -> tuple[dict[str, Tensor], dict[str, list[Dirichlet]]]:
    """k that is constant on squares of side 1/4, and smooth data."""
    cell, x = (4 * mesh.centroids()).floor(), mesh.pos
    held = Dirichlet(FunctionSpace(mesh, "P1"), "boundary", lambda x: x[:, 0] ** 2 - x[:, 1])
    fields = {"log_k": (7 * cell[:, 0] + 5 * cell[:, 1]).sin(), "f": 9 * (3 * x[:, 1]).cos()}
    return fields, {"u": [held]}


def stirred(model: SPON) -> SPON:
    """Weights that do something in each round."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "fluxes" in name:
                parameter.mul_(3)
    return model


def test_elliptic_rounds_do_not_see_numbering_and_turns() -> None:
    mesh = generate.rectangle(6, 5)
    fields, bcs = problem(mesh)
    model = stirred(darcy(conditions="extended"))
    with torch.no_grad():
        u = model(mesh, fields, bcs)["u"]
    other, place, _ = renumbered(mesh, seed=3)
    # a quarter: the screen of the extension depends on the box around the mesh
    turned = mesh.moved(torch.stack([-mesh.pos[:, 1], mesh.pos[:, 0]], dim=1))
    # k and g are functions of places: cells and boundary nodes find theirs again
    given, held = problem(other)
    with torch.no_grad():
        renamed = model(other, given, held)["u"][place]
        values = Dirichlet(FunctionSpace(turned, "P1"), bcs["u"][0].dofs, bcs["u"][0].values)
        rotated = model(turned, fields, {"u": [values]})["u"]
    for found in (renamed, rotated):
        assert float((found - u).abs().max()) < 3e-5 * float(u.abs().max())


def test_elliptic_rounds_converge_when_the_mesh_is_refined() -> None:
    model, found = stirred(darcy(conditions="extended")), []
    for n in (8, 16, 64):
        mesh = generate.rectangle(n, n)
        with torch.no_grad():
            u = model(mesh, *problem(mesh))["u"]
        along = torch.arange(0, n + 1, n // 8)
        found.append(u[(along[:, None] * (n + 1) + along).reshape(-1)])
    first, second = (float((u - found[2]).abs().max()) for u in found[:2])
    assert float(found[2].abs().max()) > 0.5
    assert second < 0.5 * first
    assert second < 0.05


def test_elliptic_rounds_know_units_of_length_from_the_data() -> None:
    found = []
    for scale in (1.0, 1e-3):
        mesh = generate.rectangle(5, 5, upper=(scale, scale))
        fields, bcs = problem(generate.rectangle(5, 5))
        held = {"u": [Dirichlet(FunctionSpace(mesh, "P1"), bcs["u"][0].dofs, bcs["u"][0].values)]}
        model = stirred(darcy(conditions="extended"))
        u = fields["f"].roll(1)
        model.fit_scales([(mesh, fields, {"u": u}), (mesh, fields, {"u": 2 * u})])
        with torch.no_grad():
            found.append(model(mesh, fields, held)["u"])
    assert torch.allclose(found[0], found[1], atol=1e-5 * float(found[0].abs().max()))


@pytest.mark.parametrize("conditions", ["nodal", "extended"])
def test_elliptic_rounds_learn_and_are_saved(conditions: str, tmp_path: Path) -> None:
    mesh = generate.rectangle(6, 6)
    fields, bcs = problem(mesh)
    model = darcy(conditions=conditions)
    prepared = model.prepare(mesh)
    log_k = fields["log_k"].clone().requires_grad_()
    u = model(mesh, {**fields, "log_k": log_k}, bcs, prepared=prepared)["u"]
    u.square().sum().backward()
    assert log_k.grad is not None
    assert bool((log_k.grad != 0).any())
    assert all(p.grad is not None for p in model.parameters())
    model.save(tmp_path / "m")
    again = SPON.from_pretrained(tmp_path / "m")
    assert torch.equal(again(mesh, fields, bcs)["u"], u)


def test_elliptic_rounds_inside_another_operator_see_cells_from_the_sites() -> None:
    mesh = generate.rectangle(5, 5)
    torch.manual_seed(0)
    inputs = [("k", "P0", 0), ("nu", "P0", 0)]
    options = {"processor": "elliptic", "width": 8, "blocks": 2}
    model = Guided(inputs, ["u"], parameters=["nu"], base="spon", options=options).eval()
    one = torch.ones(mesh.num_cells)
    with torch.no_grad():
        found = [model(mesh, {"k": k * one, "nu": one})["u"] for k in (1.0, 2.0)]
    assert bool(torch.isfinite(found[0]).all())
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_the_settings_in_the_examples_are_valid() -> None:
    configs = Path(__file__).parents[2] / "examples" / "configs"
    for name in ("operator_darcy_elliptic.yaml", "resolution/spon_elliptic.yaml"):
        settings = read_settings(configs / name, OperatorSettings)
        assert SPON(["f"], ["u"], **settings.options).config["processor"] == "elliptic"


def test_three_dimensions() -> None:
    mesh = generate.box(2, 2, 2)
    found = stokes("elliptic", dim=3)(mesh, {"f": mesh.pos[:, 0]})
    assert found["v"].shape == (mesh.num_nodes + len(mesh.topology.edges), 3)
    model = stokes("multigrid", dim=3)
    found = model(mesh, {"f": mesh.pos[:, 0]})
    assert found["v"].shape == (mesh.num_nodes + len(mesh.topology.edges), 3)
    with pytest.raises(MeshError, match="is for 2D, the mesh is 3D"):
        SPON(["f"], ["u"], processor="flat", width=8)(mesh, {"f": mesh.pos[:, 0]})


def test_errors() -> None:
    with pytest.raises(MeshError, match="processor must be one of"):
        SPON(["f"], ["u"], processor="deep")
    with pytest.raises(MeshError, match="at least one channel, got 0"):
        SPON(["f"], ["u"], processor="elliptic", channels=0)
    with pytest.raises(MeshError, match="conditions must be one of"):
        SPON(["f"], ["u"], conditions="soft")
    with pytest.raises(MeshError, match="a V-cycle of 4 levels needs at least 7 blocks, got 6"):
        SPON(["f"], ["u"], blocks=6, levels=4)
    mesh = generate.rectangle(4, 4)
    with pytest.raises(MeshError, match="has 3 coarser levels, got 1 meshes"):
        SPON(["f"], ["u"], width=8).prepare(mesh, [mesh])
    quads = generate.rectangle(3, 3, cell="quad")
    with pytest.raises(MeshError, match="P2 need triangles or tetrahedra"):
        stokes("flat")(quads, {"f": quads.pos[:, 0]})
