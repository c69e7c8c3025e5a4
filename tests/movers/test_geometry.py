"""Geometry given by formulas and by gmsh."""

from __future__ import annotations

from pathlib import Path

import gmsh
import pytest
import torch

from meshlearn.mesh import MeshError, generate
from meshlearn.monitors import Function
from meshlearn.movers import Circle, Cylinder, Sphere, Variational, from_gmsh
from meshlearn.movers.constraints import freedom
from meshlearn.movers.geometry import given

GEO = """SetFactory("OpenCASCADE");
Rectangle(1) = {0, 0, 0, 2, 1};
Disk(2) = {0.6, 0.5, 0, 0.2, 0.1};
BooleanDifference(3) = { Surface{1}; Delete; }{ Surface{2}; Delete; };
hole() = Curve In BoundingBox {0.3, 0.3, -1, 0.9, 0.7, 1};
Physical Curve("hole") = hole();
Physical Curve("walls") = {2:5};
Physical Surface("fluid") = {3};
"""


def points(d: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 1 + torch.randn(40, d, generator=generator, dtype=torch.float64)


def test_formulas_project_and_stay() -> None:
    for shape, d in (
        (Circle((0.2, -0.1), 0.7), 2),
        (Sphere((0.2, -0.1, 0.3), 0.7), 3),
        (Cylinder((0.1, 0.2, 0.0), (1.0, 1.0, 0.5), 0.3), 3),
    ):
        near = shape(points(d))
        assert torch.allclose(shape(near), near, atol=1e-14)
        probe = near + 1e-3 * torch.randn_like(near)
        assert float((shape(probe) - probe).norm(dim=1).max()) <= float(
            (near - probe).norm(dim=1).max()
        )
    away = Cylinder((0, 0, 1), (0, 0, 2), 0.3)(points(3))
    assert torch.allclose(away[:, :2].norm(dim=1), torch.tensor(0.3, dtype=torch.float64))
    assert torch.equal(away[:, 2], points(3)[:, 2])


def test_tangents_come_from_the_projection_alone() -> None:
    mesh = generate.disk(6)
    shape = given(mesh, mesh.boundary_nodes, Circle((0.0, 0.0), 1.0), "boundary")
    near, tangents = shape.closest(1.1 * mesh.pos[mesh.boundary_nodes], mesh.boundary_nodes)
    assert torch.allclose((tangents[:, 0] * near).sum(dim=1), near.new_zeros(len(near)), atol=1e-9)
    assert torch.allclose(tangents.norm(dim=2), near.new_ones(len(near), 1))


def test_a_ball_slides_on_a_given_sphere() -> None:
    mesh = generate.ball(4)
    peak = Function(lambda x: 1 + 20 * torch.exp(-6 * (x - 0.5).norm(dim=1) ** 2))
    result = Variational().move(mesh, peak, slide={"boundary": Sphere((0, 0, 0), 1.0)})
    radius = result.mesh.pos[mesh.boundary_nodes].norm(dim=1)
    assert float((radius - 1).abs().max()) < 1e-14
    assert float((result.mesh.pos - mesh.pos)[mesh.boundary_nodes].norm(dim=1).max()) > 0.05


def test_nodes_slide_on_an_opencascade_curve_of_gmsh(tmp_path: Path) -> None:
    path = tmp_path / "hole.geo"
    path.write_text(GEO)
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        hole = from_gmsh("hole", str(path))
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.08)
        gmsh.model.mesh.generate(2)
        gmsh.write(str(tmp_path / "hole.msh"))
        from meshlearn.mesh.files import read

        mesh = read(tmp_path / "hole.msh")
        peak = Function(lambda x: 1 + 20 * torch.exp(-80 * ((x[:, 0] - 0.4) ** 2)))
        result = Variational().move(mesh, peak, slide={"hole": hole})
        nodes = mesh.tagged_nodes("hole")
        local = (result.mesh.pos[nodes] - torch.tensor([0.6, 0.5]).double()) / torch.tensor(
            [0.2, 0.1]
        ).double()
        # the ellipse of the model, not the polygon of the mesh
        assert float((local.norm(dim=1) - 1).abs().max()) < 1e-6
        assert float((result.mesh.pos - mesh.pos)[nodes].norm(dim=1).max()) > 0.005
        with pytest.raises(MeshError, match="no physical group 'inlet'; there are 'hole'"):
            from_gmsh("inlet")
    finally:
        gmsh.finalize()
    with pytest.raises(MeshError, match="gmsh has no model: call"):
        from_gmsh("hole")


def test_an_odd_function_is_refused() -> None:
    disk = generate.disk(4)
    with pytest.raises(MeshError, match=r"must take points .* to finite points of the same shape"):
        freedom(disk, slide={"boundary": lambda x: x / 0})
