"""BoundaryValueGNN: it knows no place. What all operators keep is in `test_base`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import OPERATORS, BoundaryValueGNN


def made(**options: object) -> BoundaryValueGNN:
    torch.manual_seed(0)
    return BoundaryValueGNN(["f"], ["u"], width=8, blocks=2, **options).eval()  # type: ignore[arg-type]


def answer(model: BoundaryValueGNN, mesh: Mesh, f: Tensor) -> Tensor:
    space = FunctionSpace(mesh, "P1")
    held = Dirichlet(space, "boundary", f[mesh.boundary_nodes])
    with torch.no_grad():
        return model(mesh, {"f": f}, {"u": [held]})["u"]


def test_moving_the_mesh_does_not_change_the_result() -> None:
    mesh = generate.rectangle(6, 5, diagonal="crossed")
    f = (3 * mesh.pos).sin().sum(dim=1)
    one, two = (answer(made(), m, f) for m in (mesh, mesh.moved(mesh.pos + 100)))
    assert torch.allclose(one, two, atol=1e-5)
    # lengths count: another shape, another result
    other = answer(made(), mesh.moved(mesh.pos * torch.tensor([1.0, 3.0]).double()), f)
    assert float((one - other).abs().max()) > 1e-4


def test_a_change_reaches_as_far_as_the_orders_say() -> None:
    mesh = generate.interval(20)
    model = made(dim=1, order=3)  # two convolutions, two edges each
    f = torch.zeros(21).double()
    g = f.clone()
    g[0] = 1.0
    with torch.no_grad():
        change = (model(mesh, {"f": g})["u"] - model(mesh, {"f": f})["u"]).abs()
    assert bool((change[:5] > 0).all())
    assert not bool(change[5:].any())


def test_it_learns_a_potential() -> None:
    mesh = generate.rectangle(8, 8)
    x = mesh.pos
    u = (torch.pi * x).sin().prod(dim=1)
    model = made()
    model.fit_scales([(mesh, {"f": u}, {"u": u})])
    held = {"u": [Dirichlet(FunctionSpace(mesh, "P1"), "boundary", 0.0)]}
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (model(mesh, {"f": u}, held)["u"] - u).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]


def test_errors() -> None:
    assert OPERATORS["boundary-value"] is BoundaryValueGNN
    with pytest.raises(MeshError, match="weights must be one of"):
        made(weights="area")
    with pytest.raises(MeshError, match="at least 1, got 8, 2, 0"):
        made(order=0)
    with pytest.raises(MeshError, match="no P2 fields"):
        BoundaryValueGNN([("f", "P2", 0)], ["u"])
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        made(dim=3)(mesh, {"f": mesh.pos[:, 0]})
