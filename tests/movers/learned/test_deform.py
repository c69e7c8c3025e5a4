"""The graph-attention deformer: sizes of the papers, means of neighbours, the boundary held."""

from __future__ import annotations

import pytest
import torch

from meshlearn import generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers.constraints import freedom
from meshlearn.movers.learned import UM2NNet
from meshlearn.movers.learned.deform import DeformAttention, Deformer
from meshlearn.movers.learned.frame import Frame
from meshlearn.nn import segments


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_um2n_has_the_size_of_the_paper():
    network = UM2NNet()
    assert count(network) == pytest.approx(1.84e6, rel=0.01)
    assert count(network.deformer) / count(network) == pytest.approx(0.96, abs=0.01)


def layer(scale: float = 1.0) -> DeformAttention:
    torch.manual_seed(0)
    own = DeformAttention(3, 5, 2)
    with torch.no_grad():
        own.sender *= scale
        own.receiver *= scale
    return own


def test_without_scores_a_node_goes_to_the_mean_of_its_neighbours():
    mesh = generate.rectangle(5, 5)
    h = torch.rand(len(mesh.pos), 3)
    pos, features = layer(0.0)(mesh.pos, h, mesh.topology.edge_index[0], segments(mesh))
    for node in (0, 7, 20):
        near = mesh.topology.edge_index[0][mesh.topology.edge_index[1] == node]
        assert torch.allclose(pos[node], mesh.pos[near].mean(dim=0), atol=1e-6)
        own = layer(0.0)
        value = own.value(h[near]).view(-1, 2, 5).mean(dim=(0, 1))
        assert torch.allclose(features[node], torch.nn.functional.selu(value), atol=1e-6)


def test_with_scores_it_stays_among_them():
    mesh = generate.rectangle(5, 5)
    h = torch.randn(len(mesh.pos), 3)
    senders, by = mesh.topology.edge_index[0], segments(mesh)
    pos, _ = layer(10.0)(mesh.pos, h, senders, by)
    for k in range(2):
        ends = mesh.pos[senders, k]
        for which, sign in (("amax", 1), ("amin", -1)):
            limit = torch.zeros(len(pos), dtype=ends.dtype).scatter_reduce(
                0, by.receiver, ends, which, include_self=False
            )
            assert bool((sign * (limit - pos[:, k]) >= -1e-7).all())
    even, _ = layer(0.0)(mesh.pos, h, senders, by)
    assert float((pos - even).detach().abs().max()) > 0.01


@pytest.mark.parametrize("sliding", [True, False])
def test_the_boundary_slides_or_stays(sliding):
    mesh = generate.rectangle(6, 6)
    free = freedom(mesh)
    torch.manual_seed(1)
    deformer = Deformer(1, 6, (6, 5, 4, 3), 2, sliding)
    features = mesh.pos[:, :1].float()
    displacement = deformer(mesh, Frame.of(mesh), features, free)
    on_side = displacement[mesh.boundary_nodes]
    assert float(free.departure(displacement).max()) < 1e-12
    assert (float(on_side.abs().max()) > 1e-3) == sliding
    corners = free.nodes[free.free == 0]
    assert len(corners) == 4
    assert not displacement[corners].any()


def test_every_weight_of_um2n_gets_a_gradient():
    torch.manual_seed(0)
    network = UM2NNet(8, 2, 16, first=6, widths=(6, 5, 4, 3), heads=2)
    mesh = generate.rectangle(5, 5)
    monitor = Function(lambda x: 1 + x[:, 0] ** 2)
    network.displacement(mesh, monitor, freedom(mesh)).square().sum().backward()
    assert not {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}


def test_frame_of_the_unit_square_changes_nothing():
    mesh = generate.rectangle(4, 4)
    frame = Frame.of(mesh)
    assert torch.equal(frame.pos, mesh.pos)
    assert torch.equal(frame.relative(torch.zeros(25)), torch.zeros(25))
    assert float(frame.relative(Constant(7.0)(mesh)).max()) == 1
