"""Intersections of meshes: they tile both, and know where they are in both."""

from __future__ import annotations

import pytest
import torch

from meshlearn.fem.supermesh import intersect
from meshlearn.mesh import Mesh, MeshError, generate

SQUARE = [(0, 0), (1, 0), (1, 1), (0, 1)]
TRIANGLES = generate.polygon(SQUARE, h=0.1)


def graded(mesh: Mesh) -> Mesh:
    return mesh.moved(mesh.pos**3)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (TRIANGLES, generate.rectangle(9, 9)),
        (generate.rectangle(6, 6), generate.rectangle(6, 6)),
        (generate.rectangle(5, 5), generate.rectangle(10, 10, diagonal="right")),
        (generate.rectangle(20, 20), generate.rectangle(2, 2)),
        (generate.rectangle(2, 2), generate.rectangle(20, 20)),
        (graded(TRIANGLES), TRIANGLES),
        (generate.l_shape(4), generate.l_shape(5, diagonal="crossed")),
        (generate.interval(7), generate.interval(11)),
        (generate.box(3, 3, 3), generate.box(4, 3, 2)),
        (generate.box(2, 2, 2), generate.box(2, 2, 2)),
    ],
)
def test_intersections_tile_both_meshes(source: Mesh, target: Mesh) -> None:
    common = intersect(source, target)
    parts = common.volume.new_zeros(source.num_cells).index_add(0, common.source, common.volume)
    assert torch.allclose(parts, source.volumes(), rtol=1e-12, atol=0)
    assert torch.allclose(common.covered(target.num_cells), target.volumes(), rtol=1e-12, atol=0)
    for_source, for_target = (m.cells[common.cell].sort(dim=1).values for m in (source, target))
    here = torch.einsum("pvn,pnd->pvd", common.in_source, source.pos[for_source[common.source]])
    there = torch.einsum("pvn,pnd->pvd", common.in_target, target.pos[for_target[common.target]])
    assert torch.allclose(here, there, atol=1e-12)
    assert float(common.in_source.min()) > -1e-9
    assert float(common.in_target.min()) > -1e-9


def test_no_pair_is_counted_twice_on_equal_meshes() -> None:
    mesh = generate.box(2, 2, 2)
    common = intersect(mesh, mesh)
    assert torch.equal(common.source, common.target)
    assert len(common.volume) == mesh.num_cells


def test_a_disk_covers_all_but_the_gaps_along_the_circle() -> None:
    source, target = generate.disk(5), generate.disk(8)
    common = intersect(source, target)
    assert float(common.volume.sum()) < float(source.volumes().sum()) + 1e-12
    assert float(common.volume.sum()) > 0.99 * float(source.volumes().sum())


def test_quads_are_refused() -> None:
    with pytest.raises(MeshError, match="simplices of the same type"):
        intersect(generate.rectangle(2, 2), generate.rectangle(2, 2, cell="quad"))
