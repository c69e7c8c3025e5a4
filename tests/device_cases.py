"""What must run where the tensors are; `python device_cases.py` tries each away from the CPU.

Prints, as JSON, "ok" for each case or what was wrong; the last of them forgets a `device=`, which
must be noticed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import meshlearn as ml
from meshlearn import fem, problems
from meshlearn.fem import FunctionSpace, dot, grad, inner
from meshlearn.mesh import Mesh

ELEMENTS = {
    "triangle": ["P1", "P2", "P3", "P1DG", "CR", "MINI", ("P1", 2)],
    "quad": ["Q2"],
    "tetra": ["P1", "P2"],
    "hexahedron": ["Q1"],
}
METHODS = ["auto", "cg", "bicgstab", "direct", "amg"]


def mesh(cell: str = "triangle") -> Mesh:
    flat = cell in ("triangle", "quad")
    make = ml.generate.rectangle if flat else ml.generate.box
    return make(*[3 if flat else 2] * (2 if flat else 3), cell=cell)  # type: ignore[operator]


def laplace(u: Any, v: Any, w: Any) -> Any:
    return inner(grad(u), grad(v)) + inner(u, v)


def varying(u: Any, v: Any, w: Any) -> Any:
    return (1 + w.x[:, 0]) * laplace(u, v, w) + w.h * inner(u, v)


def matrices(cell: str, element: Any) -> Callable[[Mesh], Any]:
    def run(at: Mesh) -> Any:
        space = FunctionSpace(at, element)
        k = torch.linspace(1, 2, at.num_cells, dtype=torch.float64, device=at.pos.device)
        found = [
            fem.assemble(laplace, space),
            fem.assemble(varying, space),
            fem.assemble(lambda u, v, w: w.k * laplace(u, v, w), space, k=k),
            fem.assemble(lambda u, v, w: w.n[:, 0] * inner(u, v), space, on="boundary"),
            fem.assemble(lambda u, v, w: inner(fem.jump(u), fem.jump(v)), space, on="interior"),
        ]
        return torch.stack([m.values().sum() for m in found[:4]] + [found[4].values().sum()])

    return run


def solved(method: Any) -> Callable[[Mesh], Any]:
    def run(at: Mesh) -> Any:
        space = FunctionSpace(at, "P2")
        load = fem.assemble_linear(lambda v, w: w.x[:, 0] * v, space)
        held = [fem.Dirichlet(space, "left", lambda x: x[:, 1])]
        return fem.solve(fem.assemble(laplace, space), load, held, method)

    return run


def slopes(at: Mesh) -> Any:
    pos = at.pos.clone().requires_grad_()
    space = FunctionSpace(at.moved(pos), "P1")
    load = fem.assemble_linear(lambda v, w: 1.0 * v, space)
    u = fem.solve(fem.assemble(laplace, space), load, [fem.Dirichlet(space)], "cg")
    (u**2).sum().backward()
    return pos.grad


def newton(at: Mesh) -> Any:
    space = FunctionSpace(at, "P2")
    form = lambda u, v, w: (1 + u**2) * dot(grad(u), grad(v)) - 1.0 * v  # noqa: E731
    return fem.newton(form, space, [fem.Dirichlet(space)]).dofs


def tied(at: Mesh) -> Any:
    space = FunctionSpace(at, ("P2", 2))
    load = fem.assemble_linear(lambda v, w: w.x[:, 1] * v[0], space)
    matrix = fem.assemble(laplace, space)
    slip = fem.solve(matrix, load, [fem.Slip(space, ["left"])])
    return slip + fem.solve(matrix, load, [fem.Periodic(space, "bottom", "top")])


def evaluated(at: Mesh) -> Any:
    space = FunctionSpace(at, "P2")
    u = space.project(lambda x: x[:, 0])
    points = torch.tensor([[0.2, 0.3], [0.7, 0.9]], dtype=torch.float64, device=at.pos.device)
    moved = fem.transfer(fem.Field(space, u), FunctionSpace(at, "P1"))
    gap = fem.errors(space, u, lambda x: x[:, 1])["l2"]
    found = [
        space.evaluate(u, points).sum(),
        moved.sum(),
        space.trace(u).value.sum(),
        space.interpolate(lambda x: x[:, 0]).sum(),
        fem.recover_gradient(space, u).dofs.sum(),
        fem.recover(at, u[: at.num_nodes]).gradient.sum(),
        fem.integrate(lambda w: w.x[:, 0], at, on="boundary"),
    ]
    return torch.stack(found) + gap


def lid(x: Tensor) -> Tensor:
    return torch.stack([x[:, 1] ** 2, 0 * x[:, 0]], dim=1)


def hump(x: Tensor) -> Tensor:
    return torch.exp(-((x - 0.4) ** 2).sum(dim=1))


PROBLEMS: dict[str, Callable[[Mesh], Any]] = {
    "poisson": lambda m: problems.Poisson(source=1.0).solve(m).u,
    "elasticity": lambda m: (
        problems.Elasticity(displacements={"left": 0.0}, body=(0, -1)).solve(m).von_mises
    ),
    "stokes": lambda m: problems.Stokes(1.0, {"boundary": lid}).solve(m).u,
    "navier-stokes": lambda m: problems.NavierStokes(1.0, {"boundary": lid}).solve(m).p,
    "heat": lambda m: problems.Heat(initial=hump).solve(m, 0.1, 2).u,
    "supg": lambda m: problems.AdvectionDiffusion((1.0, 0.0), 0.1, 1.0).solve(m).u,
    "swirl": lambda m: problems.swirl(hump).solve(m, 0.05).u,
    "waves": lambda m: problems.ShallowWater(1.0, hump).solve(m, 0.1, 2).u,
    "burgers": lambda m: problems.Burgers(0.1, lid, lambda x, t: lid(x)).solve(m, 0.1, 2).u,
    "unsteady flow": lambda m: (
        problems.UnsteadyNavierStokes(problems.NavierStokes(1.0, {"boundary": lid}))
        .solve(m, 0.1, 2, bodies=("left",))
        .forces["left"]
    ),
}
CASES: dict[str, tuple[str, Callable[[Mesh], Any]]] = {
    **{
        f"matrices {cell} {element}": (cell, matrices(cell, element))
        for cell, elements in ELEMENTS.items()
        for element in elements
    },
    **{f"solve {method}": ("triangle", solved(method)) for method in METHODS},
    "gradients": ("triangle", slopes),
    "newton": ("triangle", newton),
    "slip and periodic": ("triangle", tied),
    "evaluation": ("triangle", evaluated),
    **{name: ("triangle", run) for name, run in PROBLEMS.items()},
    "geometry": ("tetra", lambda m: m.volumes().sum() + m.quality().sum()),
}


def tried(cell: str, run: Callable[[Mesh], Any]) -> str:
    """ "ok" if a case gives the same away as here."""
    from other_device import AWAY, SecondDevice  # torch learns of it for good

    expected = run(mesh(cell)).detach()
    with SecondDevice():
        found = run(mesh(cell).to("away:0"))
        if found.device != AWAY:
            return f"the result is on {found.device}"
        found = found.detach().cpu()
    gap = float((found - expected).abs().max() / expected.abs().max())
    return "ok" if gap < 1e-6 else f"the result differs by {gap:.1e}"


def forgetful(at: Mesh) -> Any:
    return at.pos + torch.zeros(at.dim, dtype=torch.float64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = CASES | {"forgotten device": ("triangle", forgetful)}
    results = {}
    for name, (cell, run) in cases.items():
        try:
            results[name] = tried(cell, run)
        except Exception as error:  # noqa: BLE001  (reported, each case by itself)
            at = [f for f in traceback.extract_tb(error.__traceback__) if "meshlearn" in f.filename]
            where = f"{at[-1].filename.split('meshlearn/')[-1]}:{at[-1].lineno}" if at else ""
            results[name] = f"{where} {type(error).__name__}: {str(error).splitlines()[0]}"
    json.dump(results, sys.stdout)
