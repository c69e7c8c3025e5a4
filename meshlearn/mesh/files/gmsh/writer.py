"""Write MSH 2.2 and 4.1, text or binary, with physical groups.

Main cells are numbered 1 to n_cells in canonical order, nodes 1 to n. Tags are physical groups; a
tag called "7" is the group 7 without a name. Cells (facets, points) in the same tags form one
entity of 4.1; 2.2 has one group per element, so further tags repeat the element, as gmsh does.
Where there are tags, cells without one are in the group "_untagged", which is not read back: gmsh
does not save, and meshio does not read, elements without a group beside others that have one.

Fields are float64. Gmsh has 1, 3 or 9 components: others are padded with zeros, and the true
trailing shape follows the four integer tags of the section, which gmsh skips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...convert.arrays import fields_of, points3
from ...convert.losses import quoted
from ...mesh import Mesh
from ..text import EXACT, write_table
from .groups import Block, blocks_of
from .types import NUMBER_OF

_COMPONENTS = (1, 3, 9)


def write22(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """MSH 2.2."""
    with path.open("wb") as file:
        blocks, names, data = _begin(file, mesh, lost, binary, "2.2")
        _write_head(file, names, len(data))
        _nodes22(file, points3(mesh), binary)
        _elements22(file, blocks, binary)
        _write_data(file, data, binary)


def write41(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """MSH 4.1."""
    with path.open("wb") as file:
        blocks, names, data = _begin(file, mesh, lost, binary, "4.1")
        _write_head(file, names, len(data))
        points = points3(mesh)
        _entities41(file, blocks, points, binary)
        _nodes41(file, points, (mesh.cell_dim, int(blocks[0].code[0]) + 1), binary)
        _elements41(file, blocks, binary)
        _write_data(file, data, binary)


def _begin(
    file: BinaryIO, mesh: Mesh, lost: list[str], binary: bool, version: str
) -> tuple[list[Block], dict[tuple[int, int], str], list[tuple[str, str, NDArray[Any]]]]:
    """Write the header; collect elements, names of groups and data."""
    file.write(f"$MeshFormat\n{version} {int(binary)} 8\n".encode())
    if binary:
        file.write(np.array([1], np.int32).tobytes() + b"\n")
    file.write(b"$EndMeshFormat\n")
    blocks, names = blocks_of(mesh, lost)
    return blocks, names, _data(mesh, lost)


def _write_head(file: BinaryIO, names: dict[tuple[int, int], str], n_data: int) -> None:
    if n_data:
        file.write(f"$Comments\nmeshlearn; data sections: {n_data}\n$EndComments\n".encode())
    if names:
        rows = "".join(f'{dim} {n} "{name}"\n' for (dim, n), name in sorted(names.items()))
        file.write(f"$PhysicalNames\n{len(names)}\n{rows}$EndPhysicalNames\n".encode())


# -- 2.2 ------------------------------------------------------------------------------------------


def _nodes22(file: BinaryIO, points: NDArray[np.float64], binary: bool) -> None:
    file.write(f"$Nodes\n{len(points)}\n".encode())
    number = np.arange(1, len(points) + 1)
    if binary:
        table = np.empty(len(points), [("number", "<i4"), ("x", "<f8", (3,))])
        table["number"], table["x"] = number, points
        table.tofile(file)
        file.write(b"\n")
    else:
        write_table(file, f"%d {EXACT} {EXACT} {EXACT}\n", number, points)
    file.write(b"$EndNodes\n")


def _elements22(file: BinaryIO, blocks: list[Block], binary: bool) -> None:
    """Each element once, then again for each further group it is in."""
    again = [
        (block, i, np.flatnonzero(np.array([len(c) > i for c in block.classes])[block.code]))
        for block in blocks
        for i in range(1, max(map(len, block.classes)))
    ]
    rows = [(block, 0, np.arange(len(block.nodes))) for block in blocks]
    rows += [part for part in again if len(part[2])]
    file.write(f"$Elements\n{sum(len(chosen) for _, _, chosen in rows)}\n".encode())
    done = 0
    for block, i, chosen in rows:
        group = np.array([(*c, *(0,) * (i + 1))[i] for c in block.classes])[block.code[chosen]]
        number = np.arange(done + 1, done + len(chosen) + 1)
        entity = block.code[chosen] + 1
        table = np.column_stack([number, group, entity, block.nodes[chosen] + 1])
        done += len(chosen)
        kind = NUMBER_OF[block.family]
        if binary:
            file.write(np.array([kind, len(chosen), 2], "<i4").tobytes())
            table.astype("<i4").tofile(file)
        else:
            nodes = " ".join(["%d"] * block.nodes.shape[1])
            write_table(file, f"%d {kind} 2 %d %d {nodes}\n", table)
    file.write(b"\n$EndElements\n" if binary else b"$EndElements\n")


# -- 4.1 ------------------------------------------------------------------------------------------


def _entities41(
    file: BinaryIO, blocks: list[Block], points: NDArray[np.float64], binary: bool
) -> None:
    """One entity per dimension and class of elements; its tag is the class plus one."""
    entities: dict[int, dict[int, tuple[int, ...]]] = {0: {}, 1: {}, 2: {}, 3: {}}
    for block, shift in _with_shifts(blocks):
        for code in np.unique(block.code):
            entities[block.dim][int(code) + 1 + shift] = block.classes[code]
    box = np.r_[points.min(axis=0), points.max(axis=0)]
    file.write(b"$Entities\n")
    _numbers41(file, "u8", [len(entities[dim]) for dim in range(4)], binary)
    for dim in range(4):
        for tag, groups in entities[dim].items():
            if binary:
                file.write(np.array([tag], "<i4").tobytes())
                file.write(box[: 3 if dim == 0 else 6].astype("<f8").tobytes())
                file.write(np.array([len(groups)], "<u8").tobytes())
                file.write(np.array(groups, "<i4").tobytes())
                file.write(np.array([0], "<u8").tobytes() if dim else b"")
            else:
                corner = " ".join(EXACT % x for x in box[: 3 if dim == 0 else 6])
                listed = " ".join(map(str, (len(groups), *groups)))
                file.write(f"{tag} {corner} {listed}{' 0' if dim else ''}\n".encode())
    file.write(b"\n$EndEntities\n" if binary else b"$EndEntities\n")


def _with_shifts(blocks: list[Block]) -> list[tuple[Block, int]]:
    """Blocks with what to add to their classes so that unlike classes of one dimension differ."""
    shifts: list[tuple[Block, int]] = []
    used: dict[int, int] = {}
    known: dict[tuple[int, int], int] = {}
    for block in blocks:
        key = (block.dim, id(block.classes))  # runs of cells share their classes
        if key not in known:
            known[key] = used.get(block.dim, 0)
            used[block.dim] = known[key] + len(block.classes)
        shifts.append((block, known[key]))
    return shifts


def _nodes41(
    file: BinaryIO, points: NDArray[np.float64], entity: tuple[int, int], binary: bool
) -> None:
    n = len(points)
    file.write(b"$Nodes\n")
    _numbers41(file, "u8", [1, n, 1, n], binary)
    _numbers41(file, "i4", [*entity, 0], binary, end=" ")
    _numbers41(file, "u8", [n], binary)
    number = np.arange(1, n + 1)
    if binary:
        number.astype("<u8").tofile(file)
        points.astype("<f8", copy=False).tofile(file)
    else:
        write_table(file, "%d\n", number)
        write_table(file, f"{EXACT} {EXACT} {EXACT}\n", points)
    file.write(b"\n$EndNodes\n" if binary else b"$EndNodes\n")


def _elements41(file: BinaryIO, blocks: list[Block], binary: bool) -> None:
    total = sum(len(block.nodes) for block in blocks)
    parts = []
    done = 0
    for block, shift in _with_shifts(blocks):
        number = np.arange(done + 1, done + len(block.nodes) + 1)
        codes = np.unique(block.code)
        parts += [(block, int(code) + 1 + shift, number, block.code == code) for code in codes]
        done += len(block.nodes)
    file.write(b"$Elements\n")
    _numbers41(file, "u8", [len(parts), total, 1, total], binary)
    for block, tag, number, chosen in parts:
        table = np.column_stack([number[chosen], block.nodes[chosen] + 1])
        _numbers41(file, "i4", [block.dim, tag, NUMBER_OF[block.family]], binary, end=" ")
        _numbers41(file, "u8", [len(table)], binary)
        if binary:
            table.astype("<u8").tofile(file)
        else:
            write_table(file, " ".join(["%d"] * table.shape[1]) + "\n", table)
    file.write(b"\n$EndElements\n" if binary else b"$EndElements\n")


def _numbers41(
    file: BinaryIO, dtype: str, values: list[int], binary: bool, end: str = "\n"
) -> None:
    if binary:
        file.write(np.array(values, f"<{dtype}").tobytes())
    else:
        file.write((" ".join(map(str, values)) + end).encode())


# -- data -----------------------------------------------------------------------------------------


def _data(mesh: Mesh, lost: list[str]) -> list[tuple[str, str, NDArray[Any]]]:
    """Fields that gmsh can hold: (section, name, values)."""
    data = []
    for kind, section in (("node", "NodeData"), ("cell", "ElementData")):
        for name, values in fields_of(mesh, kind).items():
            components = int(np.prod(values.shape[1:]))
            if values.dtype.kind == "c":
                lost.append(f"{kind} field {name!r} (complex)")
            elif not 1 <= components <= 9:
                lost.append(f"{kind} field {name!r} ({components} components, gmsh has up to 9)")
            elif '"' in name or "\n" in name:
                lost.append(f"{kind} field {name!r} (gmsh's names have no quotes)")
            else:
                data.append((section, name, values))
    fields = fields_of(mesh, "facet")
    if fields:
        lost.append(f"facet fields {quoted(fields)}")
    return data


def _write_data(file: BinaryIO, data: list[tuple[str, str, NDArray[Any]]], binary: bool) -> None:
    for section, name, values in data:
        flat = values.reshape(len(values), -1).astype(np.float64)
        shape = values.shape[1:]
        width = next(c for c in _COMPONENTS if c >= flat.shape[1])
        integers = [0, width, len(flat)]
        if shape not in ((), (3,), (9,)):
            integers += [0, *shape]
        flat = np.pad(flat, ((0, 0), (0, width - flat.shape[1])))
        listed = "\n".join(map(str, [len(integers), *integers]))
        file.write(f'${section}\n1\n"{name}"\n1\n0.0\n{listed}\n'.encode())
        number = np.arange(1, len(flat) + 1)
        if binary:
            table = np.empty(len(flat), [("number", "<i4"), ("values", "<f8", (width,))])
            table["number"], table["values"] = number, flat
            table.tofile(file)
            file.write(b"\n")
        else:
            write_table(file, "%d" + f" {EXACT}" * width + "\n", number, flat)
        file.write(f"$End{section}\n".encode())
