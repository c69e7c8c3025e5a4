"""Attention against naive PyG layers with the same weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from strategies import any_meshes, renumbered
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

from meshlearn.mesh import Mesh, generate
from meshlearn.nn import AttentionBlock, GraphAttention, TransformerAttention, segments
from meshlearn.nn.attention import ATTENTIONS

WIDTH, HEADS, EDGE = 12, 3, 5


class Transformer(MessagePassing):
    """Per edge, from concatenated nothing: query, key, value, softmax, sum."""

    def __init__(self, layer: TransformerAttention) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, edges=edges)

    def message(self, x_i: Tensor, x_j: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        query = self.layer.query(x_i).view(-1, HEADS, WIDTH // HEADS)
        key, value = self.layer.key_value(x_j).view(-1, 2, HEADS, WIDTH // HEADS).unbind(1)
        score = (query * key).sum(-1) / (WIDTH // HEADS) ** 0.5 + self.layer.edge_bias(edges)
        return (softmax(score, index)[..., None] * value).reshape(-1, WIDTH)


class Gat(MessagePassing):
    """GATv2 as its paper writes it, one linear layer on [h_i, h_j, e]."""

    def __init__(self, layer: GraphAttention) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, edges=edges)

    def message(self, x_i: Tensor, x_j: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        layer = self.layer
        weight = torch.cat(
            [layer.receiver_in.weight, layer.sender_in.weight, layer.edge_in.weight], dim=1
        )
        bias = layer.receiver_in.bias + layer.sender_in.bias
        first = nn.functional.linear(torch.cat([x_i, x_j, edges], dim=1), weight, bias)
        hidden = nn.functional.leaky_relu(first, 0.2).view(-1, HEADS, WIDTH // HEADS)
        weights = softmax((hidden * layer.score).sum(-1), index)
        value = layer.sender_in(x_j).view(-1, HEADS, WIDTH // HEADS)
        return (weights[..., None] * value).reshape(-1, WIDTH)


NAIVE = {"transformer": Transformer, "gat": Gat}


def inputs(mesh: Mesh, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn(mesh.num_nodes, WIDTH, generator=generator, dtype=torch.float64)
    edges = torch.randn(mesh.num_edges, EDGE, generator=generator, dtype=torch.float64)
    return nodes.to(dtype), edges.to(dtype)


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_values_and_gradients_are_those_of_the_naive_layer(
    name: str, dtype: torch.dtype, tolerance: float
) -> None:
    mesh = generate.rectangle(5, 4)
    layer = ATTENTIONS[name](WIDTH, HEADS, EDGE).to(dtype)
    found = []
    for run in (
        lambda n, e: layer(n, e, mesh.edge_index, segments(mesh)),
        lambda n, e: NAIVE[name](layer)(n, e, mesh.edge_index),
    ):
        layer.zero_grad()
        n, e = (x.requires_grad_(True) for x in inputs(mesh, dtype))
        out = run(n, e)
        out.sin().sum().backward()
        found.append([out.detach(), n.grad, e.grad, *(p.grad.clone() for p in layer.parameters())])
    for one, two in zip(*found, strict=True):
        # a bias that the softmax cancels has a gradient of zero: compare with the largest
        scale = max(float(two.abs().max()), 1.0)
        assert float((one - two).abs().max()) <= 10 * tolerance * scale


@pytest.mark.parametrize("name", ATTENTIONS)
@given(mesh=any_meshes(max_cells=3))
@settings(max_examples=10, deadline=None)
def test_renumbering_the_nodes_renumbers_the_output(name: str, mesh: Mesh) -> None:
    other, new, _ = renumbered(mesh, 1)
    block = AttentionBlock(WIDTH, HEADS, attention=name, edge_width=EDGE).double()
    nodes, edges = inputs(mesh)
    moved = torch.empty_like(nodes)
    moved[new] = nodes
    key = new[mesh.edge_index[1]] * mesh.num_nodes + new[mesh.edge_index[0]]
    found = block(moved, edges[key.argsort()], other.edge_index, segments(other))[0]
    wanted, kept = block(nodes, edges, mesh.edge_index, segments(mesh))
    assert torch.allclose(found[new], wanted, atol=1e-12)
    assert kept is edges


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_batch_is_a_loop(name: str) -> None:
    meshes = [generate.rectangle(3, 3), generate.rectangle(4, 2, cell="quad")]
    batch = Batch.from_data_list(meshes)
    block = AttentionBlock(WIDTH, HEADS, attention=name, edge_width=EDGE).double()
    parts = [inputs(mesh) for mesh in meshes]
    nodes, edges = (torch.cat(p) for p in zip(*parts, strict=True))
    found = block(nodes, edges, batch.edge_index, segments(batch))[0]
    alone = [
        block(n, e, mesh.edge_index, segments(mesh))[0]
        for mesh, (n, e) in zip(meshes, parts, strict=True)
    ]
    assert torch.allclose(found, torch.cat(alone), atol=1e-12)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_equal_neighbours_give_their_value(name: str) -> None:
    # weights of a node add up to one, however large the scores
    mesh = generate.rectangle(3, 3)
    layer = ATTENTIONS[name](WIDTH, HEADS, EDGE).double()
    edges = 1e3 * inputs(mesh)[1]
    nodes = torch.ones(mesh.num_nodes, WIDTH, dtype=torch.float64)
    found = layer(nodes, edges, mesh.edge_index, segments(mesh))
    assert torch.allclose(found, found[:1].expand_as(found), atol=1e-12)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_autocast_and_compilation(name: str) -> None:
    mesh = generate.rectangle(4, 4)
    block = AttentionBlock(WIDTH, HEADS, attention=name, edge_width=EDGE)
    nodes, edges = inputs(mesh, torch.float32)
    graph = (mesh.edge_index, segments(mesh))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = block(nodes, edges, *graph)[0]
    assert torch.allclose(narrow, block(nodes, edges, *graph)[0], atol=0.1)
    assert torch._dynamo.explain(block)(nodes, edges, *graph).graph_break_count == 0


def test_wrong_choices_are_named() -> None:
    with pytest.raises(
        ValueError, match="width 10 must be a multiple of the number of heads, got 4"
    ):
        TransformerAttention(10, 4)
    with pytest.raises(ValueError, match="unknown attention 'full'; known are transformer, gat"):
        AttentionBlock(8, attention="full")
