"""What the solves of an elliptic SPON are worth: docs/operators.md.

    python docs/scripts/elliptic_ablations.py [SEED...]

Trains the operator of examples/configs/operator_darcy_elliptic.yaml with one thing taken away:
- the solve: a sweep of Jacobi, division by the diagonal of the same matrix, is in its place, so
  that a round reaches the neighbours only;
- log k in the cells: it is seen at the nodes only, as means over the cells around, as message
  passing sees it.
Prints the relative errors of the held-out cases; before that those of conjugate gradients with
the same solves as preconditioner, which are told the equation.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from meshlearn.fem import assemble, dot, grad
from meshlearn.fem.solve import LinearSolver
from meshlearn.fem.sparse import csr_values, rows_of
from meshlearn.mesh import Mesh
from meshlearn.nn import EllipticNet
from meshlearn.operators import SPON, Variable
from meshlearn.operators.extension import condition_columns, extended
from meshlearn.training.data import Case
from meshlearn.training.losses import norm, relative_error
from meshlearn.training.operators import OperatorSettings, OperatorTask
from meshlearn.training.settings import read_settings
from meshlearn.training.trainer import Trainer

CONFIG = "examples/configs/operator_darcy_elliptic.yaml"


class WithoutSolve(SPON):
    """A sweep of Jacobi in place of each solve."""

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`."""
        matrix = prepared.equation.matrix
        diagonal = csr_values(matrix)[rows_of(matrix) == matrix.col_indices()]
        free = nodes[:, condition_columns(nodes, self.outputs)[0]] < 0.5
        weight = (free / diagonal[:, None]).float()[:, :, None]
        nodes, start = extended(nodes, self.outputs, prepared.equation)
        assert isinstance(self.net, EllipticNet)
        known = prepared.cells[prepared.form.cell]
        return self.net(prepared.form, nodes, known, start, lambda x: weight * x)


class AtNodesOnly(SPON):
    """What is known in cells is seen at the nodes only."""

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`."""
        return super().process(mesh, nodes, replace(prepared, cells=None))


def conjugate_gradients(case: Case, steps: int) -> list[Tensor]:
    """The solution with constant coefficient and load 0, and after each step from there."""
    (held,) = case.bcs["u"]
    space = held.space
    k = case.inputs["log_k"].exp()
    matrix = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    load = assemble(lambda u, v, w: u * v, space) @ case.inputs["f"]
    laplace = LinearSolver(assemble(lambda u, v, w: dot(grad(u), grad(v)), space), [held])
    found = [laplace(torch.zeros_like(load))]
    free = torch.ones_like(load).index_fill(0, held.dofs, 0.0)
    residual = free * (load - matrix @ found[0])
    z = direction = laplace.change(residual)
    for _ in range(steps):
        image = free * (matrix @ direction)
        size = residual @ z
        step = size / (direction @ image)
        found.append(found[-1] + step * direction)
        residual = residual - step * image
        z = laplace.change(residual)
        direction = z + (residual @ z) / size * direction
    return found


def trained(kind: type[SPON], settings: OperatorSettings, seed: int) -> str:
    """Held-out errors of an operator of this class."""
    train, held_out = settings.pools()
    task = OperatorTask(train, held_out, settings.norm)
    torch.manual_seed(seed)
    model = kind(list(train.inputs), list(train.outputs), **settings.options)
    model.fit_scales((case.mesh, case.inputs, case.outputs) for case in train)
    trainer = settings.trainer.model_copy(update={"seed": seed})
    with TemporaryDirectory() as folder:
        figures = Trainer(model, task, trainer, folder).fit().figures
    return f"L2 {100 * figures['l2']:.2f} %, H1 {100 * figures['h1']:.2f} %"


def main(seeds: list[int]) -> None:
    """Train both with each seed."""
    settings = read_settings(CONFIG, OperatorSettings)
    rows = []
    for case in settings.pools()[1]:
        measure = norm(case.mesh, Variable("u"))
        with torch.no_grad():
            found = conjugate_gradients(case, settings.options["blocks"])
        rows.append([float(relative_error(u, case.outputs["u"], measure)) for u in found])
    for step, error in enumerate(torch.tensor(rows).mean(dim=0).tolist()):
        print(f"conjugate gradients, {step} steps: L2 {100 * error:.2f} %", flush=True)
    for seed in seeds:
        for kind in (WithoutSolve, AtNodesOnly):
            print(f"{kind.__name__:14} seed {seed}: {trained(kind, settings, seed)}", flush=True)


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0])
