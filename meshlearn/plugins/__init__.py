"""Mesh adaptation inside other codes: one module per code, and a client that needs numpy only.

Nothing is imported before it is asked for: `meshlearn.plugins.client` works in a Python that has
neither torch nor the other dependencies of this package.
"""

from __future__ import annotations

import importlib
from types import ModuleType

_MODULES = (
    *("client", "files", "openfoam", "su2", "loop", "vtk_filter"),
    *("fenicsx", "firedrake", "mfem", "ngsolve", "skfem"),
)

__all__ = [*_MODULES]


def __getattr__(name: str) -> ModuleType:
    """Import a plug-in when it is asked for: each needs its own code."""
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is there, imported or not."""
    return sorted({*globals(), *_MODULES})
