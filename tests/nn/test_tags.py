"""Embeddings of tags: whose they are, batches, unknown names."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.nn import TagEmbedding


def test_a_node_has_the_sum_of_its_tags() -> None:
    mesh = generate.rectangle(3, 3)
    names = list(mesh.facet_tags)
    layer = TagEmbedding(names, 4)
    found = layer(mesh)
    for node in range(mesh.num_nodes):
        own = [k + 1 for k, name in enumerate(names) if node in mesh.tagged_nodes(name)]
        assert torch.allclose(found[node], layer.weight[own].sum(dim=0))
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    assert not found[inner].any()


def test_points_and_the_untagged_boundary() -> None:
    grid = generate.rectangle(2, 2)
    mesh = Mesh.from_cells(grid.pos, grid.cells, point_tags={"probe": [4]})
    layer = TagEmbedding(["inlet", "probe"], 3)
    found = layer(mesh)
    assert torch.equal(found[4], layer.weight[2])
    boundary = mesh.boundary_nodes
    assert torch.equal(found[boundary], layer.weight[0].expand(len(boundary), -1))
    found.sum().backward()
    assert torch.equal(layer.weight.grad[:, 0], torch.tensor([8.0, 0.0, 1.0]))


def test_a_batch_is_a_loop() -> None:
    meshes = [generate.rectangle(2, 3), generate.disk(4)]
    names = sorted({name for mesh in meshes for name in mesh.facet_tags})
    layer = TagEmbedding(names, 4)
    found = layer(Batch.from_data_list(meshes))
    assert torch.allclose(found, torch.cat([layer(mesh) for mesh in meshes]))


def test_unknown_tags_are_named() -> None:
    mesh = generate.rectangle(2, 2)
    first, *others = mesh.facet_tags
    with pytest.raises(MeshError, match=f"no embedding was declared for tag '{first}'"):
        TagEmbedding(others, 4)(mesh)
    ignoring = TagEmbedding(others, 4, ignore=[first])
    assert ignoring(mesh).shape == (9, 4)
    with pytest.raises(ValueError, match="tag names must differ"):
        TagEmbedding(["a", "a"], 4)
