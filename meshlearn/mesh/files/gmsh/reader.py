"""Read MSH 2.2 and 4.1, text or binary."""

from __future__ import annotations

import re
from pathlib import Path

import meshio

from ...errors import MeshError
from . import msh2, msh4
from .assemble import assemble
from .source import Source, read_data, read_names
from .types import Msh

_PROMISE = re.compile(r"data sections: (\d+)")
_LOST = {"Periodic": "periodic links", "ElementNodeData": "element-node data"}


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Blocks, physical groups as cell sets, and data of an MSH file."""
    with path.open("rb") as file:
        if file.read(1) == b"(":
            raise MeshError("it is a Fluent mesh, not one of gmsh; read it with format='ansys'")
        file.seek(0)
        return assemble(_read(Source(file), lost))


def _read(source: Source, lost: list[str]) -> Msh:
    if source.version not in (2.0, 2.1, 2.2, 4.1):
        raise MeshError(f"MSH {source.version} is not supported; save it as 4.1 or 2.2 with gmsh")
    old = source.version < 3
    msh = Msh()
    groups: msh4.Groups = {}
    seen: set[str] = set()
    promised = 0
    while (section := source.next_section()) is not None:
        seen.add(section)
        if section == "PhysicalNames":
            read_names(source, msh)
        elif section in ("Entities", "PartitionedEntities"):
            msh4.read_entities(source, groups, section == "PartitionedEntities")
        elif section == "Nodes":
            msh2.read_nodes(source, msh) if old else msh4.read_nodes(source, msh)
        elif section == "Elements":
            msh2.read_elements(source, msh) if old else msh4.read_elements(source, msh, groups)
        elif section == "ParametricNodes":
            raise MeshError(
                "it has parametric nodes; save it without Mesh.SaveParametric, or as 4.1"
            )
        elif section in ("NodeData", "ElementData"):
            read_data(source, "node" if section == "NodeData" else "element", msh, lost)
        elif section == "Comments":
            while (line := source.line()) != "$EndComments":
                found = _PROMISE.search(line)
                promised = int(found[1]) if found else promised
        else:
            lost += [_LOST[section]] if section in _LOST else []
            source.skip()
    for needed in ("Nodes", "Elements"):
        if needed not in seen:
            raise MeshError(f"the file ends before ${needed}")
    if len(msh.data) < promised:
        raise MeshError(f"the file ends before the last of its {promised} data sections")
    return msh
