"""gmsh without side effects: a quiet, seeded session, and its mesh taken over in memory."""

from __future__ import annotations

import ctypes
import importlib
import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError
from ..mesh import Mesh

# gmsh's number of each first-order element, and the name and dimension it has here.
_ELEMENTS = {
    1: ("line", 1),
    2: ("triangle", 2),
    3: ("quad", 2),
    4: ("tetra", 3),
    5: ("hexahedron", 3),
    6: ("wedge", 3),
    7: ("pyramid", 3),
}

# All that steers a mesh: set for the session, so that settings of the caller cannot change it.
_OPTIONS: dict[str, float] = {
    "General.Terminal": 0,
    "General.NumThreads": 1,
    "Geometry.Tolerance": 1e-8,
    "Mesh.Algorithm": 6,  # frontal Delaunay
    "Mesh.Algorithm3D": 1,  # Delaunay
    "Mesh.ElementOrder": 1,
    "Mesh.MaxNumThreads1D": 1,
    "Mesh.MaxNumThreads2D": 1,
    "Mesh.MaxNumThreads3D": 1,
    "Mesh.MeshOnlyEmpty": 0,
    "Mesh.MeshOnlyVisible": 0,
    "Mesh.MeshSizeExtendFromBoundary": 1,
    "Mesh.MeshSizeFactor": 1,
    "Mesh.MeshSizeFromCurvature": 0,
    "Mesh.MeshSizeFromPoints": 1,
    "Mesh.MeshSizeMax": 1e22,
    "Mesh.MeshSizeMin": 0,
    "Mesh.Optimize": 1,
    "Mesh.OptimizeNetgen": 0,
    "Mesh.RandomFactor": 1e-9,
    "Mesh.RandomFactor3D": 1e-12,
    "Mesh.RandomSeed": 1,
    "Mesh.RecombineAll": 0,
    "Mesh.Renumber": 1,
    "Mesh.Smoothing": 1,
    "Mesh.SubdivisionAlgorithm": 0,
}


@contextmanager
def session() -> Iterator[Any]:
    """Give the gmsh module with an empty current model, and leave no trace of it afterwards.

    Output is silenced and the options of `_OPTIONS` are set, with one thread and a fixed seed so
    that a run repeats. A gmsh the caller had started keeps running with its models and options;
    otherwise gmsh is finalised.
    """
    gmsh = load()
    running = bool(gmsh.isInitialized())
    if not running:
        start(gmsh)
    saved = {name: gmsh.option.getNumber(name) for name in _OPTIONS}
    models = set(gmsh.model.list())
    current = gmsh.model.getCurrent()
    ours = next(name for i in itertools.count() if (name := f"meshlearn_{i}") not in models)
    try:
        for name, value in _OPTIONS.items():
            gmsh.option.setNumber(name, value)
        gmsh.model.add(ours)
        yield gmsh
    finally:
        if running:
            if ours in gmsh.model.list():
                gmsh.model.setCurrent(ours)
                gmsh.model.remove()
            if current in models:
                gmsh.model.setCurrent(current)
            for name, value in saved.items():
                gmsh.option.setNumber(name, value)
        else:
            gmsh.finalize()


def start(gmsh: Any) -> None:
    """Initialise gmsh, with the handlers of all signals as they were.

    gmsh's own handler of SIGINT would outlive the session, and the PETSc inside gmsh puts SIGTERM,
    SIGHUP, SIGPIPE and those of errors back to ending the process.
    """
    with _signals_kept():
        gmsh.initialize(readConfigFiles=False, interruptible=False)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put the handlers of all signals back, those too that are not Python's, from any thread."""
    if os.name != "posix":
        yield
        return
    sigaction = ctypes.CDLL(None).sigaction
    kept = {number: ctypes.create_string_buffer(_SIGACTION) for number in signal.valid_signals()}
    for number, handler in kept.items():
        sigaction(int(number), None, handler)
    try:
        yield
    finally:
        for number, handler in kept.items():
            sigaction(int(number), handler, None)


