"""Periodic sides move as one, in every mover."""

from __future__ import annotations

import math

import pytest
import torch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import (
    Laplacian,
    Optimise,
    Periodic,
    Spring,
    Variational,
    Winslow,
)
from meshlearn.movers.constraints import freedom
from meshlearn.movers.guard import guard
from meshlearn.movers.monge_ampere import MongeAmpere
from meshlearn.movers.periodic import ties

MOVERS = [
    Variational(theta=0.1),
    Winslow(),
    Laplacian(max_iterations=20),
    Spring(max_iterations=20),
    MongeAmpere(),
]


def wave(x: torch.Tensor) -> torch.Tensor:
    """High at y = 0.3 on both sides, not the same in between."""
    return 1 + 8 * torch.exp(-50 * (x[:, 1] - 0.3 - 0.1 * torch.sin(3 * x[:, 0])) ** 2)


def offsets(mesh: Mesh, first: str, second: str) -> torch.Tensor:
    one, two = mesh.pos[mesh.tagged_nodes(first)], mesh.pos[mesh.tagged_nodes(second)]
    axis = int((two - one).abs().mean(dim=0).argmax())
    along = 1 - axis
    return (two[two[:, along].argsort()] - one[one[:, along].argsort()])[:, along]


@pytest.mark.parametrize("mover", MOVERS, ids=lambda m: type(m).__name__)
def test_partners_keep_their_offset_in_every_mover(mover: Variational) -> None:
    mesh = generate.rectangle(12, 12)
    result = mover.move(mesh, Function(wave), periodic=["left:right"])
    assert result.report.inverted_cells == 0
    assert float(offsets(result.mesh, "left", "right").abs().max()) < 1e-15
    assert float((result.mesh.pos - mesh.pos)[mesh.tagged_nodes("left")].abs().max()) > 0.01
    apart = mover.move(mesh, Function(wave))
    assert float(offsets(apart.mesh, "left", "right").abs().max()) > 1e-3


def test_pairs_of_nodes_say_the_same_as_sides() -> None:
    mesh = generate.rectangle(8, 8)
    pairs = torch.stack([mesh.tagged_nodes(name) for name in ("left", "right")], dim=1)
    assert torch.equal(mesh.pos[pairs[:, 0], 1], mesh.pos[pairs[:, 1], 1])
    by_number = Variational().move(mesh, Function(wave), periodic=pairs)
    by_name = Variational().move(mesh, Function(wave), periodic=["left:right"])
    assert torch.equal(by_number.mesh.pos, by_name.mesh.pos)
    assert ties(mesh, pairs[:0]) is not None
    with pytest.raises(MeshError, match="pairs name node 81, but there are 81 nodes"):
        ties(mesh, pairs + 81 - int(pairs[0, 0]))
    with pytest.raises(MeshError, match=r"pairs must be nodes \[k, 2\], got shape \[9\]"):
        ties(mesh, pairs[:, 0])


def test_the_optimiser_keeps_them_too() -> None:
    mesh = generate.rectangle(8, 8)
    generator = torch.Generator().manual_seed(0)
    noise = 0.03 * torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    shaken = mesh.moved(guard(mesh, mesh.pos + noise, freedom(mesh, periodic=["left:right"])))
    result = Optimise().move(shaken, periodic=["left:right"])
    assert float(offsets(result.mesh, "left", "right").abs().max()) < 1e-15
    assert result.report.min_quality > result.report.min_quality_before


def test_a_doubly_periodic_box_and_a_constant() -> None:
    mesh = generate.box(3, 3, 3)
    pairs = [("left", "right"), ("front", "back"), "bottom:top"]
    found = ties(mesh, pairs)
    assert found is not None
    assert sorted(torch.unique(found.size()).tolist()) == [1, 2, 4, 8]
    still = Variational().move(mesh, Constant(), periodic=pairs)
    assert still.report.max_displacement == 0
    peak = Function(lambda x: 1 + 10 * torch.exp(-20 * ((x - 0.4) ** 2).sum(dim=1)))
    moved = Variational().move(mesh, peak, periodic=pairs).mesh.pos
    lag = (moved - mesh.pos)[found.members] - (moved - mesh.pos)[found.roots]
    assert float(lag.abs().max()) < 1e-15


