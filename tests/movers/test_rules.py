"""Rule 3 of the contract for every mover: the result turns, shifts, scales and renumbers along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_affine, renumbered, tetra_meshes, triangle_meshes

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Function, Monitor
from meshlearn.movers import Laplacian, Mover, Spring, Variational, Winslow
from meshlearn.movers.constraints import freedom
from meshlearn.movers.monge_ampere import MongeAmpere

MOVERS: list[Mover] = [
    Variational(theta=0.1, max_iterations=4),
    Winslow(max_iterations=4),
    Laplacian(max_iterations=4),
    Spring("lineal", max_iterations=4),
    Spring("torsional", max_iterations=4),
    MongeAmpere(max_iterations=4, fallback=None),
]
MESHES = st.one_of(triangle_meshes(max_cells=4), tetra_meshes(max_cells=3))


def hill(mesh: Mesh) -> Monitor:
    """Four times denser around a point that is inside, over a third of the size."""
    centre = mesh.pos.mean(dim=0)
    size = float((mesh.pos - centre).norm()) / len(mesh.pos) ** 0.5
    return Function(lambda x: 1 + 3 * torch.exp(-(((x - centre) / size) ** 2).sum(dim=1)))


@given(MESHES, st.sampled_from(MOVERS), st.integers(0, 999))
@settings(max_examples=25)
def test_similar_problems_have_similar_answers(mesh: Mesh, mover: Mover, seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = torch.from_numpy(random_affine(rng, mesh.dim, 1.0)) * rng.uniform(0.1, 10)
    shift = torch.from_numpy(rng.normal(size=mesh.dim))
    there = mesh.moved(mesh.pos @ turn.T + shift)
    one, two = mover.move(mesh, hill(mesh)), mover.move(there, hill(there))
    expected = one.mesh.pos @ turn.T + shift
    assert float((two.mesh.pos - expected).abs().max()) < 1e-6 * float(expected.std())


@given(MESHES, st.sampled_from(MOVERS), st.integers(0, 999))
@settings(max_examples=25)
def test_the_numbering_does_not_matter(mesh: Mesh, mover: Mover, seed: int) -> None:
    other, number, _ = renumbered(mesh, seed)
    one, two = mover.move(mesh, hill(mesh)), mover.move(other, hill(mesh))
    gap = (two.mesh.pos[number] - one.mesh.pos).abs().max()
    assert float(gap) < 1e-6 * float(mesh.pos.std())


@pytest.mark.parametrize("mover", MOVERS, ids=lambda m: type(m).__name__)
def test_a_mirrored_problem_gives_the_mirrored_mesh(mover: Mover) -> None:
    mesh = generate.rectangle(6, 6, diagonal="crossed")
    ridge = Function(lambda x: 1 + 6 * torch.exp(-20 * (x[:, 0] - 0.5) ** 2))
    pos = mover.move(mesh, ridge).mesh.pos
    mirrored = torch.stack([1 - pos[:, 0], pos[:, 1]], dim=1)
    assert float(torch.cdist(mirrored, pos).amin(dim=1).max()) < 1e-7


@pytest.mark.parametrize("slide", ["flat", "curved"])
def test_the_basis_of_periodic_motions_is_orthonormal_and_projects(slide: str) -> None:
    mesh = generate.rectangle(12, 4)
    bump = 0.1 * torch.sin(2 * torch.pi * mesh.pos[:, 0])
    mesh = mesh.moved(mesh.pos + torch.stack([0 * bump, bump], dim=1))
    free = freedom(mesh, slide=slide, periodic=["bottom:top"])
    basis = free.basis().toarray()
    assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    vectors = np.random.default_rng(0).normal(size=mesh.pos.shape)
    projected = (basis @ (basis.T @ vectors.reshape(-1))).reshape(vectors.shape)
    assert np.allclose(projected, free.project(torch.from_numpy(vectors)).numpy(), atol=1e-12)
    held = free.held()
    assert (held.basis().shape[1] < basis.shape[1]) == (slide == "curved")
    still = held.project(torch.from_numpy(vectors))
    for track in free.tracks:
        assert float(still[track.nodes].abs().max()) == 0.0
