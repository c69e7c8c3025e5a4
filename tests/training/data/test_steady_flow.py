"""Flows: what goes in goes out, one thing varies at a time, no flow is on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshlearn.training.data import Case, CavitySettings, CylinderSettings, make_flow

CAVITY, CYLINDER = CavitySettings(nodes=140), CylinderSettings(nodes=220)


def flux(case: Case, side: str) -> float:
    """Of P1 velocities to the right through a vertical side."""
    facets = case.mesh.facet_tags[side]
    height = (case.mesh.pos[facets[:, 0], 1] - case.mesh.pos[facets[:, 1], 1]).abs()
    return float((case.outputs["u"][facets, 0].mean(dim=1) * height).sum())


def test_the_channel_loses_no_fluid() -> None:
    for number in range(3):
        case = make_flow(CYLINDER, number)
        assert case.kind == ("bc", "prop", "geo")[number]
        assert flux(case, "outlet") == pytest.approx(flux(case, "inlet"), rel=0.03)
        assert flux(case, "inlet") > 0.01
        u = case.outputs["u"]
        assert (u[case.mesh.facet_tags["cylinder"]] == 0).all()
        (held,) = case.bcs["u"]
        assert torch.equal(u.reshape(-1)[held.dofs], held.values)


def test_one_thing_varies_at_a_time() -> None:
    cases = [make_flow(CAVITY, k) for k in range(6)]
    lid = [float(case.outputs["u"][:, 0].max()) for case in cases]
    viscosity = [float(case.inputs["log_viscosity"][0]) for case in cases]
    area = [float(case.mesh.volumes().sum()) for case in cases]
    for values, varies in ((lid, (0, 3)), (viscosity, (1, 4)), (area, (2, 5))):
        rest = [v for k, v in enumerate(values) if k not in varies]
        assert rest == pytest.approx([rest[0]] * 4)
        assert len({round(values[k], 6) for k in varies} | {round(rest[0], 6)}) == 3


def test_creeping_flow_is_a_good_answer_only_where_inertia_is_small(tmp_path: Path) -> None:
    pool = CAVITY.model_copy(update={"parts": ("prop",)}).pool(4, tmp_path)
    miss = []
    for case in pool:
        u = case.outputs["u"]
        gap = float((pool.baseline(case)["u"] - u).norm() / u.norm())
        miss.append((-float(case.inputs["log_viscosity"][0]), gap))
    gaps = [gap for _, gap in sorted(miss)]
    assert gaps[0] == min(gaps)
    assert gaps[-1] > 2 * gaps[0]


def test_flows_are_split_by_case(tmp_path: Path) -> None:
    settings = CAVITY.model_copy(update={"parts": ("prop",)})
    train, held_out = settings.pool(3, tmp_path), settings.others().pool(3, tmp_path)
    seen = {float(case.inputs["log_viscosity"][0]) for case in train}
    assert not seen & {float(case.inputs["log_viscosity"][0]) for case in held_out}
