"""Traces: the same points from both sides, opposite normals, Gauss's theorem."""

from __future__ import annotations

import pytest
import torch

from meshlearn.fem import FunctionSpace, integrate
from meshlearn.mesh import Mesh, MeshError, generate


def bent(mesh: Mesh) -> Mesh:
    x = mesh.pos.clone()
    x[:, 0] += 0.1 * torch.sin(3 * x[:, 1])
    return mesh.moved(x)


MESHES = [
    bent(generate.rectangle(4, 3)),
    bent(generate.rectangle(4, 3, cell="quad")),
    bent(generate.box(2, 2, 3)),
    bent(generate.box(2, 2, 3, cell="hexahedron")),
]


@pytest.mark.parametrize("mesh", MESHES)
def test_both_sides_of_inner_facets_see_the_same_points(mesh: Mesh) -> None:
    space = FunctionSpace(mesh, ("P1", 2))
    dofs = torch.sin(torch.arange(space.num_dofs, dtype=torch.float64))
    first, second = (space.trace(dofs, "interior", side=side) for side in (0, 1))
    assert torch.allclose(first.x, second.x, atol=1e-13)
    assert torch.allclose(first.normal, -second.normal, atol=1e-12)
    assert torch.allclose(first.weight, second.weight, atol=1e-13)
    assert torch.allclose(first.value, second.value, atol=1e-12)
    assert not torch.allclose(first.gradient, second.gradient)
    assert torch.equal(first.cells, mesh.topology.facet_cells[first.facets, 0])


@pytest.mark.parametrize("mesh", MESHES)
def test_gauss_theorem(mesh: Mesh) -> None:
    space = FunctionSpace(mesh, ("P1", mesh.dim))
    t = space.trace(space.interpolate(lambda x: x), degree=4)
    flux = ((t.value * t.normal).sum(dim=2) * t.weight).sum()
    # the faces of bent hexahedra are not planar: their volume is that of the trilinear map
    volume = integrate(lambda w: 1.0, mesh)
    assert float(flux) == pytest.approx(mesh.dim * float(volume), rel=1e-12)


def test_a_tag_keeps_its_order_and_a_mixed_space_its_parts() -> None:
    mesh = generate.rectangle(3, 2)
    space = FunctionSpace(mesh, [("P2", 2), "P1"])
    dofs = space.project([lambda x: x**2, lambda x: x[:, 1]])
    facets = mesh.topology.boundary_facets.flip(0)
    t = space.trace(dofs, facets)
    middle = mesh.pos[mesh.topology.facets[facets]].mean(dim=1)
    assert torch.allclose((t.x * t.weight[..., None]).sum(1) / t.measure[:, None], middle)
    assert torch.allclose(t.value[0], t.x**2, atol=1e-12)
    assert torch.allclose(t.value[1], t.x[..., 1], atol=1e-12)
    assert t.gradient[0].shape == (*t.weight.shape, 2, 2)
    top = space.trace(dofs, "top")
    assert float(top.measure.sum()) == pytest.approx(1.0)
    assert torch.allclose(top.x[..., 1], torch.ones_like(top.weight))


def test_traces_are_differentiable_in_the_nodes() -> None:
    mesh = generate.rectangle(2, 1)
    dofs = torch.sin(torch.arange(6, dtype=torch.float64))

    def flux(pos: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        t = FunctionSpace(mesh.moved(pos), "P1").trace(u, "right")
        return ((t.gradient * t.normal).sum(dim=2) * t.weight).sum()

    pair = (mesh.pos.clone().requires_grad_(True), dofs.requires_grad_(True))
    assert torch.autograd.gradcheck(flux, pair, eps=1e-6, atol=1e-7)


def test_vector_elements_have_continuous_normal_traces() -> None:
    space = FunctionSpace(generate.box(2, 2, 2), "RT")
    dofs = torch.sin(torch.arange(space.num_dofs, dtype=torch.float64))
    first, second = (space.trace(dofs, "interior", side=side) for side in (0, 1))
    through = [(t.value * first.normal).sum(dim=2) for t in (first, second)]
    assert torch.allclose(*through, atol=1e-11)
    assert first.gradient is None


def test_a_facet_of_the_boundary_has_no_second_side() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    with pytest.raises(MeshError, match="no second side"):
        space.trace(torch.zeros(9), "boundary", side=1)
