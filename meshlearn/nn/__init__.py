"""Layers on meshes: message passing, attention, hierarchies, geometric features."""

from __future__ import annotations

from .attention import AttentionBlock, GraphAttention, TransformerAttention
from .block import MeshBlock
from .chebyshev import (
    EDGE_WEIGHTS,
    ChebyshevConv,
    chebyshev_series,
    chebyshev_terms,
    edge_laplacian,
    scaled_laplacian,
)
from .elliptic import EllipticNet
from .features import (
    boundary_normals,
    edge_features,
    invariant_features,
    local_size,
    mean_distances,
    relative_positions,
    segments,
)
from .hierarchy import (
    Hierarchy,
    Level,
    Prolongation,
    coarsened_hierarchy,
    nested_hierarchy,
)
from .mesh_net import MeshNet, Processor
from .mlp import LayerNorm, activation, mlp
from .multiscale import MultiscaleNet, Pool, Unpool
from .neighbours import (
    nearest_graph,
    nearest_pairs,
    pair_segments,
    radius_graph,
    radius_pairs,
)
from .tags import TagEmbedding
from .weak_form import WeakForm, weak_form

__all__ = [
    "MeshNet",
    "Processor",
    "MeshBlock",
    "AttentionBlock",
    "GraphAttention",
    "TransformerAttention",
    "MultiscaleNet",
    "Pool",
    "Unpool",
    "Hierarchy",
    "Level",
    "Prolongation",
    "coarsened_hierarchy",
    "nested_hierarchy",
    "ChebyshevConv",
    "EDGE_WEIGHTS",
    "EllipticNet",
    "LayerNorm",
    "TagEmbedding",
    "WeakForm",
    "activation",
    "boundary_normals",
    "chebyshev_series",
    "chebyshev_terms",
    "edge_features",
    "edge_laplacian",
    "invariant_features",
    "local_size",
    "mean_distances",
    "mlp",
    "nearest_graph",
    "nearest_pairs",
    "pair_segments",
    "radius_graph",
    "radius_pairs",
    "relative_positions",
    "scaled_laplacian",
    "segments",
    "weak_form",
]
