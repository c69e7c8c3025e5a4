"""Layers on meshes."""

from __future__ import annotations

from .block import MeshBlock
from .features import edge_features, local_size, segments
from .mlp import LayerNorm, mlp

__all__ = ["LayerNorm", "MeshBlock", "edge_features", "local_size", "mlp", "segments"]
