"""Interpolation between spaces of one mesh, and the graph of the degrees of freedom."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from strategies import triangle_meshes
from torch_geometric.data import Batch

from meshlearn.fem import FunctionSpace
from meshlearn.mesh import Mesh, generate
from meshlearn.nn import Hierarchy
from meshlearn.operators import Variable, joined, resampled
from meshlearn.operators.sites import site_graph, site_level, site_points, with_sites

ORDER = {"P0": 0, "P1": 1, "P2": 2}


def polynomial(x: torch.Tensor, degree: int) -> torch.Tensor:
    return (1 + x @ torch.arange(2.0, 2.0 + x.shape[1], dtype=x.dtype)) ** degree


@settings(max_examples=15, deadline=None)
@given(triangle_meshes())
def test_what_both_spaces_hold_is_kept(mesh: Mesh) -> None:
    for source in ORDER:
        for target in ORDER:
            degree = min(ORDER[source], ORDER[target])
            values = FunctionSpace(mesh, source).interpolate(lambda x, p=degree: polynomial(x, p))
            found = resampled(mesh, source, target, values[:, None])[:, 0]
            exact = FunctionSpace(mesh, target).interpolate(lambda x, p=degree: polynomial(x, p))
            assert torch.allclose(found, exact, rtol=1e-12, atol=1e-12)


def test_jumps_become_means_weighted_by_volume() -> None:
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    mesh = Mesh.from_cells(pos, {"triangle": [[0, 1, 2], [1, 3, 2]]})
    small, large = mesh.volumes().tolist()
    found = resampled(mesh, "P0", "P1", torch.tensor([[1.0], [4.0]], dtype=torch.float64))[:, 0]
    shared = (small + 4 * large) / (small + large)
    assert torch.allclose(found, torch.tensor([1.0, shared, shared, 4.0], dtype=torch.float64))


@pytest.mark.parametrize("mesh", [generate.rectangle(3, 2), generate.box(1, 2, 1)])
def test_quadratic_sites_are_joined_within_cells(mesh: Mesh) -> None:
    level = site_level(mesh, "P2")
    (dofs,) = (FunctionSpace(mesh, "P2").cell_dofs(cell) for cell in mesh.cells)
    expected = {(int(a), int(b)) for row in dofs for a in row for b in row if a != b}
    found = [(int(a), int(b)) for a, b in level.edge_index.T]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert torch.equal(level.segments.receiver, level.edge_index[1])
    assert torch.equal(level.segments.counts, torch.bincount(level.edge_index[1]))


def test_the_step_from_nodes_to_quadratic_sites_is_that_of_finite_elements() -> None:
    mesh = generate.rectangle(3, 2)
    nodes = Hierarchy((site_level(mesh, "P1"),), ())
    (step,) = with_sites(mesh, "P2", nodes).prolongations
    values = torch.randn(mesh.num_nodes, 3, dtype=torch.float64)
    assert torch.allclose(step.prolong(values), resampled(mesh, "P1", "P2", values))
    other = torch.randn(len(site_points(mesh, "P2")), 3, dtype=torch.float64)
    # transpose: (P x, y) = (x, P^T y)
    assert float((step.prolong(values) * other).sum()) == pytest.approx(
        float((values * step.transpose(other)).sum())
    )
    assert torch.equal(step.place(site_points(mesh, "P2")), mesh.pos)


def test_sites_know_their_mesh() -> None:
    meshes = [generate.rectangle(2, 1), generate.rectangle(3, 2)]
    batch = Batch.from_data_list(meshes)
    for element in ORDER:
        variable = Variable("x", element)
        own = [torch.full((variable.sites(m),), k) for k, m in enumerate(meshes)]
        assert torch.equal(site_graph(batch, element), joined(variable, meshes, own))
        assert not site_graph(meshes[1], element).any()
