"""Nodal values of any element, and files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convergence import half_and_half
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.files import read
from meshlearn.mesh.generate import box, rectangle
from meshlearn.problems.output import nodal_values, write_fields, write_series


def plane(x: Tensor) -> Tensor:
    return 1 + x @ torch.arange(1, x.shape[1] + 1, dtype=x.dtype)


@pytest.mark.parametrize("name", ["P1", "P2", "P3", "P1DG", "P2DG"])
def test_linear_functions_have_their_values_at_the_nodes(name: str) -> None:
    mesh = rectangle(3, 2)
    space = FunctionSpace(mesh, name)
    assert torch.allclose(nodal_values(Field(space, space.interpolate(plane))), plane(mesh.pos))


@pytest.mark.parametrize("name", ["P1", "P1DG"])
@pytest.mark.parametrize("mesh", [half_and_half(4), box(2, 1, 1, cell="hexahedron")])
def test_vectors_keep_their_components(name: str, mesh: Mesh) -> None:
    space = FunctionSpace(mesh, (name, mesh.dim))
    assert torch.allclose(
        nodal_values(Field(space, space.interpolate(lambda x: 2 * x))), 2 * mesh.pos
    )


def test_of_jumps_the_mean_is_taken() -> None:
    mesh = rectangle(2, 1, cell="quad")
    space = FunctionSpace(mesh, "P0")
    values = nodal_values(Field(space, torch.tensor([1.0, 3.0], dtype=torch.float64)))
    assert values[mesh.pos[:, 0] == 0.5].tolist() == [2.0, 2.0]
    assert values[mesh.pos[:, 0] == 0.0].tolist() == [1.0, 1.0]


def test_elements_without_values_at_nodes_are_refused() -> None:
    space = FunctionSpace(rectangle(1, 1), "RT")
    with pytest.raises(MeshError, match="no values at nodes"):
        nodal_values(Field(space, torch.zeros(space.num_dofs)))


def test_fields_are_written_and_the_mesh_is_left_alone(tmp_path: Path) -> None:
    mesh = rectangle(2, 2)
    cell = {"c": torch.rand(mesh.num_cells, dtype=torch.float64)}
    path = write_fields(mesh, tmp_path / "a.vtu", {"u": mesh.pos[:, 0]}, cell)
    again = read(path)
    assert torch.equal(again.node_fields["u"], mesh.pos[:, 0])
    assert torch.equal(again.cell_fields["c"], cell["c"])
    assert mesh.field_kinds == {}


def test_a_series_lists_its_files(tmp_path: Path) -> None:
    mesh = rectangle(2, 2)
    states = [{"u": k * mesh.pos[:, 0]} for k in range(3)]
    path = write_series(mesh, tmp_path / "run.pvd", torch.tensor([0.0, 0.5, 1.0]), states)
    text = path.read_text()
    assert 'timestep="0.5" part="0" file="run_00001.vtu"' in text
    assert torch.equal(read(tmp_path / "run_00002.vtu").node_fields["u"], 2 * mesh.pos[:, 0])
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(MeshError, match=r"end the name in \.pvd"):
        write_series(mesh, tmp_path / "run.vtu", torch.zeros(0), [])
