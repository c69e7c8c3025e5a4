r"""Large deflections of a hyperelastic beam, held on the left and pushed on top.

    -Div P(F) = 0 in the beam,   u = 0 at the left end,   P N = t at the top side,   F = I + grad u
    P = mu (F - F^-T) + lambda ln(det F) F^-T                                    (Neo-Hooke)

in plane strain. Young's modulus is 1, Poisson's ratio a number of the case; t is a vertical load of
the reference area that varies along the beam. P2 elements, Newton's method, the load in steps;
outputs are the displacements of the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet, Field, FunctionSpace, SolveError, dot, grad, inner, newton
from ...mesh import Mesh, generate
from ...operators import Variable
from ...problems import Elasticity
from ...problems.elasticity import Material
from ...problems.output import nodal_values
from .pool import Case, DataSettings, Pool

_STEPS, _SMALLEST = 8, 1 / 128
_TOL = 1e-8  # F - F^-T is known to rounding errors of 1, and the loads are small


class BeamSettings(DataSettings):
    """What the cases are like.

    Attributes:
        nodes: about how many a mesh has.
        load: largest total load, in units of Young's modulus times the height.
        ratio: least and largest length over height.
    """

    title: ClassVar[str] = "hyperelastic beam (meshlearn.training.data.beam)"
    kind: Literal["beam"] = "beam"
    nodes: int = Setting(300, ge=40)
    load: float = Setting(0.006, gt=0)
    ratio: tuple[float, float] = (4.0, 6.0)

    def pool(self, count: int, folder: str | Path) -> Beam:
        """See `DataSettings`."""
        return Beam(self, count, folder)


class Beam(Pool):
    """Cases of a beam; see `Pool`."""

    settings: BeamSettings
    inputs = (Variable("poisson", "P0"), Variable("traction"))
    outputs = (Variable("u", "P1", 2),)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_beam, self.settings)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """Small displacements: the linear solution."""
        traction, where = case.inputs["traction"], case.mesh.pos[:, 0]
        top = torch.unique(case.mesh.facet_tags["top"])
        order = where[top].argsort()
        x, t = where[top][order], traction[top][order]

        def load(points: Tensor) -> Tensor:
            right = torch.searchsorted(x, points[:, 0].contiguous()).clamp(1, len(x) - 1)
            share = (points[:, 0] - x[right - 1]) / (x[right] - x[right - 1])
            down = torch.lerp(t[right - 1], t[right], share)
            return torch.stack([torch.zeros_like(down), down], dim=1)

        poisson = float(case.inputs["poisson"][0])
        held = {"left": 0.0}
        linear = Elasticity(1.0, poisson, tractions={"top": load}, displacements=held)
        return {"u": linear.solve(case.mesh, degree=2).u}


def make_beam(settings: BeamSettings, number: int) -> Case:
    """Case `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    length, poisson = rng.uniform(*settings.ratio), rng.uniform(0.2, 0.4)
    rows = max(round(math.sqrt(settings.nodes / length / 2)), 2)
    mesh = generate.rectangle(round(length * rows), rows, upper=(length, 1.0), diagonal="crossed")
    total = settings.load * rng.uniform(0.2, 1) * rng.choice([-1, 1])
    wave, phase = rng.uniform(0, 1), rng.uniform(0, 2 * np.pi)
    shape = 1 + wave * (2 * np.pi * mesh.pos[:, 0] / length + phase).sin()
    traction = torch.zeros_like(shape)
    top = torch.unique(mesh.facet_tags["top"])
    traction[top] = total / length * shape[top]
    with torch.no_grad():
        u = bent(mesh, poisson, traction)
    space = FunctionSpace(mesh, ("P1", 2))
    inputs = {
        "poisson": torch.full((mesh.num_cells,), poisson, dtype=torch.float64),
        "traction": traction,
    }
    held = Dirichlet(space, "left", 0.0)
    return Case("beam", mesh, inputs, {"u": nodal_values(u)}, {"u": [held]})


def bent(mesh: Mesh, poisson: float, traction: Tensor) -> Field:
    """Displacements of the beam, P2.

    The load grows in steps, each begun where the last ones lead to; one for which Newton's method
    fails is halved.

    Args:
        mesh: with the sides `left` and `top`.
        poisson: Poisson's ratio.
        traction: vertical load at the nodes `[n]`; its trace on the top side counts.

    Raises:
        SolveError: no equilibrium was found.
    """
    space = FunctionSpace(mesh, ("P2", 2))
    load = Field(FunctionSpace(mesh, "P1"), traction)
    lam, mu = Material(1.0, poisson).lame()
    held = [Dirichlet(space, "left", 0.0)]
    u, done, step = mesh.pos.new_zeros(space.num_dofs), 0.0, 1 / _STEPS
    rate = torch.zeros_like(u)
    while done < 1:
        step = min(step, 1 - done)
        forms = [
            (partial(_elastic, lam, mu), "cells"),
            (partial(_pushed, done + step), "top"),
        ]
        try:
            found = newton(forms, space, held, u + step * rate, tol=_TOL, degree=4, load=load).dofs
        except SolveError as error:
            step /= 2
            if step < _SMALLEST:
                raise SolveError(f"no equilibrium of the beam was found: {error}") from error
            continue
        rate, u, done = (found - u) / step, found, done + step
    return Field(space, u)


def _elastic(lam: float, mu: float, u: Any, v: Any, w: Any) -> Any:
    slope = grad(u)
    f = slope + torch.eye(2).to(slope)
    inverse = torch.linalg.inv(f).transpose(-1, -2)
    swelling = torch.log(torch.linalg.det(f))[..., None, None]
    return inner(mu * (f - inverse) + lam * swelling * inverse, grad(v))


def _pushed(share: float, u: Any, v: Any, w: Any) -> Any:
    down = share * w.load
    return -dot(torch.stack([torch.zeros_like(down), down], dim=-1), v)