def test_a_node_that_one_side_fixes_is_fixed_on_the_other() -> None:
    mesh = generate.rectangle(6, 6)
    node = int(((mesh.pos - torch.tensor([0.0, 0.5])).norm(dim=1)).argmin())
    partner = int(((mesh.pos - torch.tensor([1.0, 0.5])).norm(dim=1)).argmin())
    result = Variational().move(
        mesh, Function(wave), fixed=torch.tensor([node]), periodic=["left:right"]
    )
    assert torch.equal(result.mesh.pos[[node, partner]], mesh.pos[[node, partner]])


def sector(turn: float) -> Mesh:
    """A quarter of a ring, of polar coordinates."""
    flat = generate.rectangle(8, 8, lower=(1.0, 0.0), upper=(2.0, turn))
    radius, angle = flat.pos.unbind(dim=1)
    pos = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return Mesh.from_cells(pos, flat.cells, facet_tags=flat.facet_tags)


@pytest.mark.parametrize("slide", ["flat", "curved"])
def test_sides_that_are_rotated(slide: str) -> None:
    angle = math.pi / 3
    mesh = sector(angle)
    turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    pair = Periodic("bottom", "top", rotation=turn)
    monitor = Function(lambda x: 1 + 20 * torch.exp(-30 * (x - 1.1) ** 2).prod(dim=1))
    result = Variational(theta=0.1).move(mesh, monitor, slide=slide, periodic=[pair])
    found = ties(mesh, [pair])
    assert found is not None
    there = result.mesh.pos[found.roots] @ torch.tensor(turn, dtype=torch.float64).T
    assert float((there - result.mesh.pos[found.members]).abs().max()) < 1e-14
    assert float((result.mesh.pos - mesh.pos)[found.members].norm(dim=1).max()) > 0.01
    assert result.report.boundary_error < 1e-12


def test_an_inner_wall_that_is_periodic_and_curved() -> None:
    """A wavy channel: both wavy walls slide, and their partners with them."""
    flat = generate.rectangle(16, 8)
    bump = 0.1 * torch.sin(2 * torch.pi * flat.pos[:, 0])
    mesh = flat.moved(flat.pos + torch.stack([0 * bump, bump], dim=1))
    pairs = ["bottom:top"]
    monitor = Function(lambda x: 1 + 10 * torch.exp(-40 * (x[:, 0] - 0.3) ** 2))
    result = Variational(theta=0.1).move(mesh, monitor, slide="curved", periodic=pairs)
    found = ties(mesh, pairs)
    assert found is not None
    shift = result.mesh.pos - mesh.pos
    assert float((shift[found.members] - shift[found.roots]).abs().max()) < 1e-15
    assert float(shift[found.members].norm(dim=1).max()) > 0.01
    assert result.report.boundary_error < 1e-12


def test_pairs_that_do_not_fit_are_refused_in_a_sentence() -> None:
    mesh = generate.rectangle(4, 4)
    uneven = mesh.moved(mesh.pos**1.5 * mesh.pos[:, :1] + mesh.pos * (1 - mesh.pos[:, :1]))
    with pytest.raises(MeshError, match=r"node .* of 'left' has no partner on 'right', looked for"):
        ties(uneven, ["left:right"])
    with pytest.raises(MeshError, match="there is no tag 'inlet'"):
        ties(mesh, ["inlet:right"])
    with pytest.raises(MeshError, match="a periodic pair is two tags"):
        ties(mesh, ["left"])
    with pytest.raises(MeshError, match="must be an orthogonal 2 x 2 matrix"):
        ties(mesh, [Periodic("left", "right", rotation=[[2, 0], [0, 1]])])
    with pytest.raises(MeshError, match="must be 2 numbers, got 3"):
        ties(mesh, [Periodic("left", "right", translation=[1, 0, 0])])
