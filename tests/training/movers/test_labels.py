"""UM2N's data set: of its size, the same for the same seed, with labels that are better meshes."""

from __future__ import annotations

import pytest
import torch

from meshlearn.movers.equidistribution import equidistribution
from meshlearn.training.movers.labels import SquarePool, make_labelled, monge_ampere, unmoved
from meshlearn.training.movers.published import dmm_monitor, um2n_monitor

COARSE = (0.12, 0.13)


def test_meshes_are_as_in_the_paper():
    sample = make_labelled(0, 0, (0.05, 0.055), unmoved)
    assert 420 < len(sample.mesh.pos) < 600
    assert float(sample.mesh.volumes().sum()) == pytest.approx(1.0)
    assert sample.target is sample.mesh.pos
    assert sample.problem.reaction == 1.0


def test_labels_are_valid_and_equidistribute():
    sample = make_labelled(0, 1, COARSE, monge_ampere)
    monitor = um2n_monitor(sample.mesh, sample.u)
    moved = sample.mesh.moved(sample.target)
    assert len(moved.inverted_cells()) == 0
    before, _ = equidistribution(sample.mesh, sample.mesh, monitor(sample.mesh))
    after, _ = equidistribution(sample.mesh, moved, monitor(moved))
    assert after < 0.3 * before


def test_pool_gives_the_same_sample_from_disk(tmp_path):
    fresh = make_labelled(3, 1, COARSE, monge_ampere)
    calls = []
    pool = SquarePool(tmp_path, 3, 2, COARSE, monge_ampere)
    pool.prepare(1, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    again = SquarePool(tmp_path, 3, 2, COARSE, monge_ampere)
    again.prepare(2)  # all there
    assert len(again) == len(list(again)) == 2
    assert torch.equal(again[1].target, fresh.target)
    assert torch.equal(again[1].u, fresh.u)
    x = fresh.mesh.pos
    assert torch.equal(again[1].problem.exact(x), fresh.problem.exact(x))


def test_pool_by_processes(tmp_path):
    pool = SquarePool(tmp_path, 3, 2, COARSE, unmoved)
    pool.prepare(2)
    assert len(list(pool.folder.glob("*.pt"))) == 2


def test_published_monitors():
    sample = make_labelled(0, 2, COARSE, unmoved)
    mesh, u = sample.mesh, sample.u
    value = um2n_monitor(mesh, u)(mesh)
    assert float(value.max()) == pytest.approx(6.0)
    assert float(value.min()) >= 1.0
    assert torch.allclose(um2n_monitor(mesh, 0 * u)(mesh), torch.ones_like(u))
    steep = dmm_monitor(mesh, u, 0.01)(mesh)
    assert torch.allclose(dmm_monitor(mesh, 7 * u, 0.01)(mesh), steep)
    assert torch.allclose(steep - 1, 100 * (dmm_monitor(mesh, u, 1.0)(mesh) - 1))
    assert torch.allclose(dmm_monitor(mesh, 0 * u, 0.01)(mesh), torch.ones_like(u))
    slope = mesh.pos @ torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert torch.allclose(dmm_monitor(mesh, slope, 0.5)(mesh), 3 * torch.ones_like(u))
