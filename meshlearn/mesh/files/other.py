"""The other formats of meshio: read with their tags, written without.

What meshio leaves out when it writes is found by reading the file back.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import meshio
from meshio import _helpers as registered

from ..convert.arrays import cell_blocks, fields_of, points3
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing

SUFFIXES: dict[str, str] = {
    suffix: names[0] for suffix, names in meshio.extension_to_filetypes.items() if names
}
"""meshio's name of the format of each suffix."""

_FAILURES = (
    *(meshio.ReadError, meshio.WriteError, SystemExit, RuntimeError, ImportError, OSError),
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
)
"""What meshio raises on files and meshes that it cannot handle."""


def reader(name: str) -> Callable[[Path, list[str]], meshio.Mesh]:
    """A reader by meshio, with errors instead of printing and leaving the interpreter."""

    def read(path: Path, lost: list[str]) -> meshio.Mesh:
        with _quiet():
            found: meshio.Mesh = registered.reader_map[name](str(path))
        return found

    return read


def writer(name: str) -> Callable[[Mesh, Path, list[str], bool], None] | None:
    """A writer by meshio, None where meshio only reads."""
    if name not in registered._writer_map:
        return None

    def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
        losing(mesh, lost, facet_tags=True, cell_tags=True, point_tags=True)
        blocks = cell_blocks(mesh)
        fields = {kind: fields_of(mesh, kind) for kind in ("node", "cell", "facet")}
        cuts = [len(nodes) for _, nodes in blocks]
        m = meshio.Mesh(
            points3(mesh),
            blocks,
            point_data=dict(fields["node"]),
            cell_data={k: _split(v, cuts) for k, v in fields["cell"].items()},
        )
        with _quiet():
            registered._writer_map[name](str(path), m)
            back = registered.reader_map[name](str(path)) if name in registered.reader_map else m
        if len(back.points) != len(m.points) or sum(map(len, back.cells)) != mesh.num_cells:
            raise MeshError(f"meshio's {name} format does not hold {', '.join(mesh.cells)} cells")
        kept = {"node": back.point_data, "cell": back.cell_data, "facet": {}}
        lost += [f"{k} field {n!r}" for k in kept for n in fields[k] if n not in kept[k]]

    return write


def _split(values: object, sizes: list[int]) -> list[object]:
    import numpy as np

    return list(np.split(np.asarray(values), np.cumsum(sizes)[:-1]))


@contextmanager
def _quiet() -> Iterator[None]:
    """meshio prints and, where it gives up, ends the program: make that an error."""
    silence = io.StringIO()
    try:
        with redirect_stdout(silence), redirect_stderr(silence):
            yield
    except _FAILURES as error:
        raise MeshError(
            f"meshio cannot ({error or silence.getvalue().strip() or 'no reason given'})"
        ) from error
