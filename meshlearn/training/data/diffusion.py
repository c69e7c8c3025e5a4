r"""Diffusion with random coefficients of chosen covariance, variance and contrast.

    -div(k grad u) = f in the unit square,   u = 0 on its boundary,   k = exp(sigma z)

z is a Gaussian field of cubic, exponential or gaussian covariance (see `random_fields`), constant
in each cell; it is drawn again until the contrast max k / min k is within its bounds. f is white
noise (a standard normal number at each node) or a smooth Gaussian field. These are the families of
ConDiff (Trifonov et al., 2024), on triangles in place of a grid.
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

from ...mesh import Mesh
from ...operators import Variable
from ..settings import TrainingError
from ..shapes import meshed_polygon
from .darcy import solve_darcy
from .pool import Case, DataSettings, Pool
from .random_fields import gaussian_field

Rng = np.random.Generator
_DRAWS = 1000


class DiffusionSettings(DataSettings):
    """What the cases are like.

    Attributes:
        nodes: about how many a mesh has.
        covariance: of log k.
        variance: sigma^2 of log k.
        length: of the covariance.
        contrast: least and largest max k / min k of a case.
        load: f, white noise or a smooth field of length 0.2.
    """

    title: ClassVar[str] = "diffusion with random coefficients (meshlearn.training.data.diffusion)"
    kind: Literal["diffusion"] = "diffusion"
    nodes: int = Setting(400, ge=60)
    covariance: Literal["cubic", "exponential", "gaussian"] = "exponential"
    variance: float = Setting(0.4, ge=0)
    length: float = Setting(0.2, gt=0)
    contrast: tuple[float, float] = (1.0, 1e9)
    load: Literal["noise", "smooth"] = "noise"

    def pool(self, count: int, folder: str | Path) -> Diffusion:
        """See `DataSettings`."""
        return Diffusion(self, count, folder)


class Diffusion(Pool):
    """Cases on the unit square; see `Pool`."""

    settings: DiffusionSettings
    inputs = (Variable("log_k", "P0"), Variable("f"))
    outputs = (Variable("u"),)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_diffusion, self.settings)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """The solution with one coefficient everywhere, the geometric mean of k."""
        log_k, load = case.inputs["log_k"], case.inputs["f"]
        return solve_darcy(case.mesh, log_k.mean().expand_as(log_k), load, 0 * load)[2]


def make_diffusion(settings: DiffusionSettings, number: int) -> Case:
    """Case `number`: always the same for the same settings.

    Raises:
        TrainingError: no coefficient with the wanted contrast in 1000 draws.
    """
    rng = np.random.default_rng([settings.seed, number])
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    mesh = meshed_polygon(rng, square, [], settings.nodes)
    log_k = coefficient(settings, rng, mesh)
    if settings.load == "noise":
        load = torch.from_numpy(rng.normal(size=mesh.num_nodes))
    else:
        load = 10 * gaussian_field(rng, mesh.pos, 0.2, "gaussian")
    with torch.no_grad():
        return Case(settings.covariance, *solve_darcy(mesh, log_k, load, 0 * load))


def coefficient(settings: DiffusionSettings, rng: Rng, mesh: Mesh) -> Tensor:
    """log k of each cell `[n_cells]`, drawn until its contrast is within the bounds.

    Raises:
        TrainingError: no draw of 1000 was.
    """
    middle, (low, high) = mesh.centroids(), settings.contrast
    for _ in range(_DRAWS):
        field = gaussian_field(rng, middle, settings.length, settings.covariance)
        log_k = math.sqrt(settings.variance) * field
        if low <= math.exp(float(log_k.max() - log_k.min())) <= high:
            return log_k
    raise TrainingError(
        f"no coefficient of variance {settings.variance:g} in {_DRAWS} draws has a contrast "
        f"between {low:g} and {high:g}; widen the bounds"
    )
