"""Prescribed boundary motion: reached exactly, undone exactly, never tangled."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.movers import Displacer, Elastic, Laplacian, Spring

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
