"""What a monitor is: a positive density (or an SPD metric) that says where nodes should go.

A monitor is evaluated at positions, never copied from node to node: after a move the same node
sees the value of its new place. Steps compose: `Ring(...).clip(1, 50) + ArcLength(mesh, u)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError

if TYPE_CHECKING:
    from .field import Field


@dataclass(frozen=True)
class Sample:
    """A monitor at some positions.

    Attributes:
        value: `[n]`, or a metric `[n, d, d]`.
        gradient: derivative with respect to the position, `[n, d]` or `[n, d, d, d]` (last axis).
        hint: where the positions were found in a background mesh; speeds up the next sample.
    """

    value: Tensor
    gradient: Tensor
    hint: Tensor | None = None


class Monitor(ABC):
    """Base of all monitors.

    Subclasses give `sample`. Calling a monitor with a mesh gives its values at the mesh's nodes.
    """

    @abstractmethod
    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        """Value and gradient at positions `[n, d]`."""

    def at(self, pos: Tensor, hint: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Value and hint at positions `[n, d]`: those of `sample`, without the gradient."""
        found = self.sample(pos, hint)
        return found.value, found.hint

    def __call__(self, mesh: Mesh) -> Tensor:
        """Values at the current nodes, `[n]` or `[n, d, d]`.

        Raises:
            MeshError: a value is not finite, not positive, or not positive definite.
        """
        return checked(self.at(mesh.pos)[0])

    def on(self, mesh: Mesh) -> Field:
        """The piecewise-linear interpolant of this monitor on a background mesh."""
        from .field import Field

        return Field(mesh, self(mesh))

    def smooth(self, mesh: Mesh, length: float, passes: int = 3) -> Field:
        """Smoothed by a Helmholtz filter on `mesh` (see `Field.smoothed`)."""
        return self.on(mesh).smoothed(length, passes)

    def normalise(self, mesh: Mesh) -> Field:
        """Scaled on `mesh` to a mean of 1 over the domain (metrics: unit mean density)."""
        return self.on(mesh).normalised()

    def clip(self, low: float | None = None, high: float | None = None) -> Monitor:
        """Not below `low` and not above `high` (scalar monitors)."""
        check_limits(low, high)
        return _Mapped(self, lambda m: m.clamp(low, high))

    def power(self, exponent: float) -> Monitor:
        """Each value to a power (scalar monitors)."""
        return _Mapped(self, lambda m: m**exponent)

    def __add__(self, other: Monitor | float) -> Monitor:
        return _Sum(self, _as_monitor(other))

    __radd__ = __add__

    def __mul__(self, factor: Monitor | float) -> Monitor:
        if isinstance(factor, Monitor):
            return _Combined(self, factor, torch.mul)
        return _Scaled(self, float(factor))

    __rmul__ = __mul__

    def maximum(self, other: Monitor | float) -> Monitor:
        """The larger of two scalar monitors, point by point."""
        return _Combined(self, _as_monitor(other), torch.maximum)


class Constant(Monitor):
    """The same density everywhere: the mesh is already where it should be.

    Args:
        value: positive.
    """

    def __init__(self, value: float = 1.0) -> None:
        self.value = float(value)

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        """Value and zero gradient."""
        return Sample(torch.full_like(pos[:, 0], self.value), torch.zeros_like(pos))


class Function(Monitor):
    """A density or metric from a formula.

    Args:
        function: torch function of positions `[n, d]` that returns `[n]` or `[n, d, d]`, each row
            from its own position only. The gradient is taken by automatic differentiation.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        """Value and gradient of the formula."""
        with torch.enable_grad():
            x = pos.detach().requires_grad_(True)
            value = self._value(x)
            entries = value.reshape(len(x), -1).sum(dim=0)
            parts = [
                torch.autograd.grad(entry, x, retain_graph=True)[0]
                if entry.requires_grad
                else torch.zeros_like(x)
                for entry in entries
            ]
        gradient = torch.stack(parts, dim=1).reshape(*value.shape, pos.shape[1])
        return Sample(value.detach().to(torch.float64), gradient.to(torch.float64))

    def at(self, pos: Tensor, hint: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Value of the formula."""
        with torch.no_grad():
            return self._value(pos.detach()).to(torch.float64), None

    def _value(self, x: Tensor) -> Tensor:
        value = torch.as_tensor(self.function(x))
        if value.shape[:1] != x.shape[:1] or value.shape[1:] not in ((), x.shape[1:] * 2):
            raise MeshError(
                f"a monitor function must return [n] or [n, d, d] for positions "
                f"{list(x.shape)}, got {list(value.shape)}"
            )
        return value


