"""Domains, solutions and samples: valid, varied, right, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn.fem.reference import laplacian_of
from meshlearn.training.movers import solutions
from meshlearn.training.movers.domains import random_mesh
from meshlearn.training.movers.samples import SamplePool, make_sample

FAMILIES = ("_gaussians", "_waves", "_front", "_ring")


@pytest.mark.parametrize("dim", [2, 3])
def test_meshes_are_valid_and_about_as_large_as_asked(dim):
    shapes = set()
    for seed in range(24 if dim == 2 else 6):
        mesh = random_mesh(np.random.default_rng(seed), dim, 500)
        assert len(mesh.inverted_cells()) == 0
        assert mesh.dim == mesh.cell_dim == dim
        assert 250 < len(mesh.pos) < 1500
        shapes.add(len(mesh.boundary_nodes))
    assert len(shapes) > (3 if dim == 2 else 1)


def test_same_seed_same_mesh():
    first = random_mesh(np.random.default_rng(5), 2, 300)
    assert first == random_mesh(np.random.default_rng(5), 2, 300)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_laplacians_in_closed_form(family, dim, seed):
    rng = np.random.default_rng(seed)
    exact = getattr(solutions, family)(rng, -np.ones(dim), np.arange(1.0, dim + 1))
    x = torch.from_numpy(rng.uniform(-1, 1, (40, dim)))
    expected = laplacian_of(exact.value)(x)
    scale = float(expected.abs().max()) + 1e-12
    assert float((exact.laplacian(x) - expected).abs().max()) < 1e-9 * scale


def test_pool_gives_the_same_sample_from_disk(tmp_path):
    fresh = make_sample(7, 2, 2, (120, 160))
    pool = SamplePool(tmp_path, 7, 3, 2, (120, 160))
    pool.prepare(workers=1)
    assert len(list(pool.folder.glob("*.pt"))) == 3
    again = SamplePool(tmp_path, 7, 3, 2, (120, 160))[2]
    assert torch.equal(again.mesh.pos, fresh.mesh.pos)
    assert torch.equal(again.u, fresh.u)
    assert again.error == fresh.error
    x = fresh.mesh.pos
    assert torch.equal(again.problem.exact(x), fresh.problem.exact(x))


def test_pool_by_processes_and_progress(tmp_path):
    calls = []
    pool = SamplePool(tmp_path, 1, 4, 2, (100, 120))
    pool.prepare(workers=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {len(sample.u) for sample in pool} == {len(sample.mesh.pos) for sample in pool}
