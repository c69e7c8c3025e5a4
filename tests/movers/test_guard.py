"""Nothing that leaves the guard is tangled or off its boundary, whatever goes in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.movers.constraints import freedom
from meshlearn.movers.guard import boundary_error, guard, shortened, volume_error


@given(any_meshes(), st.floats(0.0, 3.0), st.integers(0, 1000))
@settings(max_examples=60)
def test_any_displacement_gives_a_valid_mesh_of_the_same_domain(
    mesh: Mesh, size: float, seed: int
) -> None:
    noise = torch.randn(
        mesh.pos.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    free = freedom(mesh)
    moved = mesh.moved(guard(mesh, mesh.pos + size * noise, free))
    assert len(moved.inverted_cells()) == 0
    moved.validate(allow=["duplicate"])
    assert boundary_error(mesh, moved.pos, free) < 1e-12
    assert volume_error(mesh, moved) < 1e-8
    corners = free.nodes[free.free == 0]
    assert torch.equal(moved.pos[corners], mesh.pos[corners])


def test_a_valid_proposal_passes_unchanged() -> None:
    mesh = generate.rectangle(6, 6)
    pos = mesh.pos + 0.02 * torch.sin(torch.pi * mesh.pos) * mesh.pos
    free = freedom(mesh)
    wanted = mesh.pos + free.project(pos - mesh.pos)
    assert torch.equal(guard(mesh, pos, free), wanted)
    assert shortened(mesh, pos, wanted, free) == 0


def test_a_bad_step_is_shortened_where_it_tangles_and_nowhere_else() -> None:
    mesh = generate.rectangle(10, 10)
    free = freedom(mesh)
    bad = int(((mesh.pos - torch.tensor([0.2, 0.2])).norm(dim=1)).argmin())
    good = int(((mesh.pos - torch.tensor([0.8, 0.8])).norm(dim=1)).argmin())
    pos = mesh.pos.clone()
    pos[bad] += 5.0
    pos[good] += 0.03
    moved = guard(mesh, pos, free)
    assert torch.equal(moved[good], pos[good])
    assert 0 < float((moved[bad] - mesh.pos[bad]).norm()) < 0.15
    assert shortened(mesh, pos, moved, free) == 1


def test_values_that_are_not_finite_count_as_no_motion() -> None:
    mesh = generate.rectangle(3, 3)
    pos = mesh.pos.clone()
    pos[5] = float("nan")
    assert torch.equal(guard(mesh, pos, freedom(mesh)), mesh.pos)


@pytest.mark.parametrize(("shift", "count"), [((0.2, 0.2), 1), ((0.5, 0.0), 2), ((0.5, 0.5), 3)])
def test_inverted_cells_of_the_published_example(shift: tuple[float, float], count: int) -> None:
    # Movement's test of its tangling checker: 3 x 3 square, vertex (1/3, 1/3) shifted.
    mesh = generate.rectangle(3, 3)
    node = int((mesh.pos - 1 / 3).norm(dim=1).argmin())
    pos = mesh.pos.clone()
    pos[node] += torch.tensor(shift, dtype=torch.float64)
    assert len(mesh.moved(pos).inverted_cells()) == count
    assert len(mesh.moved(guard(mesh, pos, freedom(mesh))).inverted_cells()) == 0


def test_an_invalid_start_is_an_error_that_names_the_cell() -> None:
    mesh = random_mesh("triangle", [3, 3], seed=1, shuffle=False)
    pos = mesh.pos.clone()
    inner = int((pos - 0.34).norm(dim=1).argmin())
    pos[inner] = torch.tensor([2.0, 2.0])
    with pytest.raises(MeshError, match=r"\d of 18 cells are inverted before the move, first cell"):
        guard(mesh.moved(pos), pos, freedom(mesh))
