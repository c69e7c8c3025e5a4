"""Thousands of random domains, monitors and movers: nothing is ever tangled or leaves its domain.

The ordinary run takes 200 cases. The long campaign, about a quarter of an hour on one core:

    pytest -m nightly tests/movers/test_campaign.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from strategies import random_delaunay, random_mesh

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Constant, Function, Monitor
from meshlearn.movers import Elastic, Laplacian, Mover, Optimise, Spring, Variational, Winslow
from meshlearn.movers.constraints import freedom
from meshlearn.movers.freedom import TOLERANCE
from meshlearn.movers.guard import boundary_error, guard, volume_error
from meshlearn.movers.monge_ampere import MongeAmpere

NUM_SEEDS, NUM_NIGHTLY = 200, 2400

MOVERS: list[Callable[[], Mover]] = [
    lambda: Variational(theta=0.1, max_iterations=15),
    lambda: Variational(max_iterations=15),
    lambda: MongeAmpere(max_iterations=15, fallback=Variational(max_iterations=10)),
    lambda: Winslow(max_iterations=10),
    lambda: Laplacian(max_iterations=4),
    lambda: Spring("lineal", max_iterations=4),
    lambda: Spring("torsional", max_iterations=4),
]


def star(
    rng: np.random.Generator, centre: tuple[float, float], size: float, least: int = 3
) -> list[list[float]]:
    """A random polygon without self-intersections: often far from convex."""
    corners = int(rng.integers(least, 9))
    angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
    radius = size * rng.uniform(0.45, 1.0, corners)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) + centre
    return points.tolist()  # type: ignore[no-any-return]


def domain(rng: np.random.Generator, seed: int) -> Mesh:
    """Polygons with and without holes, round domains, boxes of tetrahedra."""
    kind = rng.integers(0, 10)
    if kind < 3:
        return generate.polygon(star(rng, (0.0, 0.0), 1.0), h=0.25, seed=seed)
    if kind < 6:
        hole = star(rng, (0.02, -0.03), 0.15)
        return generate.polygon(star(rng, (0.0, 0.0), 1.0, 6), h=0.25, holes=[hole], seed=seed)
    if kind == 6:
        return [generate.disk(5), generate.annulus(3), generate.ball(3)][int(rng.integers(0, 3))]
    if kind == 7:
        return random_mesh("mixed2", [4, 4], seed, jitter=0.3, stretch=3.0, hole=True, tags=True)
    if kind == 8:
        return random_mesh("tetra", [3, 3, 3], seed, jitter=0.3, stretch=3.0, hole=True, tags=True)
    return random_delaunay([3, 3, 3], seed, stretch=3.0, tags=True)


def density(rng: np.random.Generator, mesh: Mesh) -> Monitor:
    """One to four anisotropic Gaussians, up to 10 000 times the background, or a metric of them."""
    d = mesh.dim
    low, high = mesh.pos.amin(dim=0), mesh.pos.amax(dim=0)
    count = int(rng.integers(1, 5))
    centres = low + (high - low) * torch.from_numpy(rng.uniform(size=(count, d)))
    size = float((high - low).norm())
    forms = torch.from_numpy(rng.normal(size=(count, d, d))) * rng.uniform(2, 12) / size
    height = 10 ** rng.uniform(0, 4)
    direction = torch.from_numpy(rng.normal(size=d))
    outer = torch.outer(direction, direction) / (direction @ direction)
    tensor = rng.uniform() < 0.25

    def value(x: torch.Tensor) -> torch.Tensor:
        away = ((x[:, None] - centres)[..., None, :] @ forms)[..., 0, :]
        total = height * torch.exp(-(away**2).sum(dim=2)).sum(dim=1)
        if not tensor:
            return 1 + total
        return torch.eye(d, dtype=torch.float64) + total[:, None, None] * outer

    return Function(value)


def check(mesh: Mesh, moved: Mesh, slide: str) -> None:
    """Rules 1 and 2 of the contract."""
    assert len(moved.inverted_cells()) == 0
    free = freedom(mesh, slide=slide)
    assert boundary_error(mesh, moved.pos, free) < 1e-11
    assert volume_error(mesh, moved) < (TOLERANCE if free.curved else 1e-9)
    corners = free.nodes[free.free == 0]
    assert torch.equal(moved.pos[corners], mesh.pos[corners])
    moved.validate(allow=["duplicate"])


def case(seed: int) -> None:
    """One random domain with one random monitor, mover and way to slide."""
    rng = np.random.default_rng(seed)
    mesh = domain(rng, seed)
    monitor = density(rng, mesh)
    slide = ["flat", "flat", "curved", "none"][int(rng.integers(0, 4))]
    which = int(rng.integers(0, len(MOVERS) + 2))
    before = mesh.pos.clone()
    if which < len(MOVERS):
        mover = MOVERS[which]()
        check(mesh, mover.move(mesh, monitor, slide=slide).mesh, slide)
        still = mover.move(mesh, Constant(rng.uniform(0.1, 10)), slide=slide)
        size = float((mesh.volumes().abs() ** (1 / mesh.dim)).min())
        assert still.report.max_displacement <= 1e-6 * size  # rule 3
    elif which == len(MOVERS):
        noise = torch.from_numpy(rng.normal(size=mesh.pos.shape))
        shaken = mesh.moved(guard(mesh, mesh.pos + 0.1 * noise, freedom(mesh)))
        check(shaken, Optimise(max_rounds=10).move(shaken, slide=slide).mesh, slide)
    else:
        shift = torch.from_numpy(rng.normal(size=(len(mesh.boundary_nodes), mesh.dim)))
        result = Elastic().displace(mesh, {"boundary": rng.uniform(0, 1) * shift})
        assert len(result.mesh.inverted_cells()) == 0
    assert torch.equal(mesh.pos, before)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_two_hundred_random_cases(part: int) -> None:
    for seed in range(part, NUM_SEEDS, 10):
        case(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(24))
def test_two_thousand_four_hundred_random_cases(part: int) -> None:
    for seed in range(NUM_SEEDS + part, NUM_SEEDS + NUM_NIGHTLY, 24):
        case(seed)
