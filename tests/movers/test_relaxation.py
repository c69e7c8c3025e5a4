"""Laplacian and spring movers: the contract, and equidistribution in one coordinate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, renumbered

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import Laplacian, Spring
from meshlearn.movers.relaxation import Relaxation

MOVERS = [Laplacian(), Spring("lineal"), Spring("torsional")]


def hill(x: torch.Tensor) -> torch.Tensor:
    return 1 + 8 * torch.exp(-20 * ((x - 0.4) ** 2).sum(dim=1))


@given(any_meshes(tags=True), st.sampled_from(MOVERS))
@settings(max_examples=40)
def test_the_contract_holds_on_every_mesh(mesh: Mesh, mover: Relaxation) -> None:
    limited = type(mover)(max_iterations=5)
    moved = limited.move(mesh, Function(hill)).report
    assert moved.inverted_cells == 0
    assert moved.boundary_error < 1e-12
    assert moved.volume_error < 1e-8
    still = limited.move(mesh, Constant(2.0)).report
    size = float((mesh.volumes().abs() ** (1 / mesh.dim)).min())
    assert still.max_displacement <= 1e-8 * size
    assert still.converged


def test_the_laplacian_equidistributes_along_one_coordinate() -> None:
    mesh = generate.rectangle(40, 4)
    report = Laplacian().move(mesh, Function(lambda x: 1 + 4 * x[:, 0])).report
    assert report.converged
    assert report.equidistribution_after < 0.05 < report.equidistribution_before


@pytest.mark.parametrize("mover", MOVERS)
def test_nodes_gather_where_the_monitor_is_high(mover: Relaxation) -> None:
    mesh = generate.rectangle(16, 16)
    report = mover.move(mesh, Function(hill)).report
    assert report.converged
    assert report.equidistribution_after < 0.75 * report.equidistribution_before


@pytest.mark.parametrize("mover", MOVERS)
def test_the_numbering_does_not_matter(mover: Relaxation) -> None:
    mesh = generate.rectangle(8, 8)
    other, number, _ = renumbered(mesh, seed=5)
    one, two = mover.move(mesh, Function(hill)), mover.move(other, Function(hill))
    assert float((two.mesh.pos[number] - one.mesh.pos).abs().max()) < 1e-9


def test_giving_up_says_so() -> None:
    report = Spring(max_iterations=2).move(generate.rectangle(8, 8), Function(hill)).report
    assert not report.converged
    assert report.reason == "stopped after 2 iterations"


def test_wrong_options_are_named() -> None:
    with pytest.raises(MeshError, match="damping must be in"):
        Laplacian(damping=0.0)
    with pytest.raises(MeshError, match="kind must be"):
        Spring("rubber")  # type: ignore[arg-type]
