r"""Point location and P1 interpolation on a background mesh.

A `Locator` cuts the cells into simplices. To find a point it walks: in a simplex with corner
:math:`x_0` and barycentric gradients :math:`\nabla\lambda_i`, the coordinates
:math:`\lambda_i = \nabla\lambda_i \cdot (x - x_0)`, :math:`\lambda_0 = 1 - \sum\lambda_i` are all
non-negative if the point is inside; otherwise the walk crosses the facet of the most negative one.
All points step at once. A walk that meets the boundary or takes too long is followed by an exact
search in a tree of boxes, and a point in no simplex is moved to the nearest boundary point and
reported as outside, with its distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._location.search import Search
from ._location.seeds import SeedGrid
from ._location.simplices import barycentric_gradients, cut_mesh, simplex_neighbours
from ._location.walk import clip_coordinates, walk
from .errors import MeshError

if TYPE_CHECKING:
    from .mesh import Mesh

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_TOLERANCE = 1e-12  # of the diameter of the mesh: nearer than this is inside
_ROUND_OFF = 1e-12  # how negative a coordinate may be, as in the walk
_FLAT = 1e3  # aspect ratio from which coordinates are refined


@dataclass(frozen=True)
class Location:
    """Where points are in a background mesh.

    Attributes:
        simplex: simplex of each point `[q]`, an index into `Locator.simplices`.
        barycentric: coordinates in it `[q, d + 1]`, in [0, 1] with sum 1; those of the nearest
            boundary point for points outside. Differentiable in the points if these are.
        outside: whether the point is outside the mesh by more than round-off `[q]`.
        distance: distance from the mesh, 0 inside `[q]`.
    """

    simplex: Tensor
    barycentric: Tensor
    outside: Tensor
    distance: Tensor


class Locator:
    """Finds points in a mesh and interpolates nodal (P1) fields there.

    Quads, hexahedra, wedges and pyramids are cut into simplices that match across cells, on which
    the field is linear: continuous, and exact for linear fields.

    Args:
        mesh: cells of the dimension of the space.
        component: component of each node `[n]` (the `batch` vector of a batch), for meshes that
            overlap in space; `find` then needs the component of each point. Without it, a point
            where several disjoint meshes overlap is found in an arbitrary (but always the same)
            one of them.

    Attributes:
        simplices: nodes of each simplex `[m, d + 1]`.
        parent: canonical index of the cell that each simplex is part of `[m]`.
        gradients: gradients of the last d barycentric coordinates of each simplex `[m, d, d]`.
    """

    def __init__(self, mesh: Mesh, component: Tensor | None = None) -> None:
        if mesh.cell_dim != mesh.dim:
            raise MeshError(
                f"points cannot be located in {mesh.cell_dim}D cells in {mesh.dim}D space; "
                "use a mesh whose cells fill the space"
            )
        self._build(mesh.pos, *cut_mesh(mesh), component)

    @classmethod
    def from_simplices(
        cls,
        pos: Tensor,
        simplices: Tensor,
        parent: Tensor | None = None,
        component: Tensor | None = None,
    ) -> Locator:
        """A locator on raw tensors.

        Args:
            pos: node positions `[n, d]`.
            simplices: node indices `[m, d + 1]`, matching across facets, of either orientation.
            parent: cell of each simplex `[m]`; its own index by default.
            component: component of each node `[n]`.
        """
        if simplices.ndim != 2 or simplices.shape[1] != pos.shape[1] + 1:
            raise MeshError(
                f"simplices in {pos.shape[1]}D must be [m, {pos.shape[1] + 1}] node indices, "
                f"not {list(simplices.shape)}"
            )
        locator = cls.__new__(cls)
        nodes = simplices.cpu().numpy()
        owner = np.arange(len(nodes)) if parent is None else parent.cpu().numpy()
        locator._build(pos, nodes, owner, component)
        return locator

    def _build(
        self, pos: Tensor, simplices: IntArray, parent: IntArray, component: Tensor | None
    ) -> None:
        points = pos.detach().cpu().numpy().astype(np.float64)
        gradients, determinants, solid = barycentric_gradients(points, simplices)
        if not solid.all():  # simplices without volume hold no point that their neighbours lack
            simplices, parent = simplices[solid], parent[solid]
            gradients, determinants = gradients[solid], determinants[solid]
        if not len(simplices):
            raise MeshError("points cannot be located: the mesh has no cell with a volume")
        self._pos, self._nodes = points, simplices
        self._neighbours = simplex_neighbours(simplices, len(points))
        # One row a simplex: its first corner, then the gradients, fetched together in the walk.
        self._rows = np.concatenate(
            [points[simplices[:, 0]], gradients.reshape(len(simplices), -1)], axis=1
        )
        self._has_components = component is not None
        of_node = np.zeros(len(points), np.int64) if component is None else _numpy(component)
        self._component = of_node[simplices[:, 0]].astype(np.int32)
        volume = float(np.abs(determinants).sum()) / (1, 2, 6)[points.shape[1] - 1]
        self._seeds = SeedGrid(
            points[simplices].mean(axis=1),
            points.min(axis=0),
            points.max(axis=0),
            volume,
            self._component,
            int(self._component.max()) + 1,
        )
        size = np.abs(points[simplices[:, 1:]] - points[simplices[:, :1]]).max(axis=(1, 2))
        self._flat = np.abs(gradients).max(axis=(1, 2)) * size > _FLAT
        self._any_flat = bool(self._flat.any())
        self._tolerance = _TOLERANCE * float(np.linalg.norm(np.ptp(points, axis=0)))
        self._search = Search(
            points,
            simplices,
            gradients,
            self._neighbours,
            self._component if self._has_components else None,
            self._tolerance,
        )
        self.simplices = torch.from_numpy(simplices).to(pos.device)
        self.parent = torch.from_numpy(parent).to(pos.device)
        self.gradients = torch.from_numpy(gradients).to(pos.device)

    # -- finding -------------------------------------------------------------------------------

    def find(
        self, points: Tensor, hint: Tensor | None = None, component: Tensor | None = None
    ) -> Location:
        """Locate points.

        Args:
            points: `[q, d]`.
            hint: simplices to start from `[q]`, as of an earlier `Location` of nearby points;
                it changes the time, and the answer only for points on facets. -1 for none.
            component: component of each point `[q]`, if the locator has components.

        Returns:
            The location of each point, on the device of the points.
        """
        x = self._checked(points, component)
        of_point = None if component is None else _numpy(component).astype(np.int32)
        start = self._start(x, hint, of_point)
        simplex, coordinates, lost = walk(self._rows, self._neighbours, x, start)
        lost = self._refine(x, simplex, coordinates, lost)
        outside, distance = np.zeros(len(x), bool), np.zeros(len(x))
        if len(lost):
            own = None if of_point is None else of_point[lost]
            simplex[lost], coordinates[lost], distance[lost] = self._search.find(x[lost], own)
            outside[lost] = distance[lost] > self._tolerance
            distance[~outside] = 0
        clip_coordinates(coordinates)
        barycentric = torch.from_numpy(coordinates).to(points.device)
        index = torch.from_numpy(simplex.astype(np.int64)).to(points.device)
        away = torch.from_numpy(outside).to(points.device)
        if points.requires_grad:
            barycentric = barycentric + self._motion(points, index, away)
        return Location(index, barycentric, away, torch.from_numpy(distance).to(points.device))

    def _refine(
        self, x: FloatArray, simplex: NDArray[np.int32], coordinates: FloatArray, lost: IntArray
    ) -> IntArray:
        """Correct coordinates in flat simplices, in place; add those now negative to the lost."""
        if not self._any_flat:
            return lost
        resting = self._flat[simplex]
        resting[lost] = False
        index = np.flatnonzero(resting)
        coordinates[index] = self._search.coordinates(x[index], simplex[index])
        beyond = coordinates[index].min(axis=1) < -_ROUND_OFF
        return np.concatenate([lost, index[beyond]])

    def interpolate(self, values: Tensor, location: Location) -> Tensor:
        """Values of a P1 field at located points, differentiable in the nodal values.

        Args:
            values: nodal values `[n, ...]`.
            location: of q points.

        Returns:
            `[q, ...]`.
        """
        nodes = self._nodes_at(values, location)
        weights = _like(location.barycentric, values)
        weights = weights.reshape(*weights.shape, *(1 for _ in values.shape[1:]))
        result = values.index_select(0, nodes[:, 0]) * weights[:, 0]
        for i in range(1, nodes.shape[1]):
            result = result + values.index_select(0, nodes[:, i]) * weights[:, i]
        return result

    def gradient(self, values: Tensor, location: Location) -> Tensor:
        """Gradients of a P1 field in the simplices of located points, constant in each.

        Args:
            values: nodal values `[n, ...]`.
            location: of q points.

        Returns:
            `[q, ..., d]`.
        """
        nodes = self._nodes_at(values, location)
        slopes = _like(self.gradients, values)[location.simplex.to(values.device)]
        slopes = slopes.reshape(len(nodes), nodes.shape[1] - 1, *(1 for _ in values.shape[1:]), -1)
        first = values.index_select(0, nodes[:, 0])
        result = (values.index_select(0, nodes[:, 1]) - first)[..., None] * slopes[:, 0]
        for i in range(2, nodes.shape[1]):
            rise = values.index_select(0, nodes[:, i]) - first
            result = result + rise[..., None] * slopes[:, i - 1]
        return result

    def _nodes_at(self, values: Tensor, location: Location) -> Tensor:
        if len(values) != len(self._pos):
            raise MeshError(
                f"nodal values have {len(values)} rows, the background mesh {len(self._pos)} nodes"
            )
        return self.simplices.to(values.device)[location.simplex.to(values.device)]

    def _motion(self, points: Tensor, simplex: Tensor, outside: Tensor) -> Tensor:
        """Zero `[q, d + 1]`, with the derivative of barycentric coordinates; none outside."""
        step = (points - points.detach()).to(self.gradients)
        last = torch.einsum("qij,qj->qi", self.gradients.to(points.device)[simplex], step)
        full = torch.cat([-last.sum(dim=1, keepdim=True), last], dim=1)
        return torch.where(outside[:, None], 0.0, full)

    def _checked(self, points: Tensor, component: Tensor | None) -> FloatArray:
        d = self._pos.shape[1]
        if points.ndim != 2 or points.shape[1] != d:
            raise MeshError(f"query points must be [q, {d}], not {list(points.shape)}")
        if (component is not None) != self._has_components:
            raise MeshError(
                "give the component of each point if and only if the locator was built with "
                "the component of each node"
            )
        if component is not None:
            known = np.isin(_numpy(component), self._component)
            if component.shape != (len(points),) or not known.all():
                raise MeshError(
                    f"component must be [{len(points)}], each one of those of the mesh; got "
                    f"{list(component.shape)} with {int((~known).sum())} unknown"
                )
        x = np.ascontiguousarray(points.detach().cpu().numpy(), dtype=np.float64)
        if not np.isfinite(x).all():
            bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
            raise MeshError(f"{len(bad)} query points are not finite, first point {bad[0]}")
        return x

    def _start(
        self, x: FloatArray, hint: Tensor | None, component: NDArray[np.int32] | None
    ) -> NDArray[np.int32]:
        if hint is None:
            return self._seeds.find(x, component)
        if hint.shape != (len(x),):
            raise MeshError(f"hints must be [{len(x)}], one a point, not {list(hint.shape)}")
        start = _numpy(hint).astype(np.int32)
        usable = (start >= 0) & (start < len(self._nodes))
        if component is not None:
            usable &= self._component[np.where(usable, start, 0)] == component
        if not usable.all():
            lost = np.flatnonzero(~usable)
            own = None if component is None else component[lost]
            start[lost] = self._seeds.find(x[lost], own)
        return start


def _like(weights: Tensor, values: Tensor) -> Tensor:
    """Weights on the device of the values and, if these are real numbers, in their precision."""
    dtype = values.dtype if values.is_floating_point() else weights.dtype
    return weights.to(values.device, dtype)


def _numpy(tensor: Tensor) -> IntArray:
    array: IntArray = tensor.detach().cpu().numpy()
    return array
