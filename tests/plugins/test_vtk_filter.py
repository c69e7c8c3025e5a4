"""The VTK filter in a pipeline, seen through pyvista."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import torch
from vtkmodules.vtkCommonCore import vtkOutputWindow, vtkStringOutputWindow

import meshlearn as ml
from meshlearn.mesh import Mesh
from meshlearn.plugins.vtk_filter import AdaptMesh


@pytest.fixture
def said() -> Iterator[vtkStringOutputWindow]:
    """What VTK would show."""
    before, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    vtkOutputWindow.SetInstance(window)
    yield window
    vtkOutputWindow.SetInstance(before)


def with_front(mesh: Mesh) -> pv.UnstructuredGrid:
    mesh.set_field("u", torch.tanh(20 * (mesh.pos[:, 0] - 0.4)), "node")
    mesh.set_field("linear", 1 + mesh.pos @ torch.arange(1.0, mesh.dim + 1).double(), "node")
    mesh.set_field("number", torch.arange(mesh.num_nodes), "node")
    mesh.set_field("material", torch.arange(mesh.num_cells), "cell")
    return mesh.to_pyvista()


def run(grid: pv.UnstructuredGrid, field: str = "u", **settings: Any) -> Any:
    adapt = AdaptMesh()
    adapt.SetField(field)
    for name, value in settings.items():
        getattr(adapt, f"Set{name}")(value)
    adapt.SetInputDataObject(grid)
    adapt.Update()
    return pv.wrap(adapt.GetOutputDataObject(0)), adapt


@pytest.mark.parametrize(
    "mesh",
    [
        ml.generate.rectangle(20, 20),
        ml.generate.rectangle(20, 20, cell="quad"),
        ml.generate.box(5, 5, 5),
        ml.generate.box(5, 4, 4, cell="hexahedron"),
    ],
    ids=["triangle", "quad", "tetra", "hexahedron"],
)
def test_points_move_and_arrays_follow(mesh: Mesh) -> None:
    grid = with_front(mesh)
    before = grid.copy(deep=True)
    moved, adapt = run(grid)
    assert grid == before
    assert adapt.report["inverted_cells"] == 0
    assert np.abs(moved.points - grid.points).max() > 0.02
    np.testing.assert_allclose(moved["displacement"], moved.points - grid.points, atol=1e-15)
    assert (moved.cells == grid.cells).all()
    assert (moved["number"] == grid["number"]).all()
    assert (moved["material"] == grid["material"]).all()
    linear = 1 + moved.points[:, : mesh.dim] @ np.arange(1.0, mesh.dim + 1)
    np.testing.assert_allclose(moved["linear"], linear, atol=1e-6)
    size = moved.compute_cell_sizes()
    key = "Area" if mesh.dim == 2 else "Volume"
    assert size[key].sum() == pytest.approx(1.0)


def test_it_is_part_of_a_pipeline() -> None:
    """An upstream change and a setting run it again."""
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersGeneral import vtkTransformFilter

    grid = with_front(ml.generate.rectangle(12, 12))
    transform = vtkTransform()
    scale = vtkTransformFilter()
    scale.SetInputData(grid)
    scale.SetTransform(transform)
    adapt = AdaptMesh()
    adapt.SetField("u")
    adapt.SetInputConnection(scale.GetOutputPort())
    adapt.Update()
    first = pv.wrap(adapt.GetOutputDataObject(0)).points.copy()
    transform.Scale(2, 2, 2)
    adapt.Update()
    second = pv.wrap(adapt.GetOutputDataObject(0)).points.copy()
    np.testing.assert_allclose(second, 2 * first, atol=1e-4)
    adapt.SetSlide("none")
    adapt.Update()
    third = pv.wrap(adapt.GetOutputDataObject(0)).points
    side = np.isclose(second[:, 1], 0)
    assert np.abs(third - second)[side].max() > 0.01


def test_a_server_gives_the_same() -> None:
    grid = with_front(ml.generate.rectangle(8, 8))
    here, _ = run(grid)
    there, adapt = run(grid, Python=sys.executable)
    np.testing.assert_allclose(there.points, here.points, rtol=0, atol=1e-12)
    adapt.SetPython("")
    adapt.Update()


@pytest.mark.parametrize(
    ("field", "settings", "sentence"),
    [
        ("v", {}, "there is no point array 'v'; those of real numbers: 'u', 'linear'"),
        ("", {}, "there is no point array ''"),
        ("u", {"Mover": "teleport"}, "unknown mover 'teleport'"),
        ("u", {"Monitor": "guess"}, "unknown monitor 'guess'"),
        ("u", {"Python": "/nowhere/python"}, "cannot start /nowhere/python"),
    ],
)
def test_errors_are_sentences(
    said: vtkStringOutputWindow, field: str, settings: dict[str, Any], sentence: str
) -> None:
    moved, _ = run(with_front(ml.generate.rectangle(4, 4)), field, **settings)
    assert moved.n_points == 0
    assert f"Adapt mesh: {sentence}" in said.GetOutput()


def test_what_cannot_be_adapted(said: vtkStringOutputWindow) -> None:
    sphere = pv.Sphere().cast_to_unstructured_grid()
    sphere["u"] = sphere.points[:, 0].astype(float)
    run(sphere)
    assert "surfaces in space cannot be adapted" in said.GetOutput()
    voxels = pv.ImageData(dimensions=(3, 3, 3)).cast_to_unstructured_grid()
    voxels["u"] = voxels.points[:, 0].astype(float)
    run(voxels)
    assert "cells of VTK type 11 cannot be adapted" in said.GetOutput()
