"""Finite elements in torch: spaces, forms, assembly, solves, recovery, errors.

>>> import meshlearn as ml
>>> from meshlearn.fem import dot, grad
>>> mesh = ml.generate.rectangle(8, 8)
>>> V = ml.fem.FunctionSpace(mesh, "P1")
>>> A = ml.fem.assemble(lambda u, v, w: dot(grad(u), grad(v)), V)
>>> b = ml.fem.assemble_linear(lambda v, w: 1.0 * v, V)
>>> u = ml.fem.solve(A, b, bcs=[ml.fem.Dirichlet(V, "boundary", 0.0)])
>>> round(float(u.max()), 3)
0.073
"""

from __future__ import annotations

from .assemble import assemble, assemble_linear, integrate
from .context import Field
from .dirichlet import Dirichlet
from .errors import errors
from .expressions import FormError
from .linear import SolveError
from .operators import (
    avg,
    curl,
    div,
    dot,
    grad,
    inner,
    jump,
    sym,
    trace,
    transpose,
)
from .recovery import Recovered, l2_error_estimate, recover
from .reference import DiscreteField, interpolate, solve_reaction_diffusion
from .solve import LinearSolver, solve
from .space import FunctionSpace

__all__ = [
    "Dirichlet",
    "DiscreteField",
    "Field",
    "FormError",
    "FunctionSpace",
    "LinearSolver",
    "Recovered",
    "SolveError",
    "assemble",
    "assemble_linear",
    "avg",
    "curl",
    "div",
    "dot",
    "errors",
    "grad",
    "inner",
    "integrate",
    "interpolate",
    "jump",
    "l2_error_estimate",
    "recover",
    "solve",
    "solve_reaction_diffusion",
    "sym",
    "trace",
    "transpose",
]
