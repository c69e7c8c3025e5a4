"""Smooth chains and patches, and what is kept sharp between them."""

from __future__ import annotations

import math

import pytest
import torch
from strategies import renumbered

from meshlearn.mesh import Mesh, generate
from meshlearn.mesh.features import (
    Chains,
    chain_numbers,
    inflections,
    patches_and_ridges,
    side_chains,
)


def polygon(corners: int) -> Mesh:
    angle = 2 * math.pi * torch.arange(corners, dtype=torch.float64) / corners
    rim = torch.stack([angle.cos(), angle.sin()], dim=1)
    number = torch.arange(corners)
    cells = torch.stack([torch.full_like(number, corners), number, (number + 1) % corners], dim=1)
    return Mesh.from_cells(torch.cat([rim, rim.new_zeros(1, 2)]), {"triangle": cells})


@pytest.mark.parametrize(("corners", "smooth"), [(11, 0), (12, 12), (13, 13)])
def test_a_turn_is_a_corner_from_the_angle_on(corners: int, smooth: int) -> None:
    chains, _ = side_chains(polygon(corners), 30.0)
    assert int(chains.smooth.sum()) == smooth


def test_tags_and_junctions_end_a_chain() -> None:
    disk = generate.disk(8)
    right = disk.centroids()[:, 0] > 0
    cells = {"right": torch.nonzero(right).squeeze(1), "left": torch.nonzero(~right).squeeze(1)}
    mesh = Mesh.from_cells(disk.pos, disk.cells, cell_tags=cells)
    chains, numbers = side_chains(mesh, 30.0)
    rim = mesh.topology.facet_cells[numbers, 1] < 0
    ends = mesh.boundary_nodes[~chains.smooth[mesh.boundary_nodes]]
    assert len(ends) == 2  # where the interface meets the rim
    assert len(torch.unique(chain_numbers(chains.edges[rim], chains.smooth))) == 2


def test_a_cylinder_has_three_patches_and_two_smooth_ridges() -> None:
    mesh = generate.box(2, 2, 2)
    patches, ridges = patches_and_ridges(mesh, 30.0)
    assert len(torch.unique(patches.patch)) == 6
    assert len(ridges.edges) == 12 * 2
    assert int(patches.smooth.sum()) == 6
    assert int(ridges.smooth.sum()) == 12
    ball = generate.ball(5)
    patches, ridges = patches_and_ridges(ball, 30.0)
    assert len(torch.unique(patches.patch)) == 1
    assert len(ridges.edges) == 0
    assert torch.equal(torch.nonzero(patches.smooth).squeeze(1), ball.boundary_nodes)


def test_an_inflection_is_no_straight_part_but_a_side_between_two_arcs_is() -> None:
    angle = torch.linspace(0.0, 0.75 * math.pi, 7, dtype=torch.float64)
    arc = torch.stack([angle.sin(), 1 - angle.cos()], dim=1)  # starts at 0, along x
    line = torch.tensor([[-0.4, 0.0]], dtype=torch.float64)
    number = torch.arange(14)
    edges = torch.stack([number, number + 1], dim=1)
    for sign, found in ((-1.0, 1), (1.0, 0)):
        other = arc * torch.tensor([-1.0, sign]) + 2 * line
        pos = torch.cat([other.flip(0), line, arc])
        smooth = torch.ones(15, dtype=torch.bool)
        smooth[[0, 14]] = False
        flat = torch.zeros(15, dtype=torch.bool)
        flat[7] = True
        nodes = torch.nonzero(inflections(pos, Chains(edges, smooth), flat))
        assert nodes.reshape(-1).tolist() == [7] * found


@pytest.mark.parametrize("angle", [10.0, 30.0, 100.0])
def test_numbering_does_not_matter(angle: float) -> None:
    mesh = generate.ball(4)
    other, number, _ = renumbered(mesh, seed=1)
    one, ridges = patches_and_ridges(mesh, angle)
    two, others = patches_and_ridges(other, angle)
    assert torch.equal(one.smooth, two.smooth[number])
    assert len(ridges.edges) == len(others.edges)
