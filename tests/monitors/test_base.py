"""Monitors and how they compose: values, gradients against differences, positivity, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from strategies import random_mesh
from torch import Tensor

from meshlearn.mesh import MeshError, generate
from meshlearn.monitors import Constant, Field, Function, Monitor, ball

MESH = random_mesh("triangle", [4, 4], 0)
SOLID = random_mesh("tetra", [3, 3, 3], 0)


def hill(x: Tensor) -> Tensor:
    return 1.5 + torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1])


def slope(x: Tensor) -> Tensor:
    return 2 + x[:, 0] ** 2 + x[:, 1]


def metric(x: Tensor) -> Tensor:
    d = x.shape[1]
    return torch.eye(d, dtype=x.dtype) * hill(x)[:, None, None] + x[:, :, None] * x[:, None, :]


def differences(monitor: Monitor, x: Tensor, step: float = 1e-6) -> Tensor:
    """Central differences of the value, last axis the position."""
    return torch.stack(
        [
            (monitor.sample(x + step * e).value - monitor.sample(x - step * e).value) / (2 * step)
            for e in torch.eye(x.shape[1], dtype=x.dtype)
        ],
        dim=-1,
    )


# -- values and gradients ----------------------------------------------------------------------

COMPOSED: dict[str, tuple[Monitor, Callable[[Tensor], Tensor]]] = {
    "constant": (Constant(2.5), lambda x: torch.full_like(x[:, 0], 2.5)),
    "function": (Function(hill), hill),
    "metric": (Function(metric), metric),
    "sum": (Function(hill) + Function(slope), lambda x: hill(x) + slope(x)),
    "number added": (Function(hill) + 3, lambda x: hill(x) + 3),
    "added to a number": (3 + Function(hill), lambda x: hill(x) + 3),
    "scaled": (2 * Function(hill), lambda x: 2 * hill(x)),
    "scaled right": (Function(hill) * 0.5, lambda x: hill(x) / 2),
    "product": (Function(hill) * Function(slope), lambda x: hill(x) * slope(x)),
    "power": (Function(slope).power(1.5), lambda x: slope(x) ** 1.5),
    "maximum": (
        Function(hill).maximum(Function(slope) * 0.6),
        lambda x: torch.maximum(hill(x), slope(x) * 0.6),
    ),
    "maximum with a number": (Function(hill).maximum(1.2), lambda x: hill(x).clamp(min=1.2)),
    "clip": (Function(hill).clip(1.2, 2.0), lambda x: hill(x).clamp(1.2, 2.0)),
    "clip below": (Function(hill).clip(low=1.2), lambda x: hill(x).clamp(min=1.2)),
    "clip above": (Function(hill).clip(high=2.0), lambda x: hill(x).clamp(max=2.0)),
    "nested": (
        (2 * Function(hill).clip(1.0, 2.0) + Function(slope).power(0.5)).maximum(1.0),
        lambda x: 2 * hill(x).clamp(1.0, 2.0) + slope(x) ** 0.5,
    ),
}
every_composition = pytest.mark.parametrize("name", COMPOSED)


@every_composition
@pytest.mark.parametrize("mesh", [MESH, SOLID], ids=["2D", "3D"])
def test_values_are_those_of_the_formula(name: str, mesh) -> None:  # type: ignore[no-untyped-def]
    monitor, formula = COMPOSED[name]
    torch.testing.assert_close(monitor(mesh), formula(mesh.pos))
    torch.testing.assert_close(monitor.sample(mesh.pos).value, formula(mesh.pos))


@every_composition
def test_gradients_are_differences(name: str) -> None:
    monitor, _ = COMPOSED[name]
    x = MESH.pos + 0.01
    sample = monitor.sample(x)
    assert sample.gradient.shape == (*sample.value.shape, 2)
    torch.testing.assert_close(sample.gradient, differences(monitor, x), rtol=1e-6, atol=1e-7)


@every_composition
def test_monitors_are_evaluated_where_the_nodes_are_now(name: str) -> None:
    monitor, formula = COMPOSED[name]
    moved = MESH.moved(0.7 * MESH.pos + 0.1)
    torch.testing.assert_close(monitor(moved), formula(moved.pos))


def test_samples_carry_no_graph() -> None:
    for monitor, _ in COMPOSED.values():
        sample = monitor.sample(MESH.pos.clone().requires_grad_())
        assert not sample.value.requires_grad
        assert not sample.gradient.requires_grad


@every_composition
def test_values_alone_are_those_of_samples(name: str) -> None:
    monitor, x = COMPOSED[name][0], MESH.pos.clone().requires_grad_()
    value, _ = monitor.at(x)
    torch.testing.assert_close(value, monitor.sample(x).value, rtol=0, atol=0)
    assert not value.requires_grad


def test_samples_do_not_need_gradients_to_be_enabled() -> None:
    with torch.no_grad():
        sample = (Function(hill) + Function(slope)).sample(MESH.pos)
    torch.testing.assert_close(
        sample.gradient, differences(Function(hill) + Function(slope), MESH.pos)
    )


def test_functions_may_be_constant_or_of_other_precision() -> None:
    flat = Function(lambda x: torch.ones(len(x)))
    assert flat(MESH).dtype == torch.float64
    assert not flat.sample(MESH.pos).gradient.any()
    partly = Function(lambda x: torch.stack([1 + x[:, 0] ** 2, 1 + 0 * x[:, 0]], 1).diag_embed())
    found = partly.sample(MESH.pos)
    torch.testing.assert_close(found.gradient[:, 0, 0, 0], 2 * MESH.pos[:, 0])
    assert not found.gradient[:, 1].any()


def test_monitors_with_a_background_mesh_combine_with_formulas() -> None:
    """Each part finds its own way: the hint of one is not taken for that of the other."""
    other = generate.rectangle(7, 5, (-3.0, -3.0), (3.0, 3.0))
    one, two = Field(MESH, 2 + MESH.pos[:, 0]), Field(other, 9 - other.pos[:, 1])
    both = one + two * Function(slope)
    x = MESH.pos * 0.9 + 0.1 * MESH.pos.mean(dim=0)
    sample = both.sample(x)
    torch.testing.assert_close(sample.value, 2 + x[:, 0] + (9 - x[:, 1]) * slope(x))
    again = both.sample(x.flip(0), hint=sample.hint)
    torch.testing.assert_close(again.value, sample.value.flip(0))
    mapped = one.power(2.0)
    first = mapped.sample(x)
    assert first.hint is not None
    torch.testing.assert_close(mapped.sample(x, hint=first.hint).value, first.value)


# -- onto a mesh -------------------------------------------------------------------------------


def test_steps_on_a_mesh_are_those_of_its_field() -> None:
    monitor = Function(hill)
    field = monitor.on(MESH)
    assert isinstance(field, Field)
    assert torch.equal(field.values, hill(MESH.pos))
    assert torch.equal(monitor.smooth(MESH, 0.3).values, field.smoothed(0.3).values)
    assert torch.equal(monitor.normalise(MESH).values, field.normalised().values)


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (Constant(0.0), "not finite and positive at 25 nodes, first node 0: 0.0"),
        (Constant(-1.0), "first node 0: -1.0"),
        (Function(hill) * -1, "not finite and positive at 25 nodes"),
        (
            Function(lambda x: torch.where(x[:, 0] == MESH.pos[7, 0], torch.nan, 1.0)),
            "first node 7",
        ),
        (Function(lambda x: 1 / (0 * x[:, 0])), "not finite and positive at 25 nodes"),
        (
            Function(
                lambda x: torch.diag_embed(torch.stack([1 + 0 * x[:, 0], -(x[:, 0] ** 2)], 1))
            ),
            "not finite and positive definite at 25 nodes, first node 0: [[1.0, ",
        ),
        (
            Function(lambda x: torch.full((len(x), 2, 2), torch.nan)),
            "positive definite at 25 nodes, first node 0: [[nan, nan], [nan, nan]]",
        ),
    ],
)
def test_values_that_are_no_density_are_named(monitor: Monitor, message: str) -> None:
    with pytest.raises(MeshError) as error:
        monitor(MESH)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: torch.tensor(1.0), []),
        (lambda x: x, [25, 2]),
        (lambda x: x[:5, 0], [5]),
        (lambda x: torch.ones(len(x), 3, 3), [25, 3, 3]),
    ],
)
def test_functions_of_wrong_shape_are_refused(
    function: Callable[[Tensor], Tensor], shape: list[int]
) -> None:
    with pytest.raises(MeshError) as error:
        Function(function)(MESH)
    assert "[n] or [n, d, d] for positions [25, 2]" in str(error.value)
    assert f"got {shape}" in str(error.value)


@pytest.mark.parametrize(
    "compose",
    [
        lambda m: m * m,
        lambda m: m.clip(1.0, 2.0),
        lambda m: m.maximum(Constant(1.0)),
        lambda m: m.power(2.0),
    ],
)
def test_metrics_do_not_compose_as_densities_do(compose: Callable[[Monitor], Monitor]) -> None:
    with pytest.raises(MeshError, match=r"for metrics there are metric\.limit"):
        compose(Function(metric))(MESH)


def test_metrics_add_up_and_scale() -> None:
    both = 2 * Function(metric) + Function(metric).on(MESH)
    assert torch.allclose(both(MESH), 3 * metric(MESH.pos))
    single, sample = Function(metric).sample(MESH.pos), (3 * Function(metric)).sample(MESH.pos)
    assert torch.allclose(sample.gradient, 3 * single.gradient)
    total = (Function(metric) + Function(metric)).sample(MESH.pos)
    assert torch.allclose(total.gradient, 2 * single.gradient)


@pytest.mark.parametrize("compose", [lambda m: m + 1, lambda m: Constant(1.0) + m])
def test_a_density_and_a_metric_do_not_add_up(compose: Callable[[Monitor], Monitor]) -> None:
    with pytest.raises(MeshError, match="a density and a metric cannot be added"):
        compose(Function(metric))(MESH)


def test_clip_needs_limits_in_order() -> None:
    for monitor in (Function(hill), Function(hill).on(MESH)):
        with pytest.raises(MeshError, match="clip needs a lower limit, an upper limit, or both"):
            monitor.clip()
        with pytest.raises(MeshError, match=r"limit 2\.0 of clip is above the upper limit 1\.0"):
            monitor.clip(2.0, 1.0)


def test_the_number_of_coordinates_is_checked() -> None:
    with pytest.raises(MeshError, match="the centre has 3 coordinates, the mesh 2"):
        ball((0.0, 0.0, 0.0), 0.5)(MESH)
