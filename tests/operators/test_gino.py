"""GINO: the grid over each mesh, kernels to it and back, in 2D and 3D."""

from __future__ import annotations

import pytest
import torch
from graded_squares import graded, off, shared, wave
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import MeshError, generate
from meshlearn.operators import GINO, latent_grid
from meshlearn.operators.gino import grid_transfer


def test_the_grid_fills_the_box_of_each_mesh() -> None:
    first = generate.rectangle(3, 4, lower=(1.0, -1.0), upper=(3.0, 0.0))
    second = generate.rectangle(2, 2, upper=(0.5, 4.0))
    grid = latent_grid(Batch.from_data_list([first, second]), 4, margin=0.25)
    assert (grid.graphs, list(grid.points.shape)) == (2, [32, 2])
    one = grid.points[:16]
    assert torch.equal(one, grid.points[16:])
    assert (float(one.min()), float(one.max())) == pytest.approx((-0.0625, 1.0625))
    assert one[1, 1] > one[0, 1]  # the last axis runs fastest
    assert float(grid.volume[:16].sum()) == pytest.approx(1.5**2)
    assert grid.nodes.amin(dim=0).tolist() == [0, 0]
    assert grid.nodes.amax(dim=0).tolist() == [1, 1]
    assert float(grid.node_volume[: first.num_nodes].sum()) == pytest.approx(1)
    assert torch.allclose(grid.sides.exp(), torch.tensor([[2.0, 1.0], [0.5, 4.0]]))
    assert grid.graph.tolist() == [0] * 16 + [1] * 16


def test_balls_average_a_field_of_the_nodes() -> None:
    mesh = graded(32)
    transfer = grid_transfer(mesh, 8, 0.2, "average")
    sender, receiver = transfer.into.pairs
    x = transfer.grid.points
    inner = ((x > 0.2) & (x < 0.8)).all(dim=1)

    def bias(weight: Tensor) -> float:
        terms = torch.stack([weight, weight * mesh.pos[sender, 0]]).double()
        total, found = torch.zeros(2, 64).double().index_add(1, receiver, terms)
        return float((found / total - x[:, 0])[inner].abs().max())

    volume = bias(transfer.into.weight)
    assert volume < 0.001  # the mean of a linear field
    # nodes that count alike pull to where they are dense
    assert bias(grid_transfer(mesh, 8, 0.2, "mean").into.weight) > 5 * volume


@pytest.mark.parametrize(("weights", "bound"), [("volume", 0.05), ("average", 0.05)])
def test_the_operator_is_the_same_on_a_finer_mesh(weights: str, bound: float) -> None:
    change = {}
    for kind in (weights, "none"):
        torch.manual_seed(0)
        model = GINO(["f"], ["u"], width=8, blocks=2, grid=8, modes=3, radius=0.25, weights=kind)
        found = []
        for n in (16, 32):
            mesh = graded(n)
            with torch.no_grad():
                found.append(model(mesh, {"f": wave(mesh)[:, 0]})["u"][shared(n)])
        change[kind] = off(*found)
    assert change[weights] < bound
    assert change["none"] > 5 * change[weights]


def test_in_3d_the_boundary_is_exact_and_the_frame_does_not_matter() -> None:
    torch.manual_seed(0)
    model = GINO(["f"], ["u"], dim=3, width=4, blocks=1, grid=5, modes=2, radius=0.4).eval()
    mesh = generate.box(3, 3, 3)
    held = {"u": [Dirichlet(FunctionSpace(mesh, "P1"), "boundary", lambda x: x[:, 2] ** 2)]}
    with torch.no_grad():
        u = model(mesh, {"f": mesh.pos[:, 0]}, held)["u"]
        far = mesh.moved(mesh.pos + 7)
        moved = {"u": [Dirichlet(FunctionSpace(far, "P1"), held["u"][0].dofs, held["u"][0].values)]}
        again = model(far, {"f": mesh.pos[:, 0]}, moved)["u"]
    edge = mesh.boundary_nodes
    assert float((u - mesh.pos[:, 2] ** 2)[edge].abs().max()) <= 1e-12
    assert torch.allclose(u, again, atol=1e-5)


def test_errors() -> None:
    with pytest.raises(MeshError, match="a grid of 8 points a side has 1 to 4 modes, got 5"):
        GINO(["f"], ["u"], grid=8, modes=5)
    with pytest.raises(MeshError, match="no P2 fields"):
        GINO([("f", "P2", 0)], ["u"])
    with pytest.raises(MeshError, match="weights must be one of"):
        GINO(["f"], ["u"], weights="area")
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        GINO(["f"], ["u"], dim=3)(mesh, {"f": mesh.pos[:, 0]})
    with pytest.raises(
        MeshError, match=r"at least 2 points a side and no negative margin: 1, 0\.0"
    ):
        latent_grid(mesh, 1)
    with pytest.raises(MeshError, match="an extent along every axis"):
        latent_grid(mesh.moved(mesh.pos * torch.tensor([1.0, 0.0])), 4)
