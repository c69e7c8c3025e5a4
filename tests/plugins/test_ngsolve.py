"""NGSolve's own error falls, and everything but the coordinates stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fronts import ROOT, improvement, run_script

from meshlearn.plugins.arrays import PluginError

pytestmark = pytest.mark.ngsolve
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ngs() -> Any:
    import ngsolve

    return ngsolve


@pytest.fixture(scope="module")
def adaptation(ngs: Any) -> Any:
    from meshlearn.plugins import ngsolve as plugin

    return plugin


class Front:
    """-lap u = f with a steep front, solved by NGSolve."""

    def __init__(self, ngs: Any, mesh: Any, order: int = 1) -> None:
        x, y, grad, dx = ngs.x, ngs.y, ngs.grad, ngs.dx
        r = ngs.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + 1e-20)
        self.exact = 2 / (1 + ngs.exp(-2 * (0.3 - r) / 0.04)) - 1
        slope = (1 - self.exact**2) / 0.04
        self.source = slope * (2 * self.exact / 0.04 + 1 / r)
        self.ngs, self.mesh = ngs, mesh
        self.space = ngs.H1(mesh, order=order, dirichlet=".*")
        self.u = ngs.GridFunction(self.space)
        u, v = self.space.TnT()
        self.a, self.f = grad(u) * grad(v) * dx, self.source * v * dx(bonus_intorder=8)

    def solve(self) -> None:
        a, f = self.ngs.BilinearForm(self.a).Assemble(), self.ngs.LinearForm(self.f).Assemble()
        self.u.Set(self.exact, definedon=self.mesh.Boundaries(".*"))
        inverse = a.mat.Inverse(self.space.FreeDofs())
        self.u.vec.data += inverse * (f.vec - a.mat * self.u.vec)

    def error(self) -> float:
        self.solve()
        square = self.ngs.Integrate((self.u - self.exact) ** 2, self.mesh, order=10)
        return float(np.sqrt(square))


def square(ngs: Any, maxh: float = 0.035) -> Any:
    from netgen.geom2d import unit_square

    return ngs.Mesh(unit_square.GenerateMesh(maxh=maxh))


def disk(ngs: Any, order: int = 3) -> Any:
    from netgen.geom2d import SplineGeometry

    geometry = SplineGeometry()
    geometry.AddCircle((0, 0), 1, bc="rim")
    mesh = ngs.Mesh(geometry.GenerateMesh(maxh=0.15))
    mesh.Curve(order)
    return mesh


def steep(ngs: Any) -> Any:
    return 1 / (1 + ngs.exp(-40 * (ngs.x - 0.1)))


def test_the_error_halves_and_undo_is_exact(ngs: Any, adaptation: Any) -> None:
    mesh = square(ngs)
    front = Front(ngs, mesh)
    before = front.error()
    coordinates = mesh.ngmesh.Coordinates().copy()
    dofs = [front.space.GetDofNrs(element) for element in mesh.Elements()]
    tags = adaptation.to_mesh(mesh).facet_tags
    report = adaptation.adapt(mesh, front.u)
    assert before / front.error() >= 2
    assert report.moves[0]["inverted_cells"] == 0
    assert [front.space.GetDofNrs(element) for element in mesh.Elements()] == dofs
    after = adaptation.to_mesh(mesh)
    assert {k: v.tolist() for k, v in after.facet_tags.items()} == {
        k: v.tolist() for k, v in tags.items()
    }
    assert set(tags) == {"bottom", "right", "top", "left"}
    assert np.array_equal(mesh.ngmesh.Coordinates(), report.positions)
    point = report.positions[len(report.positions) // 2]
    assert front.u(mesh(*point)) == pytest.approx(front.u.vec[len(report.positions) // 2])
    adaptation.set_positions(mesh, report.before)
    assert np.array_equal(mesh.ngmesh.Coordinates(), coordinates)
    adaptation.set_positions(mesh, report.positions)
    report.undo()
    assert np.array_equal(mesh.ngmesh.Coordinates(), coordinates)
    assert front.error() == before


def test_solving_again_between_moves(ngs: Any, adaptation: Any) -> None:
    mesh = square(ngs, 0.05)
    front = Front(ngs, mesh, order=2)
    before = front.error()
    report = adaptation.adapt(mesh, front.u, iterations=3, resolve=front.solve)
    assert before / front.error() >= 2
    assert report.kept == int(np.argmin(report.estimates))


def test_a_curved_mesh_is_curved_again(ngs: Any, adaptation: Any) -> None:
    mesh = disk(ngs)

    def area() -> float:
        return float(ngs.Integrate(ngs.CF(1), mesh, order=6))

    coordinates, before = mesh.ngmesh.Coordinates().copy(), area()
    rim = np.abs(np.hypot(*coordinates.T) - 1) < 1e-9
    report = adaptation.adapt(mesh, steep(ngs))
    assert report.estimates[1] < 0.7 * report.estimates[0]
    assert abs(area() - np.pi) < 1e-5
    assert np.array_equal(mesh.ngmesh.Coordinates()[rim], coordinates[rim])
    assert mesh.GetCurveOrder() == 3
    report.undo()
    assert np.array_equal(mesh.ngmesh.Coordinates(), coordinates)
    assert area() == before


@pytest.mark.parametrize("kind", ["tetra", "hexahedron", "quad"])
def test_other_cells(ngs: Any, adaptation: Any, kind: str) -> None:
    from netgen.csg import unit_cube
    from ngsolve import meshes

    mesh = {
        "tetra": lambda: ngs.Mesh(unit_cube.GenerateMesh(maxh=0.3)),
        "hexahedron": lambda: meshes.MakeStructured3DMesh(hexes=True, nx=4),
        "quad": lambda: meshes.MakeStructured2DMesh(quads=True, nx=8, ny=8),
    }[kind]()
    before = adaptation.to_mesh(mesh)
    assert set(before.cells) == {kind}
    assert len(before.inverted_cells()) == 0
    sides = torch.cat([before.topology.find_facets(f) for f in before.facet_tags.values()])
    assert torch.equal(sides.sort().values, before.topology.boundary_facets)
    report = adaptation.adapt(mesh, steep(ngs))
    assert report.estimates[1] < report.estimates[0]
    assert len(adaptation.to_mesh(mesh).inverted_cells()) == 0


def test_both_sides_of_a_periodic_mesh_move_alike(ngs: Any, adaptation: Any) -> None:
    from ngsolve.meshes import MakeStructured2DMesh

    mesh = MakeStructured2DMesh(quads=False, nx=12, ny=12, periodic_x=True)
    before = adaptation.to_mesh(mesh)
    image = before.periodic
    assert (image != torch.arange(before.num_nodes)).sum() == 13
    adaptation.adapt(mesh, ngs.sin(2 * np.pi * (ngs.x + ngs.y)))
    step = adaptation.to_mesh(mesh).pos - before.pos
    assert torch.allclose(step, step[image], atol=1e-15)
    assert step[image != torch.arange(len(image))].abs().max() > 1e-3


def test_functions_are_carried_to_the_new_mesh(ngs: Any, adaptation: Any) -> None:
    mesh = square(ngs, 0.1)
    linear, vector = ngs.GridFunction(ngs.H1(mesh, order=1)), ngs.GridFunction(ngs.VectorH1(mesh))
    constant = ngs.GridFunction(ngs.L2(mesh, order=0))
    linear.Set(1 + ngs.x - 2 * ngs.y)
    vector.Set(ngs.CF((ngs.x, 3 * ngs.y)))
    constant.Set(ngs.x)
    total, old = ngs.Integrate(constant, mesh), constant.vec.FV().NumPy().copy()
    carried = [linear, vector, constant]
    report = adaptation.adapt(mesh, steep(ngs), transfer=carried, method="conservative")
    error = ngs.Integrate((linear - (1 + ngs.x - 2 * ngs.y)) ** 2, mesh)
    error += ngs.Integrate(ngs.Norm(vector - ngs.CF((ngs.x, 3 * ngs.y))) ** 2, mesh)
    assert error < 1e-20
    assert ngs.Integrate(constant, mesh) == pytest.approx(total, abs=1e-13)
    report.undo()
    assert np.array_equal(constant.vec.FV().NumPy(), old)


def test_a_failure_puts_everything_back(ngs: Any, adaptation: Any) -> None:
    mesh = disk(ngs)
    before = mesh.ngmesh.Coordinates().copy()

    def fail() -> None:
        raise RuntimeError("the solver diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        adaptation.adapt(mesh, steep(ngs), iterations=2, resolve=fail)
    assert np.array_equal(mesh.ngmesh.Coordinates(), before)
    moved = np.where(np.arange(len(before))[:, None] == len(before) - 1, [[0.0, 5.0]], before)
    with pytest.raises(PluginError, match="negative Jacobian after curving"):
        adaptation.set_positions(mesh, moved)


def test_what_cannot_be_adapted(ngs: Any, adaptation: Any) -> None:
    from ngsolve.meshes import Make1DMesh

    mesh = square(ngs, 0.3)
    with pytest.raises(PluginError, match="of dimension 1"):
        adaptation.to_mesh(Make1DMesh(4))
    with pytest.raises(PluginError, match="expected a 2D or 3D mesh"):
        adaptation.to_mesh(mesh.ngmesh)
    with pytest.raises(PluginError, match="complex"):
        adaptation.adapt(mesh, ngs.GridFunction(ngs.H1(mesh, complex=True)))
    function = ngs.GridFunction(ngs.H1(mesh, order=3))
    with pytest.raises(PluginError, match="h1ho spaces of order 3"):
        adaptation.adapt(mesh, ngs.x, transfer=[function])
    with pytest.raises(PluginError, match="are grid functions"):
        adaptation.adapt(mesh, ngs.x, transfer=[ngs.x])
    second = mesh.ngmesh.Copy()
    second.SecondOrder()
    with pytest.raises(PluginError, match="points but"):
        adaptation.to_mesh(ngs.Mesh(second))


@pytest.mark.slow
def test_the_plug_in_loads_torch_after_ngsolve(tmp_path: Path) -> None:
    script = tmp_path / "order.py"
    script.write_text(
        "import ngsolve as ngs\n"
        "from netgen.geom2d import unit_square\n"
        "from meshlearn.plugins import ngsolve as adaptation\n"
        "mesh = ngs.Mesh(unit_square.GenerateMesh(maxh=0.05))\n"
        "report = adaptation.adapt(mesh, 1 / (1 + ngs.exp(-40 * (ngs.x - 0.4))))\n"
        "print(report.estimates[1] / report.estimates[0])\n"
    )
    assert float(run_script(script)) < 0.7
    script.write_text(
        "import ngsolve, torch\n"
        "from meshlearn.plugins.isolation import import_torch\n"
        "try:\n"
        "    import_torch()\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert "import torch before ngsolve" in run_script(script)


@pytest.mark.slow
def test_a_parallel_mesh() -> None:
    ranks = 3  # NGSolve keeps rank 0 for itself
    launcher = shutil.which("mpiexec")
    assert launcher, "mpiexec is not installed: apt install openmpi-bin"
    idle = ("--mca", "mpi_yield_when_idle", "1")
    options = ("--allow-run-as-root", "--oversubscribe", *idle, "-n", str(ranks))
    script = HERE / "scripts" / "ngsolve_parallel.py"
    found = json.loads(run_script(script, launch=(launcher, *options)))
    assert found["before"] / found["after"] >= 2
    assert found["restored"] == [True] * ranks
    assert found["area"] == pytest.approx(1, abs=1e-13)
    assert found["carried"] == pytest.approx(0, abs=1e-13)
    assert found["serial"] == pytest.approx(0, abs=1e-9)
    assert all("there is no tag 'nowhere'" in message for message in found["refusals"])
    assert found["whole"] == [True] + [False] * (ranks - 1)


@pytest.mark.slow
def test_the_example_runs() -> None:
    printed = run_script(ROOT / "examples" / "plugins" / "front_ngsolve.py")
    assert improvement(printed) >= 2
