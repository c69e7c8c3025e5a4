"""OpenFOAM meshes and fields written from a `Mesh`, without OpenFOAM."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshlearn.mesh import Mesh

HEADER = """/* a banner (1 2 3) */
FoamFile
{{
    version     2.0;
    format      {format};
    arch        "LSB;label={label};scalar=64";
    class       {kind};
    location    "{location}";
    object      {name};
}}
// * * * //

"""
FOOT = b"\n\n// ************ //\n"


@dataclass(frozen=True)
class Style:
    """How files are written: binary or text, width of labels, compressed."""

    binary: bool = False
    label: int = 32
    compressed: bool = False

    def put(self, path: Path, kind: str, body: bytes, *, binary: bool = True) -> None:
        """A file with a header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        form = "binary" if self.binary and binary else "ascii"
        location = f"{path.parent.parent.name}/{path.parent.name}"
        head = HEADER.format(
            format=form, label=self.label, kind=kind, location=location, name=path.name
        )
        raw = head.encode() + body + FOOT
        if self.compressed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(raw))
        else:
            path.write_bytes(raw)

    def labels(self, values: np.ndarray) -> bytes:
        """A list of labels."""
        if self.binary:
            raw = values.astype(f"<i{self.label // 8}").tobytes()
            return f"{len(values)}\n(".encode() + raw + b")"
        return f"{len(values)}\n(\n".encode() + "\n".join(map(str, values)).encode() + b"\n)"

    def rows(self, values: np.ndarray) -> bytes:
        """A list of scalars or vectors."""
        if self.binary:
            return f"{len(values)}\n(".encode() + values.astype("<f8").tobytes() + b")"
        if values.ndim == 1:
            lines = [repr(float(x)) for x in values]
        else:
            lines = ["({})".format(" ".join(repr(float(x)) for x in row)) for row in values]
        return f"{len(values)}\n(\n".encode() + "\n".join(lines).encode() + b"\n)"


def write_mesh(
    case: Path,
    mesh: Mesh,
    patches: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]],
    style: Style = Style(),
    merge: np.ndarray | None = None,
) -> None:
    """Write `constant/polyMesh`.

    Args:
        case: the directory.
        mesh: 3-D.
        patches: type and which centres of boundary facets `[k, 3]` belong to it; the first that
            fits takes a facet. A type may have further entries: "cyclic; neighbourPatch b".
        style: of the files.
        merge: new number of each cell; cells of one number become one polyhedron.
    """
    cell = np.arange(mesh.num_cells) if merge is None else merge
    first, second = mesh.topology.facet_cells.numpy().T
    own, other = cell[first], np.where(second >= 0, cell[second], -1)
    facets = mesh.topology.facets.numpy()
    keep = own != other
    facets, own, other, first = facets[keep], own[keep], other[keep], first[keep]
    pos = mesh.pos.numpy()
    corner = pos[facets]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    outward = ((corner.mean(axis=1) - mesh.centroids().numpy()[first]) * normal).sum(axis=1) > 0
    facets = np.where(outward[:, None], facets, facets[:, ::-1])
    turned = (other >= 0) & (own > other)
    facets[turned] = facets[turned][:, ::-1]
    own[turned], other[turned] = other[turned], own[turned]
    centre = pos[facets].mean(axis=1)
    part = np.full(len(facets), len(patches))
    for k, (_, member) in reversed(list(enumerate(patches.values()))):
        part[member(centre)] = k
    part[other >= 0] = -1
    assert (part < len(patches)).all()
    order = np.lexsort((other, own, part))
    facets, own, other, part = facets[order], own[order], other[order], part[order]
    folder = case / "constant" / "polyMesh"
    style.put(folder / "points", "vectorField", style.rows(pos))
    rows = [list(dict.fromkeys(row)) for row in facets.tolist()]
    sizes = np.array([len(row) for row in rows])
    if style.binary:
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        body = style.labels(offsets) + b"\n" + style.labels(np.concatenate(rows))
        style.put(folder / "faces", "faceCompactList", body)
    else:
        lines = ["{}({})".format(len(row), " ".join(map(str, row))) for row in rows]
        body = f"{len(rows)}\n(\n".encode() + "\n".join(lines).encode() + b"\n)"
        style.put(folder / "faces", "faceList", body)
    style.put(folder / "owner", "labelList", style.labels(own))
    style.put(folder / "neighbour", "labelList", style.labels(other[other >= 0]))
    text = f"{len(patches)}\n(\n"
    for k, (name, (kind, _)) in enumerate(patches.items()):
        found = np.flatnonzero(part == k)
        start = int(found[0]) if len(found) else len(part)
        group = kind.split(";")[0]
        text += f"    {name}\n    {{\n        type {kind}; // of it\n        inGroups 1({group});\n"
        text += f"        nFaces {len(found)};\n        startFace {start};\n    }}\n"
    style.put(folder / "boundary", "polyBoundaryMesh", (text + ")").encode(), binary=False)


def write_field(
    case: Path,
    time: str,
    name: str,
    values: np.ndarray,
    boundary: Mapping[str, bytes | str | np.ndarray] | None = None,
    style: Style = Style(),
) -> None:
    """Write a cell field; of a patch either its entries, or its values."""
    kind = "scalar" if values.ndim == 1 else "vector"
    body = b"dimensions [0 1 -1 0 0 0 0];\n\ninternalField nonuniform List<%s> \n" % kind.encode()
    body += style.rows(values) + b"\n;\n\nboundaryField\n{\n"
    for patch, given in (boundary or {}).items():
        if isinstance(given, np.ndarray):
            rows = b"type fixedValue;\n value nonuniform List<%s> " % kind.encode()
            entry = rows + style.rows(given) + b";"
        else:
            entry = given.encode() if isinstance(given, str) else given
        body += f"    {patch}\n    {{\n        ".encode() + entry + b"\n    }\n"
    style.put(case / time / name, f"vol{kind.capitalize()}Field", body + b"}\n")


def side(axis: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Which centres lie on a side of a box."""
    return lambda centre: np.abs(centre[:, axis] - value) < 1e-9


def everywhere(centre: np.ndarray) -> np.ndarray:
    """All of them."""
    return np.ones(len(centre), bool)
