"""Multipole operator: levels that integrate over the same domain, nested and coarsened."""

from __future__ import annotations

import pytest
import torch
from graded_squares import graded, off, shared, wave
from strategies import renumbered

from meshlearn.mesh import MeshError, generate
from meshlearn.operators import MultipoleGNO


def made(**options: object) -> MultipoleGNO:
    torch.manual_seed(0)
    chosen = {"width": 8, "levels": 3, "radius": 0.15, **options}
    return MultipoleGNO(["f"], ["u"], **chosen).eval()  # type: ignore[arg-type]


def test_all_levels_have_the_volume_of_the_domain() -> None:
    mesh = graded(12)
    scale, volumes, near = made().prepare(mesh)[1]
    assert len(scale) == len(volumes) == len(near) == 3
    for volume in volumes:
        assert float(volume.sum()) == pytest.approx(1)
        assert float(volume.min()) > 0
    assert len(volumes[2]) < len(volumes[1]) < len(volumes[0]) == mesh.num_nodes


def test_balls_grow_with_the_levels() -> None:
    meshes = [graded(n) for n in (24, 12, 6)]
    model = made()
    _, volumes, near = model.prepare(meshes[0], meshes[1:])[1]
    for k in (0, 1):
        middle = int((meshes[k].pos - 0.5).norm(dim=1).argmin())
        inside = near[k].pairs[0][near[k].pairs[1] == middle]
        area = torch.pi * (0.15 * 2**k) ** 2
        assert float(volumes[k][inside].sum()) == pytest.approx(area, rel=0.2)


def test_on_nested_meshes_the_numbering_does_not_matter() -> None:
    fine, coarse = generate.rectangle(8, 8), generate.rectangle(4, 4)
    other, node, _ = renumbered(fine, seed=1)
    second, _, _ = renumbered(coarse, seed=2)
    model = made(levels=2, radius=0.3)
    with torch.no_grad():
        one = model(fine, {"f": wave(fine)[:, 0]}, prepared=model.prepare(fine, [coarse]))["u"]
        two = model(other, {"f": wave(other)[:, 0]}, prepared=model.prepare(other, [second]))["u"]
    assert torch.allclose(one, two[node], atol=1e-5)


def test_the_operator_is_the_same_on_a_finer_mesh() -> None:
    change = {}
    for weights in ("volume", "none"):
        model, found = made(weights=weights, radius=0.2, levels=2), []
        for n in (16, 32):
            mesh, coarser = graded(n), graded(n // 2)
            with torch.no_grad():
                ready = model.prepare(mesh, [coarser])
                found.append(model(mesh, {"f": wave(mesh)[:, 0]}, prepared=ready)["u"][shared(n)])
        change[weights] = off(*found)
    assert change["volume"] < 0.05
    assert change["none"] > 5 * change["volume"]


def test_errors() -> None:
    mesh = generate.rectangle(4, 4)
    with pytest.raises(MeshError, match="at least 1 level, got 0"):
        made(levels=0)
    with pytest.raises(MeshError, match="has 2 coarser levels, got 1 meshes"):
        made().prepare(mesh, [mesh])
    with pytest.raises(MeshError, match="no P2 fields"):
        MultipoleGNO([("f", "P2", 0)], ["u"])
    with pytest.raises(MeshError, match="radius must be positive, got 0"):
        made(radius=0).prepare(mesh)
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        made(dim=3).prepare(mesh)
