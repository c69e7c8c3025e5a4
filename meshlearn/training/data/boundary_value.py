r"""Potentials of source discs in domains of several shapes, one of them for tests only.

    -lap u = f in the domain,   u = g on its outer boundary, u = g' on the hole where there is one

f is a number in each of a few discs and 0 elsewhere; g and g' are numbers of the case. Outputs are
the potential u, P1, and its gradient at the nodes, recovered. Shapes as in Loetzsch, Ohler and
Otterbach, "Learning the solution operator of boundary value problems using graph neural networks"
(2022): square, disk, a square with a round hole ("cylinder") and L to train on, U to be tested on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field as Setting
from pydantic import model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from ...fem import Dirichlet, FunctionSpace, assemble, assemble_linear, dot, grad, recover, solve
from ...mesh import Mesh
from ...operators import Variable
from ..shapes import Floats, circle, meshed_polygon
from .pool import Case, DataSettings, Pool

Rng = np.random.Generator
Shape = Literal["square", "disk", "cylinder", "l_shape", "u_shape"]
RADIUS = 0.07
"""Of the source discs; the domains are about 1 wide."""


class BoundaryValueSettings(DataSettings):
    """What the cases are like.

    Attributes:
        nodes: about how many a mesh has.
        shapes: of the domains to train on, taken in turns.
        test_shapes: of the domains to judge on; those to train on where it is empty.
        sources: least and largest number of discs to train on.
        test_sources: to judge on; as in training where it is empty.
        boundary: deviation of the potentials of the boundary; 0 grounds it, and then solutions
            superpose.
        varied: whether each case to train on has proportions and a mesh of its own; otherwise those
            of one shape share a mesh.
        augment: turns and scales each domain and changes the number of its nodes, by factors
            between 2/3 and 3/2, in the cases to train on.
        gradient: whether the gradient is an output, too.
    """

    title: ClassVar[str] = "potentials of source discs (meshlearn.training.data.boundary_value)"
    kind: Literal["boundary-value"] = "boundary-value"
    nodes: int = Setting(600, ge=100)
    shapes: tuple[Shape, ...] = Setting(("square", "disk", "cylinder", "l_shape"), min_length=1)
    test_shapes: tuple[Shape, ...] = ("u_shape",)
    sources: tuple[int, int] = (1, 1)
    test_sources: tuple[int, int] | tuple[()] = ()
    boundary: float = Setting(1.0, ge=0)
    varied: bool = True
    augment: bool = False
    gradient: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.augment and not self.varied:
            raise PydanticCustomError(
                "augment", "augment changes the mesh of each case, which needs varied: true"
            )
        return self

    def pool(self, count: int, folder: str | Path) -> BoundaryValue:
        """See `DataSettings`."""
        return BoundaryValue(self, count, folder)

    def others(self) -> Self:
        """The cases to judge on: other shapes and numbers of sources where they are given."""
        changes = {
            "shapes": self.test_shapes or self.shapes,
            "sources": self.test_sources or self.sources,
            "augment": False,
            "varied": True,
        }
        return super().others().model_copy(update=changes)


class BoundaryValue(Pool):
    """Cases of potentials; see `Pool`."""

    settings: BoundaryValueSettings
    inputs = (Variable("f", "P0"),)

    def __init__(self, settings: BoundaryValueSettings, count: int, folder: str | Path) -> None:
        super().__init__(settings, count, folder)
        slope = (Variable("gradient", "P1", 2),) if settings.gradient else ()
        self.outputs = (Variable("u"), *slope)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_potential, self.settings)


def make_potential(settings: BoundaryValueSettings, number: int) -> Case:
    """Case `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    shape = settings.shapes[number % len(settings.shapes)]
    shared = np.random.default_rng([settings.seed, settings.shapes.index(shape)])
    drawn = rng if settings.varied else shared
    mesh = _mesh(shape, drawn, settings.nodes, settings.augment)
    load = torch.zeros(mesh.num_cells, dtype=torch.float64)
    low, high = settings.sources
    for _ in range(int(rng.integers(low, high + 1))):
        load = load + rng.uniform(0.5, 1.5) * 50 * rng.choice([-1, 1]) * disc(mesh, rng)
    potentials = dict.fromkeys(mesh.facet_tags, 0.0)
    for side in potentials:
        potentials[side] = settings.boundary * rng.normal()
    with torch.no_grad():
        mesh, inputs, outputs, bcs = solve_potential(mesh, load, potentials)
    if not settings.gradient:
        del outputs["gradient"]
    return Case(shape, mesh, inputs, outputs, bcs)


def solve_potential(
    mesh: Mesh, load: Tensor, potentials: dict[str, float]
) -> tuple[Mesh, dict[str, Tensor], dict[str, Tensor], dict[str, list[Dirichlet]]]:
    """Potential and gradient, with what belongs to a case.

    Args:
        mesh: of simplices.
        load: f of each cell `[n_cells]`.
        potentials: by the name of the side.

    Returns:
        Mesh, inputs, outputs and conditions.
    """
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    right = assemble_linear(lambda v, w: w.f * v, space, f=load)
    held = [Dirichlet(space, side, value) for side, value in potentials.items()]
    u = solve(matrix, right, held)
    outputs = {"u": u, "gradient": recover(mesh, u).gradient}
    return mesh, {"f": load}, outputs, {"u": held}


def disc(mesh: Mesh, rng: Rng) -> Tensor:
    """1 in the cells of a disc that lies in the domain, else 0 `[n_cells]`."""
    wall = mesh.pos[mesh.boundary_nodes]
    size = float(mesh.volumes().sum()) ** 0.5
    radius = RADIUS * min(size, 1.0)
    inside = torch.cdist(mesh.pos, wall).min(dim=1).values > radius
    centres = mesh.pos[inside]
    centre = centres[int(rng.integers(len(centres)))]
    return ((mesh.centroids() - centre).norm(dim=1) <= radius).to(mesh.pos)


def _mesh(shape: Shape, rng: Rng, nodes: int, augment: bool) -> Mesh:
    outer, holes = _outline(shape, rng)
    if not augment:
        return meshed_polygon(rng, outer, holes, nodes)
    scale, dense = (2 / 3) ** rng.uniform(-1, 1, 2)
    turn = rng.uniform(0, 2 * np.pi)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rings = [scale * (ring - 0.5) @ turned.T + 0.5 for ring in (outer, *holes)]
    return meshed_polygon(rng, rings[0], rings[1:], round(nodes * dense))


def _outline(shape: Shape, rng: Rng) -> tuple[Floats, list[Floats]]:
    """Corners of the outer boundary and of the hole, of random proportions."""
    if shape == "disk":
        return circle(0.5, rng.uniform(0.45, 0.6), 32), []
    a, b = rng.uniform(0.85, 1.15, 2)
    if shape in ("square", "cylinder"):
        centre = np.array([a, b]) / 2 + rng.uniform(-0.12, 0.12, 2)
        holes = [circle(centre, rng.uniform(0.1, 0.18), 16)] if shape == "cylinder" else []
        return np.array([[0, 0], [a, 0], [a, b], [0, b]], float), holes
    s, t = rng.uniform(0.4, 0.6, 2)
    if shape == "l_shape":
        return np.array([[0, 0], [a, 0], [a, t * b], [s * a, t * b], [s * a, b], [0, b]]), []
    low, high = 0.5 - s / 3, 0.5 + s / 3
    corners = [[0, 0], [a, 0], [a, b], [high * a, b], [high * a, t * b]]
    return np.array([*corners, [low * a, t * b], [low * a, b], [0, b]]), []
