"""SU2's files as its documentation describes them; a script stands in for the solver's command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import meshlearn as ml
from meshlearn.mesh import MeshError
from meshlearn.monitors import Constant
from meshlearn.plugins import su2
from meshlearn.plugins.common import Report
from meshlearn.plugins.loop import LoopReport

CONFIG = """% a case
SOLVER= EULER
MESH_FILENAME= square.su2   % the mesh
VOLUME_FILENAME = flow
TABULAR_FORMAT= CSV
"""
HISTORY = """"Time_Iter","Outer_Iter","Inner_Iter",    "rms[Rho]"    ,       "CL"
          0,           0,           0,   -1.5,   0.1
          0,           0,           1,   -2.5,   0.2
"""
SOLVER = """
import meshio, numpy
m = meshio.read("flow.vtu")
with open("square.su2") as file:
    lines = file.read().split("NPOIN= 169")[1].splitlines()[1:170]
points = numpy.array([[float(x) for x in line.split()[:2]] + [0.0] for line in lines])
field = {"Mach": numpy.tanh(20 * (points[:, 0] - 0.4))}
meshio.Mesh(points, {"triangle": m.cells_dict["triangle"]}, point_data=field).write("flow.vtu")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    mesh = ml.generate.rectangle(12, 12)
    mesh.write(tmp_path / "square.su2")
    mesh.set_field("Mach", torch.tanh(20 * (mesh.pos[:, 0] - 0.4)), "node")
    mesh.write(tmp_path / "flow.vtu")
    (tmp_path / "history.csv").write_text(HISTORY)
    path = tmp_path / "case.cfg"
    path.write_text(CONFIG)
    return path


def test_options_and_defaults(config: Path) -> None:
    found = su2.read_config(config)
    assert found["MESH_FILENAME"] == "square.su2"
    assert found["SOLVER"] == "EULER"
    assert found["CONV_FILENAME"] == "history"
    with pytest.raises(MeshError, match=r"cannot read the configuration .*none\.cfg"):
        su2.read_config(config.with_name("none.cfg"))


def test_the_history(config: Path) -> None:
    found = su2.history(config)
    assert list(found) == ["Time_Iter", "Outer_Iter", "Inner_Iter", "rms[Rho]", "CL"]
    assert found["rms[Rho]"].tolist() == [-1.5, -2.5]
    path = config.with_name("history.csv")
    path.write_text('"a","b"\n1\n')
    with pytest.raises(MeshError, match="its rows are not as long as its head"):
        su2.history(config)
    path.write_text('"a"\nx\n')
    with pytest.raises(MeshError, match="is damaged: could not convert"):
        su2.history(config)
    path.unlink()
    with pytest.raises(MeshError, match=r"history\.csv does not exist"):
        su2.history(config)


def test_a_move_by_the_volume_solution(config: Path) -> None:
    before = su2.to_mesh(config)
    report = su2.adapt(config, "Mach")
    assert isinstance(report, Report)
    assert report.code == "SU2"
    assert report.estimates[1] < report.estimates[0] / 2
    after = su2.to_mesh(config)
    assert before.moved(after.pos) == after
    su2.set_positions(config, before.pos)
    assert su2.to_mesh(config) == before
    su2.adapt(config, Constant())


def test_the_loop(config: Path) -> None:
    config.with_name("solver.py").write_text(SOLVER)
    report = su2.adapt(config, "Mach", solver=[sys.executable, "solver.py"], iterations=1)
    assert isinstance(report, LoopReport)
    assert report.adaptation.kept == 1
    with pytest.raises(MeshError, match="give the name of the field that it writes"):
        su2.adapt(config, np.ones(169), solver="true")


def test_restart_files(config: Path) -> None:
    mesh = su2.to_mesh(config)
    path = config.with_name("restart.csv")
    rows = [f"{k}, {x!r}, {y!r}, {10 * x!r}" for k, (x, y) in enumerate(mesh.pos.tolist())]
    path.write_text("\n".join(['"PointID","x","y","Density"', *rows[::-1]]) + "\n")
    density = su2.restart_field(path, "Density", mesh)
    np.testing.assert_array_equal(density, 10 * mesh.pos[:, 0].numpy())
    su2.adapt(config, density**3)
    with pytest.raises(MeshError, match="has no column 'Mach'; it has PointID, x, y, Density"):
        su2.restart_field(path, "Mach", mesh)
    path.write_text("\n".join(['"PointID","x","y","Density"', *rows[1:]]) + "\n")
    with pytest.raises(MeshError, match="has no value of 'Density' at node 0"):
        su2.restart_field(path, "Density", mesh)
