"""Learned movers: networks under the same contract, guard and report as the classical ones.

`UniversalMover` is ours; `UM2N`, `M2N` and `DataFreeMover` are published ones, to compare with.
"""

from __future__ import annotations

from .data_free import DataFreeMover, DataFreeNet
from .m2n import M2N, M2NNet, WithSolution
from .network import MoverNet
from .um2n import UM2N, UM2NNet
from .universal import UniversalMover

__all__ = [
    "M2N",
    "UM2N",
    "DataFreeMover",
    "DataFreeNet",
    "M2NNet",
    "MoverNet",
    "UM2NNet",
    "UniversalMover",
    "WithSolution",
]
