"""Geometric features of edges in local units."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import Segments, segment_mean
from ..mesh import Mesh


def segments(mesh: Mesh) -> Segments:
    """The edges of a mesh (or batch) by receiver; kept with the topology."""
    found: Segments = mesh.topology.remember(
        "segments", lambda: Segments(mesh.rowptr, mesh.topology.edge_index[1])
    )
    return found


def local_size(mesh: Mesh) -> Tensor:
    """Mean length of the edges at each node `[n]`, in the mesh's units."""
    sender, receiver = mesh.topology.edge_index
    length = (mesh.pos[sender] - mesh.pos[receiver]).norm(dim=1)
    return segment_mean(length, segments(mesh))


def edge_features(mesh: Mesh) -> Tensor:
    """Relative position over the receiver's local size, and its length `[m, d + 1]`, float32.

    Invariant to translation and scale; it turns with the mesh.
    """
    sender, receiver = mesh.topology.edge_index
    offset = mesh.pos[sender] - mesh.pos[receiver]
    scaled = offset / local_size(mesh)[receiver, None]
    # Geometry is float64, networks are float32: the border is here.
    return torch.cat([scaled, scaled.norm(dim=1, keepdim=True)], dim=1).float()
