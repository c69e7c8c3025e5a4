"""Prescribed boundary motion: reached exactly, undone exactly, never tangled."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.movers import Displacer, Elastic, Laplacian, Periodic, Spring
from meshlearn.movers.periodic import ties

MOVERS = [Laplacian(), Spring("lineal"), Spring("torsional"), Elastic()]


def bump(amplitude: float) -> object:
    """The forced motion of Movement's example: the top side by a sin(pi x)."""
    return lambda x: torch.stack([0 * x[:, 0], amplitude * torch.sin(torch.pi * x[:, 0])], dim=1)


@pytest.mark.parametrize("mover", MOVERS)
def test_the_boundary_goes_where_it_is_told_and_back_bit_for_bit(mover: Displacer) -> None:
    mesh = generate.rectangle(10, 10)
    there = mover.displace(mesh, {"top": bump(0.2)})
    top = mesh.tagged_nodes("top")
    assert torch.equal(there.mesh.pos[top], mesh.pos[top] + bump(0.2)(mesh.pos[top]))
    for name in ("left", "right", "bottom"):
        nodes = mesh.tagged_nodes(name)
        assert torch.allclose(there.mesh.pos[nodes], mesh.pos[nodes], atol=1e-15)
    assert there.report.converged
    assert there.report.steps == 1
    assert there.report.inverted_cells == 0
    assert torch.equal(mover.displace(mesh, {"top": bump(0.0)}).mesh.pos, mesh.pos)


@pytest.mark.parametrize("mover", MOVERS)
@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_a_rigid_motion_of_the_whole_boundary_moves_the_mesh_rigidly(
    mover: Displacer, cell: str
) -> None:
    mesh = generate.rectangle(6, 6, cell=cell)
    shift = torch.tensor([0.3, -0.7], dtype=torch.float64)
    moved = mover.displace(mesh, {"boundary": lambda x: shift.expand(len(x), 2)}).mesh
    assert torch.allclose(moved.pos, mesh.pos + shift, atol=1e-12)


def test_linear_boundary_motions_are_linear_inside_for_diffusion_and_elasticity() -> None:
    # the patch test of the extension
    mesh = generate.polygon([[0, 0], [2, 0], [2, 1], [0, 1]], h=0.3)
    gradient = torch.tensor([[0.1, 0.3], [0.0, -0.2]], dtype=torch.float64)
    for mover in (Laplacian(), Elastic(stiffening=0.0)):
        moved = mover.displace(mesh, {"boundary": lambda x: x @ gradient.T}).mesh
        assert torch.allclose(moved.pos, mesh.pos + mesh.pos @ gradient.T, atol=1e-12)


def test_stiffening_protects_small_cells() -> None:
    mesh = generate.channel_with_cylinder(h=0.05)
    shift = torch.tensor([0.06, 0.06], dtype=torch.float64)
    qualities = {}
    for stiffening in (0.0, 1.0):
        result = Elastic(stiffening=stiffening).displace(
            mesh, {"cylinder": lambda x: shift.expand(len(x), 2)}
        )
        assert result.report.converged
        around = torch.isin(mesh.cells["triangle"], mesh.tagged_nodes("cylinder")).any(dim=1)
        qualities[stiffening] = float(result.mesh.quality("mean_ratio")[around].min())
    assert qualities[1.0] > qualities[0.0]


