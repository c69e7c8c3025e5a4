"""FEniCSx of its own environment, serial or by mpiexec; rank 0 prints what was found as JSON.

python fenicsx_case.py [PYTHON]: with PYTHON meshlearn works there, else in this process.
"""

from __future__ import annotations

import contextlib
import json
import sys

if sys.version_info >= (3, 12):  # the wheel; Debian's dolfinx needs nothing first
    import dolfinx_solver  # noqa: F401
import dolfinx
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import LinearProblem
from fronts import exact
from mpi4py import MPI

from meshlearn.plugins import fenicsx as adaptation
from meshlearn.plugins.client import Client

comm = MPI.COMM_WORLD
OLD = not hasattr(fem, "functionspace")
space = fem.FunctionSpace if OLD else fem.functionspace
found: dict[str, object] = {"version": dolfinx.__version__, "ranks": comm.size}


def table(rows):
    return (rows if isinstance(rows, np.ndarray) else rows.array).copy()


def integral(form) -> float:
    return float(np.real(comm.allreduce(fem.assemble_scalar(fem.form(form)))))


class Front:
    """-lap u = f with a steep front, solved by FEniCSx."""

    def __init__(self, domain, degree: int = 1) -> None:
        self.domain, self.V = domain, space(domain, ("Lagrange", degree))
        u, v, self.u = ufl.TrialFunction(self.V), ufl.TestFunction(self.V), fem.Function(self.V)
        x = ufl.SpatialCoordinate(domain)
        dx = ufl.Measure("dx", domain, metadata={"quadrature_degree": 10})
        r = ufl.sqrt((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2 + 1e-20)
        known = ufl.tanh((0.3 - r) / 0.04)
        f = (1 - known**2) / 0.04 * (2 * known / 0.04 + 1 / r)
        self.square = (self.u - known) ** 2 * dx
        domain.topology.create_connectivity(1, 2)
        sides = mesh.exterior_facet_indices(domain.topology)
        self.g = fem.Function(self.V)
        bc = fem.dirichletbc(self.g, fem.locate_dofs_topological(self.V, 1, sides))
        options = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-12}
        named = {} if OLD else {"petsc_options_prefix": "front"}
        a, load = ufl.inner(ufl.grad(u), ufl.grad(v)) * dx, f * v * dx
        self.problem = LinearProblem(a, load, bcs=[bc], u=self.u, petsc_options=options, **named)

    def solve(self) -> None:
        self.g.interpolate(exact)
        self.problem.solve()
        self.u.x.scatter_forward()

    def error(self) -> float:
        self.solve()
        return float(np.sqrt(integral(self.square)))


def tagged(domain, dim: int, where, value: int):
    indices = np.sort(mesh.locate_entities(domain, dim, where)).astype(np.int32)
    return mesh.meshtags(domain, dim, indices, np.full(len(indices), value, np.int32))


def gathered(ok) -> list[bool]:
    return [bool(each) for each in comm.allgather(ok)]


def main(remote) -> None:
    domain = mesh.create_unit_square(comm, 32, 32)
    front = Front(domain)
    tags = [
        tagged(domain, 1, lambda x: np.isclose(x[0], 0), 7),
        tagged(domain, 2, lambda x: x[1] < 0.5 + 1e-9, 2),
    ]
    before, coordinates = front.error(), domain.geometry.x.copy()
    dofs, marked = table(front.V.dofmap.list), tags[0].indices.copy()
    report = adaptation.adapt(domain, front.u, tags=tags, names={7: "left"}, remote=remote)
    found["ratio"] = before / front.error()
    found["kept"], found["inverted"] = report.kept, report.moves[0]["inverted_cells"]
    same = np.array_equal(dofs, table(front.V.dofmap.list))
    found["numbering"] = gathered(same and np.array_equal(marked, tags[0].indices))
    x = domain.geometry.x
    found["tags"] = [  # the tagged side and the line between the regions stay where they are
        float(comm.allreduce(np.abs(x[coordinates[:, 0] == 0, 0]).max(initial=0), MPI.MAX)),
        float(comm.allreduce(np.abs(x[coordinates[:, 1] == 0.5, 1] - 0.5).max(initial=0), MPI.MAX)),
    ]
    adaptation.set_positions(domain, report.before)
    exactly = np.array_equal(domain.geometry.x, coordinates)
    adaptation.set_positions(domain, report.positions)
    report.undo()
    found["restored"] = gathered(exactly and np.array_equal(domain.geometry.x, coordinates))

    front.solve()
    carried = [fem.Function(front.V), fem.Function(space(domain, ("DG", 0)))]
    smooth = fem.Function(space(domain, ("Lagrange", 2)))
    carried[0].interpolate(lambda x: x[0] * x[1] + 1)
    carried[1].interpolate(lambda x: x[0])
    smooth.interpolate(lambda x: x[0] ** 2 - x[1])
    totals = [integral(f * ufl.dx) for f in carried]
    report = adaptation.adapt(
        domain,
        front.u,
        iterations=2,
        resolve=front.solve,
        transfer=carried,
        method="conservative",
        remote=remote,
    )
    found["iterated"] = before / front.error()
    found["chosen"] = [report.kept, int(np.argmin(report.estimates))]
    found["totals"] = [integral(f * ufl.dx) - t for f, t in zip(carried, totals, strict=True)]
    report.undo()
    front.solve()
    report = adaptation.adapt(domain, front.u, transfer=[smooth], remote=remote)
    again = fem.Function(smooth.function_space)
    again.interpolate(lambda x: x[0] ** 2 - x[1])
    found["smooth"] = max(comm.allgather(float(np.abs(again.x.array - smooth.x.array).max())))

    refusal = ""
    try:
        adaptation.adapt(domain, front.u, fixed=["nowhere"], remote=remote)
    except ValueError as problem:
        refusal = str(problem)
    found["refusals"] = comm.allgather(refusal)
    for name, wrong in (("loose", carried[1]), ("foreign", fem.Function(Front(domain).V))):
        other = mesh.create_unit_square(comm, 2, 2) if name == "foreign" else domain
        try:
            adaptation.adapt(other, wrong, remote=remote)
        except ValueError as problem:
            found[name] = str(problem)
    cells(remote)
    if comm.size == 1 and not OLD:
        curved(remote)


