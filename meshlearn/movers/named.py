"""Movers by the names that settings and the command line give them."""

from __future__ import annotations

from collections.abc import Callable

from .laplacian import Laplacian
from .learned import UniversalMover
from .monge_ampere import MongeAmpere
from .relaxation import Relaxation
from .spring import Spring
from .variational import Variational
from .winslow import Winslow

NamedMover = Variational | MongeAmpere | Winslow | Relaxation | UniversalMover
MOVERS: dict[str, Callable[..., NamedMover]] = {
    "variational": Variational,
    "universal": UniversalMover.from_pretrained,
    "monge-ampere": MongeAmpere,
    "winslow": Winslow,
    "laplacian": Laplacian,
    "spring": Spring,
}
