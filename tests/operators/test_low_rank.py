"""Low-rank operator: kernels of the rank that is asked for, the same on every mesh."""

from __future__ import annotations

import pytest
import torch
from graded_squares import graded, off, shared, wave

from meshlearn.mesh import MeshError, generate
from meshlearn.operators import LowRankKernel, LowRankNO, domain


def test_the_kernel_is_that_of_its_formula_and_has_its_rank() -> None:
    mesh = generate.rectangle(5, 4)
    over = domain(mesh)
    torch.manual_seed(0)
    kernel = LowRankKernel(2, 4, 3, 8)
    with torch.no_grad():
        phi = kernel.phi(over.place).view(-1, 3, 2)
        psi = kernel.psi(over.place).view(-1, 3, 2) * over.weight[:, None, None]
        whole = torch.einsum("nrc,mrd->ncmd", phi, psi).flatten(0, 1).flatten(1)
        values = torch.randn(mesh.num_nodes, 2)
        found = kernel(values, over.place, over)
    assert torch.allclose(found.reshape(-1), whole @ values.reshape(-1), atol=1e-5)
    assert int(torch.linalg.matrix_rank(whole.double(), rtol=1e-6)) == 3


def test_weights_add_up_to_one_on_each_mesh() -> None:
    for weights in ("volume", "average", "mean"):
        assert float(domain(graded(6), weights).weight.sum()) == pytest.approx(1, rel=1e-5)
    assert float(domain(graded(6), "none").weight.sum()) == 49


def test_the_operator_is_the_same_on_a_finer_mesh_with_volumes_only() -> None:
    change = {}
    for weights in ("volume", "mean", "none"):
        torch.manual_seed(0)
        model = LowRankNO(["f"], ["u"], width=8, blocks=3, weights=weights)
        found = []
        for n in (16, 32):
            mesh = graded(n)
            with torch.no_grad():
                found.append(model(mesh, {"f": wave(mesh)[:, 0]})["u"][shared(n)])
        change[weights] = off(*found)
    assert change["volume"] < 0.005
    assert change["none"] > 5 * change["volume"]


def test_errors() -> None:
    with pytest.raises(MeshError, match="the rank must be at least 1, got 0"):
        LowRankNO(["f"], ["u"], rank=0)
    with pytest.raises(MeshError, match="no P2 fields"):
        LowRankNO([("f", "P2", 0)], ["u"])
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        LowRankNO(["f"], ["u"], dim=3)(mesh, {"f": mesh.pos[:, 0]})
