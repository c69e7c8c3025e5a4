"""Quality optimisation and untangling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh

from meshlearn.mesh import Mesh, generate
from meshlearn.movers import Optimise
from meshlearn.movers.constraints import freedom


def shaken(mesh: Mesh, size: float, seed: int = 0) -> Mesh:
    """Inner nodes displaced at random, boundary as it was."""
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    return mesh.moved(mesh.pos + size * noise * inner[:, None])


@pytest.mark.parametrize(
    "cell", ["triangle", "quad", "mixed2", "tetra", "hexahedron", "wedge", "pyramid", "mixed3"]
)
def test_badly_tangled_meshes_become_valid(cell: str) -> None:
    d = 2 if cell in ("triangle", "quad", "mixed2") else 3
    mesh = random_mesh(cell, [5] * d, seed=1, jitter=0.1, shuffle=False)
    tangled = shaken(mesh, 0.15)
    result = Optimise().move(tangled)
    report = result.report
    assert report.inverted_before > 5
    assert report.inverted_cells == 0
    assert report.min_quality > 0.1
    assert torch.allclose(
        result.mesh.pos[mesh.boundary_nodes].amax(dim=0), mesh.pos.amax(dim=0), atol=1e-12
    )
    assert float(result.mesh.volumes().sum()) == pytest.approx(float(mesh.volumes().sum()))


def test_regular_meshes_stay_and_distorted_ones_return_to_them() -> None:
    mesh = generate.rectangle(8, 8, cell="quad")
    still = Optimise().move(mesh)
    assert still.report.max_displacement < 1e-6
    back = Optimise().move(shaken(mesh, 0.02))
    assert float((back.mesh.pos - mesh.pos).abs().max()) < 1e-4


@given(any_meshes(), st.integers(0, 99))
@settings(max_examples=25)
def test_a_valid_mesh_stays_valid_and_its_worst_cell_gets_no_worse(mesh: Mesh, seed: int) -> None:
    result = Optimise(max_rounds=3).move(mesh)
    assert result.report.inverted_cells == 0
    assert result.report.min_quality >= result.report.min_quality_before
    sides = mesh.volumes().sum()
    assert float(result.mesh.volumes().sum()) == pytest.approx(float(sides), rel=1e-10)


def test_fixed_nodes_do_not_move() -> None:
    mesh = shaken(generate.rectangle(6, 6), 0.03)
    result = Optimise().move(mesh, fixed=["left", "bottom"])
    for name in ("left", "bottom"):
        nodes = mesh.tagged_nodes(name)
        assert torch.equal(result.mesh.pos[nodes], mesh.pos[nodes])
    assert result.report.mean_quality > result.report.mean_quality_before


def scattered(mesh: Mesh, seed: int) -> Mesh:
    """Inner nodes anywhere in the box around the mesh."""
    pos, low = mesh.pos.clone(), mesh.pos.amin(dim=0)
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(pos.shape, generator=generator, dtype=torch.float64)
    pos[inner] = (low + (mesh.pos.amax(dim=0) - low) * share)[inner]
    return mesh.moved(pos)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "mesh",
    [generate.l_shape(6), generate.channel_with_cylinder(h=0.08), generate.box(3, 3, 3)],
    ids=["L", "channel", "box"],
)
def test_nodes_thrown_anywhere_find_back_to_a_valid_mesh(mesh: Mesh, seed: int) -> None:
    report = Optimise().move(scattered(mesh, seed)).report
    assert report.inverted_before > 20
    assert report.inverted_cells == 0
    assert report.converged


def test_where_it_starts_does_not_matter_and_cells_of_unequal_size_need_few_rounds() -> None:
    mesh = generate.channel_with_cylinder(h=0.05)
    sizes = mesh.volumes()
    assert float(sizes.max() / sizes.min()) > 10
    found = []
    for seed in range(3):
        result = Optimise().move(shaken(mesh, 0.015, seed))
        assert result.report.inverted_before > 50
        assert result.report.rounds <= 6
        found.append(result.mesh.pos)
    assert max(float((pos - found[0]).abs().max()) for pos in found[1:]) < 2e-3


def test_tangled_nodes_slide_on_a_circle_and_its_edges_keep_within_their_limit() -> None:
    disk = generate.disk(8)
    result = Optimise().move(shaken(disk, 0.1), slide="curved")
    rim = disk.boundary_nodes
    assert result.report.inverted_before > 20
    assert result.report.inverted_cells == 0
    assert float((result.mesh.pos[rim].norm(dim=1) - 1).abs().max()) < 1e-5
    assert float((result.mesh.pos - disk.pos)[rim].norm(dim=1).max()) > 1e-3
    stretch = freedom(disk, slide="curved").stretch
    assert stretch is not None
    assert float(stretch.ratio(result.mesh.pos).max()) < stretch.limit


def test_what_cannot_be_untangled_is_said() -> None:
    mesh = generate.rectangle(2, 2)
    pos = mesh.pos.clone()
    pos[(mesh.pos == 0).all(dim=1)] = torch.tensor([0.9, 0.9], dtype=torch.float64)
    report = Optimise(max_rounds=5).move(mesh.moved(pos), fixed=["boundary"]).report
    assert not report.converged
    assert report.inverted_cells > 0
    assert "still inverted" in report.reason
