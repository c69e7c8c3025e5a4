"""The potential's derivatives, and the condition under which its map is one to one."""

from __future__ import annotations

import torch

from meshlearn import generate
from meshlearn.monitors import Function
from meshlearn.movers.learned import DataFreeMover, DataFreeNet
from meshlearn.movers.learned.data_free import picture
from meshlearn.movers.learned.frame import Frame


def network() -> DataFreeNet:
    torch.manual_seed(0)
    return DataFreeNet(16, 4, (8, 16)).double()


def potential(own: DataFreeNet, shown: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return own.trunk(2 * x - 1) @ own.coefficients(shown)


def test_derivatives_are_those_of_the_potential(monkeypatch):
    own = network()
    shown = torch.rand(16, 16, dtype=torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # differences need the digits
    x = torch.rand(9, 2, dtype=torch.float64)
    slope, hessian = own.derivatives(shown, x)
    h = 1e-4
    for k in range(2):
        step = h * torch.eye(2, dtype=torch.float64)[k]
        ahead, back = potential(own, shown, x + step), potential(own, shown, x - step)
        assert torch.allclose(slope[:, k], (ahead - back) / (2 * h), rtol=1e-5, atol=1e-9)
        change = own.derivatives(shown, x + step)[0] - own.derivatives(shown, x - step)[0]
        assert torch.allclose(hessian[:, k], change / (2 * h), rtol=1e-5, atol=1e-9)
    assert torch.allclose(hessian, hessian.transpose(1, 2))


def test_derivatives_without_gradients_are_the_same():
    own, shown, x = network().float(), torch.rand(16, 16), torch.rand(9, 2)
    tracked = own.derivatives(shown, x)
    with torch.no_grad():
        plain = own.derivatives(shown, x)
    for one, other in zip(tracked, plain, strict=True):
        assert one.requires_grad
        assert not other.requires_grad
        assert torch.equal(one.detach(), other)


def test_the_move_is_the_gradient_of_the_potential():
    own, mesh = network().float(), generate.rectangle(8, 8)
    monitor = Function(lambda x: 1 + x[:, 0])
    frame = Frame.of(mesh)
    slope, _ = own.derivatives(picture(frame, monitor, 16), frame.pos)
    moved = DataFreeMover(own).move(mesh, monitor).mesh.pos
    inner = torch.ones(len(mesh.pos), dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    assert torch.allclose(moved[inner], (mesh.pos + slope)[inner], atol=1e-7)


def test_the_picture_forgets_the_scale_of_the_monitor():
    frame = Frame.of(generate.rectangle(8, 8))
    one = picture(frame, Function(lambda x: 1 + x[:, 0]), 16)
    other = picture(frame, Function(lambda x: 50 + 50 * x[:, 0]), 16)
    assert torch.allclose(one, other, atol=1e-6)
    # Rows are y, columns are x.
    assert torch.allclose(one, one[:1].expand(16, 16), atol=1e-6)
    assert float(one[0, -1] - one[0, 0]) > 0.5