def cells(remote) -> None:
    """Cells of other types, by the estimate."""
    kinds = mesh.CellType
    square = mesh.create_unit_square(comm, 8, 8, kinds.quadrilateral)
    cubes = [
        mesh.create_unit_cube(comm, 4, 4, 4, kind) for kind in (kinds.tetrahedron, kinds.hexahedron)
    ]
    ratios = []
    for domain in (square, *cubes):
        u = fem.Function(space(domain, ("Lagrange", 1)))
        u.interpolate(lambda x: np.tanh(8 * (x[0] - 0.4)))
        side = tagged(domain, domain.topology.dim - 1, lambda x: np.isclose(x[0], 0), 3)
        report = adaptation.adapt(domain, u, tags=[side], remote=remote)
        ratios.append(report.estimates[1] / report.estimates[0])
    found["cells"] = ratios


def curved(remote) -> None:
    """A disk of second-order triangles."""
    import basix.ufl

    base = mesh.create_unit_square(comm, 12, 12)
    corners = 2 * base.geometry.x[:, :2] - 1
    triangles = base.geometry.dofmaps[0]
    pairs = np.sort(triangles[:, [[1, 2], [0, 2], [0, 1]]], axis=2)
    edges, middle = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    points = np.concatenate([corners, corners[edges].mean(axis=1)])
    nodes = np.concatenate([triangles, len(corners) + middle.reshape(-1, 3)], axis=1)
    x, y = points.T
    disk = np.stack([x * np.sqrt(1 - y**2 / 2), y * np.sqrt(1 - x**2 / 2)], axis=1)
    form = basix.ufl.element("Lagrange", "triangle", 2, shape=(2,))
    domain = mesh.create_mesh(comm, nodes.astype(np.int64), form, disk)
    u = fem.Function(space(domain, ("Lagrange", 1)))
    u.interpolate(lambda x: np.tanh(20 * (x[0] - 0.1)))
    one, before = fem.Constant(domain, 1.0), domain.geometry.x.copy()
    area = integral(one * ufl.dx(domain))
    rim = np.abs(np.hypot(before[:, 0], before[:, 1]) - 1) < 1e-9
    report = adaptation.adapt(domain, u, remote=remote)
    found["curved"] = {
        "ratio": report.estimates[1] / report.estimates[0],
        "area": integral(one * ufl.dx(domain)) - area,
        "rim": np.array_equal(domain.geometry.x[rim], before[rim]),
        "moved": float(np.abs(domain.geometry.x - before).max()),
    }
    report.undo()
    found["curved"]["restored"] = np.array_equal(domain.geometry.x, before)


with contextlib.ExitStack() as stack:
    where = sys.argv[1] if sys.argv[1:] else None
    if where and comm.rank == 0:  # one server for all moves; the other ranks only need to know
        where = stack.enter_context(Client.start(where))
    main(where)
    found["torch"] = "torch" in sys.modules
if comm.rank == 0:
    print("\n" + json.dumps(found))
