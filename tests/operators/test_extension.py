"""Dirichlet data as continuous fields: harmonic, convergent, differentiable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import GraphKernelNetwork, LowRankNO, MeshGraphNet, Variable
from meshlearn.operators.extension import boxes, extended, extension, zero_where_held

OUTPUTS = [Variable("u"), Variable("q", "P1", 2)]


def features(mesh: Mesh, values: Tensor) -> Tensor:
    """One input; u held on the boundary, the second component of q, too."""
    edge = torch.zeros(mesh.num_nodes, dtype=torch.bool)
    edge[mesh.boundary_nodes] = True
    mark, g = edge.float(), values.float() * edge
    none = torch.zeros_like(mark)
    return torch.stack([none + 5, mark, g, none, mark, none, -g], dim=1)


def test_values_are_carried_into_the_domain() -> None:
    mesh = generate.rectangle(12, 12, lower=(-0.01, 0.0), upper=(0.01, 0.02))
    x = mesh.pos / 0.01
    nodes, carried = extended(features(mesh, 3 + x[:, 0]), OUTPUTS, extension(mesh))
    edge = mesh.boundary_nodes
    assert torch.equal(nodes[:, 0], torch.full((mesh.num_nodes,), 5.0))
    assert torch.allclose(nodes[edge, 2].double(), 3 + x[edge, 0], atol=1e-6)
    # a linear field is harmonic; the screen takes away a little
    assert float((nodes[:, 2] - 3 - x[:, 0]).abs().max()) < 0.15
    assert torch.equal(nodes[:, 2], carried[:, 0])
    assert torch.equal(carried[:, 2], nodes[:, 6])
    assert float((carried[:, 0] + carried[:, 2]).abs().max()) < 1e-5
    # nothing is held in the first component of q
    assert (nodes[:, 3] == 1).all()
    assert (carried[:, 1] == 0).all()
    phi = nodes[:, 1]
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[edge] = False
    assert float(phi[edge].abs().max()) < 1e-6
    assert float(phi[inner].min()) > 0.1
    assert float(phi.max()) <= 1


def test_both_fields_converge_when_the_mesh_is_refined() -> None:
    found = []
    for n in (8, 16, 64):
        mesh = generate.rectangle(n, n)
        wave = (3 * mesh.pos[:, 0]).sin() * mesh.pos[:, 1]
        nodes, _ = extended(features(mesh, wave), OUTPUTS, extension(mesh))
        along = torch.arange(0, n + 1, n // 8)
        found.append(nodes[(along[:, None] * (n + 1) + along).reshape(-1)])
    for column in (1, 2):
        coarse, fine, best = (table[:, column] for table in found)
        first, second = float((coarse - best).abs().max()), float((fine - best).abs().max())
        assert second < 0.35 * first
        assert second < 0.01


def test_a_batch_takes_the_box_of_each_mesh() -> None:
    meshes = [generate.rectangle(5, 5), generate.rectangle(4, 6, upper=(3.0, 1.0))]
    batch = Batch.from_data_list(meshes)
    graph, lower, sides = boxes(batch)
    assert torch.equal(graph, batch.batch)
    assert torch.equal(sides, torch.tensor([[1.0, 1.0], [3.0, 1.0]]).double())
    assert torch.equal(lower, torch.zeros(2, 2).double())
    alone = [extended(features(m, m.pos[:, 0]), OUTPUTS, extension(m))[0] for m in meshes]
    together, _ = extended(features(batch, batch.pos[:, 0]), OUTPUTS, extension(batch))
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_values_take_gradients() -> None:
    mesh = generate.rectangle(5, 5)
    values = mesh.pos[:, 0].clone().requires_grad_()
    _, carried = extended(features(mesh, values), OUTPUTS, extension(mesh))
    carried[:, 0].sum().backward()
    assert values.grad is not None
    # all of it comes from the boundary, and a constant is carried almost whole
    assert float(values.grad.sum()) == pytest.approx(mesh.num_nodes, rel=0.1)


def test_one_factorisation_serves_other_values() -> None:
    mesh = generate.rectangle(5, 5)
    kept = extension(mesh)
    for values in (mesh.pos[:, 0], mesh.pos[:, 1] ** 2):
        given = features(mesh, values)
        found, fresh = (
            extended(given, OUTPUTS, kept)[0],
            extended(given, OUTPUTS, extension(mesh))[0],
        )
        assert torch.equal(found, fresh)
    edge = mesh.boundary_nodes
    assert kept.solver(edge) is kept.solver(edge.clone())


def test_loads_are_spread_with_zero_where_each_output_is_held() -> None:
    mesh = generate.rectangle(6, 6)
    equation = extension(mesh)
    loads = torch.rand(mesh.num_nodes, 3, 2, generator=torch.manual_seed(0))
    found = zero_where_held(features(mesh, mesh.pos[:, 0]), OUTPUTS, equation)(loads)
    assert found.shape == loads.shape
    edge = mesh.boundary_nodes
    # u and the second component of q are held on the boundary
    assert (found[edge][:, [0, 2]] == 0).all()
    assert (found[edge][:, 1] != 0).all()
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[edge] = False
    left = torch.stack([equation.matrix @ found[:, k].double() for k in range(3)], dim=1)
    left = (left - loads).abs()
    assert float(left[inner].max()) < 1e-4
    assert float(left[:, 1].max()) < 1e-4


def test_nodal_conditions_are_the_other_choice() -> None:
    mesh = generate.rectangle(4, 4)
    assert GraphKernelNetwork(["f"], ["u"], conditions="nodal").prepare(mesh)[0] is None
    assert MeshGraphNet(["f"], ["u"]).prepare(mesh) is None
    held = {"u": [Dirichlet(FunctionSpace(mesh, "P1"), "boundary", lambda x: 2 + x[:, 0])]}
    model = MeshGraphNet(["f"], ["u"], width=8, blocks=1, conditions="extended")
    for parameter in model.decode.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        u = model(mesh, {"f": mesh.pos[:, 0]}, held)["u"]
    # a network that adds nothing leaves the extension, about the harmonic one
    assert float((u - 2 - mesh.pos[:, 0]).abs().max()) < 0.15
    for model_of in (GraphKernelNetwork, MeshGraphNet):
        with pytest.raises(MeshError, match=r"conditions must be one of .*, got 'weak'"):
            model_of(["f"], ["u"], conditions="weak")


def test_errors() -> None:
    with pytest.raises(MeshError, match=r"weights must be one of .*, got 'area'"):
        LowRankNO(["f"], ["u"], weights="area")
