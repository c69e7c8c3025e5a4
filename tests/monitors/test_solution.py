"""Monitors from a solution: published values, scaling, several fields, noise, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    hexahedron_meshes,
    quad_meshes,
    random_affine,
    random_mesh,
    tetra_meshes,
    triangle_meshes,
)
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem.p1 import lumped_mass
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import ArcLength, Field, Gradient, Hessian

meshes = st.one_of(
    triangle_meshes(min_cells=3),
    quad_meshes(min_cells=3),
    tetra_meshes(min_cells=3),
    hexahedron_meshes(min_cells=3),
)
KINDS = ("l2", "frobenius", "metric")
GRIDS = {"2D": generate.rectangle(12, 12), "3D": generate.box(6, 6, 6)}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_dimensions = pytest.mark.parametrize("mesh", GRIDS.values(), ids=GRIDS)


def front(x: Tensor) -> Tensor:
    return torch.tanh(20 * (x[:, 0] - 0.5 + 0.2 * x[:, 1]))


def mean(mesh: Mesh, values: Tensor) -> float:
    mass = lumped_mass(mesh)
    return float((mass * values).sum() / mass.sum())


def ones(mesh: Mesh, kind: str) -> Tensor:
    if kind == "metric":
        return torch.eye(mesh.dim, dtype=torch.float64).expand(mesh.num_nodes, -1, -1)
    return torch.ones(mesh.num_nodes, dtype=torch.float64)


# -- published values --------------------------------------------------------------------------


@given(meshes)
def test_gradient_monitor_of_a_linear_field_is_two(mesh: Mesh) -> None:
    monitor = Gradient(mesh, mesh.pos[:, 0], amplitude=1.0)
    torch.testing.assert_close(monitor(mesh), 2 * ones(mesh, ""), rtol=0, atol=1e-7)


@given(meshes)
def test_hessian_monitor_of_a_parabola_is_two(mesh: Mesh) -> None:
    monitor = Hessian(mesh, mesh.pos[:, 0] ** 2 / 2, kind="frobenius", strength=1.0)
    torch.testing.assert_close(monitor(mesh), 2 * ones(mesh, ""), rtol=0, atol=1e-6)


@both_dimensions
def test_arc_length_of_a_linear_field(mesh: Mesh) -> None:
    slope = 3 * mesh.pos[:, 0]
    given_scale = ArcLength(mesh, slope, scale=2.0)(mesh)
    torch.testing.assert_close(given_scale, 37**0.5 * ones(mesh, ""))
    by_itself = ArcLength(mesh, slope)(mesh)  # the gradient counts as one
    torch.testing.assert_close(by_itself, 2**0.5 * ones(mesh, ""))


def test_gradient_monitor_follows_its_formula() -> None:
    mesh = generate.rectangle(10, 10)
    values = Gradient(mesh, mesh.pos[:, 0] ** 2 / 2, amplitude=4.0)(mesh)  # gradient x, at most 1
    torch.testing.assert_close(values, 1 + 4 * mesh.pos[:, 0] ** 2, rtol=0, atol=1e-9)


# -- strength ----------------------------------------------------------------------------------


@both_dimensions
@pytest.mark.parametrize("strength", [0.5, 3.0, 20.0])
def test_strength_sets_the_level(mesh: Mesh, strength: float) -> None:
    u = front(mesh.pos)
    metric = Hessian(mesh, u, "metric", strength, smoothing=0)(mesh)
    assert mean(mesh, torch.linalg.det(metric).sqrt()) == pytest.approx(1 + strength, rel=1e-6)
    frobenius = Hessian(mesh, u, "frobenius", strength, smoothing=0)(mesh)
    assert frobenius.max().item() == pytest.approx(1 + strength)
    density = Hessian(mesh, u, "l2", strength, smoothing=0)(mesh)
    gamma = 2 * mesh.dim / (mesh.dim + 4)
    beyond = (density ** (1 / gamma) - 1) ** gamma
    assert mean(mesh, beyond) == pytest.approx(strength, rel=1e-6)
    assert (density >= 1).all()


@both_dimensions
def test_metric_and_density_agree_where_the_field_bends_alike_in_all_directions(mesh: Mesh) -> None:
    """|x|^2: the metric is round, and its density equals that of the l2 kind where they must."""
    bowl = (mesh.pos**2).sum(dim=1)
    metric = Hessian(mesh, bowl, "metric", strength=2.0)(mesh)
    round_one = 3 ** (2 / mesh.dim) * ones(mesh, "metric")
    torch.testing.assert_close(metric, round_one, rtol=1e-6, atol=1e-6)


def test_metrics_are_stretched_along_the_front() -> None:
    mesh = generate.rectangle(40, 40)
    metric = Hessian(mesh, torch.tanh(20 * (mesh.pos[:, 0] - 0.5)), "metric")(mesh)
    at = (mesh.pos - torch.tensor([0.475, 0.5])).norm(dim=1).argmin()
    assert metric[at, 0, 0] > 5 * metric[at, 1, 1]
    assert metric[at, 0, 1].abs() < 1e-6 * metric[at, 0, 0]


# -- invariances -------------------------------------------------------------------------------


@every_kind
@both_dimensions
def test_size_and_offset_of_the_field_do_not_matter(kind: str, mesh: Mesh) -> None:
    u = front(mesh.pos)
    expected = Hessian(mesh, u, kind)(mesh)  # type: ignore[arg-type]
    for scale, offset in ((1e-8, 0.0), (-1e8, 0.0), (1.0, 100.0)):
        other = Hessian(mesh, scale * u + offset, kind)(mesh)  # type: ignore[arg-type]
        torch.testing.assert_close(other, expected, rtol=1e-5, atol=1e-5)
    for build in (Gradient, ArcLength):
        torch.testing.assert_close(build(mesh, -1e5 * u)(mesh), build(mesh, u)(mesh))


@every_kind
def test_size_of_the_mesh_does_not_matter(kind: str) -> None:
    mesh = GRIDS["2D"]
    large = mesh.moved(1000 * mesh.pos + 7)
    u = front(mesh.pos)
    torch.testing.assert_close(
        Hessian(large, u, kind)(large),  # type: ignore[arg-type]
        Hessian(mesh, u, kind)(mesh),  # type: ignore[arg-type]
        rtol=1e-6,
        atol=1e-6,
    )


def test_turning_the_mesh_turns_the_metric() -> None:
    mesh = random_mesh("triangle", [8, 8], 0)
    turn = torch.from_numpy(random_affine(np.random.default_rng(0), 2, 1.0))
    u = front(mesh.pos)
    turned = mesh.moved(mesh.pos @ turn.T)
    for kind in KINDS:
        ours, theirs = Hessian(mesh, u, kind)(mesh), Hessian(turned, u, kind)(turned)  # type: ignore[arg-type]
        expected = turn @ ours @ turn.T if kind == "metric" else ours
        torch.testing.assert_close(theirs, expected, rtol=1e-6, atol=1e-6)


# -- where there is nothing to see -------------------------------------------------------------


@settings(max_examples=50)
@given(meshes, st.integers(0, 1000), st.sampled_from(KINDS))
def test_linear_fields_ask_for_nothing(mesh: Mesh, seed: int, kind: str) -> None:
    """Their recovered Hessian is round-off, which must not be scaled up to a monitor."""
    slope = torch.randn(
        mesh.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    found = Hessian(mesh, mesh.pos @ slope + 3, kind)(mesh)  # type: ignore[arg-type]
    torch.testing.assert_close(found, ones(mesh, kind), rtol=0, atol=1e-9)


@both_dimensions
def test_constant_fields_ask_for_nothing(mesh: Mesh) -> None:
    noise = 1e-16 * torch.randn(mesh.num_nodes, dtype=torch.float64)
    for u in (torch.zeros(mesh.num_nodes), torch.full((mesh.num_nodes,), 0.1), 0.1 + noise):
        for monitor in (Gradient(mesh, u), ArcLength(mesh, u), Hessian(mesh, u)):
            torch.testing.assert_close(monitor(mesh), ones(mesh, ""), rtol=0, atol=1e-9)


def test_small_features_are_seen() -> None:
    """A bump of a millionth on a large linear field is no round-off."""
    mesh = generate.rectangle(20, 20)
    bump = 1e-6 * torch.exp(-((mesh.pos - 0.5) ** 2).sum(dim=1) / 0.1**2)
    values = Hessian(mesh, mesh.pos[:, 0] + bump)(mesh)
    centre = (mesh.pos - 0.5).norm(dim=1) < 0.15
    assert values[centre].mean() > 3 * values[~centre].mean()


# -- several fields ----------------------------------------------------------------------------


def test_squared_gradients_of_several_fields_add_up() -> None:
    mesh = generate.rectangle(8, 8)
    x, y = mesh.pos.unbind(dim=1)
    both = ArcLength(mesh, torch.stack([x, 2 * y], dim=1), scale=1.0)(mesh)
    torch.testing.assert_close(both, 6**0.5 * ones(mesh, ""))
    column = torch.stack([x], dim=1)
    assert torch.equal(Gradient(mesh, column)(mesh), Gradient(mesh, x)(mesh))


@every_kind
def test_every_field_counts_whatever_its_size(kind: str) -> None:
    """Two fronts, one a thousand times as high: both are resolved alike."""
    mesh = generate.rectangle(30, 30)
    one = torch.tanh(20 * (mesh.pos[:, 0] - 0.3))
    two = torch.tanh(20 * (mesh.pos[:, 0] - 0.7))
    both = Hessian(mesh, torch.stack([1000 * one, two], dim=1), kind)(mesh)  # type: ignore[arg-type]
    density = torch.linalg.det(both).sqrt() if kind == "metric" else both
    left = density[mesh.pos[:, 0] < 0.5].max()
    right = density[mesh.pos[:, 0] > 0.5].max()
    assert float(left / right) == pytest.approx(1, abs=0.1)


def test_a_constant_field_beside_another_does_not_matter() -> None:
    mesh = GRIDS["2D"]
    u = front(mesh.pos)
    pair = torch.stack([u, torch.full_like(u, 5.0)], dim=1)
    torch.testing.assert_close(Hessian(mesh, pair)(mesh), Hessian(mesh, u)(mesh))
    torch.testing.assert_close(Gradient(mesh, pair)(mesh), Gradient(mesh, u)(mesh))


# -- background mesh ---------------------------------------------------------------------------


@pytest.mark.parametrize("build", [Gradient, ArcLength, Hessian])
def test_they_stay_with_the_mesh_of_the_field(build: type[Field]) -> None:
    mesh = generate.rectangle(16, 16)
    monitor = build(mesh, front(mesh.pos))  # type: ignore[arg-type]
    assert monitor.mesh is mesh
    pos = mesh.pos.clone()
    pos[:, 0] = pos[:, 0] ** 1.5
    moved = mesh.moved(pos)
    values = monitor(moved)
    torch.testing.assert_close(values, monitor.sample(pos).value)
    assert (values - monitor.values).abs().max() > 0.1
    assert values.max() <= monitor.values.max() + 1e-9


def test_monitors_of_a_batch_are_those_of_its_meshes() -> None:
    """But for the one scale that all meshes of a batch share."""
    parts = [random_mesh("triangle", [6, 6], k) for k in range(2)]
    fields = [front(mesh.pos) for mesh in parts]
    batch = Batch.from_data_list(parts)
    together = ArcLength(batch, torch.cat(fields), scale=0.3)(batch)
    apart = [ArcLength(m, u, scale=0.3)(m) for m, u in zip(parts, fields, strict=True)]
    torch.testing.assert_close(together, torch.cat(apart))
    assert (Hessian(batch, torch.cat(fields))(batch) >= 1).all()


@settings(max_examples=30)
@given(
    st.one_of(tetra_meshes(min_cells=2, stretch=20), triangle_meshes(min_cells=2, stretch=20)),
    st.sampled_from(KINDS),
)
def test_rough_fields_on_poor_meshes_give_positive_monitors(mesh: Mesh, kind: str) -> None:
    size = (mesh.pos.amax(dim=0) - mesh.pos.amin(dim=0)).norm()
    u = torch.tanh(30 * ((mesh.pos - mesh.pos.mean(dim=0)).norm(dim=1) / size - 0.3))
    values = Hessian(mesh, u, kind, strength=10.0)(mesh)  # type: ignore[arg-type]
    least = torch.linalg.eigvalsh(values).min() if kind == "metric" else values.min()
    assert least > 0


# -- errors ------------------------------------------------------------------------------------


def test_wrong_arguments_are_refused() -> None:
    mesh = generate.rectangle(2, 2)
    u = front(mesh.pos)
    with pytest.raises(MeshError, match='kind must be "l2", "frobenius" or "metric", got \'h1\''):
        Hessian(mesh, u, kind="h1")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="strength must be positive, got 0"):
        Hessian(mesh, u, strength=0)
    with pytest.raises(MeshError, match=r"one value per node, \[9\], got \[4\]"):
        Gradient(mesh, u[:4])
    bad = u.clone()
    bad[3] = torch.inf
    for build in (Gradient, ArcLength, Hessian):
        with pytest.raises(MeshError, match="not finite at node 3"):
            build(mesh, bad)  # type: ignore[operator]
    with pytest.raises(MeshError, match="not finite and positive"):
        Gradient(mesh, u, amplitude=-2.0)
    sphere = generate.ball(1)
    surface = Mesh.from_cells(
        sphere.pos,
        {"triangle": sphere.topology.facets[sphere.topology.boundary_facets]},
        repair=["orphan"],
    )
    with pytest.raises(MeshError, match="2D cells in 3D"):
        Hessian(surface, surface.pos[:, 0])
