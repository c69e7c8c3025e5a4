"""The whole network: recomputation, batches, blocks of either kind."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch

from meshlearn.mesh import generate
from meshlearn.nn import AttentionBlock, MeshBlock, MeshNet, Processor, invariant_features, segments


@pytest.mark.parametrize("recompute", [1, 2, 5])
def test_recomputation_changes_nothing(recompute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshlearn.nn.mesh_net._CHUNK", 50)  # more than one
    torch.manual_seed(0)
    mesh = generate.rectangle(5, 5)
    net = MeshNet(2, 1, width=16, blocks=3)
    nodes = torch.randn(mesh.num_nodes, 2)
    found = []
    for k in (0, recompute):
        net.zero_grad()
        net.processor.recompute = k
        out = net(mesh, nodes)
        out.square().sum().backward()
        found.append([out.detach(), *(p.grad for p in net.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 20
    for one, two in zip(*found, strict=True):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5)


def test_a_batch_is_a_loop_with_any_blocks_and_edges() -> None:
    torch.manual_seed(0)
    meshes = [generate.rectangle(3, 3), generate.rectangle(4, 2, cell="quad")]
    net = MeshNet(2, 3, 10, width=8, blocks=[MeshBlock(8), AttentionBlock(8, 2)]).double()
    nodes = [torch.randn(mesh.num_nodes, 2, dtype=torch.float64) for mesh in meshes]
    batch = Batch.from_data_list(meshes)
    found = net(batch, torch.cat(nodes), invariant_features(batch).double())
    alone = [
        net(mesh, x, invariant_features(mesh).double())
        for mesh, x in zip(meshes, nodes, strict=True)
    ]
    assert found.shape == (batch.num_nodes, 3)
    assert torch.allclose(found, torch.cat(alone), atol=1e-5)


def test_it_learns_a_smooth_field() -> None:
    torch.manual_seed(0)
    mesh = generate.rectangle(6, 6)
    net = MeshNet(2, 1, width=16, blocks=2)
    x = mesh.pos.float()
    target = (3 * x[:, :1]).sin() * x[:, 1:]
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        adam.zero_grad()
        loss = (net(mesh, x) - target).square().mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("recompute", [0, 2])
def test_the_processor_compiles_to_one_graph(recompute: int) -> None:
    mesh = generate.rectangle(3, 3)
    blocks = [MeshBlock(8), AttentionBlock(8, 2), MeshBlock(8)]
    processor = Processor(blocks, recompute=recompute)
    nodes, edges = torch.randn(mesh.num_nodes, 8), torch.randn(mesh.num_edges, 8)
    explained = torch._dynamo.explain(processor)(nodes, edges, mesh.edge_index, segments(mesh))
    assert explained.graph_break_count == 0
