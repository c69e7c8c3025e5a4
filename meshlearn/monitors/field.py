"""A monitor given by nodal values on a background mesh, interpolated wherever the nodes go."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import scipy.sparse as sp
import torch
from torch import Tensor

from ..fem.linear import factorise
from ..fem.p1 import lumped_mass, simplices, stiffness
from ..mesh import Mesh, MeshError
from ..mesh.locate import Location, Locator
from .base import Monitor, Sample, check_limits, checked


class Field(Monitor):
    """Piecewise-linear density or metric on a background mesh.

    The background mesh is kept: after a move the monitor is interpolated at the new positions. A
    position outside (by round-off, or beyond a curved boundary) takes the nearest boundary value.

    Args:
        mesh: background mesh whose cells fill space.
        values: `[n]`, or SPD matrices `[n, d, d]`, at its nodes.

    Raises:
        MeshError: wrong shape, or values that are not positive (definite).
    """

    def __init__(self, mesh: Mesh, values: Tensor) -> None:
        d = mesh.dim
        if values.shape not in ((len(mesh.pos),), (len(mesh.pos), d, d)):
            raise MeshError(
                f"monitor values must be [{len(mesh.pos)}] or [{len(mesh.pos)}, {d}, {d}], "
                f"got {list(values.shape)}"
            )
        self.mesh = mesh
        self.values = checked(values.detach().to(torch.float64))

    @cached_property
    def _locator(self) -> Locator:
        component = self.mesh.get("batch")
        return Locator(self.mesh, component)

    def sample(self, pos: Tensor, hint: Tensor | None = None) -> Sample:
        """Interpolated value, and the gradient in the background simplex."""
        found = self._found(pos, hint)
        gradient = self._locator.gradient(self._flat, found)
        shape = (*self.values.shape[1:], pos.shape[1])
        value = self._interpolated(found)
        return Sample(value, gradient.reshape(len(pos), *shape), found.simplex)

    def at(self, pos: Tensor, hint: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Interpolated value, and where the positions were found."""
        found = self._found(pos, hint)
        return self._interpolated(found), found.simplex

    @property
    def _flat(self) -> Tensor:
        return self.values.reshape(len(self.values), -1)

    def _interpolated(self, found: Location) -> Tensor:
        flat = self._locator.interpolate(self._flat, found)
        return flat.reshape(len(flat), *self.values.shape[1:])

    def _found(self, pos: Tensor, hint: Tensor | None) -> Location:
        component = None
        if "batch" in self.mesh:
            if len(pos) != len(self.mesh.pos):
                raise MeshError("a monitor on a batch is sampled at the nodes of the batch only")
            component = self.mesh["batch"]
        return self._locator.find(pos, hint=hint, component=component)

    def map(self, function: Callable[[Tensor], Tensor]) -> Field:
        """Another field with `function(values)` at the nodes."""
        return Field(self.mesh, function(self.values))

    def clip(self, low: float | None = None, high: float | None = None) -> Field:
        """Nodal values limited to [low, high]; eigenvalues, for a metric."""
        check_limits(low, high)
        return self.map(lambda m: _limited(m, low, high))

    def clip_quantiles(self, low: float = 0.0, high: float = 1.0) -> Field:
        """Scalar values limited to the given quantiles (0 to 1) of the nodal values."""
        if self.values.dim() != 1:
            raise MeshError("quantiles are defined for scalar monitors, not for metrics")
        limits = torch.quantile(self.values, torch.tensor([low, high], dtype=torch.float64))
        return self.clip(float(limits[0]), float(limits[1]))

    def normalised(self) -> Field:
        """Scaled to a mean density of 1 over the domain."""
        mass = lumped_mass(self.mesh)
        if self.values.dim() == 1:
            mean = (mass * self.values).sum() / mass.sum()
            return Field(self.mesh, self.values / mean)
        density = torch.linalg.det(self.values).sqrt()
        mean = (mass * density).sum() / mass.sum()
        return Field(self.mesh, self.values / mean ** (2 / self.mesh.dim))

    def smoothed(self, length: float, passes: int = 3) -> Field:
        """Helmholtz filter: `passes` solves of (M_l + length^2 / passes L) m = M_l m.

        Keeps a constant, the smallest value (eigenvalue) as a floor, and the integral over the
        domain where cells are not so obtuse that the floor must hold; matrices are filtered entry
        by entry.

        Args:
            length: distance over which features are smoothed, in the mesh's units.
            passes: more passes come closer to a Gaussian.
        """
        if length < 0:
            raise MeshError(f"the smoothing length must not be negative, got {length}")
        if passes < 1:
            raise MeshError(f"smoothing needs at least one pass, got {passes}")
        if length == 0:
            return self
        mass = sp.diags_array(lumped_mass(self.mesh).cpu().numpy())
        matrix = mass + length**2 / passes * stiffness(self.mesh.pos, simplices(self.mesh))
        solve = factorise(matrix)
        flat = self.values.reshape(len(self.values), -1).cpu().numpy()
        for _ in range(passes):
            flat = solve(mass @ flat)
        smooth = torch.from_numpy(flat).to(self.values).reshape(self.values.shape)
        # Obtuse cells break the maximum principle: keep the floor.
        scalar = self.values.dim() == 1
        floor = self.values.min() if scalar else torch.linalg.eigvalsh(self.values).min()
        return Field(self.mesh, _limited(smooth, float(floor), None))


def _limited(values: Tensor, low: float | None, high: float | None) -> Tensor:
    """Densities, or the eigenvalues of metrics, not outside [low, high]."""
    if values.dim() == 1:
        return values.clamp(low, high)
    spread, vectors = torch.linalg.eigh(values)
    return (vectors * spread.clamp(low, high)[:, None, :]) @ vectors.transpose(1, 2)