_SIGACTION = 256
"""Bytes: more than any system's `struct sigaction`."""


def load() -> Any:
    """Return the gmsh module, or say how to get it."""
    try:
        return importlib.import_module("gmsh")
    except ImportError as error:
        raise MeshError(
            "this mesh is made by gmsh, which is not installed; run: pip install 'meshlearn[gmsh]'"
        ) from error
    except OSError as error:
        raise MeshError(
            f"gmsh is installed but a system library that it needs is missing ({error}); "
            "install that library, for instance libglu1-mesa on Debian"
        ) from error


def to_mesh(gmsh: Any, dim: int) -> Mesh:
    """Take over the mesh of gmsh's current model, its physical names becoming tags.

    Args:
        gmsh: the module, with a meshed current model.
        dim: dimension of the cells; those of `dim - 1` and the points that have a physical
          name become facet and point tags.

    Returns:
        A mesh with `dim` coordinates per node and without the nodes that no cell uses.
    """
    node_ids, coordinates, _ = gmsh.model.mesh.getNodes()
    row = np.full(int(node_ids.max(initial=0)) + 1, -1, dtype=np.int64)
    blocks = _elements(gmsh, dim)
    if not blocks:
        raise MeshError(f"gmsh made no cells of dimension {dim}; check the sizes of the geometry")

    used = np.zeros(row.size, dtype=bool)
    for _, _, nodes in blocks:
        used[nodes] = True
    kept = used[node_ids.astype(np.int64)]
    row[node_ids[kept].astype(np.int64)] = np.arange(kept.sum())
    pos = coordinates.reshape(-1, 3)[kept, :dim]
    cells = [(name, row[nodes]) for name, _, nodes in blocks]

    element_ids = np.concatenate([ids for _, ids, _ in blocks])
    order = np.argsort(element_ids)
    sorted_ids = element_ids[order]
    cell_tags = {
        name: order[np.searchsorted(sorted_ids, np.concatenate([ids for _, ids, _ in part]))]
        for name, part in _groups(gmsh, dim).items()
    }
    facet_tags = {
        name: _stack([row[nodes] for _, _, nodes in part])
        for name, part in _groups(gmsh, dim - 1).items()
    }
    return Mesh.from_cells(pos, cells, facet_tags=facet_tags, cell_tags=cell_tags)


_Block = tuple[str, NDArray[np.int64], NDArray[np.int64]]


def _elements(gmsh: Any, dim: int, entity: int = -1) -> list[_Block]:
    """Return `(type, element ids [k], node ids [k, nodes])` of one entity, or of all."""
    blocks: list[_Block] = []
    for kind, ids, nodes in zip(*gmsh.model.mesh.getElements(dim, entity), strict=True):
        if kind not in _ELEMENTS:
            name = gmsh.model.mesh.getElementProperties(kind)[0]
            raise MeshError(f"gmsh made elements of type {name}; ask it for first-order elements")
        blocks.append(
            (_ELEMENTS[kind][0], ids.astype(np.int64), nodes.astype(np.int64).reshape(len(ids), -1))
        )
    return blocks


def _groups(gmsh: Any, dim: int) -> dict[str, list[_Block]]:
    """Return the element blocks of each named physical group of a dimension."""
    groups: dict[str, list[_Block]] = {}
    for _, number in gmsh.model.getPhysicalGroups(dim):
        name = gmsh.model.getPhysicalName(dim, number) or str(number)
        entities = gmsh.model.getEntitiesForPhysicalGroup(dim, number)
        groups[name] = [block for entity in entities for block in _elements(gmsh, dim, int(entity))]
    return groups


def _stack(facets: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Join facets `[k, w]` into one array, the last node repeated where triangles meet quads."""
    width = max(block.shape[1] for block in facets)
    return np.concatenate(
        [np.pad(block, ((0, 0), (0, width - block.shape[1])), mode="edge") for block in facets]
    )
