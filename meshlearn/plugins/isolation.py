"""torch beside codes that bring a linear algebra library of their own for everyone.

NGSolve and dolfinx 0.5 load their BLAS with global symbols. A torch that is loaded after them finds
some of its own routines there, with the same names but other conventions: batched products crash
beside NGSolve, all products are some 16 times slower beside dolfinx 0.5. Loaded with
`RTLD_DEEPBIND`, torch keeps to its own. Needs no torch until it is called.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from .arrays import PluginError

_GLOBAL = ("ngsolve", "netgen", "dolfinx", "petsc4py")
_isolated: list[ModuleType] = []
"""torch, once it was loaded here."""


def import_torch() -> Any:
    """torch, loaded so that no other library's symbols reach it.

    Raises:
        PluginError: it was loaded in the ordinary way after a code that it does not go with.
    """
    if "torch" not in sys.modules:
        flags = sys.getdlopenflags()
        sys.setdlopenflags(os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0))
        try:
            import torch
        finally:
            sys.setdlopenflags(flags)
        _isolated.append(torch)
        return torch
    torch = sys.modules["torch"]
    order = list(sys.modules)  # in order of import
    before = [
        code for code in _GLOBAL if code in order and order.index(code) < order.index("torch")
    ]
    if before and torch not in _isolated:
        raise PluginError(
            f"torch was imported after {before[0]}, whose linear algebra library it then takes for "
            f"its own: import torch before {before[0]}, or leave importing it to this plug-in"
        )
    return torch