class _Mapped(Monitor):
    """A pointwise function of a scalar monitor."""

    def __init__(self, monitor: Monitor, function: Callable[[Tensor], Tensor]) -> None:
        self.monitor, self.function = monitor, function

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        inner = self.monitor.sample(pos, hint)
        value, slope = _scalar_chain([inner], lambda parts: self.function(parts[0]))
        return Sample(value, slope[0][:, None] * inner.gradient, inner.hint)


class _Scaled(Monitor):
    """A density or metric times a number."""

    def __init__(self, monitor: Monitor, factor: float) -> None:
        self.monitor, self.factor = monitor, factor

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        inner = self.monitor.sample(pos, hint)
        return Sample(self.factor * inner.value, self.factor * inner.gradient, inner.hint)


class _Sum(Monitor):
    """The sum of two densities or of two metrics."""

    def __init__(self, first: Monitor, second: Monitor) -> None:
        self.first, self.second = first, second

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        # The two may live on different background meshes: each finds its own way.
        one, two = self.first.sample(pos), self.second.sample(pos)
        if one.value.shape != two.value.shape:
            raise MeshError("a density and a metric cannot be added; add two of a kind")
        return Sample(one.value + two.value, one.gradient + two.gradient)


class _Combined(Monitor):
    """A pointwise function of two scalar monitors."""

    def __init__(
        self, first: Monitor, second: Monitor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.monitors, self.function = (first, second), function

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        # The two may live on different background meshes: each finds its own way.
        inner = [monitor.sample(pos) for monitor in self.monitors]
        value, slope = _scalar_chain(inner, lambda parts: self.function(*parts))
        gradient = slope[0][:, None] * inner[0].gradient + slope[1][:, None] * inner[1].gradient
        return Sample(value, gradient)


def _scalar_chain(
    samples: list[Sample], function: Callable[[list[Tensor]], Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A function of scalar samples and its partial derivatives."""
    if any(sample.value.dim() != 1 for sample in samples):
        raise MeshError(
            "clip, power, products and maximum are defined for densities; for metrics there are "
            "metric.limit and metric.intersect on nodal matrices"
        )
    with torch.enable_grad():
        parts = [sample.value.detach().requires_grad_(True) for sample in samples]
        value = function(parts)
        slope = torch.autograd.grad(value.sum(), parts)
    return value.detach(), slope


def _as_monitor(value: Monitor | float) -> Monitor:
    return value if isinstance(value, Monitor) else Constant(value)


def check_limits(low: float | None, high: float | None) -> None:
    """Raise `MeshError` where there is nothing to clip to."""
    if low is None and high is None:
        raise MeshError("clip needs a lower limit, an upper limit, or both")
    if low is not None and high is not None and low > high:
        raise MeshError(f"the lower limit {low} of clip is above the upper limit {high}")


def checked(value: Tensor) -> Tensor:
    """The same tensor, if it is a density or a metric field.

    Raises:
        MeshError: naming the first node whose value is not finite and positive (definite).
    """
    if value.dim() == 1:
        good = torch.isfinite(value) & (value > 0)
    else:
        finite = torch.isfinite(value).all(dim=2).all(dim=1)
        safe = torch.where(finite[:, None, None], value, torch.eye(value.shape[1]).to(value))
        good = finite & (torch.linalg.eigvalsh(safe)[:, 0] > 0)
    if not bool(good.all()):
        node = int((~good).nonzero()[0])
        what = "positive" if value.dim() == 1 else "positive definite"
        raise MeshError(
            f"the monitor is not finite and {what} at {int((~good).sum())} nodes, first node "
            f"{node}: {value[node].tolist()}"
        )
    return value
