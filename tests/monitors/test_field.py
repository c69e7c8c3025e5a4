"""Monitors on a background mesh: interpolation, smoothing, limits, normalisation, batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_delaunay, random_mesh, tetra_meshes, triangle_meshes
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem.p1 import lumped_mass
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Field, Function

simplex_meshes = st.one_of(triangle_meshes(), tetra_meshes())


def positive(mesh: Mesh, seed: int = 0, contrast: float = 10.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 1 + contrast * torch.rand(mesh.num_nodes, generator=draw, dtype=torch.float64)


def spd(mesh: Mesh, seed: int = 0, contrast: float = 10.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(mesh.num_nodes, mesh.dim, mesh.dim, generator=draw, dtype=torch.float64)
    return torch.eye(mesh.dim, dtype=torch.float64) + contrast * root @ root.transpose(1, 2)


def inside(mesh: Mesh, seed: int = 0) -> Tensor:
    """One point in each simplex-shaped cell, or near its middle."""
    draw = torch.Generator().manual_seed(seed)
    out = torch.empty(mesh.num_cells, mesh.dim, dtype=torch.float64)
    for name, cell in mesh.cells.items():
        weight = 0.5 + torch.rand(*cell.shape, generator=draw, dtype=torch.float64)
        weight /= weight.sum(dim=1, keepdim=True)
        out[mesh.cell_ids[name]] = (weight[:, :, None] * mesh.pos[cell]).sum(dim=1)
    return out


def integral(field: Field) -> Tensor:
    return torch.einsum("n,n...->...", lumped_mass(field.mesh), field.values)


# -- interpolation -----------------------------------------------------------------------------


@given(simplex_meshes, st.integers(0, 100))
def test_linear_fields_are_exact_everywhere_with_their_gradient(mesh: Mesh, seed: int) -> None:
    slope = torch.randn(
        mesh.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    offset = 1 - (mesh.pos @ slope).min()
    field = Field(mesh, mesh.pos @ slope + offset)
    x = inside(mesh, seed)
    sample = field.sample(x)
    torch.testing.assert_close(sample.value, x @ slope + offset, rtol=0, atol=1e-9)
    torch.testing.assert_close(sample.gradient, slope.expand_as(x), rtol=0, atol=1e-7)


@settings(max_examples=40)
@given(any_meshes())
def test_own_nodes_get_their_own_values(mesh: Mesh) -> None:
    for values in (positive(mesh), spd(mesh)):
        torch.testing.assert_close(Field(mesh, values)(mesh), values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_moved_nodes_see_the_field_of_their_new_place(cell: str) -> None:
    """Interpolated, not copied: nodal values that travel with the nodes are a known defect."""
    d = 2 if cell == "triangle" else 3
    mesh = random_mesh(cell, [5] * d, 0, shuffle=False)
    field = Field(mesh, 2 + mesh.pos[:, 0])
    pos = mesh.pos.clone()
    pos[:, 0] = pos[:, 0] ** 2  # onto itself
    moved = mesh.moved(pos)
    torch.testing.assert_close(field(moved), 2 + pos[:, 0])
    assert (field(moved) - field.values).abs().max() > 0.2
    torch.testing.assert_close(field(mesh), field.values)


def test_places_outside_take_the_nearest_value() -> None:
    mesh = generate.rectangle(4, 4)
    field = Field(mesh, 1 + mesh.pos[:, 0] + 10 * mesh.pos[:, 1])
    x = torch.tensor([[0.3, 1.5], [-2.0, 0.6], [3.0, 3.0], [0.5, -1e-14]], dtype=torch.float64)
    expected = torch.tensor([1 + 0.3 + 10, 1 + 6.0, 12.0, 1.5], dtype=torch.float64)
    torch.testing.assert_close(field.sample(x).value, expected)


def test_gradients_of_metrics_are_differences() -> None:
    mesh = random_mesh("triangle", [4, 4], 0)
    field = Field(mesh, spd(mesh))
    x, step = inside(mesh), 1e-7
    sample = field.sample(x)
    assert sample.gradient.shape == (*sample.value.shape, 2)
    for k, e in enumerate(torch.eye(2, dtype=torch.float64)):
        ahead, behind = field.sample(x + step * e).value, field.sample(x - step * e).value
        torch.testing.assert_close(
            sample.gradient[..., k], (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("cell", ["mixed2", "mixed3", "quad", "hexahedron"])
def test_any_cells_serve_as_background(cell: str) -> None:
    d = 3 if cell in ("mixed3", "hexahedron") else 2
    mesh = random_mesh(cell, [3] * d, 0, jitter=0.0)
    low = mesh.pos.amin(dim=0)
    field = Field(mesh, 1 + (mesh.pos - low).sum(dim=1))
    x = inside(mesh)
    torch.testing.assert_close(field.sample(x).value, 1 + (x - low).sum(dim=1))


def test_hints_change_the_time_not_the_value() -> None:
    mesh = random_delaunay([8, 8], 0)
    field, x = Field(mesh, positive(mesh)), inside(mesh)
    sample = field.sample(x)
    shifted = x + 0.01
    torch.testing.assert_close(
        field.sample(shifted, hint=sample.hint).value, field.sample(shifted).value
    )


@pytest.mark.parametrize("values", [positive, spd])
def test_values_alone_are_those_of_samples(values: Callable[[Mesh], Tensor]) -> None:
    mesh = random_delaunay([8, 8], 0)
    field, x = Field(mesh, values(mesh)), inside(mesh)
    sample, (value, hint) = field.sample(x), field.at(x)
    assert hint is not None
    assert sample.hint is not None
    assert torch.equal(value, sample.value)
    assert torch.equal(hint, sample.hint)


def test_the_field_keeps_its_own_values() -> None:
    mesh = generate.rectangle(2, 2)
    values = positive(mesh).requires_grad_()
    field = Field(mesh, values)
    assert not field.values.requires_grad
    assert Field(mesh, values.detach().float()).values.dtype == torch.float64


# -- smoothing ---------------------------------------------------------------------------------


@settings(max_examples=40)
@given(any_meshes(jitter=0.2), st.floats(0.01, 10), st.integers(1, 4))
def test_smoothing_keeps_constants(mesh: Mesh, length: float, passes: int) -> None:
    field = Constant(3.0).on(mesh).smoothed(length, passes)
    torch.testing.assert_close(field.values, torch.full_like(field.values, 3.0), rtol=1e-9, atol=0)
    flat = torch.diag(torch.arange(1.0, mesh.dim + 1)).double().expand(mesh.num_nodes, -1, -1)
    smoothed = Field(mesh, flat).smoothed(length, passes).values
    torch.testing.assert_close(smoothed, flat, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("passes", [1, 3])
def test_smoothing_keeps_the_integral_and_the_range(length: float, passes: int) -> None:
    """On meshes without obtuse angles; also entry by entry for metrics."""
    for mesh in (generate.rectangle(8, 8, diagonal="crossed"), generate.box(4, 4, 4)):
        rough = Field(mesh, positive(mesh, contrast=1000))
        smooth = rough.smoothed(length, passes)
        torch.testing.assert_close(integral(smooth), integral(rough), rtol=1e-10, atol=0)
        assert smooth.values.max() <= rough.values.max()
        assert smooth.values.min() >= rough.values.min()
        assert smooth.values.std() < rough.values.std()
        matrices = Field(mesh, spd(mesh))
        torch.testing.assert_close(integral(matrices.smoothed(length, passes)), integral(matrices))


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_waves_are_damped_as_by_the_filter(passes: int) -> None:
    """cos(k x) is an eigenvector: (1 + length^2 k^2 / passes)^-passes; in the limit a Gaussian."""
    mesh = generate.rectangle(80, 4, upper=(1.0, 0.05))
    k, length = 2 * math.pi, 0.1
    wave = torch.cos(k * mesh.pos[:, 0])
    smooth = Field(mesh, 2 + wave).smoothed(length, passes).values - 2
    factor = (1 + length**2 * k**2 / passes) ** -passes
    torch.testing.assert_close(smooth, factor * wave, rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(
    st.one_of(tetra_meshes(min_cells=2, stretch=20.0), triangle_meshes(stretch=20.0)),
    st.integers(0, 1000),
    st.floats(0.01, 3),
)
def test_smoothing_stays_positive_on_obtuse_cells(mesh: Mesh, seed: int, length: float) -> None:
    """The discrete maximum principle fails there: the floor of the values is kept all the same."""
    spike = torch.ones(mesh.num_nodes, dtype=torch.float64)
    spike[seed % mesh.num_nodes] = 1e6
    assert (Field(mesh, spike).smoothed(length).values >= 1 - 1e-9).all()
    direction = torch.randn(mesh.dim, dtype=torch.float64)
    direction /= direction.norm()
    identity = torch.eye(mesh.dim, dtype=torch.float64)
    needle = identity + (spike - 1)[:, None, None] * torch.outer(direction, direction)
    values = torch.linalg.eigvalsh(Field(mesh, needle).smoothed(length).values)
    assert (values >= 1 - 1e-9 * 1e6).all()


def test_no_smoothing_over_no_length() -> None:
    mesh = generate.rectangle(3, 3)
    field = Field(mesh, positive(mesh))
    assert torch.equal(field.smoothed(0.0).values, field.values)


def test_smoothing_scales_with_the_mesh() -> None:
    mesh = random_mesh("triangle", [5, 5], 0)
    values = positive(mesh)
    large = mesh.moved(1000 * mesh.pos)
    torch.testing.assert_close(
        Field(large, values).smoothed(300.0).values, Field(mesh, values).smoothed(0.3).values
    )


# -- limits and normalisation ------------------------------------------------------------------


@given(any_meshes(jitter=0.2), st.floats(1e-6, 1e6))
def test_normalised_fields_have_mean_one(mesh: Mesh, scale: float) -> None:
    volume = lumped_mass(mesh).sum()
    field = Field(mesh, scale * positive(mesh)).normalised()
    torch.testing.assert_close(integral(field), volume)
    matrices = Field(mesh, scale * spd(mesh)).normalised()
    density = torch.linalg.det(matrices.values).sqrt()
    torch.testing.assert_close((lumped_mass(mesh) * density).sum(), volume)
    torch.testing.assert_close(matrices.normalised().values, matrices.values)


def test_clipping_limits_values_and_eigenvalues() -> None:
    mesh = random_mesh("tetra", [2, 2, 2], 0)
    field = Field(mesh, positive(mesh)).clip(2.0, 5.0)
    torch.testing.assert_close(field.values, positive(mesh).clamp(2.0, 5.0))
    before, vectors = torch.linalg.eigh(spd(mesh))
    clipped = Field(mesh, spd(mesh)).clip(2.0, 5.0).values
    torch.testing.assert_close(torch.linalg.eigvalsh(clipped), before.clamp(2.0, 5.0))
    expected = vectors @ torch.diag_embed(before.clamp(2.0, 5.0)) @ vectors.transpose(1, 2)
    torch.testing.assert_close(clipped, expected)
    torch.testing.assert_close(Field(mesh, spd(mesh)).clip(low=1e-9).values, spd(mesh))


def test_clipping_at_quantiles() -> None:
    mesh = generate.rectangle(9, 9)  # 100 nodes
    values = torch.arange(1.0, 101, dtype=torch.float64)
    clipped = Field(mesh, values).clip_quantiles(0.1, 0.9).values
    assert clipped.min().item() == pytest.approx(1 + 0.1 * 99)
    assert clipped.max().item() == pytest.approx(1 + 0.9 * 99)
    assert torch.equal(Field(mesh, values).clip_quantiles().values, values)
    with pytest.raises(MeshError, match="quantiles are defined for scalar monitors"):
        Field(mesh, spd(mesh)).clip_quantiles(0.1)


def test_map_applies_a_function_to_the_nodes() -> None:
    mesh = generate.rectangle(3, 3)
    field = Field(mesh, positive(mesh))
    assert torch.equal(field.map(torch.sqrt).values, positive(mesh).sqrt())
    assert field.map(torch.sqrt).mesh is mesh


# -- batches -----------------------------------------------------------------------------------


def test_a_batch_is_interpolated_mesh_by_mesh() -> None:
    """Three meshes in the same place with different fields: none sees another's."""
    meshes = [random_mesh("triangle", [4, 4], k, shuffle=False) for k in range(3)]
    batch = Batch.from_data_list(meshes)
    number = batch.batch.double()
    field = Field(batch, 1 + 10 * number + batch.pos[:, 0])
    pos = batch.pos.clone()
    pos[:, 0] = pos[:, 0] ** 2
    moved = batch.moved(pos)
    torch.testing.assert_close(field(moved), 1 + 10 * number + pos[:, 0])
    with pytest.raises(MeshError, match="at the nodes of the batch only"):
        field.sample(pos[:5])


