"""Conditions that tie degrees of freedom together: periodic sides and slip (u.n = 0).

They go into the same list as Dirichlet conditions, `solve(A, b, bcs)` or `newton(...)`, and are
eliminated exactly (see `elimination`). Neumann and Robin conditions are terms of the forms.

>>> import meshlearn as ml
>>> from meshlearn.fem import FunctionSpace, Periodic, assemble, assemble_linear, dot, grad, solve
>>> V = FunctionSpace(ml.generate.rectangle(8, 8), "P1")
>>> A = assemble(lambda u, v, w: dot(grad(u), grad(v)) + u * v, V)
>>> u = solve(A, assemble_linear(lambda v, w: w.x[:, 1] * v, V), [Periodic(V, "left", "right")])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..mesh import MeshError
from ..mesh.matching import image_of, partners
from .elements import vertices
from .elimination import Rows
from .facets import FacetGroup, groups_of, tagged_facets
from .mapping import mapping
from .space import FunctionSpace

_DOF = "degree of freedom"


class Periodic:
    """u on one side equals u on another, degree of freedom by degree of freedom.

    Args:
        space: scalar elements and vectors of them, on meshes whose two sides match.
        first: facet tag of one side.
        second: facet tag of the other.
        image: where a point `[m, d]` of the first side lies on the second: a function, or a
            translation `[d]`; by default the translation between the centres of the sides.
        rotation: matrix `[d, d]` that vectors are turned by on the way.
        block: which element of a mixed space.

    Attributes:
        first, second: partners, degrees of freedom without components `[k]` (before the offset of
            the element).

    Raises:
        MeshError: a node without a partner (the first is named), or an element without point values
            on the boundary.
    """

    def __init__(
        self,
        space: FunctionSpace,
        first: str,
        second: str,
        image: Callable[[Tensor], Tensor] | Sequence[float] | Tensor | None = None,
        rotation: Tensor | Sequence[Sequence[float]] | None = None,
        block: int = 0,
    ) -> None:
        self.space, self.block = space, block
        element = space.blocks[block]
        self.width = max(element.components, 1)
        if element.kind != "scalar":
            raise MeshError(f"periodic sides need scalar elements or vectors, not {element.name}")
        self.rotation = None if rotation is None else torch.as_tensor(rotation, dtype=torch.float64)
        if self.rotation is not None and self.rotation.shape != (self.width, self.width):
            raise MeshError(f"the rotation must be [{self.width}, {self.width}]")
        mesh = space.mesh
        sides = [tagged_facets(mesh, name) for name in (first, second)]
        nodes = [torch.unique(mesh.topology.facets[facets]) for facets in sides]
        at = mesh.pos.detach()
        move = image_of(image, at[nodes[0]], at[nodes[1]])
        size = float((at.amax(dim=0) - at.amin(dim=0)).max())
        partners(move(at[nodes[0]]), at[nodes[1]], size, nodes, (first, second), "node")
        dofs = [space.facet_dofs(facets, block)[:: self.width] for facets in sides]
        if not len(dofs[0]):
            raise MeshError(f"element {element.name} has no degrees of freedom on {first!r}")
        points = [space.dof_points.detach()[d] for d in dofs]
        scalar = [(d - element.offset) // self.width for d in dofs]
        partner = partners(move(points[0]), points[1], size, scalar, (first, second), _DOF)
        other = scalar[1][partner]
        apart = scalar[0] != other  # nodes on an axis of rotation are their own partners
        self.first, self.second = scalar[0][apart], other[apart]

    def rows(self) -> Rows:
        """u_second - R u_first = 0 in each component."""
        count, k = len(self.first), self.width
        device = self.first.device
        turn = torch.eye(k, dtype=torch.float64) if self.rotation is None else self.rotation
        turn = turn.to(device)
        offset = self.space.blocks[self.block].offset
        component = torch.arange(k, device=device)
        row = torch.arange(count * k, device=device).reshape(count, k)
        source = offset + self.first[:, None] * k + component
        target = offset + self.second[:, None] * k + component
        i, j = torch.nonzero(turn, as_tuple=True)
        return Rows(
            torch.cat([row.reshape(-1), row[:, i].reshape(-1)]),
            torch.cat([target.reshape(-1), source[:, j].reshape(-1)]),
            torch.cat([turn.new_ones(count * k), -turn[i, j].repeat(count)]),
            turn.new_zeros(count * k),
        )


class Slip:
    """u.n = 0 on sides of any direction; exact on flat ones.

    At each degree of freedom the normals of the facets around it are averaged (weighted by their
    measure) where they differ by less than `corner`; where sides meet at a larger angle each gives
    its own condition. Differentiable in the node positions.

    Args:
        space: d components of a scalar element.
        where: facet tag, several, or "boundary".
        value: u.n, a number.
        corner: angle in degrees.
        block: which element of a mixed space.

    Raises:
        MeshError: an element without components.
    """

    def __init__(
        self,
        space: FunctionSpace,
        where: str | Sequence[str] = "boundary",
        value: float = 0.0,
        corner: float = 30.0,
        block: int = 0,
    ) -> None:
        self.space, self.value, self.corner, self.block = space, value, corner, block
        self.where = [where] if isinstance(where, str) else list(where)
        if space.blocks[block].components != space.mesh.dim:
            raise MeshError(
                f"slip needs {space.mesh.dim} components of a scalar element, not "
                f"{space.specs[block]}; for RT elements u.n = 0 is a Dirichlet condition"
            )

    def rows(self) -> Rows:
        """n . u = value at each degree of freedom, once for each side that meets there."""
        place, normal = self._normals()
        d = normal.shape[1]
        limit = math.cos(math.radians(self.corner))
        places, of = torch.unique(place, return_inverse=True)
        dofs, normals = [], []
        left = torch.ones_like(of, dtype=torch.bool)
        for _ in range(d):
            unit = (normal / normal.norm(dim=1, keepdim=True)).detach()
            lead = torch.full((len(places),), len(of), device=of.device)
            order = torch.arange(len(of), device=of.device)[left]
            lead = lead.scatter_reduce(0, of[left], order, "amin")
            seen = lead < len(of)
            head = unit.new_zeros(len(places), d).index_copy(
                0, torch.nonzero(seen).squeeze(1), unit[lead[seen]]
            )
            mine = left & ((unit * head[of]).sum(dim=1) > limit)
            total = normal.new_zeros(len(places), d).index_add(0, of[mine], normal[mine])[seen]
            dofs.append(places[seen])
            normals.append(total / total.norm(dim=1, keepdim=True))
            left = left & ~mine
        dof, direction = torch.cat(dofs), torch.cat(normals)
        component = torch.arange(d, device=dof.device)
        spread = self.space.blocks[self.block].offset + dof[:, None] * d + component
        row = torch.arange(len(dof), device=dof.device)[:, None].expand(-1, d)
        right = torch.full((len(dof),), float(self.value)).to(direction)
        return Rows(row.reshape(-1), spread.reshape(-1), direction.reshape(-1), right)

    def _normals(self) -> tuple[Tensor, Tensor]:
        """Places of degrees of freedom on facets `[k]` and area vectors of the facets `[k, d]`."""
        space = self.space
        facets = torch.unique(torch.cat([tagged_facets(space.mesh, t) for t in self.where]))
        places, vectors = [], []
        for group in groups_of(space.mesh, facets, side=0):
            area = _area(space, group)
            element = space.blocks[self.block].elements[group.cell]
            on = [k for k, e in enumerate(element.entities) if set(e.nodes) <= set(group.local)]
            dofs = space.blocks[self.block].dofs[group.cell][group.rows][:, on]
            places.append(dofs.reshape(-1))
            vectors.append(area[:, None].expand(-1, len(on), -1).flatten(0, 1))
        return torch.cat(places), torch.cat(vectors)


def _area(space: FunctionSpace, group: FacetGroup) -> Tensor:
    """Outward normals times measure `[facets, d]`, at the centres."""
    centre = vertices(group.cell)[list(group.local)].mean(dim=0, keepdim=True)
    scale, normal = group.surface(mapping(space.mesh, group.cell, centre, group.rows))
    return normal.reshape(-1, space.mesh.dim) * scale.reshape(-1, 1)
