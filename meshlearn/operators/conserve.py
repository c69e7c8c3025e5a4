r"""Projection to a prescribed integral.

With m_i the integral of the i-th basis function, the free coefficients are moved by

    d = (target - sum_i m_i u_i) / sum_free m_i,

one number for each mesh of a batch and each component. On P1 and P0 this is the smallest change in
the lumped L2 norm, sum_i m_i d_i^2; held coefficients stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..fem import FunctionSpace, assemble_linear
from ..mesh import Mesh, MeshError
from .sites import site_graph
from .variables import Variable


def basis_integrals(mesh: Mesh, element: str) -> Tensor:
    """Integral of each basis function `[n]`."""
    return assemble_linear(lambda v, w: 1.0 * v, FunctionSpace(mesh, element))


def with_integral(
    mesh: Mesh, variable: Variable, columns: Tensor, target: Tensor, free: Tensor
) -> Tensor:
    """Coefficients whose integral is prescribed.

    Args:
        mesh: a mesh or batch.
        variable: whose coefficients they are.
        columns: coefficients `[n, width]`.
        target: integrals `[graphs]`, `[graphs, width]`, or a scalar.
        free: which may change `[n, width]`.

    Raises:
        MeshError: a target that does not fit, or nothing free in some mesh.
    """
    graph = site_graph(mesh, variable.element)
    count = int(graph.max()) + 1
    wanted = torch.as_tensor(target, dtype=columns.dtype, device=columns.device)
    if wanted.numel() != count * variable.width:
        raise MeshError(
            f"the integral of {variable.name!r} must be [{count}, {variable.width}], "
            f"got {list(wanted.shape)}"
        )
    share = basis_integrals(mesh, variable.element)[:, None].to(columns)
    zeros = columns.new_zeros(count, variable.width)
    found = zeros.index_add(0, graph, share * columns)
    room = zeros.index_add(0, graph, share * free)
    # quadratic functions of nodes have the integral 0: compare with the mesh's volume
    volume = columns.new_zeros(count, 1).index_add(0, graph, share)
    if bool((room <= 1e-12 * volume).any()):
        raise MeshError(f"no free value of {variable.name!r} is left to meet its integral with")
    move = (wanted.reshape(count, variable.width) - found) / room
    return columns + move[graph] * free
