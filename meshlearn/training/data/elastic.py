r"""Linear elasticity: a sheet with a hole, held at the bottom and pulled at the top.

    -div sigma(u) = 0 in the sheet, plane stress,   u = 0 at the bottom,   sigma n = t at the top

Young's modulus is exp(sigma z) with a smooth Gaussian field z, Poisson's ratio 0.3; the void is a
random star. (The voids follow the elasticity problem of Li et al., "Fourier neural operator with
learned deformations", JMLR 24, 2023, whose material is another.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet
from ...mesh import Mesh
from ...operators import Variable
from ...problems import Elasticity
from ..shapes import Floats, meshed_polygon, with_sides
from .pool import Case, DataSettings, Pool
from .random_fields import gaussian_field

Rng = np.random.Generator


class ElasticSettings(DataSettings):
    """What the cases are like.

    Attributes:
        nodes: about how many a mesh has.
        variance: of log E; 0 is a homogeneous sheet.
    """

    title: ClassVar[str] = "linear elasticity (meshlearn.training.data.elastic)"
    kind: Literal["elasticity"] = "elasticity"
    nodes: int = Setting(500, ge=60)
    variance: float = Setting(0.1, ge=0)

    def pool(self, count: int, folder: str | Path) -> Elastic:
        """See `DataSettings`."""
        return Elastic(self, count, folder)


class Elastic(Pool):
    """Cases of a sheet; see `Pool`."""

    settings: ElasticSettings
    inputs = (Variable("log_young", "P0"), Variable("traction", "P1", 2))
    outputs = (Variable("u", "P1", 2),)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_elastic, self.settings)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """The solution with one modulus everywhere, the geometric mean."""
        log_young, traction = case.inputs["log_young"], case.inputs["traction"]
        pull = traction[traction.abs().sum(dim=1).argmax()]
        return _solved(case.mesh, log_young.mean().expand_as(log_young), pull)[2]


def make_elastic(settings: ElasticSettings, number: int) -> Case:
    """Case `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    mesh = meshed_polygon(rng, square, [_star(rng)], settings.nodes)
    mesh = with_sides(
        mesh, {"bottom": lambda x: x[:, 1] < 1e-9, "top": lambda x: x[:, 1] > 1 - 1e-9}
    )
    field = gaussian_field(rng, mesh.centroids(), 0.3, "gaussian")
    pull = torch.from_numpy(np.array([rng.normal() * 0.005, rng.uniform(0.005, 0.015)]))
    with torch.no_grad():
        return Case("sheet", *_solved(mesh, math.sqrt(settings.variance) * field, pull))


def _solved(
    mesh: Mesh, log_young: Tensor, pull: Tensor
) -> tuple[Mesh, dict[str, Tensor], dict[str, Tensor], dict[str, list[Dirichlet]]]:
    sheet = Elasticity(
        log_young.exp(),
        plane="stress",
        tractions={"top": pull},
        displacements={"bottom": 0.0},
    )
    solution = sheet.solve(mesh)
    held = Dirichlet(solution.field.space, "bottom", 0.0)
    traction = torch.zeros_like(mesh.pos)
    traction[torch.unique(mesh.facet_tags["top"])] = pull
    return mesh, {"log_young": log_young, "traction": traction}, {"u": solution.u}, {"u": [held]}


def _star(rng: Rng, corners: int = 24) -> Floats:
    """A smooth ring around a point of the middle, radius between about 0.1 and 0.3."""
    angle = 2 * np.pi * np.arange(corners) / corners
    waves = [rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3)]
    radius = 0.1 + 0.2 / (1 + np.exp(-sum(waves)))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(0.5 + rng.uniform(-0.1, 0.1, 2) + radius[:, None] * direction)
