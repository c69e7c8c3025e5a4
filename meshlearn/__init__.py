"""meshlearn: an unstructured mesh is a graph, and an adapted mesh is one call away."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import fem, mesh, monitors, movers, problems
    from .mesh import LossWarning, Mesh, MeshError, generate
    from .mesh.files import read, write
    from .movers import adapt

__version__ = "0.1.0"

_WHERE = {
    **dict.fromkeys(("fem", "mesh", "monitors", "movers", "problems"), ""),
    **dict.fromkeys(("LossWarning", "Mesh", "MeshError", "generate"), ".mesh"),
    **dict.fromkeys(("read", "write"), ".mesh.files"),
    "adapt": ".movers",
}

__all__ = [
    "LossWarning",
    "Mesh",
    "MeshError",
    "adapt",
    "fem",
    "generate",
    "mesh",
    "monitors",
    "movers",
    "problems",
    "read",
    "write",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: `meshlearn --help` need not wait for torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_WHERE[name] or f".{name}", __name__)
    globals()[name] = getattr(module, name) if _WHERE[name] else module
    return globals()[name]


def __dir__() -> list[str]:
    """What is there, imported or not."""
    return [*globals(), *_WHERE]
