"""Graph diffusion: a finite-element heat step with the right generator, stable at any depth."""

from __future__ import annotations

import pytest
import torch
from strategies import renumbered

from meshlearn.fem import FunctionSpace, assemble, dot, grad, implicit_euler, march
from meshlearn.fem.p1 import lumped_mass
from meshlearn.fem.pattern import csr_matrix
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import Generator, GraphDiffusion, heat_generator
from meshlearn.operators.diffusion import step

MESHES = [
    renumbered(generate.rectangle(7, 5, diagonal="crossed"), 1)[0],
    generate.box(3, 2, 2),
    generate.interval(12),
]


@pytest.mark.parametrize("mesh", MESHES, ids=["2D", "3D", "1D"])
@pytest.mark.parametrize("scheme", ["explicit", "implicit"])
def test_it_is_a_heat_step_of_finite_elements(mesh: Mesh, scheme: str) -> None:
    space = FunctionSpace(mesh, "P1")
    k = 1 + mesh.centroids()[:, 0]
    stiffness = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    mass = lumped_mass(mesh)
    u = (5 * mesh.pos).sin().sum(dim=1)
    dt = 0.2 / float(stiffness.values().abs().max() / mass.min())
    model = GraphDiffusion(["f"], ["u"], scheme=scheme, time=3 * dt, steps=3)
    found = model.evolve(mesh, u[:, None], heat_generator(mesh, k))[:, 0]
    expected = u
    if scheme == "explicit":
        for _ in range(3):
            expected = expected - dt * (stiffness @ expected) / mass
    else:
        own = torch.arange(len(mass) + 1)
        lumped = csr_matrix(own, own[:-1], mass, (len(mass), len(mass)))
        heat = march(lumped, stiffness, u, dt, implicit_euler)
        expected = [next(heat)[1] for _ in range(3)][-1]
    assert float((found - expected).abs().max()) <= 1e-12
    assert float((found - u).abs().max()) > 1e-4
    # heat is conserved
    assert float(mass @ found) == pytest.approx(float(mass @ u), abs=1e-12)


@pytest.mark.parametrize("kind", ["linear", "nonlinear"])
@pytest.mark.parametrize(("scheme", "time"), [("explicit", 8.0), ("implicit", 200.0)])
def test_features_stay_between_their_bounds_at_any_depth(
    kind: str, scheme: str, time: float
) -> None:
    torch.manual_seed(0)
    mesh = generate.rectangle(5, 5)
    options = {"kind": kind, "scheme": scheme, "time": time, "steps": 8}
    model = GraphDiffusion(["f"], ["u"], width=8, heads=2, **options)
    values = 3 * torch.randn(mesh.num_nodes, 8)
    generator = model.attention(mesh, values)
    rows = torch.zeros(mesh.num_nodes).index_add(0, mesh.edge_index[1], generator.edge)
    assert torch.allclose(rows, torch.ones_like(rows), atol=1e-5)
    with torch.no_grad():
        found = model.evolve(mesh, values)
    assert (found.amax(dim=0) <= values.amax(dim=0) + 1e-5).all()
    assert (found.amin(dim=0) >= values.amin(dim=0) - 1e-5).all()
    assert float(found.std()) < float(values.std())


def test_schemes_agree_for_small_steps_and_gradients_are_those_of_differences() -> None:
    mesh = generate.rectangle(3, 3)
    torch.manual_seed(0)
    edge = torch.rand(mesh.num_edges, dtype=torch.float64)
    node, values = -torch.rand(mesh.num_nodes).double(), torch.randn(mesh.num_nodes, 2).double()
    generator = Generator(edge, node)
    gaps = [
        float(
            (
                step(mesh, values, generator, dt, "explicit")
                - step(mesh, values, generator, dt, "implicit")
            )
            .abs()
            .max()
        )
        for dt in (1e-2, 1e-3)
    ]
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.2)
    for scheme in ("explicit", "implicit"):
        for tensor in (edge, node, values):
            tensor.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda e, n, x, s=scheme: step(mesh, x, Generator(e, n), 0.3, s), (edge, node, values)
        )


def test_errors() -> None:
    mesh = generate.rectangle(3, 3, cell="quad")
    with pytest.raises(MeshError, match="heat_generator needs simplices, got quad"):
        heat_generator(mesh)
    with pytest.raises(MeshError, match="kind must be one of"):
        GraphDiffusion(["f"], ["u"], kind="cubic")
    with pytest.raises(MeshError, match="scheme must be one of"):
        GraphDiffusion(["f"], ["u"], scheme="midpoint")
    with pytest.raises(MeshError, match="scheme must be one of"):
        step(mesh, mesh.pos, Generator(mesh.pos, mesh.pos), 0.1, "midpoint")
    with pytest.raises(MeshError, match="width must be a multiple of heads"):
        GraphDiffusion(["f"], ["u"], width=10, heads=4)
    with pytest.raises(MeshError, match="no P2 fields"):
        GraphDiffusion([("f", "P2", 0)], ["u"])
