"""Curves and surfaces through nodes: exact where they promise it, of the stated order elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn.mesh import generate
from meshlearn.mesh.features import patches_and_ridges
from meshlearn.movers.curves import Curves, curves_through
from meshlearn.movers.surfaces import Surfaces, surfaces_through


def closed(points: torch.Tensor) -> Curves:
    count = len(points)
    number = torch.arange(count)
    edges = torch.stack([number, (number + 1) % count], dim=1)
    return curves_through(points, edges, torch.ones(count, dtype=torch.bool), number)


def on_circle(count: int, jitter: float = 0.3) -> torch.Tensor:
    rng = np.random.default_rng(count)
    angle = 2 * np.pi * (np.arange(count) + rng.uniform(-jitter, jitter, count)) / count
    return torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], axis=1))


def around(count: int, spread: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    scale = 1 + spread * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return scale * x / x.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("count", "error"), [(16, 2e-6), (32, 3e-8), (64, 5e-10)])
def test_a_circle_is_met_to_sixth_order(count: int, error: float) -> None:
    points = around(300)
    near, tangent = closed(on_circle(count)).closest(points, torch.zeros(300, dtype=torch.int64))
    assert float((near.norm(dim=1) - 1).abs().max()) < error
    assert float((tangent[:, 0] * near).sum(dim=1).abs().max()) < 40 * error**0.9
    exact = points / points.norm(dim=1, keepdim=True)
    assert float((near - exact).norm(dim=1).max()) < 1e3 * error


def test_an_ellipse_is_met_to_third_order() -> None:
    half = torch.tensor([1.0, 0.5], dtype=torch.float64)
    errors = []
    for count in (32, 64, 128):
        points = around(400) * half
        near, _ = closed(on_circle(count, 0.0) * half).closest(
            points, torch.zeros(400, dtype=torch.int64)
        )
        errors.append(float(((near / half).norm(dim=1) - 1).abs().max()))
    assert errors[0] / errors[1] > 7
    assert errors[1] / errors[2] > 7


def test_nodes_are_on_their_curve_and_the_nearest_point_of_a_point_of_it_is_itself() -> None:
    points = on_circle(20)
    curve = closed(points)
    own, _ = curve.closest(points, torch.arange(20))
    assert float((own - points).abs().max()) < 1e-14
    there, _ = curve.closest(around(50), torch.zeros(50, dtype=torch.int64))
    again, _ = curve.closest(there, torch.zeros(50, dtype=torch.int64))
    assert float((again - there).abs().max()) < 1e-12


def test_an_open_arc_ends_at_its_corners_and_another_chain_is_never_nearest() -> None:
    angle = torch.linspace(0, np.pi, 13, dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], dim=1)
    both = torch.cat([arc, arc + torch.tensor([0.0, 0.05])])
    number = torch.arange(12)
    edges = torch.stack([number, number + 1], dim=1)
    smooth = torch.ones(26, dtype=torch.bool)
    smooth[[0, 12, 13, 25]] = False
    sliding = torch.nonzero(smooth).squeeze(1)
    curve = curves_through(both, torch.cat([edges, edges + 13]), smooth, sliding)
    near, _ = curve.closest(both[sliding + torch.where(sliding < 13, 13, -13)], torch.arange(22))
    low = sliding < 13
    assert float((near[low].norm(dim=1) - 1).abs().max()) < 1e-5
    beyond, _ = curve.closest(torch.tensor([[1.0, -1.0]], dtype=torch.float64), torch.tensor([0]))
    assert torch.allclose(beyond[0], arc[0])


def sphere(size: int) -> tuple[Surfaces, float, int]:
    mesh = generate.ball(size)
    patches, _ = patches_and_ridges(mesh, 60.0)
    sliding = torch.nonzero(patches.smooth).squeeze(1)
    radius = float(mesh.pos[sliding].norm(dim=1).mean())
    shape = surfaces_through(mesh.pos, patches.facets, patches.patch, patches.smooth, sliding)
    return shape, radius, len(sliding)


def test_a_sphere_is_met_to_fourth_order() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(500, 3, generator=generator, dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    errors = []
    for size in (4, 8):
        shape, radius, count = sphere(size)
        rows = torch.randint(0, count, (500,), generator=generator)
        near, tangents = shape.closest(1.02 * radius * x, rows)
        errors.append(float((near.norm(dim=1) - radius).abs().max()) / radius)
        assert float((near / radius - x).norm(dim=1).max()) < 1e-3
        identity = torch.eye(2, dtype=torch.float64)
        assert torch.allclose(tangents @ tangents.transpose(1, 2), identity.expand(500, 2, 2))
    assert errors[1] < 1e-5
    assert errors[0] / errors[1] > 12


def test_quads_give_the_same_surface_as_triangles_of_their_size() -> None:
    """A quarter of a cylinder of hexahedra, whose quads have no preferred diagonal."""
    angle = torch.linspace(0, np.pi / 2, 13, dtype=torch.float64)
    height = torch.linspace(0, 1, 5, dtype=torch.float64)
    grid = torch.stack(
        [
            angle.cos().repeat(5),
            angle.sin().repeat(5),
            height.repeat_interleave(13),
        ],
        dim=1,
    )
    low = (torch.arange(4)[:, None] * 13 + torch.arange(12)).reshape(-1)
    quads = torch.stack([low, low + 1, low + 14, low + 13], dim=1)
    smooth = (grid[:, 2] > 0) & (grid[:, 2] < 1) & (grid[:, 0] > 1e-9) & (grid[:, 1] > 1e-9)
    sliding = torch.nonzero(smooth).squeeze(1)
    shape = surfaces_through(grid, quads, torch.zeros_like(low), smooth, sliding)
    turned = surfaces_through(grid, quads.roll(1, dims=1), torch.zeros_like(low), smooth, sliding)
    points = 1.01 * grid[sliding] + torch.tensor([0.02, -0.01, 0.03])
    rows = torch.arange(len(sliding))
    near, _ = shape.closest(points, rows)
    assert float((near[:, :2].norm(dim=1) - 1).abs().max()) < 1e-5
    assert torch.allclose(near, turned.closest(points, rows)[0], atol=1e-9)
