"""Relative errors are those of the functions: exact integrals, no matter how fine the mesh."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.data import Batch

from meshlearn.fem import FunctionSpace, errors
from meshlearn.mesh import MeshError, generate
from meshlearn.operators import Variable, joined
from meshlearn.training.losses import norm, relative_error


@pytest.mark.parametrize("element", ["P1", "P2"])
def test_errors_of_linear_functions_in_closed_form(element: str) -> None:
    mesh = generate.rectangle(3, 4, diagonal="crossed")
    variable = Variable("u", element)
    space = variable.space(mesh)
    exact, found = space.interpolate(lambda x: x[:, 0]), space.interpolate(lambda x: x[:, 1])
    # |x - y|^2 = 1/6, |x|^2 = 1/3; gradients of x - y and x: 2 and 1
    l2 = relative_error(found, exact, norm(mesh, variable))
    h1 = relative_error(found, exact, norm(mesh, variable, "h1"))
    assert float(l2) == pytest.approx(math.sqrt(0.5), abs=1e-12)
    assert float(h1) == pytest.approx(math.sqrt((1 / 6 + 2) / (1 / 3 + 1)), abs=1e-12)


def test_it_is_the_error_that_finite_elements_report() -> None:
    mesh = generate.rectangle(6, 6)
    space = FunctionSpace(mesh, "P1")
    u = torch.randn(space.num_dofs, dtype=torch.float64)
    linear = space.interpolate(lambda x: 1 + x[:, 0])
    reported = errors(space, u, lambda x: 1 + x[:, 0])["l2"] / math.sqrt(7 / 3)
    assert float(relative_error(u, linear, norm(mesh, Variable("u")))) == pytest.approx(reported)


def test_a_batch_has_an_error_for_each_mesh() -> None:
    meshes = [generate.rectangle(3, 3), generate.rectangle(5, 2, upper=(2.0, 1.0))]
    batch = Batch.from_data_list(meshes)
    torch.manual_seed(0)
    for variable in (Variable("u", "P2"), Variable("q", "P1", 2), Variable("c", "P0")):
        shapes = [(variable.sites(m), variable.width) for m in meshes]
        found, exact = ([torch.randn(s, dtype=torch.float64) for s in shapes] for _ in range(2))
        alone = [
            float(relative_error(f, e, norm(m, variable)))
            for m, f, e in zip(meshes, found, exact, strict=True)
        ]
        both = [
            joined(variable, meshes, [variable.shaped(x) for x in fields])
            for fields in (found, exact)
        ]
        assert relative_error(*both, norm(batch, variable)).tolist() == pytest.approx(alone)


def test_gradient_is_finite_even_at_the_solution() -> None:
    mesh = generate.rectangle(2, 2)
    exact = mesh.pos[:, 0]
    found = exact.clone().requires_grad_()
    relative_error(found, exact, norm(mesh, Variable("u"))).sum().backward()
    assert found.grad is not None
    assert torch.isfinite(found.grad).all()
    other = torch.randn(len(exact), dtype=torch.float64, requires_grad=True)
    measure = norm(mesh, Variable("u"), "h1")
    assert torch.autograd.gradcheck(lambda x: relative_error(x, exact, measure), other)


def test_errors() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="the norm must be one of"):
        norm(mesh, Variable("u"), "l1")
    with pytest.raises(MeshError, match="'c' is P0: it has no H1 norm"):
        norm(mesh, Variable("c", "P0"), "h1")
    measure, u = norm(mesh, Variable("u")), mesh.pos[:, 0]
    with pytest.raises(MeshError, match="fields of one shape"):
        relative_error(u[:3], u, measure)
    with pytest.raises(MeshError, match="exact field 'u' is 0"):
        relative_error(u, 0 * u, measure)
