"""Straight ways between valid meshes."""

from __future__ import annotations

import pytest
import torch
from convergence import jiggled
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlearn.mesh import MeshError
from meshlearn.mesh.generate import box, rectangle
from meshlearn.movers.path import safe_path


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 3]), st.floats(0.05, 0.6))
def test_no_cell_inverts_on_the_way(seed: int, dim: int, amount: float) -> None:
    torch.manual_seed(seed)
    mesh = rectangle(5, 5) if dim == 2 else box(3, 3, 3)
    goal = jiggled(mesh, amount).pos
    reached = safe_path(mesh, goal)
    for share in torch.linspace(0, 1, 33):
        assert len(mesh.moved(mesh.pos + share * (reached - mesh.pos)).inverted_cells()) == 0
    assert torch.equal(reached[mesh.boundary_nodes], mesh.pos[mesh.boundary_nodes])


def test_a_short_way_is_left_alone() -> None:
    mesh = rectangle(6, 6)
    goal = jiggled(mesh, 0.01).pos
    assert torch.allclose(safe_path(mesh, goal), goal, rtol=0, atol=1e-16)


def test_two_valid_meshes_may_have_no_valid_way() -> None:
    # Half a turn about the centre: both ends are valid, halfway all nodes meet.
    mesh = rectangle(2, 2)
    turned = 1 - mesh.pos
    assert len(mesh.moved(turned).inverted_cells()) == 0
    reached = safe_path(mesh, turned)
    assert (reached - mesh.pos).abs().max() < 0.51
    assert len(mesh.moved(reached).inverted_cells()) == 0


def test_the_start_must_be_valid() -> None:
    mesh = rectangle(3, 3)
    bad = mesh.pos.clone()
    bad[5] = 2.0
    with pytest.raises(MeshError, match="inverted before the move"):
        safe_path(mesh.moved(bad), mesh.pos)
