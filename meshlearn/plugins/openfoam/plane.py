"""2-D and axisymmetric cases: the plane that moves, and how the points of both sides follow it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ...mesh import MeshError
from ..arrays import FloatArray, IntArray
from .polymesh import Patch, PolyMesh

_SAME = 1e-6
"""Points nearer than this, over the size of the mesh, face each other."""


@dataclass(frozen=True)
class Plane:
    """Coordinates of the points in the plane that moves.

    Attributes:
        origin: `[3]`.
        axes: the two directions of each point `[n, 2, 3]`.
        rest: what is across the plane `[n, 3]`.
        node: node of the plane mesh of each point `[n]`.
        points: one point of each node.
    """

    origin: FloatArray
    axes: FloatArray
    rest: FloatArray
    node: IntArray
    points: IntArray

    def flatten(self, points: FloatArray) -> FloatArray:
        """Coordinates of the nodes `[n_nodes, 2]`."""
        reach = points[self.points] - self.origin
        return np.einsum("nad,nd->na", self.axes[self.points], reach)

    def lift(self, pos: FloatArray) -> FloatArray:
        """Points whose nodes are at `pos` `[n, 3]`."""
        across = np.einsum("na,nad->nd", pos[self.node], self.axes)
        return self.origin + self.rest + across


def plane_of(mesh: PolyMesh) -> Plane | None:
    """The plane of a 2-D or axisymmetric case, None for a 3-D one.

    Raises:
        MeshError: the two sides do not face each other.
    """
    empty = [patch for patch in mesh.patches if patch.type == "empty" and len(patch.faces)]
    wedge = [patch for patch in mesh.patches if patch.type == "wedge" and len(patch.faces)]
    if empty and wedge:
        raise MeshError("the case has patches of type empty and of type wedge")
    if empty:
        return _flat(mesh, empty)
    return _meridian(mesh, wedge) if wedge else None


def _flat(mesh: PolyMesh, patches: list[Patch]) -> Plane:
    faces = np.concatenate([np.arange(p.faces.start, p.faces.stop) for p in patches])
    area = mesh.face_geometry[1][faces]
    unit = area / np.linalg.norm(area, axis=1)[:, None]
    main = unit[np.abs(unit[0]).argmax() == np.abs(unit).argmax(axis=1)]
    if len(main) < len(unit):
        raise MeshError("the empty patches face more than one direction: 1-D cases have no mesh")
    normal = unit[0] * np.sign(unit[0][np.abs(unit[0]).argmax()])
    if np.abs(np.abs(unit @ normal) - 1).max() > _SAME:
        raise MeshError("the empty patches are not flat and parallel")
    first, second = _across(normal)
    axes = np.tile(np.stack([first, second]), (len(mesh.points), 1, 1))
    front = faces[unit @ normal > 0]
    return _matched(mesh, np.zeros(3), axes, front, faces)


def _across(normal: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two directions that make a right-handed frame with a normal; axes where it is one."""
    k = int(np.abs(normal).argmax())
    helper = np.zeros(3)
    helper[(k + 1) % 3] = 1.0
    first = helper - (helper @ normal) * normal
    first /= np.linalg.norm(first)
    return first, np.cross(normal, first)


def _meridian(mesh: PolyMesh, patches: list[Patch]) -> Plane:
    if len(patches) != 2:
        raise MeshError(f"an axisymmetric case has two patches of type wedge, not {len(patches)}")
    normals, offsets = [], []
    for patch in patches:
        area = mesh.face_geometry[1][patch.faces.start : patch.faces.stop].sum(axis=0)
        normals.append(area / np.linalg.norm(area))
        offsets.append(mesh.points[mesh.face(patch.faces.start)[0]] @ normals[-1])
    axis = np.cross(normals[1], normals[0])
    axis /= np.linalg.norm(axis)
    origin, *_ = np.linalg.lstsq(np.array([*normals, axis]), np.array([*offsets, 0.0]), rcond=None)
    axes = np.zeros((len(mesh.points), 2, 3))
    axes[:, 0] = axis
    outward = mesh.points - origin
    outward = outward - (outward @ axis)[:, None] * axis
    for patch, normal in zip(patches, normals, strict=True):
        nodes = mesh.patch_nodes(patch)
        radial = np.cross(normal, axis)
        sign = np.sign((outward[nodes] @ radial).sum())
        axes[nodes, 1] = sign * radial
    front = np.arange(patches[0].faces.start, patches[0].faces.stop)
    both = [np.arange(patch.faces.start, patch.faces.stop) for patch in patches]
    return _matched(mesh, origin, axes, front, np.concatenate(both))


def _matched(
    mesh: PolyMesh, origin: FloatArray, axes: FloatArray, front: IntArray, both: IntArray
) -> Plane:
    """Number the points of one side, and give those of the other the number that they face."""
    inside = np.zeros(mesh.num_faces, bool)
    inside[both] = True
    sides = mesh.nodes[inside[mesh.face_of]]
    missing = np.setdiff1d(np.arange(len(mesh.points)), sides)
    if len(missing):
        raise MeshError(
            f"point {int(missing[0])} is on neither side of the 2-D mesh: it is more than one "
            "cell thick"
        )
    inside[:] = False
    inside[front] = True
    points = np.unique(mesh.nodes[inside[mesh.face_of]])
    reach = mesh.points - origin
    flat = np.einsum("nad,nd->na", axes, reach)
    distance, node = (np.asarray(found) for found in cKDTree(flat[points]).query(flat))
    if distance.max() > _SAME * float(np.ptp(mesh.points, axis=0).max()):
        raise MeshError(
            f"point {int(distance.argmax())} faces no point of the other side of the 2-D mesh"
        )
    rest = reach - np.einsum("na,nad->nd", flat, axes)
    rest[np.abs(rest) < 1e-300] = 0.0
    return Plane(origin, axes, rest, node.astype(np.int64), points)
