"""Potentials: a known solution, superposition, shapes that are kept for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from meshlearn.mesh import generate
from meshlearn.training import TrainingError
from meshlearn.training.data import BoundaryValueSettings, make_potential
from meshlearn.training.data.boundary_value import RADIUS, disc, solve_potential
from meshlearn.training.settings import parse_settings

SMALL = BoundaryValueSettings(nodes=150)


def test_the_potential_of_a_uniform_charge_in_a_disc_and_its_gradient() -> None:
    miss = []
    for n in (8, 16):
        mesh = generate.disk(n)
        sides = dict.fromkeys(mesh.facet_tags, 0.5)
        load = torch.ones(mesh.num_cells, dtype=torch.float64)
        _, _, outputs, bcs = solve_potential(mesh, load, sides)
        exact = 0.5 + (1 - mesh.pos.square().sum(dim=1)) / 4
        slope = (outputs["gradient"] + mesh.pos / 2).norm(dim=1)
        miss.append([float((outputs["u"] - exact).abs().max()), float(slope.mean())])
        assert all((held.values == 0.5).all() for held in bcs["u"])
    (coarse, fine) = miss
    assert fine[0] < coarse[0] / 3
    assert fine[1] < coarse[1] / 2.5


def test_solutions_superpose_where_the_boundary_is_grounded() -> None:
    grounded = SMALL.model_copy(update={"boundary": 0.0, "sources": (2, 2)})
    case = make_potential(grounded, 2)
    assert case.kind == "cylinder"
    rng = np.random.default_rng(0)
    loads = [disc(case.mesh, rng), -3 * disc(case.mesh, rng)]
    sides = {"outer": 0.0, "hole_0": 0.0}
    parts = [solve_potential(case.mesh, load, sides)[2] for load in loads]
    both = solve_potential(case.mesh, loads[0] + loads[1], sides)[2]
    for name, u in both.items():
        assert torch.allclose(u, parts[0][name] + parts[1][name], rtol=0, atol=1e-10)
    assert (case.outputs["u"][case.mesh.boundary_nodes] == 0).all()
    assert len(case.inputs["f"].unique()) == 3  # two discs and nothing


def test_discs_have_their_radius_and_lie_inside() -> None:
    mesh = generate.rectangle(60, 60)
    for seed in range(5):
        inside = disc(mesh, np.random.default_rng(seed)) > 0
        middle = mesh.centroids()[inside]
        assert float((middle - middle.mean(dim=0)).norm(dim=1).max()) < RADIUS + 0.01
        area = float(mesh.volumes()[inside].sum())
        assert abs(area / (np.pi * RADIUS**2) - 1) < 0.05


def test_the_u_is_never_trained_on(tmp_path: Path) -> None:
    train, held_out = SMALL.pool(4, tmp_path), SMALL.others().pool(2, tmp_path)
    assert [case.kind for case in train] == ["square", "disk", "cylinder", "l_shape"]
    assert {case.kind for case in held_out} == {"u_shape"}
    same = SMALL.model_copy(update={"test_shapes": (), "test_sources": (2, 3)}).others()
    assert (same.shapes, same.sources) == (SMALL.shapes, (2, 3))


def test_cases_of_one_shape_can_share_a_mesh() -> None:
    shared = SMALL.model_copy(update={"varied": False, "gradient": False})
    cases = [make_potential(shared, number) for number in (0, 1, 4)]
    square, disk, again = (case.mesh for case in cases)
    assert torch.equal(square.pos, again.pos)
    assert disk.num_nodes != square.num_nodes or not torch.equal(disk.pos, square.pos)
    assert not torch.equal(cases[0].inputs["f"], cases[2].inputs["f"])
    assert shared.others().varied  # judged on meshes that were not seen
    with pytest.raises(TrainingError, match="augment changes the mesh of each case, which needs"):
        parse_settings({"varied": False, "augment": True}, BoundaryValueSettings)


def test_the_gradient_can_be_left_out(tmp_path: Path) -> None:
    alone = SMALL.model_copy(update={"gradient": False}).pool(1, tmp_path)
    both = SMALL.pool(1, tmp_path)
    assert [v.name for v in alone.outputs] == list(alone[0].outputs) == ["u"]
    assert [v.name for v in both.outputs] == list(both[0].outputs) == ["u", "gradient"]
    assert torch.equal(alone[0].outputs["u"], both[0].outputs["u"])


def test_augmented_domains_are_turned_and_have_other_sizes() -> None:
    changed = SMALL.model_copy(update={"augment": True, "shapes": ("square",)})
    assert not changed.others().augment
    nodes, areas = [], []
    for number in range(6):
        mesh = make_potential(changed, number).mesh
        nodes.append(mesh.num_nodes)
        areas.append(float(mesh.volumes().sum()))
    assert max(areas) / min(areas) > 1.5
    assert max(nodes) / min(nodes) > 1.2
