"""Sheets and beams: linear where they should be, in equilibrium, bent without getting longer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from meshlearn.training.data import BeamSettings, ElasticSettings, make_beam, make_elastic

SHEET = ElasticSettings(nodes=120)
BEAM = BeamSettings(nodes=60, ratio=(5.0, 5.0))


def test_sheets_are_held_and_pulled(tmp_path: Path) -> None:
    pool = SHEET.pool(2, tmp_path)
    for case in pool:
        u, mesh = case.outputs["u"], case.mesh
        assert mesh.num_nodes - len(mesh.topology.edges) + mesh.num_cells == 0  # one hole
        (held,) = case.bcs["u"]
        assert (u.reshape(-1)[held.dofs] == 0).all()
        top = mesh.pos[:, 1] > 1 - 1e-9
        assert float(u[top, 1].mean()) > 0
        pull = case.inputs["traction"]
        assert (pull[~top] == 0).all()
        assert (pull[top] == pull[top][0]).all()
        miss = (pool.baseline(case)["u"] - u).norm() / u.norm()
        assert 1e-3 < float(miss) < 0.5


def test_a_homogeneous_sheet_is_its_baseline_and_stiffness_scales(tmp_path: Path) -> None:
    pool = SHEET.model_copy(update={"variance": 0.0}).pool(1, tmp_path)
    case = pool[0]
    assert torch.allclose(pool.baseline(case)["u"], case.outputs["u"], rtol=0, atol=1e-12)
    case.inputs["log_young"] += math.log(2)
    assert torch.allclose(pool.baseline(case)["u"], case.outputs["u"] / 2, rtol=0, atol=1e-12)
    again = make_elastic(pool.settings, 0)
    assert torch.equal(again.outputs["u"], case.outputs["u"])


def test_small_deflections_are_linear_and_large_ones_are_not(tmp_path: Path) -> None:
    miss = []
    for load in (2e-5, 4e-5, 8e-3):
        pool = BEAM.model_copy(update={"load": load}).pool(1, tmp_path)
        u = pool[0].outputs["u"]
        miss.append(float((pool.baseline(pool[0])["u"] - u).norm() / u.norm()))
    assert miss[0] < 0.01
    assert miss[1] == pytest.approx(2 * miss[0], rel=0.2)  # the quadratic term
    assert miss[2] > 0.02


def test_a_bent_beam_keeps_its_length_and_its_cells() -> None:
    case = make_beam(BEAM.model_copy(update={"load": 0.012}), 1)
    mesh, u = case.mesh, case.outputs["u"]
    assert float(u.abs().max()) > 1
    line = (mesh.pos[:, 1] - 0.5).abs() < 1e-9
    order = mesh.pos[line, 0].argsort()
    before, after = mesh.pos[line][order], (mesh.pos + u)[line][order]
    length = float((after[1:] - after[:-1]).norm(dim=1).sum())
    assert length == pytest.approx(float(before[-1, 0] - before[0, 0]), rel=0.01)
    assert float(mesh.moved(mesh.pos + u).volumes().min()) > 0
    assert (u.reshape(-1)[case.bcs["u"][0].dofs] == 0).all()
