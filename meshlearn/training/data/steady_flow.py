r"""Steady flow in a cavity with a moving lid and around a cylinder in a channel.

    (u . grad) u - nu lap u + grad p = 0,   div u = 0

One thing varies in each case, as in the parts of CFDBench (Luo, Chen and Zhang, 2023): the velocity
of the boundary ("bc"), the viscosity ("prop") or the geometry ("geo"). A case is one flow, so that
cases held out share no flow with those to train on. Taylor-Hood elements; outputs are velocities
and pressures of the nodes. Reynolds numbers: up to 400 in the cavity, up to 40 (of the mean
velocity) around the cylinder, where the flow stays steady.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet, FunctionSpace
from ...mesh import Mesh
from ...operators import Variable
from ...problems import NavierStokes, Stokes
from ...problems.flow_cases import HEIGHT, parabola
from ..shapes import circle, meshed_polygon, with_sides
from .pool import Case, DataSettings, Pool

Rng = np.random.Generator
Part = Literal["bc", "prop", "geo"]
_LENGTH, _RADIUS, _CENTRE = 1.1, 0.05, (0.2, 0.2)
_CLOSE = 1e-9


class _FlowSettings(DataSettings):
    """What cavity and cylinder share.

    Attributes:
        nodes: about how many a mesh has.
        parts: what varies; case k has part k mod their number.
    """

    nodes: int = Setting(500, ge=100)
    parts: tuple[Part, ...] = Setting(("bc", "prop", "geo"), min_length=1)

    def pool(self, count: int, folder: str | Path) -> SteadyFlow:
        """See `DataSettings`."""
        return SteadyFlow(self, count, folder)


class CavitySettings(_FlowSettings):
    """A cavity about 1 wide whose lid moves; Reynolds number 100 unless it varies."""

    title: ClassVar[str] = "steady flow in a cavity (meshlearn.training.data.steady_flow)"
    kind: Literal["cavity"] = "cavity"


class CylinderSettings(_FlowSettings):
    """A channel of height 0.41 and length 1.1 with a cylinder; Reynolds number 20 unless varied."""

    title: ClassVar[str] = "steady flow around a cylinder (meshlearn.training.data.steady_flow)"
    kind: Literal["cylinder"] = "cylinder"


class SteadyFlow(Pool):
    """Cases of steady flow; see `Pool`. The lid or the inlet is seen in the Dirichlet values."""

    settings: CavitySettings | CylinderSettings
    inputs = (Variable("log_viscosity", "P0"),)
    outputs = (Variable("u", "P1", 2), Variable("p"))

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_flow, self.settings)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """Creeping flow: Stokes' equations, which are linear."""
        viscosity = math.exp(float(case.inputs["log_viscosity"][0]))
        speed = float(case.bcs["u"][0].values.max())
        found = Stokes(viscosity, _velocities(self.settings.kind, speed)).solve(case.mesh)
        return {"u": found.u, "p": found.p}


def make_flow(settings: CavitySettings | CylinderSettings, number: int) -> Case:
    """Case `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    part = settings.parts[number % len(settings.parts)]
    make = _cavity if settings.kind == "cavity" else _cylinder
    mesh, speed, viscosity = make(part, rng, settings.nodes)
    velocities = _velocities(settings.kind, speed)
    with torch.no_grad():
        found = NavierStokes(viscosity, velocities).solve(mesh)
    u, space = found.u, FunctionSpace(mesh, ("P1", 2))
    dofs = torch.unique(torch.cat([Dirichlet(space, side, 0.0).dofs for side in velocities]))
    held = Dirichlet(space, dofs, u.reshape(-1)[dofs])
    log_viscosity = torch.full((mesh.num_cells,), math.log(viscosity), dtype=torch.float64)
    outputs = {"u": u, "p": found.p}
    return Case(part, mesh, {"log_viscosity": log_viscosity}, outputs, {"u": [held]})


def _velocities(kind: str, speed: float) -> Mapping[str, Any]:
    if kind == "cavity":
        return {"top": (speed, 0.0), "walls": 0.0}
    return {"inlet": (parabola(speed, HEIGHT), 0.0), "walls": 0.0, "cylinder": 0.0}


def _cavity(part: Part, rng: Rng, nodes: int) -> tuple[Mesh, float, float]:
    """Mesh, velocity of the lid, viscosity."""
    speed, viscosity, width, height = 1.0, 0.01, 1.0, 1.0
    if part == "bc":
        speed = rng.uniform(0.2, 4)
    elif part == "prop":
        viscosity = 1 / rng.uniform(10, 400)
    else:
        width, height = rng.uniform(0.6, 1.4, 2)
    outline = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    mesh = meshed_polygon(rng, outline, [], nodes)
    sides = {
        "top": lambda x: x[:, 1] > height - _CLOSE,
        "walls": lambda x: (x[:, 0] < _CLOSE) | (x[:, 0] > width - _CLOSE) | (x[:, 1] < _CLOSE),
    }
    return with_sides(mesh, sides), speed, viscosity


def _cylinder(part: Part, rng: Rng, nodes: int) -> tuple[Mesh, float, float]:
    """Mesh, peak velocity at the inlet, viscosity."""
    peak, viscosity, radius, centre = 0.3, 1e-3, _RADIUS, np.array(_CENTRE)
    if part == "bc":
        peak = rng.uniform(0.05, 0.6)
    elif part == "prop":
        viscosity = 0.02 / rng.uniform(5, 40)
    else:
        radius = rng.uniform(0.03, 0.07)
        centre = centre + rng.uniform(-0.06, 0.06, 2)
    corners = [[0, 0], [_LENGTH, 0], [_LENGTH, HEIGHT], [0, HEIGHT]]
    mesh = meshed_polygon(rng, np.array(corners, float), [circle(centre, radius, 20)], nodes)
    sides = {
        "inlet": lambda x: x[:, 0] < _CLOSE,
        "outlet": lambda x: x[:, 0] > _LENGTH - _CLOSE,
        "walls": lambda x: (x[:, 1] < _CLOSE) | (x[:, 1] > HEIGHT - _CLOSE),
        "cylinder": lambda x: (x - torch.from_numpy(centre)).norm(dim=1) < radius * 1.5,
    }
    return with_sides(mesh, sides), peak, viscosity
