"""Solutions in time: what they hold, and what steps may be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshlearn.fem import FunctionSpace
from meshlearn.mesh import MeshError
from meshlearn.mesh.generate import rectangle
from meshlearn.problems import Series
from meshlearn.problems.series import as_time_function, at_time, checked_steps


def growing() -> Series:
    mesh = rectangle(4, 4)
    space = FunctionSpace(mesh, "P1")
    times = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    return Series(space, times, times[:, None] * mesh.pos[:, 0], lambda x, t: t * x[:, 0])


def test_states_errors_and_mass() -> None:
    series = growing()
    assert len(series) == 3
    assert torch.equal(series.u, 2 * series.mesh.pos[:, 0])
    assert torch.equal(series[1].u, series.mesh.pos[:, 0])
    assert series[1].errors()["max"] < 1e-14
    assert series.errors()["h1"] < 1e-14
    assert series.errors(lambda x: 2 * x[:, 0] + 1)["l2"] == pytest.approx(1)
    assert series.mass.tolist() == pytest.approx([0, 0.5, 1])


def test_it_is_written_as_a_series(tmp_path: Path) -> None:
    path = growing().write(tmp_path / "u.pvd")
    assert path.read_text().count(".vtu") == 3


def test_functions_of_time() -> None:
    x = torch.rand(5, 2, dtype=torch.float64)
    assert torch.equal(at_time(lambda x, t: t * x[:, 1], 3.0)(x), 3 * x[:, 1])
    assert as_time_function(2)(x, 0.0).tolist() == [2.0] * 5


def test_steps_are_checked() -> None:
    assert checked_steps(2.0, 4, 2) == 0.5
    with pytest.raises(MeshError, match="end > 0"):
        checked_steps(0.0, 4, 1)
    with pytest.raises(MeshError, match="must divide the 4 steps, got 3"):
        checked_steps(1.0, 4, 3)
