"""Benchmarks of incompressible flow: the cylinder in a channel and the cavity with a moving lid."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .navier_stokes import NavierStokes

HEIGHT = 0.41
DIAMETER = 0.1


def cylinder_flow(peak: float = 0.3, viscosity: float = 1e-3) -> NavierStokes:
    """The DFG benchmark on `generate.channel_with_cylinder`.

    M. Schaefer and S. Turek, "Benchmark computations of laminar flow around a cylinder", Notes on
    Numerical Fluid Mechanics 52 (1996) 547-566. Coefficients take the mean velocity 2 peak / 3 and
    the diameter 0.1; the Reynolds number is 20 (case 2D-1) with the defaults and 100 (2D-2) with
    the peak 1.5.

    Args:
        peak: largest velocity of the parabola at the inlet.
        viscosity: kinematic.
    """
    inlet = (parabola(peak, HEIGHT), 0.0)
    return NavierStokes(viscosity, {"inlet": inlet, "walls": 0.0, "cylinder": 0.0})


def lid_driven_cavity(reynolds: float = 1000.0) -> NavierStokes:
    """The cavity whose lid moves with velocity 1, on `generate.rectangle`."""
    walls = dict.fromkeys(("left", "right", "bottom"), 0.0)
    return NavierStokes(1 / reynolds, {"top": (1.0, 0.0), **walls})


def parabola(peak: float, height: float) -> Callable[[Tensor], Tensor]:
    """Velocity of channel flow between y = 0 and y = height."""
    return lambda x: 4 * peak * x[:, 1] * (height - x[:, 1]) / height**2
