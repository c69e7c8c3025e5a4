"""Ready test problems with known solutions, scaled to the bounding box of any mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from .poisson import Helmholtz, Poisson

Unit = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Entry:
    description: str
    solution: Unit  # of coordinates relative to the box centre, in units of its shortest side
    reaction: float = 0.0


def _ring(x: Tensor) -> Tensor:
    return torch.tanh(60 * (_radius(x) - 0.3))


def _bell(x: Tensor) -> Tensor:
    return torch.exp(-(x**2).sum(dim=1) / (2 * 0.05**2))


def _front(x: Tensor) -> Tensor:
    return torch.tanh(50 * (x[:, 0] + 0.1 * torch.sin(2 * torch.pi * x[:, 1])))


def _layer(x: Tensor) -> Tensor:
    return torch.exp(-(x[:, 0] + 0.5) / 0.02) + torch.exp(-(x[:, 1] + 0.5) / 0.02)


def _corner(x: Tensor) -> Tensor:
    """r^(2/3) sin(2 theta / 3) at a re-entrant corner whose missing quadrant is the lower right."""
    radius = _radius(x)
    # From -45 degrees on: the jump lies amid the missing quadrant, not on a side.
    angle = (torch.atan2(x[:, 1], x[:, 0]) + torch.pi / 4) % (2 * torch.pi) - torch.pi / 4
    return radius ** (2 / 3) * torch.sin(2 * angle / 3)


def _smooth(x: Tensor) -> Tensor:
    return torch.sin(torch.pi * (x + 0.5)).prod(dim=1)


def _radius(x: Tensor) -> Tensor:
    # The square root has no derivative at 0.
    return ((x**2).sum(dim=1) + 1e-24).sqrt()


PROBLEMS: dict[str, _Entry] = {
    "ring": _Entry("steep ring (3D: shell), tanh(60 (r - 0.3)) about the centre of the box", _ring),
    "bell": _Entry("narrow bell at the centre, standard deviation 0.05", _bell),
    "front": _Entry("wavy front, tanh(50 (x + 0.1 sin 2 pi y))", _front),
    "layer": _Entry("exponential boundary layers at two sides, width 0.02", _layer),
    "corner": _Entry("singular at the centre, r^(2/3) sin(2 theta / 3), for the L-shape", _corner),
    "smooth": _Entry("product of sines", _smooth),
    "helmholtz": _Entry("the bell of -lap u + u = f", _bell, reaction=1.0),
}
"""Lengths are in units of the shortest side of the bounding box, from its centre."""


def named_problem(name: str, mesh: Mesh) -> Helmholtz:
    """A problem of `PROBLEMS` on the bounding box of a mesh.

    Raises:
        MeshError: unknown name, or "front", "layer" or "corner" in 1D.
    """
    if name not in PROBLEMS:
        raise MeshError(f"unknown problem {name!r}; there are {', '.join(PROBLEMS)}")
    if mesh.dim == 1 and name in ("front", "layer", "corner"):
        raise MeshError(f"problem {name!r} needs a mesh in 2D or 3D")
    entry = PROBLEMS[name]
    low, high = mesh.pos.amin(dim=0), mesh.pos.amax(dim=0)
    centre, side = (low + high) / 2, (high - low).min()

    def exact(x: Tensor) -> Tensor:
        return entry.solution((x - centre) / side)

    kind = Helmholtz if entry.reaction else Poisson
    return kind.manufactured(exact, entry.reaction)