def test_smoothing_does_not_cross_between_meshes() -> None:
    meshes = [random_mesh("triangle", [4, 4], k) for k in range(2)]
    batch = Batch.from_data_list(meshes)
    together = Field(batch, torch.cat([positive(m, 1) for m in meshes])).smoothed(0.3).values
    apart = [Field(m, positive(m, 1)).smoothed(0.3).values for m in meshes]
    torch.testing.assert_close(together, torch.cat(apart))


# -- errors ------------------------------------------------------------------------------------


def test_wrong_values_are_refused() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match=r"must be \[9\] or \[9, 2, 2\], got \[8\]"):
        Field(mesh, torch.ones(8))
    with pytest.raises(MeshError, match=r"must be \[9\] or \[9, 2, 2\], got \[9, 3, 3\]"):
        Field(mesh, torch.eye(3).expand(9, 3, 3))
    bad = torch.ones(9)
    bad[4] = -1
    with pytest.raises(MeshError, match=r"not finite and positive at 1 nodes, first node 4: -1\.0"):
        Field(mesh, bad)
    with pytest.raises(MeshError, match="length must not be negative, got -1"):
        Constant(1.0).on(mesh).smoothed(-1)
    with pytest.raises(MeshError, match="at least one pass, got 0"):
        Constant(1.0).on(mesh).smoothed(1, passes=0)


def test_surfaces_are_refused_with_a_reason() -> None:
    ball = generate.ball(1)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan"])
    field = Function(lambda x: 1 + 0 * x[:, 0]).on(surface)
    with pytest.raises(MeshError, match="2D cells in 3D"):
        field(surface)
    with pytest.raises(MeshError, match="2D cells in 3D"):
        field.smoothed(0.1)
