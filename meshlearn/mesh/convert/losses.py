"""Say once, by name, what a conversion or a file format could not hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from ..errors import LossWarning


def warn_lost(where: str, lost: Iterable[str], stacklevel: int = 3) -> None:
    """Emit one `LossWarning` naming everything in `lost`; none where nothing was lost."""
    items = list(dict.fromkeys(lost))
    if items:
        warnings.warn(f"{where}: lost {', '.join(items)}", LossWarning, stacklevel=stacklevel)


def quoted(names: Iterable[str]) -> str:
    """Names as `'a', 'b'` for a message."""
    return ", ".join(repr(name) for name in names)
