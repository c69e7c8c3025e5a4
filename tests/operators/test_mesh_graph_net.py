"""MeshGraphNet: world edges join what is near and not joined; noise is that of the generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.operators import MeshGraphNet, world_edges


def strips() -> Mesh:
    """Two strips, side by side and apart."""
    one = generate.rectangle(6, 1, upper=(6.0, 1.0))
    other = one.moved(one.pos + torch.tensor([0.0, 5.0]))
    pos = torch.cat([one.pos, other.pos])
    cells = torch.cat([one.cells["triangle"], one.cells["triangle"] + one.num_nodes])
    return Mesh.from_cells(pos, {"triangle": cells})


def test_world_edges_are_all_near_pairs_without_an_edge() -> None:
    mesh = strips()
    squeezed = mesh.pos - torch.where(mesh.pos[:, 1:] > 3, 1.0, 0.0) * torch.tensor([0.0, 3.5])
    found = {(int(a), int(b)) for a, b in world_edges(mesh, squeezed, 1.2).T}
    distance = torch.cdist(squeezed, squeezed)
    edges = {(int(a), int(b)) for a, b in mesh.edge_index.T}
    n = mesh.num_nodes
    expected = {
        (a, b) for a in range(n) for b in range(n) if a != b and distance[a, b] <= 1.2
    } - edges
    assert found == expected
    assert any(a < n // 2 <= b for a, b in found)


def test_news_crosses_a_gap_over_world_edges_only() -> None:
    mesh = strips()
    n = mesh.num_nodes // 2
    displacement = torch.zeros(mesh.num_nodes, 2, dtype=torch.float64)
    displacement[n:, 1] = -3.5
    reached = []
    for radius in (0.0, 0.8):
        torch.manual_seed(0)
        inputs = ["f", ("d", "P1", 2)]
        model = MeshGraphNet(inputs, ["u"], width=8, blocks=2, world_radius=radius, world="d")
        assert len(list(model.world_blocks)) == (2 if radius else 0)
        f = torch.zeros(mesh.num_nodes, dtype=torch.float64, requires_grad=True)
        model(mesh, {"f": f, "d": displacement})["u"][n:].square().sum().backward()
        assert f.grad is not None
        reached.append(float(f.grad[:n].abs().max()))
    assert reached[0] == 0
    assert reached[1] > 0


def test_the_displacement_is_read_in_its_own_units() -> None:
    mesh = strips()
    model = MeshGraphNet(["f", ("d", "P1", 2)], ["u"], width=8, blocks=1, world_radius=1, world="d")
    d = torch.stack([0 * mesh.pos[:, 0], -0.7 * mesh.pos[:, 1]], dim=1)
    data = {"f": mesh.pos[:, 0], "d": d}
    model.fit_scales([(mesh, data, {"u": mesh.pos[:, 0]})])
    nodes = model._features(mesh, [data["f"][:, None], d], [None])
    assert torch.allclose(model._world(mesh, nodes), mesh.pos + d, atol=1e-6)


def test_noise_is_seeded_and_in_units_of_the_input() -> None:
    mesh = generate.rectangle(40, 40)
    model = MeshGraphNet(["f"], ["u"], width=8, blocks=1, noise=0.1)
    fields = {"f": 50 * mesh.pos[:, 0]}
    model.fit_scales([(mesh, fields, {"u": mesh.pos[:, 0]})])
    first, again = (model.perturbed(fields, np.random.default_rng(3))["f"] for _ in range(2))
    assert torch.equal(first, again)
    noise = float((first - fields["f"]).std())
    assert noise == pytest.approx(0.1 * float(fields["f"].std()), rel=0.05)


def test_errors() -> None:
    with pytest.raises(MeshError, match="no P2 fields"):
        MeshGraphNet([("f", "P2", 0)], ["u"])
    with pytest.raises(MeshError, match="noise and world_radius are not negative"):
        MeshGraphNet(["f"], ["u"], noise=-1)
    with pytest.raises(MeshError, match="displacement 'f' must be an input, P1 with 2 components"):
        MeshGraphNet(["f"], ["u"], world_radius=1, world="f")
    mesh = generate.box(1, 1, 1)
    with pytest.raises(MeshError, match="is for 2D, the mesh is 3D"):
        MeshGraphNet(["f"], ["u"])(mesh, {"f": mesh.pos[:, 0]})
