"""MeshBlock against a plain PyG MessagePassing layer on concatenated features."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from strategies import any_meshes, renumbered
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import MessagePassing

from meshlearn.kernels import Segments, memory
from meshlearn.mesh import Mesh, generate
from meshlearn.nn import LayerNorm, MeshBlock, segments
from meshlearn.nn.block import AGGREGATIONS
from meshlearn.nn.mlp import ACTIVATIONS


class Reference(MessagePassing):
    """The same block, written the plain way, with the weights of a `MeshBlock`."""

    def __init__(self, block: MeshBlock) -> None:
        super().__init__(aggr=block.aggregation)
        self.block = block

    def forward(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        b, (sender, receiver) = self.block, edge_index
        weight = torch.cat([b.edge_in.weight, b.receiver_in.weight, b.sender_in.weight], dim=1)
        features = torch.cat([edges, nodes[receiver], nodes[sender]], dim=1)
        first = nn.functional.linear(features, weight, b.receiver_in.bias)
        edges = edges + b.edge_out(first)
        total = self.propagate(edge_index, edges=edges, size=(len(nodes), len(nodes)))
        weight = torch.cat([b.node_in.weight, b.message_in.weight], dim=1)
        first = nn.functional.linear(torch.cat([nodes, total], dim=1), weight, b.message_in.bias)
        return nodes + b.node_out(first), edges

    def message(self, edges: Tensor) -> Tensor:
        return edges


def inputs(mesh: Mesh, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    nodes = torch.randn(mesh.num_nodes, width, generator=generator, dtype=torch.float64)
    edges = torch.randn(mesh.num_edges, width, generator=generator, dtype=torch.float64)
    return nodes.to(dtype), edges.to(dtype)


def gradients(
    layer: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    block: MeshBlock,
    nodes: Tensor,
    edges: Tensor,
) -> list[Tensor]:
    block.zero_grad()
    n, e = nodes.clone().requires_grad_(True), edges.clone().requires_grad_(True)
    out = layer(n, e)
    (out[0].sin().sum() + out[1].cos().sum()).backward()
    return [n.grad, e.grad, *(p.grad.clone() for p in block.parameters())]


def gradients_of_sums(mesh: Mesh) -> Callable[[MeshBlock, Tensor, Tensor], list[Tensor]]:
    """Gradients of a function of both results of a block on a mesh."""

    def run(block: MeshBlock, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        by_receiver = segments(mesh)
        return gradients(
            lambda n, e: block(n, e, mesh.edge_index, by_receiver), block, nodes, edges
        )

    return run


def far(one: Tensor, other: Tensor) -> float:
    """Largest difference over the largest value."""
    return float(((one - other).abs().max() / other.abs().max()).detach())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("tile", [0, 16, 2048])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_block_is_the_plain_layer(
    dtype: torch.dtype, tolerance: float, tile: int, aggregation: str
) -> None:
    mesh = generate.rectangle(7, 5)
    block = MeshBlock(16, tile=tile, aggregation=aggregation).to(dtype)
    nodes, edges = inputs(mesh, 16, dtype)
    found = block(nodes, edges, mesh.edge_index, segments(mesh))
    wanted = Reference(block)(nodes, edges, mesh.edge_index)
    for one, two in zip(found, wanted, strict=True):
        assert far(one, two) <= tolerance


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("tile", [0, 16, 2048])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("between", ACTIVATIONS)
def test_gradients_are_those_of_the_plain_layer(
    recompute: bool, tile: int, aggregation: str, between: str
) -> None:
    mesh = generate.rectangle(4, 5)
    block = MeshBlock(
        8, 12, recompute=recompute, tile=tile, aggregation=aggregation, between=between
    ).double()
    nodes, edges = inputs(mesh, 8)
    found = gradients(
        lambda n, e: block(n, e, mesh.edge_index, segments(mesh)), block, nodes, edges
    )
    wanted = gradients(lambda n, e: Reference(block)(n, e, mesh.edge_index), block, nodes, edges)
    for one, two in zip(found, wanted, strict=True):
        assert far(one, two) <= 1e-11


@pytest.mark.parametrize("part", [0, 1])
def test_gradients_where_only_one_result_is_used(part: int) -> None:
    mesh = generate.rectangle(3, 4)
    block = MeshBlock(8).double()
    found, wanted = [], []
    for layer, grads in ((block, found), (Reference(block), wanted)):
        given = [x.clone().requires_grad_(True) for x in inputs(mesh, 8)]
        graph = (mesh.edge_index, segments(mesh))[: 2 if layer is block else 1]
        layer(*given, *graph)[part].square().sum().backward()
        grads += [x.grad for x in given]
    for one, two in zip(found, wanted, strict=True):
        assert far(one, two) <= 1e-11


@pytest.mark.parametrize("recompute", [False, True])
def test_a_second_backward_pass_gives_the_same(recompute: bool) -> None:
    # the first one overwrites what was kept
    mesh = generate.rectangle(3, 4)
    block = MeshBlock(8, recompute=recompute, tile=32).double()
    nodes, edges = (x.requires_grad_(True) for x in inputs(mesh, 8))
    loss = block(nodes, edges, mesh.edge_index, segments(mesh))[0].sin().sum()
    one = torch.autograd.grad(loss, [nodes, edges], retain_graph=True)
    two = torch.autograd.grad(loss, [nodes, edges])
    for first, second in zip(one, two, strict=True):
        assert torch.allclose(first, second, atol=1e-13)


@pytest.mark.parametrize("recompute", [False, True])
def test_second_derivatives_by_finite_differences(recompute: bool) -> None:
    mesh = generate.rectangle(2, 2)
    block = MeshBlock(4, recompute=recompute, between="silu").double()
    nodes, edges = (x.requires_grad_(True) for x in inputs(mesh, 4))

    def run(n: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        return block(n, e, mesh.edge_index, segments(mesh))

    # The first backward pass takes the norm from what was kept, a second computes it again.
    assert torch.autograd.gradcheck(run, (nodes, edges), fast_mode=True, nondet_tol=1e-12)
    assert torch.autograd.gradgradcheck(run, (nodes, edges), fast_mode=True, nondet_tol=1e-12)


def test_graphs_without_edges_and_isolated_nodes() -> None:
    block = MeshBlock(8).double()
    nodes = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    rowptr = torch.tensor([0, 0, 1, 1])
    one = (torch.tensor([[2], [1]]), Segments.from_rowptr(rowptr))
    none = (torch.empty(2, 0, dtype=torch.int64), Segments.from_rowptr(torch.zeros(4).long()))
    for edge_index, by_receiver in (one, none):
        edges = torch.randn(edge_index.shape[1], 8, dtype=torch.float64)
        out, kept = block(nodes, edges, edge_index, by_receiver)
        out.sum().backward()
        assert out.shape == (3, 8)
        assert kept.shape == edges.shape
        assert torch.isfinite(nodes.grad).all()


@given(any_meshes(max_cells=3))
@settings(max_examples=15, deadline=None)
def test_renumbering_the_nodes_renumbers_the_output(mesh: Mesh) -> None:
    other, new, _ = renumbered(mesh, 1)
    block = MeshBlock(8).double()
    nodes, edges = inputs(mesh, 8)
    moved = torch.empty_like(nodes)
    moved[new] = nodes
    key = new[mesh.edge_index[1]] * mesh.num_nodes + new[mesh.edge_index[0]]
    found = block(moved, edges[key.argsort()], other.edge_index, segments(other))[0]
    wanted = block(nodes, edges, mesh.edge_index, segments(mesh))[0]
    assert torch.allclose(found[new], wanted, atol=1e-12)


def test_a_batch_is_a_loop() -> None:
    meshes = [generate.rectangle(3, 3), generate.rectangle(4, 2, cell="quad")]
    batch = Batch.from_data_list(meshes)
    block = MeshBlock(8).double()
    parts = [inputs(mesh, 8) for mesh in meshes]
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


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("tile", [0, 512])
def test_gradients_under_bfloat16_autocast_are_those_of_float32(recompute: bool, tile: int) -> None:
    # enough rows to saturate a bfloat16 sum: 256 is where adding 1 changes nothing
    mesh = generate.rectangle(40, 40)
    block = MeshBlock(16, recompute=recompute, tile=tile, between="silu")
    nodes, edges = inputs(mesh, 16, torch.float32)

    def loss(n: Tensor, e: Tensor) -> Tensor:
        out = block(n, e, mesh.edge_index, segments(mesh))
        return (out[0] + 1).square().mean() + (out[1] + 1).square().mean()

    found = []
    for enabled in (False, True):
        block.zero_grad()
        n, e = nodes.clone().requires_grad_(True), edges.clone().requires_grad_(True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = loss(n, e)
        value.backward()
        found.append([n.grad, e.grad, *(p.grad for p in block.parameters())])
    for one, two in zip(*found, strict=True):
        assert two.dtype == torch.float32
        assert float((one - two).norm() / one.norm()) < 2e-2


@pytest.mark.parametrize("recompute", [False, True])
def test_compiling_needs_no_graph_break(recompute: bool) -> None:
    mesh = generate.rectangle(4, 4)
    block = MeshBlock(8, recompute=recompute)
    nodes, edges = inputs(mesh, 8, torch.float32)
    explained = torch._dynamo.explain(block)(nodes, edges, mesh.edge_index, segments(mesh))
    assert explained.graph_break_count == 0


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_gradients_in_float32_however_small_the_update(scale: float) -> None:
    # Of a small one y - x has few digits left: the norm is computed again.
    mesh = generate.rectangle(5, 5)
    block = MeshBlock(16, between="silu")
    with torch.no_grad():
        block.edge_out[2].weight.mul_(scale)
    nodes, edges = inputs(mesh, 16, torch.float32)
    found = gradients(
        lambda n, e: block(n, e, mesh.edge_index, segments(mesh)), block, nodes, edges
    )
    double = copy.deepcopy(block).double()
    wanted = gradients(
        lambda n, e: Reference(double)(n, e, mesh.edge_index),
        double,
        nodes.double(),
        edges.double(),
    )
    for one, two in zip(found, wanted, strict=True):
        assert far(one.double(), two) <= 2e-5


def test_a_block_in_bfloat16_is_near_that_in_float32() -> None:
    mesh = generate.rectangle(20, 20)
    block = MeshBlock(16, between="silu")
    nodes, edges = inputs(mesh, 16, torch.float32)
    run = gradients_of_sums(mesh)
    wanted = run(block, nodes, edges)
    found = run(block.bfloat16(), nodes.bfloat16(), edges.bfloat16())
    for one, two in zip(found, wanted, strict=True):
        assert one.dtype == torch.bfloat16
        assert float((one.float() - two).norm() / two.norm()) < 0.05


def test_large_graphs_use_memory_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = memory.Pool(limit=2**30)
    monkeypatch.setattr(memory, "POOL", pool)
    monkeypatch.setattr(memory, "LARGE", 1000)
    mesh = generate.rectangle(8, 8)
    block = MeshBlock(8, tile=64).double()
    run = gradients_of_sums(mesh)
    kept, wanted = [], run(block, *inputs(mesh, 8))
    for _ in range(3):
        found = run(block, *inputs(mesh, 8))
        kept.append(found)
        for one, two in zip(found, wanted, strict=True):
            assert torch.equal(one, two)
    del one, two, found, wanted
    kept.clear()
    size = pool.size
    for _ in range(3):
        run(block, *inputs(mesh, 8))
        assert pool.size == size


def test_changing_the_result_in_place_before_the_backward_pass_is_an_error() -> None:
    mesh = generate.rectangle(3, 3)
    nodes, edges = (x.requires_grad_(True) for x in inputs(mesh, 8, torch.float32))
    out = MeshBlock(8)(nodes, edges, mesh.edge_index, segments(mesh))[1]
    loss = out.sum()
    with torch.no_grad():
        out.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_two_forward_passes_before_the_backward_passes() -> None:
    mesh = generate.rectangle(4, 4)
    block = MeshBlock(8).double()
    nodes, edges = inputs(mesh, 8)

    def loss(scale: float) -> Tensor:
        return block(scale * nodes, edges, mesh.edge_index, segments(mesh))[0].sin().sum()

    parameters = list(block.parameters())
    wanted = [torch.autograd.grad(loss(s), parameters) for s in (1.0, 2.0, 1.0)]
    first, second = loss(1.0), loss(2.0)
    found = [torch.autograd.grad(value, parameters) for value in (first, second)]
    for some, others in zip(found, wanted[:2], strict=True):
        for one, two in zip(some, others, strict=True):
            assert torch.allclose(one, two, atol=1e-12)


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ValueError, match="unknown aggregation 'median'; known are sum, mean, max"):
        MeshBlock(8, aggregation="median")
    with pytest.raises(ValueError, match="unknown activation 'step'; known are relu, silu"):
        MeshBlock(8, between="step")
