"""Operators by the name that settings files give them, those around others aside."""

from __future__ import annotations

from .base import Operator
from .boundary_value import BoundaryValueGNN
from .diffusion import GraphDiffusion
from .gaot import GeometryAwareTransformer
from .gino import GINO
from .gno import GraphKernelNetwork
from .low_rank import LowRankNO
from .mesh_graph_net import MeshGraphNet
from .message_passing_solver import MessagePassingSolver
from .multipole import MultipoleGNO
from .spon import SPON

BASES: dict[str, type[Operator]] = {
    "spon": SPON,
    "gno": GraphKernelNetwork,
    "low-rank": LowRankNO,
    "multipole-gno": MultipoleGNO,
    "gino": GINO,
    "gaot": GeometryAwareTransformer,
    "mesh-graph-net": MeshGraphNet,
    "message-passing-solver": MessagePassingSolver,
    "diffusion": GraphDiffusion,
    "boundary-value": BoundaryValueGNN,
}
"""What makes its result of the columns of the sites alone: others can put more columns there."""
