"""Errors of trained operators on refined meshes, against a fine solution: docs/operators.md.

    python docs/scripts/darcy_refined.py WEIGHTS...

Six held-out cases of the settings of the first weights are refined uniformly: k stays what it is in
each of the coarse triangles, f and g are interpolated, so that the problem is the same on all
meshes. Errors are relative L2 norms on the finest mesh, h / 8, of the difference to its solution.
Learned multigrid is run with more cycles of the same weights, too, and classical multigrid beside.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from meshlearn.fem import FunctionSpace
from meshlearn.mesh import Mesh
from meshlearn.nn.storage import read_card
from meshlearn.operators import LearnedMultigrid, Operator, Variable, load_operator, resampled
from meshlearn.training.data.darcy import solve_darcy
from meshlearn.training.losses import norm, relative_error
from meshlearn.training.operators import OperatorSettings
from meshlearn.training.settings import parse_settings

CASES, TIMES = 6, 3


def refined(mesh: Mesh) -> Mesh:
    """Each triangle in four; the children of cell k are 4 k to 4 k + 3."""
    space = FunctionSpace(mesh, "P2")
    sites = space.cell_dofs("triangle")
    points = space.blocks[0].elements["triangle"].points
    order = {tuple(round(2 * float(x)) for x in p): k for k, p in enumerate(points)}
    a, b, c = (sites[:, order[place]] for place in ((0, 0), (2, 0), (0, 2)))
    ab, bc, ca = (sites[:, order[place]] for place in ((1, 0), (1, 1), (0, 1)))
    children = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    cells = torch.stack([torch.stack(child, dim=1) for child in children], dim=1)
    table = {"triangle": cells.reshape(-1, 3)}
    # degrees of freedom follow the numbers of the corners, not their sense
    return Mesh.from_cells(space.dof_points, table, repair=["inverted"])


def prolonged(meshes: list[Mesh], values: Tensor, level: int) -> Tensor:
    """P1 values on mesh `level` as values on the last mesh, the same function."""
    for mesh in meshes[level:-1]:
        values = resampled(mesh, "P1", "P2", values[:, None])[:, 0]
    return values


def main(paths: list[str]) -> None:
    """Print a row for each model and each number of cycles."""
    settings = parse_settings(read_card(paths[0])["settings"], OperatorSettings, paths[0])
    _, held_out = settings.pools()
    models: dict[str, Operator | None] = {"finite elements": None}
    for path in paths:
        model = models[path] = load_operator(path)
        if isinstance(model, LearnedMultigrid):
            for cycles in (4, 6):
                more = LearnedMultigrid(**{**model.config, "cycles": cycles}).eval()
                more.load_state_dict(model.state_dict())
                models[f"{path}, {cycles} cycles"] = more
    for cycles in (2, 4, 6, 10):
        models[f"classical multigrid, {cycles} cycles"] = LearnedMultigrid(
            held_out.inputs, held_out.outputs, smoother="jacobi", cycles=cycles
        )
    errors: dict[str, list[list[float]]] = {name: [] for name in models}
    for number in range(CASES):
        case = held_out[number]
        (bc,) = case.bcs["u"]
        meshes, log_k = [case.mesh], [case.inputs["log_k"]]
        for _ in range(TIMES):
            meshes.append(refined(meshes[-1]))
            log_k.append(log_k[-1].repeat_interleave(4))
        f = [case.inputs["f"]]
        g = [torch.zeros_like(f[0]).index_copy(0, bc.dofs, bc.values)]
        for mesh in meshes[:-1]:
            f.append(resampled(mesh, "P1", "P2", f[-1][:, None])[:, 0])
            g.append(resampled(mesh, "P1", "P2", g[-1][:, None])[:, 0])
        solved = [solve_darcy(*all_) for all_ in zip(meshes, log_k, f, g, strict=True)]
        exact = solved[-1][2]["u"]
        measure = norm(meshes[-1], Variable("u"), "l2")
        for name, operator in models.items():
            row = []
            for level in range(TIMES):
                mesh, fields, outputs, held = solved[level]
                with torch.no_grad():
                    found = outputs if operator is None else operator(mesh, fields, held)
                fine = prolonged(meshes, found["u"], level)
                row.append(float(relative_error(fine, exact, measure).mean()))
            errors[name].append(row)
    for name, rows in errors.items():
        mean = torch.tensor(rows).mean(dim=0)
        print(f"{name:60}", "".join(f"{100 * x:9.2f} %" for x in mean.tolist()))


if __name__ == "__main__":
    main(sys.argv[1:])