@given(any_meshes(tags=True), st.sampled_from(MOVERS), st.floats(0.0, 2.0), st.integers(0, 99))
@settings(max_examples=30)
def test_no_cell_is_ever_inverted_however_wild_the_motion(
    mesh: Mesh, mover: Displacer, size: float, seed: int
) -> None:
    nodes = mesh.tagged_nodes("left")
    noise = torch.randn(
        len(nodes), mesh.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    result = mover.displace(mesh, {"left": size * noise})
    assert len(result.mesh.inverted_cells()) == 0
    moved = result.mesh.pos[nodes] - mesh.pos[nodes]
    assert torch.allclose(moved, result.report.reached * size * noise, atol=1e-12)
    assert result.report.converged == (result.report.reached == 1.0)


def wave(phase: float) -> object:
    """A bulge of the top side that fits between periodic sides."""
    return lambda x: torch.stack(
        [0.02 * torch.cos(2 * torch.pi * (x[:, 0] - phase)),
         0.05 * torch.sin(2 * torch.pi * (x[:, 0] - phase))], dim=1
    )  # fmt: skip


@pytest.mark.parametrize("mover", MOVERS)
def test_periodic_sides_move_as_one_wherever_they_are_cut(mover: Displacer) -> None:
    """The motion that is shifted by half a period gives the shifted mesh, but with springs."""
    mesh = generate.rectangle(10, 8)
    found = []
    for phase in (0.0, 0.5):
        result = mover.displace(mesh, {"top": wave(phase)}, periodic=["left:right"])
        assert result.report.converged
        assert result.report.inverted_cells == 0
        shift = result.mesh.pos - mesh.pos
        left, right = mesh.tagged_nodes("left"), mesh.tagged_nodes("right")
        assert float((shift[left].sum(dim=0) - shift[right].sum(dim=0)).abs().max()) < 1e-14
        assert float(shift[left].abs().max()) > 0.01
        assert float(shift[mesh.tagged_nodes("bottom")].abs().max()) == 0
        found.append(shift)
    if isinstance(mover, Spring):  # the edges of both sides are springs
        return
    far = torch.cdist((mesh.pos + torch.tensor([0.5, 0.0])) % 1.0, mesh.pos % 1.0)
    inner = (mesh.pos[:, 0] > 0.01) & (mesh.pos[:, 0] < 0.99) & (mesh.pos[:, 1] < 0.99)
    other = far[inner].argmin(dim=1)
    assert float((found[1][other] - found[0][inner]).abs().max()) < 1e-12


@pytest.mark.parametrize("mover", MOVERS)
def test_a_sector_turns_with_its_arcs(mover: Displacer) -> None:
    """Partners that are rotated: a rotation of both arcs turns the sector as a body."""
    angle, turned = torch.pi / 3, torch.tensor(0.2, dtype=torch.float64)
    flat = generate.rectangle(5, 6, lower=(1.0, 0.0), upper=(2.0, angle))
    radius, at = flat.pos.unbind(dim=1)
    pos = torch.stack([radius * at.cos(), radius * at.sin()], dim=1)
    mesh = Mesh.from_cells(pos, flat.cells, facet_tags=flat.facet_tags)
    cos, sin = math.cos(angle), math.sin(angle)
    pair = Periodic("bottom", "top", rotation=[[cos, -sin], [sin, cos]])
    cosine, sine = turned.cos(), turned.sin()
    body = torch.stack([torch.stack([cosine, -sine]), torch.stack([sine, cosine])])
    turn = lambda x: x @ body.T - x  # noqa: E731
    result = mover.displace(mesh, {"left": turn, "right": turn}, periodic=[pair])
    assert result.report.converged
    tied = ties(mesh, [pair])
    assert tied is not None
    moved = result.mesh.pos
    there = (tied.rotations @ moved[tied.roots][:, :, None])[:, :, 0]
    assert float((moved[tied.members] - there).norm(dim=1).max()) < 1e-14
    assert float((moved - mesh.pos)[tied.members].norm(dim=1).max()) > 0.15
    # both kinds of balance are linear and know no difference between places of the sector
    spin = (moved - mesh.pos).norm(dim=1) / mesh.pos.norm(dim=1)
    by_radius = (mesh.pos.norm(dim=1) * 1e6).round()
    for value in by_radius.unique():
        mine = spin[by_radius == value]
        if isinstance(mover, Elastic | Laplacian):
            assert float(mine.max() - mine.min()) < 0.02 * float(mine.mean())


def test_a_body_moves_in_a_doubly_periodic_box_and_takes_all_along() -> None:
    mesh = generate.rectangle(9, 9)
    inner = ((mesh.pos - 0.5).abs() < 0.2).all(dim=1)
    cells = torch.nonzero(inner[mesh.cells["triangle"]].all(dim=1)).squeeze(1)
    mesh = Mesh.from_cells(
        mesh.pos, mesh.cells, facet_tags=mesh.facet_tags, cell_tags={"body": cells}
    )
    shift = torch.tensor([0.3, -0.1], dtype=torch.float64)
    for mover in MOVERS:
        result = mover.displace(
            mesh, {"body": lambda x: shift.expand(len(x), 2)},
            periodic=["left:right", "bottom:top"],
        )  # fmt: skip
        assert torch.allclose(result.mesh.pos, mesh.pos + shift, atol=1e-9)


def test_what_one_side_is_told_its_partner_does() -> None:
    mesh = generate.rectangle(6, 6)
    push = lambda x: torch.stack([0 * x[:, 0], 0.05 * x[:, 1] * (1 - x[:, 1])], dim=1)  # noqa: E731
    one = Elastic().displace(mesh, {"left": push}, periodic=["left:right"]).mesh
    both = Elastic().displace(mesh, {"left": push, "right": push}, periodic=["left:right"]).mesh
    assert torch.allclose(one.pos, both.pos, atol=1e-15)
    right = mesh.tagged_nodes("right")
    assert float((one.pos - mesh.pos)[right, 1].max()) > 0.01
    with pytest.raises(MeshError, match="is told to move otherwise than its periodic partner"):
        Elastic().displace(
            mesh, {"left": push, "right": lambda x: -push(x)}, periodic=["left:right"]
        )
    with pytest.raises(MeshError, match="is told to move otherwise"):
        Laplacian().displace(mesh, {"left": push}, fixed=["right"], periodic=["left:right"])


def test_what_cannot_be_done_is_said() -> None:
    mesh = generate.rectangle(4, 4)
    result = Laplacian().displace(mesh, {"top": bump(-1.5)})
    assert not result.report.converged
    assert 0 < result.report.reached < 1
    assert "of the motion would invert cells" in result.report.reason
    with pytest.raises(MeshError, match="no tag 'lid'"):
        Laplacian().displace(mesh, {"lid": bump(0.1)})
    with pytest.raises(MeshError, match=r"must be finite and \[5, 2\]"):
        Laplacian().displace(mesh, {"top": torch.zeros(3, 2)})
    with pytest.raises(MeshError, match="poisson_ratio"):
        Elastic(poisson_ratio=0.5)
