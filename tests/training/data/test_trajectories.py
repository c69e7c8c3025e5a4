"""Runs are the same from the same seed, meet their conditions, and their rates are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from meshlearn.mesh import generate
from meshlearn.training.data.trajectories import (
    KINDS,
    Trajectory,
    TrajectorySettings,
    make_trajectory,
)
from meshlearn.training.losses import norm

SQUARE = [kind for kind in KINDS if kind != "cylinder-wake"]


@pytest.mark.parametrize("kind", SQUARE)
def test_a_run_is_the_same_again_and_meets_its_conditions(kind: str, tmp_path: Path) -> None:
    settings = TrajectorySettings.model_validate({"kind": kind, "nodes": 60, "steps": 6})
    one, other = make_trajectory(settings, 3), make_trajectory(settings, 3)
    assert torch.equal(one.mesh.pos, other.mesh.pos)
    assert torch.equal(one.states["u"], other.states["u"])
    assert not torch.equal(one.states["u"][0], make_trajectory(settings, 4).states["u"][0])
    width = 2 if kind == "burgers" else 1
    assert one.states["u"].numel() == 7 * one.mesh.num_nodes * width
    assert one.steps == 6
    (held,) = one.bcs["u"]
    for k in range(1, 7):
        assert torch.equal(one.at(k)["u"].reshape(-1)[held.dofs], held.values)
    kept = settings.pool(4, tmp_path)[3]
    assert torch.equal(kept.states["u"], one.states["u"])
    assert torch.equal(kept.bcs["u"][0].dofs, held.dofs)
    assert {v.name for v in settings.pool(4, tmp_path).fields} == set(kept.fields)
    assert settings.others().seed != settings.seed


@pytest.mark.parametrize("kind", SQUARE)
def test_energy_falls(kind: str) -> None:
    """Nothing drives these flows: b is free of divergence and the boundary is held at 0."""
    run = make_trajectory(TrajectorySettings.model_validate({"kind": kind, "nodes": 150}), 0)
    known = norm(run.mesh, TrajectorySettings.model_validate({"kind": kind}).pool(1, "").states[0])
    energy = torch.stack(
        [known.squared(u.reshape(run.mesh.num_nodes, -1))[0] for u in run.states["u"]]
    )
    assert bool((energy.diff() < 0).all())


def test_the_rotation_carries_a_bump_around() -> None:
    settings = TrajectorySettings(kind="advection-diffusion", nodes=600, steps=20)
    run = make_trajectory(settings, 1)
    centre = torch.tensor([0.5, 0.5]).double()

    def middle(u: torch.Tensor) -> torch.Tensor:
        weight = u.abs()
        return ((run.mesh.pos - centre) * weight[:, None]).sum(dim=0) / weight.sum()

    start, end = middle(run.states["u"][0]), middle(run.states["u"][-1])
    turned = torch.atan2(start[0] * end[1] - start[1] * end[0], (start * end).sum())
    speed = run.fields["b"][:, 0] / (0.5 - run.mesh.pos[:, 1]).where(
        (run.mesh.pos[:, 1] - 0.5).abs() > 0.1, torch.inf
    )
    omega = speed[speed != 0].mean()
    assert float(turned) == pytest.approx(float(omega) * 20 * settings.step, rel=0.25)


@pytest.mark.slow
def test_a_wake_sheds_vortices(tmp_path: Path) -> None:
    settings = TrajectorySettings(kind="cylinder-wake", nodes=500, steps=30, refine=1)
    run = settings.pool(1, tmp_path)[0]
    assert run.states["u"].shape == (31, run.mesh.num_nodes, 2)
    (held,) = run.bcs["u"]
    u = run.states["u"].reshape(31, -1)
    assert torch.equal(u[:, held.dofs], held.values.expand(31, -1))
    reynolds = 0.1 / float(run.fields["log_k"][0].exp())
    assert 60 <= reynolds <= 140
    behind = int((run.mesh.pos - torch.tensor([0.5, 0.2])).norm(dim=1).argmin())
    across = run.states["u"][:, behind, 1]
    swings = int((across.sign().diff() != 0).sum())
    # two changes of sign a period: Strouhal number 0.25 to 0.35, mean velocity 1, diameter 0.1
    assert 2 * 0.6 * 2.5 - 1 <= swings <= 2 * 0.6 * 3.5 + 1
    assert float(across.abs().max()) > 0.3


@pytest.mark.parametrize("kind", ["heat", "advection-diffusion"])
def test_a_finer_solver_changes_the_states_and_not_what_is_kept_of_the_mesh(
    kind: str, tmp_path: Path
) -> None:
    base = {"kind": kind, "nodes": 60, "steps": 4, "k": (0.02, 0.02)}
    plain, fine, finest = (
        TrajectorySettings.model_validate(base | {"finer": times}).pool(1, tmp_path)[0]
        for times in (0, 1, 2)
    )
    assert torch.equal(fine.mesh.pos, plain.mesh.pos)
    assert torch.allclose(fine.fields["log_k"].exp(), torch.tensor(0.02).double())
    for name, values in plain.fields.items():
        assert torch.allclose(fine.fields[name], values)
    assert torch.allclose(fine.states["u"][0], plain.states["u"][0], atol=1e-12)
    assert torch.equal(fine.bcs["u"][0].dofs, plain.bcs["u"][0].dofs)
    first, second = (
        float((run.states["u"][-1] - finest.states["u"][-1]).abs().max()) for run in (plain, fine)
    )
    assert 0 < second < 0.5 * first


def test_k_comes_from_its_range() -> None:
    for number in range(4):
        settings = TrajectorySettings(nodes=40, steps=4, k=(0.5, 0.6))
        k = float(make_trajectory(settings, number).fields["log_k"][0].exp())
        assert 0.5 <= k <= 0.6


def test_rates_of_a_cubic_are_exact() -> None:
    mesh, t = generate.rectangle(2, 2), 0.1 * torch.arange(8).double()
    states = {"u": (t**3 + t)[:, None] * torch.ones(mesh.num_nodes)}
    run = Trajectory("heat", mesh, 0.1, states, {}, {})
    for k in range(2, 6):
        assert torch.allclose(run.rate(k)["u"], 3 * t[k] ** 2 + 1, atol=1e-12)
    assert torch.allclose(run.rate(1)["u"], 3 * t[1] ** 2 + 1, atol=0.011)  # order 2: dt^2
    for k in (0, 7):
        with pytest.raises(IndexError, match="states 1 to 6 have a rate"):
            run.rate(k)


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(ValidationError, match="k must be two positive numbers, the smaller first"):
        TrajectorySettings(k=(0.2, 0.1))
    for more in ({"finer": 1}, {"k": (0.1, 0.2)}):
        with pytest.raises(ValidationError, match="a cylinder wake has no settings k and finer"):
            TrajectorySettings.model_validate({"kind": "cylinder-wake", **more})


def test_an_unknown_kind() -> None:
    with pytest.raises(ValidationError, match="kind"):
        TrajectorySettings.model_validate({"kind": "waves"})
