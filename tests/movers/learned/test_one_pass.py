"""The published movers on random weights: our contract holds whatever the network says."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Field, Function
from meshlearn.movers import UniversalMover
from meshlearn.movers.base import Mover
from meshlearn.movers.learned import (
    M2N,
    UM2N,
    DataFreeMover,
    DataFreeNet,
    M2NNet,
    MoverNet,
    UM2NNet,
    WithSolution,
)
from meshlearn.movers.learned.one_pass import OnePass, inverted_share

SMALL = {"first": 14, "widths": (12, 10, 8, 6), "heads": 2}


def um2n(size: float = 1.0) -> UM2N:
    return UM2N(wild(lambda: UM2NNet(16, 2, 32, **SMALL), size))


def m2n(size: float = 1.0) -> M2N:
    return M2N(wild(lambda: M2NNet(8, **SMALL), size))


def data_free(size: float = 1.0) -> DataFreeMover:
    return DataFreeMover(wild(lambda: DataFreeNet(16, 4, (8, 16)), 10 * size))


def wild(make, size: float):
    """Random weights, `size` times those that training starts from."""
    torch.manual_seed(0)
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= size
    return network


MOVERS = {"um2n": um2n, "m2n": m2n, "data-free": data_free}


def bump(x: Tensor) -> Tensor:
    return 1 + 8 * torch.exp(-30 * ((x - 0.4) ** 2).sum(dim=1))


def seen(mesh: Mesh) -> WithSolution:
    """A monitor that every mover can see."""
    return WithSolution(Function(bump), mesh, torch.sin(3 * mesh.pos[:, 0]) * mesh.pos[:, 1])


def plate() -> Mesh:
    hole = [[0.6, 0.6], [0.8, 0.6], [0.7, 0.8]]
    return generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.09, holes=[hole], seed=1)


MESHES = {
    "plate": plate,
    "grid": lambda: generate.rectangle(7, 7),
    "quads": lambda: generate.rectangle(6, 6, cell="quad"),
    "wide": lambda: generate.rectangle(12, 4, lower=(3.0, -50.0), upper=(90.0, -20.0)),
}


@pytest.mark.parametrize("size", [1.0, 3.0])
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("mover", MOVERS)
def test_the_contract_holds_for_any_weights(mover, name, size):
    mesh = MESHES[name]()
    result = MOVERS[mover](size).move(mesh, seen(mesh))
    report = result.report
    assert report.max_displacement > 0
    assert (report.inverted_cells, report.iterations) == (0, 1)
    assert report.boundary_error < 1e-12
    assert report.volume_error < 1e-12
    assert report.converged == (report.residual == 0)
    assert report.mover == {"um2n": "UM2N", "m2n": "M2N", "data-free": "DataFreeMover"}[mover]


@pytest.mark.parametrize("mover", MOVERS)
def test_does_not_depend_on_numbering(mover):
    mesh = plate()
    generator = torch.Generator().manual_seed(4)
    order = torch.randperm(len(mesh.pos), generator=generator)
    cells = mesh.cells["triangle"]
    shuffled = torch.argsort(order)[cells][torch.randperm(len(cells), generator=generator)]
    other = Mesh.from_cells(mesh.pos[order], {"triangle": shuffled})
    expected = MOVERS[mover]().move(mesh, seen(mesh)).mesh.pos[order]
    found = MOVERS[mover]().move(other, seen(other)).mesh.pos
    assert float((found - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("mover", MOVERS)
def test_shifts_and_scales_with_the_mesh(mover):
    mesh = plate()
    shift, scale = torch.tensor([5.0, -2.0], dtype=torch.float64), 37.0
    placed = mesh.moved(scale * mesh.pos + shift)
    back = Function(lambda y: bump((y - shift) / scale))
    own = seen(mesh)
    moved = MOVERS[mover]().move(mesh, own).mesh.pos
    other = MOVERS[mover]().move(placed, WithSolution(back, placed, own.u)).mesh.pos
    assert float((other - (scale * moved + shift)).abs().max()) < 1e-5 * scale


class Mirrored(OnePass):
    """Proposes the mirror image: every cell inverted, every absolute area right."""

    def __init__(self) -> None:
        self.network = self

    def displacement(self, mesh, monitor, free):
        x = mesh.pos[:, :1]
        return torch.cat([1 - 2 * x, 0 * x], dim=1)


def test_a_tangled_proposal_is_seen_and_mended():
    mesh = generate.rectangle(6, 6)
    result = Mirrored().move(mesh, Constant())
    assert result.report.residual == 1.0
    assert not result.report.converged
    assert result.report.reason == "one pass of the network, which inverted 1e+02 % of the cells"
    assert result.report.inverted_cells == 0


def test_share_of_inverted_cells_by_hand():
    mesh = generate.rectangle(1, 1, diagonal="crossed")
    pos = mesh.pos.clone()
    centre = int((pos - 0.5).norm(dim=1).argmin())
    assert inverted_share(mesh, pos) == 0
    pos[centre] = torch.tensor([1.5, 0.5])  # beyond the right side, whose triangle turns over
    assert inverted_share(mesh, pos) == 0.25
    pos[centre] = torch.tensor([1.0, 0.5])  # on it: a flat triangle counts
    assert inverted_share(mesh, pos) == 0.25


@pytest.mark.parametrize("mover", MOVERS)
def test_saved_weights_move_the_same(mover, tmp_path):
    own, mesh = MOVERS[mover](), plate()
    path = own.save(tmp_path / "mine", {"seed": 0})
    loaded = type(own).from_pretrained(path)
    assert torch.equal(loaded.move(mesh, seen(mesh)).mesh.pos, own.move(mesh, seen(mesh)).mesh.pos)
    assert json.loads(path.with_suffix(".json").read_text())["seed"] == 0


def test_um2n_moves_a_batch_as_its_members():
    meshes = [plate(), generate.rectangle(6, 9)]
    fields = [Function(bump).on(mesh) for mesh in meshes]
    alone = [um2n().move(m, f).mesh.pos for m, f in zip(meshes, fields, strict=True)]
    batch = Batch.from_data_list(meshes)
    together = um2n().move(batch, Field(batch, torch.cat([f.values for f in fields])))
    assert float((together.mesh.pos - torch.cat(alone)).abs().max()) < 1e-5


@pytest.mark.parametrize("mover", ["m2n", "data-free"])
def test_a_batch_is_too_much_for_a_grid(mover):
    batch = Batch.from_data_list([plate(), plate()])
    with pytest.raises(MeshError, match="moves one mesh at a time, not a batch"):
        MOVERS[mover]().move(batch, Constant())


@pytest.mark.parametrize("mover", MOVERS)
def test_only_in_the_plane(mover):
    mesh = generate.box(2, 2, 2)
    with pytest.raises(MeshError, match="works in 2D only, and the mesh is 3D"):
        MOVERS[mover]().move(mesh, Constant())


def test_m2n_needs_the_solution():
    with pytest.raises(MeshError, match="M2N sees the solution besides the monitor"):
        m2n().move(plate(), Constant())
    with pytest.raises(MeshError, match=r"the solution must be \[64\], got \[3\]"):
        WithSolution(Constant(), generate.rectangle(7, 7), torch.zeros(3))


def test_weights_of_another_mover(tmp_path):
    path = um2n().save(tmp_path / "mine")
    with pytest.raises(MeshError, match="holds a UM2NNet, not a M2NNet"):
        M2N.from_pretrained(path)
    with pytest.raises(MeshError, match="UM2N needs a UM2NNet, got a MoverNet"):
        UM2N(MoverNet(8, 1))
    with pytest.raises(MeshError, match="cannot read the model's card"):
        DataFreeMover.from_pretrained(tmp_path / "none")


def test_all_are_movers():
    assert all(issubclass(kind, Mover) for kind in (UM2N, M2N, DataFreeMover, UniversalMover))
