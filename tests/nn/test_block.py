"""MeshBlock against a plain PyG MessagePassing layer on concatenated features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MessagePassing

from meshlearn.mesh import Mesh, generate
from meshlearn.nn import LayerNorm, MeshBlock, segments


class Reference(MessagePassing):
    """The same block, written the plain way, with the weights of a `MeshBlock`."""

    def __init__(self, block: MeshBlock) -> None:
        super().__init__(aggr="sum")
        self.block = block

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        b, (sender, receiver) = self.block, edge_index
        weight = torch.cat([b.edge_in.weight, b.receiver_in.weight, b.sender_in.weight], dim=1)
        features = torch.cat([edges, nodes[receiver], nodes[sender]], dim=1)
        edges = edges + b.edge_out(nn.functional.linear(features, weight, b.edge_in.bias))
        total = self.propagate(edge_index, edges=edges, size=(len(nodes), len(nodes)))
        weight = torch.cat([b.node_in.weight, b.message_in.weight], dim=1)
        features = torch.cat([nodes, total], dim=1)
        return nodes + b.node_out(nn.functional.linear(features, weight, b.node_in.bias)), edges

    def message(self, edges: Tensor) -> Tensor:
        return edges


def inputs(mesh: Mesh, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn(mesh.num_nodes, width, generator=generator, dtype=torch.float64)
    edges = torch.randn(mesh.num_edges, width, generator=generator, dtype=torch.float64)
    return nodes.to(dtype), edges.to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_block_is_the_plain_layer(dtype: torch.dtype, tolerance: float) -> None:
    mesh = generate.rectangle(7, 5)
    block = MeshBlock(16).to(dtype)
    nodes, edges = inputs(mesh, 16, dtype)
    found = block(nodes, edges, mesh.edge_index, segments(mesh))
    wanted = Reference(block)(nodes, edges, mesh.edge_index)
    for one, two in zip(found, wanted, strict=True):
        assert torch.allclose(one, two, atol=tolerance)


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_the_plain_layer(recompute: bool) -> None:
    mesh = generate.rectangle(6, 6)
    block = MeshBlock(8, recompute=recompute).double()
    nodes, edges = inputs(mesh, 8, torch.float64)
    grads = []
    for layer in (
        lambda n, e: block(n, e, mesh.edge_index, segments(mesh)),
        lambda n, e: Reference(block)(n, e, mesh.edge_index),
    ):
        block.zero_grad()
        n, e = nodes.clone().requires_grad_(True), edges.clone().requires_grad_(True)
        out = layer(n, e)
        (out[0].sin().sum() + out[1].cos().sum()).backward()
        grads.append([n.grad, e.grad, *(p.grad.clone() for p in block.parameters())])
    for one, two in zip(*grads, strict=True):
        assert torch.allclose(one, two, atol=1e-11)


def test_renumbering_the_nodes_renumbers_the_output() -> None:
    mesh = generate.rectangle(6, 4)
    order = torch.randperm(mesh.num_nodes, generator=torch.Generator().manual_seed(1))
    new = torch.empty_like(order)
    new[order] = torch.arange(len(order))
    other = Mesh.from_cells(mesh.pos[order], {"triangle": new[mesh.cells["triangle"]]})
    block = MeshBlock(8).double()
    nodes, edges = inputs(mesh, 8, torch.float64)
    key = new[mesh.edge_index[1]] * mesh.num_nodes + new[mesh.edge_index[0]]
    found = block(nodes[order], edges[key.argsort()], other.edge_index, segments(other))[0]
    wanted = block(nodes, edges, mesh.edge_index, segments(mesh))[0]
    assert torch.allclose(found, wanted[order], atol=1e-12)


def test_a_batch_is_a_loop() -> None:
    meshes = [generate.rectangle(3, 3), generate.rectangle(4, 2, cell="quad")]
    batch = Batch.from_data_list(meshes)
    block = MeshBlock(8).double()
    parts = [inputs(mesh, 8, torch.float64) for mesh in meshes]
    nodes, edges = (torch.cat(p) for p in zip(*parts, strict=True))
    found = block(nodes, edges, batch.edge_index, segments(batch))[0]
    alone = [
        block(n, e, mesh.edge_index, segments(mesh))[0]
        for mesh, (n, e) in zip(meshes, parts, strict=True)
    ]
    assert torch.allclose(found, torch.cat(alone), atol=1e-12)


def test_layer_norm_gradients_are_right_in_bfloat16() -> None:
    # torch's own bfloat16 kernel saturates these sums on the CPU
    x = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(0))
    grads = []
    for dtype in (torch.float32, torch.bfloat16):
        layer = LayerNorm(16)
        (layer(x.to(dtype)).float() + 1).square().sum().backward()
        grads.append(layer.bias.grad)
    assert torch.allclose(grads[0], grads[1], rtol=2e-2)


def test_compiling_needs_no_graph_break_in_the_arithmetic() -> None:
    mesh = generate.rectangle(4, 4)
    block = MeshBlock(8)
    nodes, edges = inputs(mesh, 8, torch.float32)
    explained = torch._dynamo.explain(block)(nodes, edges, mesh.edge_index, segments(mesh))
    assert explained.graph_break_count == 0
