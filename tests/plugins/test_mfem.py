"""MFEM's own error falls, and everything but the coordinates stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fronts import ROOT, exact, improvement, run_script, source

from meshlearn.plugins.arrays import PluginError

pytestmark = pytest.mark.mfem


@pytest.fixture(scope="module")
def mfem() -> Any:
    import mfem.ser

    return mfem.ser


@pytest.fixture(scope="module")
def adaptation(mfem: Any) -> Any:
    from meshlearn.plugins import mfem as plugin

    return plugin


def coefficient(mfem: Any, function: Any) -> Any:
    class Pointwise(mfem.PyCoefficient):
        def EvalValue(self, x: Any) -> float:
            return float(function(x))

    return Pointwise()


class Front:
    """-lap u = f with a steep front, solved by MFEM."""

    def __init__(self, mfem: Any, mesh: Any, order: int = 1) -> None:
        self.mfem, self.mesh = mfem, mesh
        self.elements = mfem.H1_FECollection(order, 2)
        self.space = mfem.FiniteElementSpace(mesh, self.elements)
        self.u = mfem.GridFunction(self.space)
        self.exact, self.source = coefficient(mfem, exact), coefficient(mfem, source)
        self.one = mfem.ConstantCoefficient(1.0)

    def solve(self) -> None:
        mfem = self.mfem
        sides, fixed = mfem.intArray([1] * self.mesh.bdr_attributes.Max()), mfem.intArray()
        self.space.GetEssentialTrueDofs(sides, fixed)
        a, f = mfem.BilinearForm(self.space), mfem.LinearForm(self.space)
        a.AddDomainIntegrator(mfem.DiffusionIntegrator(self.one))
        f.AddDomainIntegrator(mfem.DomainLFIntegrator(self.source, 2, 6))
        a.Assemble()
        f.Assemble()
        self.u.Assign(0.0)
        self.u.ProjectBdrCoefficient(self.exact, sides)
        matrix, x, b = mfem.SparseMatrix(), mfem.Vector(), mfem.Vector()
        a.FormLinearSystem(fixed, self.u, f, matrix, x, b)
        mfem.PCG(matrix, mfem.GSSmoother(matrix), b, x, 0, 2000, 1e-24, 0.0)
        a.RecoverFEMSolution(x, f, self.u)

    def error(self) -> float:
        self.solve()
        return float(self.u.ComputeL2Error(self.exact))


def square(mfem: Any, n: int) -> Any:
    return mfem.Mesh.MakeCartesian2D(n, n, mfem.Element.TRIANGLE, True, 1.0, 1.0)


def vertices(mfem: Any, mesh: Any) -> Any:
    vector = mfem.Vector()
    mesh.GetVertices(vector)
    return np.array(vector.GetDataArray())


def test_the_error_halves_and_undo_is_exact(mfem: Any, adaptation: Any) -> None:
    mesh = square(mfem, 28)
    front = Front(mfem, mesh)
    before, solution = front.error(), np.array(front.u.GetDataArray())
    coordinates, whole = vertices(mfem, mesh), adaptation.to_mesh(mesh)
    cells = [list(mesh.GetElementVertices(k)) for k in range(mesh.GetNE())]
    attributes = list(mesh.GetBdrAttributeArray())
    dofs = [list(front.space.GetElementDofs(k)) for k in range(mesh.GetNE())]
    report = adaptation.adapt(mesh, front.u)
    assert before / front.error() >= 2
    assert report.moves[0]["inverted_cells"] == 0
    assert [list(mesh.GetElementVertices(k)) for k in range(mesh.GetNE())] == cells
    assert list(mesh.GetBdrAttributeArray()) == attributes
    assert [list(front.space.GetElementDofs(k)) for k in range(mesh.GetNE())] == dofs
    assert {k: len(v) for k, v in whole.facet_tags.items()} == dict.fromkeys("1234", 28)
    assert np.array_equal(vertices(mfem, mesh), report.positions.T.reshape(-1))
    adaptation.set_positions(mesh, report.before)
    assert np.array_equal(vertices(mfem, mesh), coordinates)
    adaptation.set_positions(mesh, report.positions)
    report.undo()
    assert np.array_equal(vertices(mfem, mesh), coordinates)
    assert front.error() == before
    assert np.array_equal(np.array(front.u.GetDataArray()), solution)


def test_nodes_of_second_order_follow(mfem: Any, adaptation: Any) -> None:
    mesh = square(mfem, 16)
    mesh.SetCurvature(2)
    front = Front(mfem, mesh, order=2)
    before, nodes = front.error(), np.array(mesh.GetNodes().GetDataArray())
    smooth = coefficient(mfem, lambda x: x[0] ** 2 - x[1])
    carried = mfem.GridFunction(front.space)
    carried.ProjectCoefficient(smooth)
    old = np.array(carried.GetDataArray())
    report = adaptation.adapt(mesh, front.u, iterations=2, resolve=front.solve, transfer=[carried])
    assert before / front.error() >= 2
    assert carried.ComputeL2Error(smooth) < 1e-12
    found = adaptation.to_mesh(mesh)
    assert np.array_equal(found.pos.numpy(), report.positions)
    report.undo()
    assert np.array_equal(np.array(mesh.GetNodes().GetDataArray()), nodes)
    assert np.array_equal(np.array(carried.GetDataArray()), old)


def test_both_sides_of_a_periodic_mesh_move_alike(mfem: Any, adaptation: Any) -> None:
    plain = mfem.Mesh.MakeCartesian2D(12, 12, mfem.Element.QUADRILATERAL, True, 1.0, 1.0)
    shift = [mfem.Vector([1.0, 0.0])]
    mesh = mfem.Mesh.MakePeriodic(plain, plain.CreatePeriodicVertexMapping(shift, 1e-8))
    before, nodes = adaptation.to_mesh(mesh), np.array(mesh.GetNodes().GetDataArray())
    image = before.periodic
    assert before.num_nodes == 169
    assert (image != torch.arange(169)).sum() == 13
    assert set(before.facet_tags) == {"1", "2", "3", "4"}
    x = before.pos.numpy()
    report = adaptation.adapt(mesh, np.tanh(9 * np.sin(2 * np.pi * (x[:, 0] + x[:, 1]))))
    after = adaptation.to_mesh(mesh)
    step = after.pos - before.pos
    assert torch.equal(after.cells["quad"], before.cells["quad"])
    assert torch.allclose(step, step[image], atol=1e-15)
    assert step[image != torch.arange(169)].abs().max() > 1e-3
    report.undo()
    assert np.array_equal(np.array(mesh.GetNodes().GetDataArray()), nodes)


@pytest.mark.parametrize("kind", ["TETRAHEDRON", "HEXAHEDRON", "WEDGE"])
def test_cells_in_space(mfem: Any, adaptation: Any, kind: str) -> None:
    mesh = mfem.Mesh.MakeCartesian3D(4, 4, 4, getattr(mfem.Element, kind))
    before = adaptation.to_mesh(mesh)
    assert len(before.inverted_cells()) == 0
    sides = torch.cat([before.topology.find_facets(nodes) for nodes in before.facet_tags.values()])
    assert torch.equal(sides.sort().values, before.topology.boundary_facets)
    report = adaptation.adapt(mesh, np.tanh(9 * (before.pos[:, 0].numpy() - 0.3)))
    assert report.estimates[1] < report.estimates[0]


@pytest.mark.parametrize("ordering", ["byNODES", "byVDIM"])
def test_vectors_lead_and_are_carried(mfem: Any, adaptation: Any, ordering: str) -> None:
    mesh = square(mfem, 8)
    elements = mfem.H1_FECollection(1, 2)
    space = mfem.FiniteElementSpace(mesh, elements, 2, getattr(mfem.Ordering, ordering))
    u = mfem.GridFunction(space)
    at = adaptation.to_mesh(mesh).pos.numpy()
    table = np.stack([1 + at[:, 0], np.tanh(20 * (at[:, 0] - 0.4))], axis=1)
    u.GetDataArray()[:] = (table if ordering == "byVDIM" else table.T).reshape(-1)
    report = adaptation.adapt(mesh, u, transfer=[u])
    data = np.array(u.GetDataArray())
    first = data.reshape(-1, 2)[:, 0] if ordering == "byVDIM" else data[: len(at)]
    assert np.abs(first - (1 + report.positions[:, 0])).max() < 1e-12
    assert report.kept == 1


def test_what_cannot_be_adapted(mfem: Any, adaptation: Any) -> None:
    hanging = mfem.Mesh.MakeCartesian2D(4, 4, mfem.Element.QUADRILATERAL, True, 1.0, 1.0)
    hanging.EnsureNCMesh()
    hanging.RefineAtVertex(mfem.Vertex(0.0, 0.0))
    with pytest.raises(PluginError, match="nonconforming"):
        adaptation.to_mesh(hanging)
    with pytest.raises(PluginError, match=r"expected a mesh of mfem\.ser"):
        adaptation.to_mesh(np.zeros(3))
    mesh = square(mfem, 4)
    for elements, message in (
        (mfem.L2_FECollection(1, 2), "no values at the vertices"),
        (mfem.H1Pos_FECollection(2, 2), "no values at the vertices"),
    ):
        space = mfem.FiniteElementSpace(mesh, elements)
        with pytest.raises(PluginError, match=message):
            adaptation.adapt(mesh, mfem.GridFunction(space))
    cubic = mfem.H1_FECollection(3, 2)
    space = mfem.FiniteElementSpace(mesh, cubic)
    at = adaptation.to_mesh(mesh).pos.numpy()
    with pytest.raises(PluginError, match="are not transferred"):
        adaptation.adapt(mesh, at[:, 0] ** 2, transfer=[mfem.GridFunction(space)])
    other = square(mfem, 3)
    with pytest.raises(PluginError, match="belongs to another mesh"):
        adaptation.adapt(other, mfem.GridFunction(space))
    with pytest.raises(PluginError, match="expected a GridFunction"):
        adaptation.adapt(mesh, at[:, 0] ** 2, transfer=["u"])


@pytest.mark.slow
def test_the_example_runs() -> None:
    printed = run_script(ROOT / "examples" / "plugins" / "front_mfem.py")
    assert improvement(printed) >= 2
