"""What Local hands to movers, estimates and transfers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import meshlearn as ml
from meshlearn.fem import FunctionSpace
from meshlearn.mesh import MeshError
from meshlearn.plugins.arrays import Arrays, FieldValues
from meshlearn.plugins.numerics import Local, estimates, to_mesh, transferred
from meshlearn.plugins.relocate import Wish


def square(n: int = 8) -> ml.Mesh:
    return ml.generate.rectangle(n, n)


def arrays_of(mesh: ml.Mesh, pairs: np.ndarray | None = None) -> Arrays:
    cells = {name: nodes.numpy() for name, nodes in mesh.cells.items()}
    tags = {name: nodes.numpy() for name, nodes in mesh.facet_tags.items()}
    numbering = np.arange(mesh.num_nodes) + 10
    return Arrays(mesh.pos.numpy(), cells, numbering, facet_tags=tags, pairs=pairs)


def moved(mesh: ml.Mesh) -> ml.Mesh:
    x, y = mesh.pos.unbind(dim=1)
    shift = 0.04 * torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
    return mesh.moved(mesh.pos + shift[:, None])


def test_mesh_has_numbering_images_and_tags() -> None:
    mesh = square()
    found = to_mesh(arrays_of(mesh, np.array([[0, 8]])))
    assert torch.equal(found.pos, mesh.pos)
    assert torch.equal(found.numbering, torch.arange(mesh.num_nodes) + 10)
    assert found.periodic[8] == 0
    assert (found.periodic != torch.arange(mesh.num_nodes)).sum() == 1
    assert set(found.facet_tags) == set(mesh.facet_tags)


def test_a_move_lowers_the_estimate_that_leads_it() -> None:
    mesh = square(16)
    local = Local(arrays_of(mesh), Wish())
    u = torch.tanh(10 * (mesh.pos[:, 0] - 0.4)).numpy()
    start = mesh.pos.numpy()
    pos, report = local.move(start, u)
    before, after = local.estimate([start, pos], start, u)
    assert after < before
    assert report["inverted_cells"] == 0
    both = np.stack([u, 100 * u], axis=1)  # of one shape: relative to their range they are equal
    scaled = local.estimate([start, pos], start, both)
    assert scaled[1] / scaled[0] == pytest.approx(after / before)
    assert estimates(mesh, [start], start, np.ones(mesh.num_nodes)) == [pytest.approx(0, abs=1e-12)]


@pytest.mark.parametrize("element", ["P0", "P1", "P2", "P3"])
@pytest.mark.parametrize("method", ["interpolate", "project", "conservative"])
def test_transfer_does_not_depend_on_the_code_numbering(element: str, method: str) -> None:
    old, new = square(5), moved(square(5))
    space = FunctionSpace(old, element)
    order = torch.randperm(space.num_dofs, generator=torch.Generator().manual_seed(1))
    places = space.dof_points[order].numpy()
    degree = int(element[1])
    values = torch.from_numpy(places).pow(degree).numpy()
    found = transferred(old, new, FieldValues(element, places, values), method)
    wanted = space.on(new).dof_points[order].pow(degree).numpy()
    assert np.abs(found - wanted).max() < 1e-11


def test_places_of_another_element_are_refused() -> None:
    mesh = square(3)
    places = FunctionSpace(mesh, "P3").dof_points.numpy()
    values = np.zeros((len(places), 1))
    warped = places + 0.02 * (np.abs(places * 3 - np.round(places * 3)) > 0.1)  # not the vertices
    with pytest.raises(MeshError, match="are not the 100 of P3 elements"):
        transferred(mesh, mesh, FieldValues("P3", warped, values), "project")
    with pytest.raises(MeshError, match="are not the 16 of P1 elements"):
        transferred(mesh, mesh, FieldValues("P1", places, values), "interpolate")
