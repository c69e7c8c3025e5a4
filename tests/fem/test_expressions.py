"""Traced forms: algebra of linear expressions and what is not a form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import meshlearn as ml
from meshlearn.fem import (
    Field,
    FormError,
    FunctionSpace,
    assemble,
    assemble_linear,
    curl,
    div,
    dot,
    grad,
    inner,
    integrate,
    sym,
    trace,
    transpose,
)

MESH = ml.generate.rectangle(3, 2)
SCALAR, VECTOR = FunctionSpace(MESH, "P2"), FunctionSpace(MESH, ("P2", 2))
SOLID = FunctionSpace(ml.generate.box(1, 1, 1), ("P1", 3))
Form = Callable[..., Any]

EQUAL: dict[str, tuple[FunctionSpace, Form, Form]] = {
    "order of factors": (SCALAR, lambda u, v, w: u * v, lambda u, v, w: v * u),
    "numbers on either side": (SCALAR, lambda u, v, w: 2 * u * v, lambda u, v, w: u * v * 2.0),
    "division": (SCALAR, lambda u, v, w: u * v / 4, lambda u, v, w: 0.25 * u * v),
    "subtraction": (
        SCALAR,
        lambda u, v, w: (3 * u - u) * v - u * v,
        lambda u, v, w: u * v,
    ),
    "negation": (SCALAR, lambda u, v, w: -(u * v), lambda u, v, w: u * -v),
    "tensor first": (
        SCALAR,
        lambda u, v, w: w.x[:, 0] * u * v,
        lambda u, v, w: u * (v * w.x[:, 0]),
    ),
    "sum": (
        SCALAR,
        lambda u, v, w: sum(grad(u)[i] * grad(v)[i] for i in range(2)),
        lambda u, v, w: dot(grad(u), grad(v)),
    ),
    "unpacking": (
        VECTOR,
        lambda u, v, w: (lambda a, b: a[0] * b[0] + a[1] * b[1])(tuple(u), tuple(v)),
        lambda u, v, w: dot(u, v),
    ),
    "trace": (
        VECTOR,
        lambda u, v, w: trace(grad(u)) * trace(grad(v)),
        lambda u, v, w: div(u) * div(v),
    ),
    "symmetric part": (
        VECTOR,
        lambda u, v, w: inner(sym(grad(u)), sym(grad(v))),
        lambda u, v, w: 0.5 * inner(grad(u) + transpose(grad(u)), grad(v)),
    ),
    "transpose": (
        VECTOR,
        lambda u, v, w: inner(grad(u).T, grad(v)),
        lambda u, v, w: inner(grad(u), transpose(grad(v))),
    ),
    "constant vectors": (
        VECTOR,
        lambda u, v, w: dot(dot(grad(u), [1.0, 2.0]), v),
        lambda u, v, w: dot(grad(u)[:, 0] + 2 * grad(u)[:, 1], v),
    ),
    "one-dimensional tensors are constant vectors": (
        SCALAR,
        lambda u, v, w: dot(torch.tensor([1.0, 2.0]), grad(u)) * v,
        lambda u, v, w: (grad(u)[0] + 2 * grad(u)[1]) * v,
    ),
    "vector field times scalar": (
        SCALAR,
        lambda u, v, w: dot(w.x * u, grad(v)),
        lambda u, v, w: u * dot(w.x, grad(v)),
    ),
    "curl in the plane": (
        VECTOR,
        lambda u, v, w: curl(u) * curl(v),
        lambda u, v, w: (grad(u)[1, 0] - grad(u)[0, 1]) * (grad(v)[1, 0] - grad(v)[0, 1]),
    ),
    "curl in space": (
        SOLID,
        lambda u, v, w: dot(curl(u), curl(v)),
        lambda u, v, w: inner(grad(u), grad(v)) - inner(grad(u), transpose(grad(v))),
    ),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_forms_have_equal_matrices(name: str) -> None:
    space, first, second = EQUAL[name]
    a, b = assemble(first, space).values(), assemble(second, space).values()
    assert float((a - b).abs().max()) < 1e-13 * float(b.abs().max())


def test_fields_act_as_their_values() -> None:
    f = Field(SCALAR, SCALAR.interpolate(lambda x: 1 + x[:, 0] * x[:, 1]))
    g = Field(VECTOR, VECTOR.interpolate(lambda x: x))
    a = assemble_linear(lambda v, w: (2 * w.f - w.f**2 / 3 + (1 - w.f)) * v, SCALAR, f=f, degree=6)

    def explicit(v: Any, w: Any) -> Any:
        value = 1 + w.x[:, 0] * w.x[:, 1]
        return (2 * value - value**2 / 3 + (1 - value)) * v

    torch.testing.assert_close(a, assemble_linear(explicit, SCALAR, degree=6))
    divergence = integrate(lambda w: div(w.g), MESH, g=g)
    assert float(divergence) == pytest.approx(2.0)
    assert float(integrate(lambda w: dot(w.g, w.g), MESH, g=g)) == pytest.approx(2 / 3)
    assert float(integrate(lambda w: w.g[0] * w.g[1], MESH, g=g)) == pytest.approx(1 / 4)


def test_mixed_arguments_are_tuples() -> None:
    space = FunctionSpace(MESH, [("P2", 2), "P1"])
    total = assemble_linear(lambda v, w: v[0][1] + 3.0 * v[1], space)
    speed, pressure = space.sub(0), space.sub(1)
    assert float(total[speed][0::2].abs().max()) == 0
    assert float(total[speed][1::2].sum()) == pytest.approx(1.0)
    assert float(total[pressure].sum()) == pytest.approx(3.0)


WRONG: dict[str, tuple[FunctionSpace, Form, str]] = {
    "no test function": (SCALAR, lambda u, v, w: u, "must return a scalar linear in both u and v"),
    "a number": (SCALAR, lambda u, v, w: 1.0, "must return a scalar linear in both u and v"),
    "a vector": (SCALAR, lambda u, v, w: grad(u), "must return a scalar linear in both u and v"),
    "square": (SCALAR, lambda u, v, w: u * u * v, "must not be quadratic in an argument"),
    "quadratic": (SCALAR, lambda u, v, w: u * v * v, "must not be quadratic in an argument"),
    "constant term": (SCALAR, lambda u, v, w: (u + 1) * v, "must be linear in each"),
    "tensor term": (SCALAR, lambda u, v, w: (w.x[:, 0] + u) * v, "must be linear in each"),
    "mixed terms": (SCALAR, lambda u, v, w: u * v + v, "must contain both u and v"),
    "function of u": (SCALAR, lambda u, v, w: torch.sin(u) * v, "linear in its arguments; sin is"),
    "vectors multiplied": (VECTOR, lambda u, v, w: u * v, "use dot or inner for products"),
    "vector times scalar": (
        VECTOR,
        lambda u, v, w: u * v[0],
        "product of two arguments in a form must be a scalar",
    ),
    "shapes added": (VECTOR, lambda u, v, w: dot(u + grad(u), v), "cannot add expressions"),
    "shapes in dot": (VECTOR, lambda u, v, w: dot(u, [1.0, 2.0, 3.0]) * v[0], "dot of shapes"),
    "shapes in inner": (VECTOR, lambda u, v, w: inner(grad(u), v), "inner of shapes"),
    "gradient of an expression": (
        SCALAR,
        lambda u, v, w: dot(grad(2 * u), grad(v)),
        "grad takes a trial or test function or a field",
    ),
    "a string": (SCALAR, lambda u, v, w: "k" * u * v, "cannot multiply by str"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_a_bilinear_form(name: str) -> None:
    space, form, message = WRONG[name]
    with pytest.raises(FormError, match=message):
        assemble(form, space)


def test_what_is_not_a_linear_form() -> None:
    with pytest.raises(FormError, match="must return a scalar linear in v"):
        assemble_linear(lambda v, w: 1.0, SCALAR)
    with pytest.raises(FormError, match="must return a scalar linear in v"):
        assemble_linear(lambda v, w: grad(v), SCALAR)
    with pytest.raises(FormError, match="this element has no full gradient; there is div"):
        assemble_linear(lambda v, w: grad(v)[0, 0], FunctionSpace(MESH, "RT"))
    with pytest.raises(FormError, match="this element has no full gradient; there is curl"):
        assemble_linear(lambda v, w: div(v), FunctionSpace(MESH, "N"))


def test_jump_and_avg_belong_to_inner_facets() -> None:
    with pytest.raises(FormError, match="at inner facets u and v have two values"):
        assemble(lambda u, v, w: u * v, SCALAR, on="interior")
