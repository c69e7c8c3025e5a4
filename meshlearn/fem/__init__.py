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
from .constraints import Periodic, Slip
from .context import Field
from .dirichlet import Dirichlet
from .errors import errors
from .estimators import Estimate, recovery_estimate, residual_estimate
from .evaluate import reinterpolate
from .goals import goal_estimate
from .linear import SolveError
from .linearise import jacobian, residual
from .nonlinear import NewtonResult, newton, newton_system
from .operators import (
    avg,
    curl,
    div,
    dot,
    grad,
    inner,
    jump,
    side,
    sym,
    trace,
    transpose,
)
from .recovery import Recovered, l2_error_estimate, recover
from .reference import DiscreteField, interpolate, solve_reaction_diffusion
from .solve import LinearSolver, solve
from .space import FunctionSpace
from .sparse import multiply
from .spr import recover_gradient
from .time import (
    History,
    Scheme,
    bdf2,
    crank_nicolson,
    implicit_euler,
    march,
    march_nonlinear,
    run,
    theta_scheme,
)
from .transfer import Transfer, transfer
from .values import FormError

__all__ = [
    "Dirichlet",
    "DiscreteField",
    "Estimate",
    "Field",
    "FormError",
    "FunctionSpace",
    "History",
    "LinearSolver",
    "NewtonResult",
    "Periodic",
    "Recovered",
    "Scheme",
    "Slip",
    "SolveError",
    "Transfer",
    "assemble",
    "assemble_linear",
    "avg",
    "bdf2",
    "crank_nicolson",
    "curl",
    "div",
    "dot",
    "errors",
    "goal_estimate",
    "grad",
    "implicit_euler",
    "inner",
    "integrate",
    "interpolate",
    "jacobian",
    "jump",
    "l2_error_estimate",
    "march",
    "march_nonlinear",
    "multiply",
    "newton",
    "newton_system",
    "recover",
    "recover_gradient",
    "recovery_estimate",
    "reinterpolate",
    "residual",
    "residual_estimate",
    "run",
    "side",
    "solve",
    "solve_reaction_diffusion",
    "sym",
    "theta_scheme",
    "trace",
    "transfer",
    "transpose",
]
