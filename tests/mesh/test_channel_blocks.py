"""The channel with a cylinder made of blocks."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import MeshError, generate


@pytest.mark.parametrize(("n", "layers", "downstream"), [(2, 1, 1), (5, 3, 4), (16, 6, 20)])
def test_nodes_sides_and_area(n: int, layers: int, downstream: int) -> None:
    mesh = generate.channel_blocks(n, layers, downstream)
    assert mesh.num_nodes == 4 * n * (layers + 1) + downstream * (n + 1)
    assert mesh.num_cells == 2 * n * (4 * layers + downstream)
    assert len(mesh.inverted_cells()) == 0
    corners = torch.tensor(4.0 * n)
    polygon = 2 * n * 0.05**2 * torch.sin(2 * torch.pi / corners)
    assert float(mesh.volumes().sum()) == pytest.approx(2.2 * 0.41 - float(polygon), rel=1e-6)
    counts = {name: len(facets) for name, facets in mesh.facet_tags.items()}
    walls = 2 * (n + downstream)
    assert counts == {"inlet": n, "outlet": n, "walls": walls, "cylinder": 4 * n}
    assert sum(counts.values()) == len(mesh.topology.boundary_facets)


def test_the_cylinder_is_where_the_benchmark_has_it() -> None:
    mesh = generate.channel_blocks(6, 3, 5)
    centre = torch.tensor([0.2, 0.2], dtype=torch.float64)
    distance = (mesh.pos[mesh.tagged_nodes("cylinder")] - centre).norm(dim=1)
    assert torch.allclose(distance, torch.full_like(distance, 0.05))
    assert mesh.pos.amin(dim=0).tolist() == [0, 0]
    assert mesh.pos.amax(dim=0).tolist() == pytest.approx([2.2, 0.41])


def test_counts_are_checked() -> None:
    with pytest.raises((MeshError, ValueError), match="n must"):
        generate.channel_blocks(1)
    with pytest.raises((MeshError, ValueError), match="layers must"):
        generate.channel_blocks(4, 0)
