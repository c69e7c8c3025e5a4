"""SPON: any spaces, levels, dimension; nested levels do not see the numbering."""

from __future__ import annotations

import pytest
import torch
from strategies import renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import SPON, joined

VELOCITY = ("v", "P2", 2)


def flow(x: Tensor) -> Tensor:
    return torch.stack([x[:, 1] ** 2, x[:, 0] * x[:, 1]], dim=1)


def held(mesh: Mesh) -> dict[str, list[Dirichlet]]:
    return {"v": [Dirichlet(FunctionSpace(mesh, ("P2", 2)), "boundary", flow)]}


def stokes(processor: str, dim: int = 2) -> SPON:
    torch.manual_seed(0)
    outputs = [("v", "P2", dim), ("p", "P1", 0)]
    return SPON(["f"], outputs, dim=dim, processor=processor, width=8, blocks=7, levels=2).eval()


@pytest.mark.parametrize("processor", ["flat", "multigrid"])
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


@pytest.mark.parametrize("processor", ["flat", "multigrid"])
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


def test_levels_reach_across_the_mesh_where_flat_does_not() -> None:
    mesh = generate.rectangle(24, 2, upper=(12.0, 1.0))
    far = int(mesh.pos[:, 0].argmax())
    spot = mesh.pos[:, 0].argmin()
    reached = []
    for processor in ("flat", "multigrid"):
        torch.manual_seed(0)
        model = SPON(["f"], ["u"], processor=processor, width=8, blocks=7, levels=4)
        f = torch.zeros(mesh.num_nodes, dtype=torch.float64, requires_grad=True)
        model(mesh, {"f": f})["u"][far].backward()
        assert f.grad is not None
        reached.append(float(f.grad[spot].abs()))
    assert reached[0] == 0
    assert reached[1] > 0


@pytest.mark.parametrize("processor", ["flat", "multigrid"])
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


def test_three_dimensions() -> None:
    mesh = generate.box(2, 2, 2)
    model = stokes("multigrid", dim=3)
    found = model(mesh, {"f": mesh.pos[:, 0]})
    assert found["v"].shape == (mesh.num_nodes + len(mesh.topology.edges), 3)
    with pytest.raises(MeshError, match="is for 2D, the mesh is 3D"):
        SPON(["f"], ["u"], processor="flat", width=8)(mesh, {"f": mesh.pos[:, 0]})


def test_errors() -> None:
    with pytest.raises(MeshError, match="processor must be one of"):
        SPON(["f"], ["u"], processor="deep")
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
