"""scikit-fem's own error falls, and everything but the coordinates stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skfem
import torch
from fronts import ROOT, exact, improvement, run_script, source
from skfem.helpers import dot, grad

from meshlearn.mesh.convert.with_skfem import from_skfem
from meshlearn.monitors import Function
from meshlearn.plugins import skfem as adaptation
from meshlearn.plugins.arrays import PluginError
from meshlearn.plugins.client import Client

LINE = np.linspace(0, 1, 5)
MESHES = {
    "line": skfem.MeshLine(np.linspace(0, 1, 9)),
    "triangle": skfem.MeshTri.init_symmetric().refined(2),
    "quad": skfem.MeshQuad.init_tensor(LINE, LINE),
    "tetra": skfem.MeshTet.init_tensor(LINE, LINE, LINE),
    "hexahedron": skfem.MeshHex.init_tensor(LINE, LINE, LINE),
}


def square(n: int = 32) -> skfem.MeshTri:
    sides = {"left": lambda x: x[0] == 0, "top": lambda x: x[1] == 1}
    mesh = skfem.MeshTri.init_tensor(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1))
    return mesh.with_boundaries(sides)


def solve(mesh: skfem.MeshTri) -> tuple[tuple[Any, Any], float]:
    """Solution and its L2 error, by scikit-fem."""
    basis = skfem.Basis(mesh, skfem.ElementTriP1(), intorder=8)
    A = skfem.BilinearForm(lambda u, v, w: dot(grad(u), grad(v))).assemble(basis)
    b = skfem.LinearForm(lambda v, w: source(w.x) * v).assemble(basis)
    sides = basis.get_dofs()
    u = basis.zeros()
    u[sides] = exact(basis.doflocs[:, sides.all()])
    u = skfem.solve(*skfem.condense(A, b, x=u, D=sides))
    error = skfem.Functional(lambda w: (w.u - exact(w.x)) ** 2).assemble(basis, u=u)
    return (basis, u), float(np.sqrt(error))


def test_the_error_halves_and_undo_is_exact() -> None:
    mesh = square()
    (basis, u), before = solve(mesh)
    coordinates, cells = mesh.p.copy(), mesh.t.copy()
    tags = {name: ids.copy() for name, ids in mesh.boundaries.items()}
    report = adaptation.adapt(mesh, (basis, u))
    (moved_basis, _), after = solve(mesh)
    assert before / after >= 2
    assert report.estimates[0] / report.estimates[1] >= 1.5  # and the estimate knows
    assert report.kept == 1
    assert report.moves[0]["inverted_cells"] == 0
    assert np.array_equal(mesh.t, cells)
    assert np.array_equal(moved_basis.element_dofs, basis.element_dofs)
    assert {k: v.tolist() for k, v in mesh.boundaries.items()} == {
        k: v.tolist() for k, v in tags.items()
    }
    assert np.array_equal(report.positions, mesh.p.T)
    adaptation.set_positions(mesh, report.before)
    assert np.array_equal(mesh.p, coordinates)
    adaptation.set_positions(mesh, report.positions)
    report.undo()
    assert np.array_equal(mesh.p, coordinates)
    assert solve(mesh)[1] == before


def test_solving_again_between_moves_helps_and_keeps_the_best_mesh() -> None:
    mesh = square(24)
    u, before = solve(mesh)
    report = adaptation.adapt(mesh, u, iterations=4, resolve=lambda: solve(mesh)[0])
    assert before / solve(mesh)[1] >= 2
    assert len(report.estimates) == len(report.moves) + 1
    assert report.kept == int(np.argmin(report.estimates))
    assert np.array_equal(report.positions, mesh.p.T)


def test_a_monitor_leads_without_a_solution_and_fixed_nodes_stay() -> None:
    mesh = square(16)
    before = mesh.p.copy()
    ball = Function(lambda x: 1 + 9 * torch.exp(-40 * ((x - 0.4) ** 2).sum(dim=1)))
    report = adaptation.adapt(mesh, ball, fixed=["left"], slide="flat")
    left = before[0] == 0
    assert np.array_equal(mesh.p[:, left], before[:, left])
    assert not np.array_equal(mesh.p[:, ~left], before[:, ~left])
    assert report.estimates == ()
    report.undo()
    adaptation.adapt(mesh, ball, fixed=np.flatnonzero(before[1] == 0))
    assert np.array_equal(mesh.p[:, before[1] == 0], before[:, before[1] == 0])


def test_nodes_slide_along_a_circle_when_asked() -> None:
    mesh = skfem.MeshTri.init_circle(4)
    before, around = mesh.p.copy(), mesh.boundary_nodes()
    ball = Function(lambda x: 1 + 9 * torch.exp(-20 * ((x - torch.tensor([1.0, 0.0])) ** 2).sum(1)))
    adaptation.adapt(mesh, ball)
    assert np.array_equal(mesh.p[:, around], before[:, around])
    adaptation.adapt(mesh, ball, slide="curved")
    turned = np.arctan2(*mesh.p[::-1, around]) - np.arctan2(*before[::-1, around])
    assert np.abs(turned).max() > 0.05
    assert np.abs(np.hypot(*mesh.p[:, around]) - 1).max() < 1e-4


def test_a_constant_solution_moves_nothing() -> None:
    mesh = square(8)
    before = mesh.p.copy()
    report = adaptation.adapt(mesh, np.ones(mesh.nvertices))
    assert report.kept == 0
    assert "no move lowered" in report.reason
    assert np.array_equal(mesh.p, before)


@pytest.mark.parametrize("kind", MESHES)
def test_mesh_and_tags_are_those_of_the_converter(kind: str) -> None:
    native = MESHES[kind]
    native = native.with_boundaries({"left": lambda x: x[0] == 0})
    native = native.with_subdomains({"low": lambda x: x[0] < 0.5})
    mesh, other = adaptation.to_mesh(native), from_skfem(native)
    assert torch.equal(mesh.pos, other.pos)
    assert torch.equal(mesh.cells[kind].sort(dim=1).values, other.cells[kind].sort(dim=1).values)
    assert torch.equal(mesh.cell_tags["low"], other.cell_tags["low"])
    facets = [m.topology.find_facets(m["tagged_facets"]) for m in (mesh, other)]
    assert set(facets[0].tolist()) == set(facets[1].tolist())
    assert torch.equal(mesh.numbering, torch.arange(native.nvertices))
    assert len(mesh.inverted_cells()) == 0


@pytest.mark.parametrize("kind", MESHES)
def test_every_cell_type_moves_in_place(kind: str) -> None:
    native = MESHES[kind]
    before = native.doflocs.copy()
    report = adaptation.adapt(native, np.tanh(20 * (native.p[0] - 0.4)))
    assert report.estimates[1] < report.estimates[0]
    assert np.array_equal(native.p.T, report.positions)
    report.undo()
    assert np.array_equal(native.doflocs, before)


def test_both_sides_of_a_periodic_mesh_move_alike() -> None:
    line = np.linspace(0, 1, 17)
    native = skfem.MeshTri1DG.init_tensor(line, line, periodic=[0])
    before, coordinates = adaptation.to_mesh(native), native.doflocs.copy()
    image = before.periodic
    assert (image != torch.arange(before.num_nodes)).sum() == 17
    assert torch.equal(before.numbering, before.numbering[image])
    x = before.pos.numpy()
    report = adaptation.adapt(native, np.tanh(15 * np.sin(2 * np.pi * (x[:, 0] + 0.1 * x[:, 1]))))
    after = adaptation.to_mesh(native)
    step = after.pos - before.pos
    assert torch.allclose(step, step[image], atol=1e-15)
    assert step[image != torch.arange(len(image))].abs().max() > 1e-3
    assert torch.equal(after.cells["triangle"], before.cells["triangle"])
    report.undo()
    assert np.array_equal(native.doflocs, coordinates)


def test_a_curved_boundary_keeps_its_curve() -> None:
    native = skfem.MeshTri2.init_circle(4)
    basis = skfem.Basis(native, skfem.ElementTriP1(), intorder=6)
    coordinates, area = native.doflocs.copy(), basis.dx.sum()
    rim = np.flatnonzero(np.abs(np.hypot(*coordinates) - 1) < 1e-12)
    report = adaptation.adapt(native, np.tanh(20 * (native.p[0, : native.nvertices] - 0.1)))
    moved = skfem.Basis(native, skfem.ElementTriP1(), intorder=6)
    assert report.estimates[1] < 0.7 * report.estimates[0]
    assert np.array_equal(native.doflocs[:, rim], coordinates[:, rim])
    assert moved.dx.sum() == pytest.approx(area, abs=1e-13)
    assert (moved.dx > 0).all()
    middles = native.doflocs[:, native.nvertices :] - coordinates[:, native.nvertices :]
    assert np.abs(middles).max() > 0.01  # the nodes of the curved mesh follow
    report.undo()
    assert np.array_equal(native.doflocs, coordinates)


@pytest.mark.parametrize(
    ("element", "method"),
    [
        (skfem.ElementTriP2(), "interpolate"),
        (skfem.ElementVector(skfem.ElementTriP2()), "interpolate"),
        (skfem.ElementTriP1(), "conservative"),
        (skfem.ElementTriP0(), "conservative"),
    ],
    ids=["P2", "P2 vector", "P1", "P0"],
)
def test_functions_are_carried_to_the_new_mesh(element: Any, method: str) -> None:
    mesh = skfem.MeshTri.init_symmetric().refined(3)
    basis = skfem.Basis(mesh, element)
    vector = isinstance(element, skfem.ElementVector)

    def smooth(x: Any) -> Any:
        return np.array([x[0] ** 2, x[1] + 1]) if vector else x[0] * x[1] + x[0] ** 2

    def integral(b: Any, values: Any) -> float:
        part = (lambda w: w.g[0]) if vector else (lambda w: w.g)
        return float(skfem.Functional(part).assemble(b, g=b.interpolate(values)))

    g = basis.project(smooth)
    old, total = g.copy(), integral(basis, g)
    guide = np.tanh(20 * (mesh.p[0] - 0.4))
    report = adaptation.adapt(mesh, guide, transfer=[(basis, g)], method=method)
    new = skfem.Basis(mesh, element)
    if method == "interpolate":  # the function is in the space: it is carried exactly
        assert np.abs(g - new.project(smooth)).max() < 1e-12
    else:
        assert integral(new, g) == pytest.approx(total, abs=1e-13)
    assert np.abs(g - old).max() > 1e-2
    report.undo()
    assert np.array_equal(g, old)


def test_a_failure_puts_everything_back() -> None:
    mesh = square(8)
    u, _ = solve(mesh)
    before, values = mesh.p.copy(), u[1].copy()

    def fail() -> None:
        assert not np.array_equal(mesh.p, before)
        raise RuntimeError("the solver diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        adaptation.adapt(mesh, u, iterations=2, resolve=fail, transfer=[u])
    assert np.array_equal(mesh.p, before)
    assert np.array_equal(u[1], values)


def test_meshes_made_from_a_mesh_keep_their_coordinates() -> None:
    mesh = square(8)
    relative = mesh.with_boundaries({"right": lambda x: x[0] == 1})
    before = mesh.p.copy()
    adaptation.set_positions(mesh, 2 * mesh.p.T)
    assert np.array_equal(mesh.p, 2 * before)
    assert np.array_equal(relative.p, before)
    assert skfem.Basis(mesh, skfem.ElementTriP1()).dx.sum() == pytest.approx(4)


@pytest.mark.slow
def test_a_server_gives_what_this_process_gives() -> None:
    mesh, other = square(12), square(12)
    (basis, u), _ = solve(mesh)
    carried, copy = u.copy(), u.copy()
    here = adaptation.adapt(mesh, (basis, u), transfer=[(basis, carried)])
    with Client.start() as client:
        there = adaptation.adapt(
            other, (basis, u), transfer=[(basis, copy)], remote=client, fixed=()
        )
        with pytest.raises(ValueError, match="there is no tag 'nowhere'"):
            adaptation.adapt(other, (basis, u), remote=client, fixed=["nowhere"])
    assert np.array_equal(here.positions, there.positions)
    assert here.estimates == there.estimates
    assert np.array_equal(carried, copy)


@pytest.mark.slow
def test_the_example_runs() -> None:
    printed = run_script(ROOT / "examples" / "plugins" / "front_skfem.py")
    assert improvement(printed) >= 2


def fields(mesh: skfem.MeshTri) -> dict[str, Any]:
    other = skfem.Basis(square(4), skfem.ElementTriP1())
    constant = skfem.Basis(mesh, skfem.ElementTriP0())
    morley = skfem.Basis(mesh, skfem.ElementTriMorley())
    basis = skfem.Basis(mesh, skfem.ElementTriP1())
    return {
        "belongs to another mesh": (other, other.zeros()),
        "project them to a continuous": (constant, constant.zeros()),
        "ElementTriMorley are not supported": (morley, morley.zeros()),
        "the vector \\[3\\]": (basis, np.zeros(3)),
        "each of 81 nodes": np.zeros(7),
        "not finite at node 5": np.where(np.arange(81) == 5, np.nan, 0.0),
        "is complex": np.zeros(81, complex),
        "given as \\(basis, vector\\)": (basis,),
    }


@pytest.mark.parametrize("message", list(fields(square(8))))
def test_functions_that_cannot_lead(message: str) -> None:
    mesh = square(8)
    with pytest.raises(PluginError, match=message):
        adaptation.adapt(mesh, fields(mesh)[message])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "at least 1"),
        ({"iterations": 2}, "need resolve="),
        ({"fixed": [0.5]}, "names of tags or node numbers"),
        ({"mover": "spread"}, "unknown mover 'spread'"),
        ({"monitor": "beauty"}, "unknown monitor 'beauty'"),
        ({"slide": "curve"}, "slide"),
        ({"transfer": ["u"]}, "given as"),
        ({"fixed": ["nowhere"]}, "there is no tag 'nowhere'"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    mesh = square(8)
    before = mesh.p.copy()
    with pytest.raises(ValueError, match=message):
        adaptation.adapt(mesh, exact(mesh.p), **options)
    assert np.array_equal(mesh.p, before)


def test_a_monitor_does_not_travel() -> None:
    mesh = square(4)
    monitor = Function(lambda x: 1 + x[:, 0])
    with pytest.raises(PluginError, match="works in this process only"):
        adaptation.adapt(mesh, monitor, remote="python3")


def test_meshes_that_are_none() -> None:
    with pytest.raises(PluginError, match="expected a mesh of scikit-fem"):
        adaptation.to_mesh(np.zeros(3))
    with pytest.raises(PluginError, match="positions must be \\[81, 2\\]"):
        adaptation.set_positions(square(8), np.zeros((81, 3)))
    with pytest.raises(PluginError, match="node 2 is not finite"):
        adaptation.set_positions(square(8), np.where(np.arange(162) == 4, np.nan, 0).reshape(81, 2))
