"""What commands print: JSON for programs, tables and small pictures in text for people."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"


def console() -> Console:
    """Standard output; wide enough for a table where it is a file or a pipe."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 110)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    typer.echo(to_json(value))


def to_json(value: object) -> str:
    """JSON text; numbers that are not finite are null."""
    return json.dumps(plain(value), indent=2, allow_nan=False)


def plain(value: Any) -> Any:
    """Tensors, paths, tuples and numbers that are not finite as what JSON knows."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def grid(*titles: str, first: str = "left") -> Table:
    """A table without frame; numbers to the right, but for the first column."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for k, title in enumerate(titles):
        table.add_column(title, justify="left" if k == 0 and first == "left" else "right")
    return table


def two_columns(rows: Mapping[str, object]) -> Table:
    """Names and values in two columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows.items():
        table.add_row(name, Text(str(value)))
    return table


def bars(counts: Sequence[int]) -> str:
    """A histogram one line high; every count above zero shows."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    steps = _BLOCKS if encoding.startswith("utf") else _ASCII
    top = max([*counts, 1])
    return "".join(steps[math.ceil(count / top * (len(steps) - 1))] for count in counts)


def number(value: float | None) -> str:
    """A number for people, `-` where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def counted(count: int, what: str) -> str:
    """`1 node`, `2 nodes`, `3 tetrahedra`."""
    plural = {"tetra": "tetrahedra", "hexahedron": "hexahedra"}.get(what, f"{what}s")
    return f"{count} {what if count == 1 else plural}"
