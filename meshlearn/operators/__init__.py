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
from .conserve import basis_integrals, with_integral
from .diffusion import Generator, GraphDiffusion, heat_generator
from .gno import GraphKernelNetwork, KernelIntegral, neighbourhood
from .mesh_graph_net import MeshGraphNet, world_edges
from .sites import resampled
from .spon import SPON
from .variables import Variable, joined

OPERATORS: dict[str, type[Operator]] = {
    "spon": SPON,
    "gno": GraphKernelNetwork,
    "mesh-graph-net": MeshGraphNet,
    "diffusion": GraphDiffusion,
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
    "Generator",
    "GraphDiffusion",
    "GraphKernelNetwork",
    "KernelIntegral",
    "MeshGraphNet",
    "OPERATORS",
    "Operator",
    "SPON",
    "Variable",
    "basis_integrals",
    "heat_generator",
    "joined",
    "load_operator",
    "neighbourhood",
    "resampled",
    "with_integral",
    "world_edges",
]
