"""Neural operators: fields of a mesh in, fields out, boundary values exact.

>>> import torch
>>> import meshlearn as ml
>>> from meshlearn.operators import SPON
>>> mesh = ml.generate.rectangle(8, 8)
>>> model = SPON(["f"], ["u"], width=16)
>>> V = ml.fem.FunctionSpace(mesh, "P1")
>>> held = {"u": [ml.fem.Dirichlet(V, "boundary", lambda x: x[:, 0])]}
>>> u = model(mesh, {"f": torch.ones(mesh.num_nodes)}, held)["u"]
>>> float((u - mesh.pos[:, 0])[mesh.boundary_nodes].detach().abs().max())
0.0
"""

from __future__ import annotations

from pathlib import Path

from ..mesh import MeshError
from ..nn.storage import read_card
from .base import Operator
from .bases import BASES
from .boundary_value import BoundaryValueGNN
from .conserve import basis_integrals, with_integral
from .diffusion import Generator, GraphDiffusion, heat_generator
from .extension import IntegralOperator, extended, extension
from .gaot import GeometryAwareTransformer, ball_statistics
from .gino import GINO
from .gno import GraphKernelNetwork, KernelIntegral, balls, neighbourhood
from .guided import Guided
from .interpolation import LearnedInterpolation
from .latent_grid import LatentGrid, latent_grid
from .learned_multigrid import LearnedMultigrid
from .low_rank import LowRankKernel, LowRankNO, domain
from .mesh_graph_net import MeshGraphNet, world_edges
from .message_passing_solver import MessagePassingSolver
from .moving_mesh import MovingMeshSolver
from .multipole import MultipoleGNO
from .sites import resampled
from .spectral import SpectralBlock, SpectralConv
from .spon import SPON
from .variables import Variable, joined

OPERATORS: dict[str, type[Operator]] = {
    **BASES,
    "learned-multigrid": LearnedMultigrid,
    "guided": Guided,
    "moving-mesh-solver": MovingMeshSolver,
}
"""Operators by the name that a settings file gives them."""


def load_operator(path: str | Path) -> Operator:
    """The operator in a file, of whatever class its card says.

    Raises:
        MeshError: no such weights, or not those of an operator.
    """
    name = read_card(path)["model"]
    for kind in OPERATORS.values():
        if kind.__name__ == name:
            return kind.from_pretrained(path)
    known = ", ".join(kind.__name__ for kind in OPERATORS.values())
    raise MeshError(f"{path} holds a {name}, which is no operator; there are {known}")


__all__ = [
    "BASES",
    "BoundaryValueGNN",
    "GINO",
    "Generator",
    "GeometryAwareTransformer",
    "GraphDiffusion",
    "GraphKernelNetwork",
    "Guided",
    "IntegralOperator",
    "KernelIntegral",
    "LatentGrid",
    "LearnedInterpolation",
    "LearnedMultigrid",
    "LowRankKernel",
    "LowRankNO",
    "MeshGraphNet",
    "MessagePassingSolver",
    "MovingMeshSolver",
    "MultipoleGNO",
    "OPERATORS",
    "Operator",
    "SPON",
    "SpectralBlock",
    "SpectralConv",
    "Variable",
    "ball_statistics",
    "balls",
    "basis_integrals",
    "domain",
    "extended",
    "extension",
    "heat_generator",
    "joined",
    "latent_grid",
    "load_operator",
    "neighbourhood",
    "resampled",
    "with_integral",
    "world_edges",
]
