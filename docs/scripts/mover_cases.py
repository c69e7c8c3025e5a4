"""The functions and domains on which movers are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import meshlearn as ml
from meshlearn.mesh import Mesh

CYLINDER, RADIUS = (0.2, 0.2), 0.05


@dataclass(frozen=True)
class Case:
    """A function on a domain, which Poisson's equation with the right data has as its solution."""

    name: str
    title: str
    mesh: Callable[[], Mesh]
    solution: Callable[[Tensor], Tensor]
    convex: bool = True


def ring(x: Tensor) -> Tensor:
    """Steep on a circle."""
    return torch.tanh((_from(x, (0.5,) * x.shape[1]) - 0.25) / 0.02)


def shell(x: Tensor) -> Tensor:
    """Steep on a sphere."""
    return torch.tanh((_from(x, (0.5,) * x.shape[1]) - 0.3) / 0.05)


def bell(x: Tensor) -> Tensor:
    """A narrow bell."""
    return torch.exp(-((x - 0.5) ** 2).sum(dim=1) / (2 * 0.05**2))


def blob(x: Tensor) -> Tensor:
    """A wider bell, in space."""
    return torch.exp(-((x - 0.5) ** 2).sum(dim=1) / (2 * 0.1**2))


def front(x: Tensor) -> Tensor:
    """A wavy front."""
    return torch.tanh(50 * (x[:, 0] - 0.5 + 0.1 * torch.sin(2 * torch.pi * x[:, 1])))


def layer(x: Tensor) -> Tensor:
    """Boundary layers at two sides."""
    return torch.exp(-x[:, 0] / 0.02) + torch.exp(-x[:, 1] / 0.02)


def crossing(x: Tensor) -> Tensor:
    """Two straight fronts that cross."""
    a, b = x.unbind(dim=1)
    return torch.tanh(40 * (a - 0.5 + 0.3 * (b - 0.5))) + torch.tanh(40 * (b - 0.5 - 0.2 * a + 0.1))


def corner(x: Tensor) -> Tensor:
    """Singular at the re-entrant corner."""
    radius = ((x**2).sum(dim=1) + 1e-24).sqrt()
    angle = (torch.atan2(x[:, 1], x[:, 0]) + torch.pi / 4) % (2 * torch.pi) - torch.pi / 4
    return radius ** (2 / 3) * torch.sin(2 * angle / 3)


def diagonal(x: Tensor) -> Tensor:
    """A straight front that passes by the re-entrant corner."""
    return torch.tanh(30 * (x[:, 1] - 0.6 * x[:, 0] - 0.1))


def wake(x: Tensor) -> Tensor:
    """Two shear layers behind the cylinder that widen downstream."""
    a, b = x[:, 0] - CYLINDER[0], x[:, 1] - CYLINDER[1]
    width = 0.012 + 0.03 * torch.sigmoid(a / 0.1) * a.clamp(min=0)
    behind = torch.sigmoid((a - 0.02) / 0.03)
    return behind * (torch.tanh((b - 0.05) / width) - torch.tanh((b + 0.05) / width))


def around(x: Tensor) -> Tensor:
    """A boundary layer on the cylinder."""
    return torch.exp(-(_from(x, CYLINDER) - RADIUS) / 0.015)


def square(n: int) -> Mesh:
    """The unit square, each of n x n boxes cut along both diagonals."""
    return ml.generate.rectangle(n, n, diagonal="crossed")


def channel(h: float) -> Mesh:
    """The DFG channel, cells of one size but at the cylinder."""
    return ml.generate.channel_with_cylinder(h, 0.4 * h)


def _from(x: Tensor, centre: tuple[float, ...]) -> Tensor:
    return (((x - torch.tensor(centre).to(x)) ** 2).sum(dim=1) + 1e-24).sqrt()


CASES = {
    case.name: case
    for case in (
        Case("ring", "square, ring", lambda: square(23), ring),
        Case("bell", "square, bell", lambda: square(23), bell),
        Case("front", "square, tanh front", lambda: square(23), front),
        Case("layer", "square, boundary layers", lambda: square(23), layer),
        Case("crossing", "square, crossing fronts", lambda: square(23), crossing),
        Case("ring10k", "square, ring, 10k nodes", lambda: square(70), ring),
        Case("bell10k", "square, bell, 10k nodes", lambda: square(70), bell),
        Case("front10k", "square, front, 10k nodes", lambda: square(70), front),
        Case("corner", "L, singular corner", lambda: ml.generate.l_shape(18), corner, False),
        Case(
            "diagonal", "L, front past the corner", lambda: ml.generate.l_shape(18), diagonal, False
        ),
        Case("wake", "channel, wake", lambda: channel(0.03), wake, False),
        Case("around", "channel, layer on cylinder", lambda: channel(0.03), around, False),
        Case("blob", "cube, blob", lambda: ml.generate.box(14, 14, 14), blob),
        Case("shell", "cube, shell", lambda: ml.generate.box(14, 14, 14), shell),
    )
}
