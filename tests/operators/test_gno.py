"""Graph kernel network: with quadrature the same operator on every mesh, without it not."""

from __future__ import annotations

import math

import pytest
import torch
from graded_squares import graded, off, shared, wave
from torch import Tensor

from meshlearn.mesh import MeshError, generate
from meshlearn.operators import GraphKernelNetwork, KernelIntegral, neighbourhood


def integrals(weights: str, counts: tuple[int, ...]) -> list[Tensor]:
    """The integral of one untrained kernel on nested meshes, at the nodes of the coarsest."""
    torch.manual_seed(0)
    integral = KernelIntegral(2, 1, 2, 8)
    out = []
    for n in counts:
        mesh = graded(n)
        field = wave(mesh).float()
        with torch.no_grad():
            values = integral(field.expand(-1, 2), field, neighbourhood(mesh, 0.25, weights))
        out.append(values[shared(n)])
    return out


def test_the_integral_of_an_untrained_kernel_converges_with_volumes_only() -> None:
    *coarse, fine = integrals("volume", (8, 16, 40))
    error = [off(values, fine) for values in coarse]
    assert error[0] < 0.15
    assert error[1] < 0.03
    assert error[1] < error[0] / 2.5
    # nodes that count alike leave their density in the result
    (mean,) = integrals("mean", (40,))
    assert off(mean * (fine * mean).sum() / mean.square().sum(), fine) > 0.1
    # a sum without weights grows with the number of nodes
    first, second = integrals("none", (8, 16))
    assert off(first, second) > 0.5


def test_the_operator_is_the_same_on_a_finer_mesh() -> None:
    found: dict[str, list[Tensor]] = {"volume": [], "none": []}
    for weights, list_ in found.items():
        torch.manual_seed(0)
        model = GraphKernelNetwork(["f"], ["u"], radius=0.3, width=8, blocks=3, weights=weights)
        for n in (16, 32):
            mesh = graded(n)
            with torch.no_grad():
                list_.append(model(mesh, {"f": wave(mesh)})["u"][shared(n)])
    change = {
        name: float((fine - coarse).norm() / fine.norm()) for name, (coarse, fine) in found.items()
    }
    assert change["volume"] < 0.02
    assert change["none"] > 5 * change["volume"]


def test_weights_are_a_quadrature_of_the_ball() -> None:
    mesh = generate.rectangle(40, 40)
    near = neighbourhood(mesh, 0.25)
    inside = int((mesh.pos - 0.5).norm(dim=1).argmin())
    total = float(near.weight[near.pairs[1] == inside].sum())
    # mean of cos^2(pi s / 2) over the disk of radius 1: 1/2 - 2 / pi^2
    assert total == pytest.approx(0.5 - 2 / math.pi**2, rel=0.02)
    assert float(near.features[:, 2].max()) <= 1 + 1e-6


def test_errors() -> None:
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="weights must be one of"):
        neighbourhood(mesh, 0.1, "area")
    with pytest.raises(MeshError, match="radius must be positive, got 0"):
        neighbourhood(mesh, 0)
    with pytest.raises(MeshError, match="weights must be one of"):
        GraphKernelNetwork(["f"], ["u"], weights="area")
    with pytest.raises(MeshError, match="no P2 fields"):
        GraphKernelNetwork([("f", "P2", 0)], ["u"])
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        GraphKernelNetwork(["f"], ["u"], dim=3)(mesh, {"f": mesh.pos[:, 0]})
