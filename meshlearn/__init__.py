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

_MODULES = {
    **{name: f".{name}" for name in ("fem", "mesh", "monitors", "movers", "problems")},
    "generate": ".mesh.generate",
}
_OBJECTS = {
    **dict.fromkeys(("LossWarning", "Mesh", "MeshError"), ".mesh"),
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
    if name in _MODULES:
        found = importlib.import_module(_MODULES[name], __name__)
    elif name in _OBJECTS:
        found = getattr(importlib.import_module(_OBJECTS[name], __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """What is there, imported or not."""
    return [*globals(), *_MODULES, *_OBJECTS]
