"""OpenFOAM's own tools and tutorial cases, for the tests that run them."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

PROJECT = Path("/usr/share/openfoam")
TUTORIALS = Path("/usr/share/doc/openfoam-examples/examples")

HEADER = """FoamFile
{{
    version     2.0;
    format      {format};
    class       {kind};
    location    "{location}";
    object      {name};
}}
"""


def run(case: Path, *command: str) -> str:
    """Run a tool in a case and return what it says; a failure is an error."""
    done = subprocess.run(
        command,
        cwd=case,
        env={**os.environ, "WM_PROJECT_DIR": str(PROJECT), "PWD": str(case)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def mesh_is_ok(case: Path, *options: str) -> bool:
    """Whether `checkMesh` passes."""
    return "Mesh OK." in run(case, "checkMesh", *options)


def figure(said: str, pattern: str) -> float:
    """The number after a text in what a tool said."""
    found = re.search(pattern + r"\s*([-+.\deE]+\d)", said)
    assert found, said
    return float(found[1])


def write(path: Path, kind: str, text: str) -> None:
    """A text file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = HEADER.format(format="ascii", kind=kind, location=path.parent.name, name=path.name)
    path.write_text(head + text)


def tutorial(name: str, target: Path) -> Path:
    """A copy of a tutorial case, decompressed."""
    shutil.copytree(TUTORIALS / name, target)
    for path in list(target.rglob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    return target


def cavity(target: Path, *, binary: bool = False, compressed: bool = False) -> Path:
    """The cavity tutorial, solved to t = 0.5."""
    case = tutorial("incompressible/icoFoam/cavity/cavity", target)
    control = case / "system" / "controlDict"
    text = control.read_text()
    if binary:
        text = re.sub(r"writeFormat\s+ascii", "writeFormat binary", text)
    if compressed:
        text = re.sub(r"writeCompression\s+off", "writeCompression on", text)
    control.write_text(re.sub(r"writePrecision\s+6", "writePrecision 16", text))
    run(case, "blockMesh")
    run(case, "icoFoam")
    return case


def cylinder(target: Path) -> Path:
    """The mesh of the cylinder tutorial, for icoFoam: the cylinder is a wall.

    Its vertices are compiled code in the tutorial; here the same numbers stand as text.
    """
    case = tutorial("basic/potentialFoam/cylinder", target)
    shutil.rmtree(case / "0.orig")
    blocks = case / "system" / "blockMeshDict"
    text = blocks.read_text()
    points = re.findall(r"points\[\d+\]\s*=\s*point\(([^)]*)\)", text)
    rows = [tuple(float(x) for x in point.split(",")) for point in points]
    rows += [(x, y, -z) for x, y, z in rows]
    listed = "\n".join(f"({x!r} {y!r} {z!r})" for x, y, z in rows)
    text = re.sub(
        r"vertices #codeStream.*?#\};\s*\};", f"vertices\n(\n{listed}\n);", text, flags=re.DOTALL
    )
    text = re.sub(r"(cylinder\s*\{\s*type) symmetry;", r"\1 wall;", text)
    blocks.write_text(text)
    solver = TUTORIALS / "incompressible/icoFoam/cavity/cavity/system"
    for name in ("fvSchemes", "fvSolution"):
        shutil.copy(solver / name, case / "system" / name)
    write(
        case / "system" / "controlDict",
        "dictionary",
        "application icoFoam; startFrom startTime; startTime 0; stopAt endTime; endTime 0.2;\n"
        "deltaT 0.01; writeControl timeStep; writeInterval 20; writeFormat ascii;\n"
        "writePrecision 16; writeCompression off; timeFormat general; timePrecision 6;\n",
    )
    write(case / "constant" / "transportProperties", "dictionary", "nu [0 2 -1 0 0 0 0] 0.02;\n")
    patches = {
        "down": ("type symmetryPlane;", "type symmetryPlane;"),
        "up": ("type symmetryPlane;", "type symmetryPlane;"),
        "left": ("type fixedValue; value uniform (1 0 0);", "type zeroGradient;"),
        "right": ("type zeroGradient;", "type fixedValue; value uniform 0;"),
        "cylinder": ("type noSlip;", "type zeroGradient;"),
        "defaultFaces": ("type empty;", "type empty;"),
    }
    for k, (name, kind, size, value) in enumerate(
        (
            ("U", "volVectorField", "[0 1 -1 0 0 0 0]", "(1 0 0)"),
            ("p", "volScalarField", "[0 2 -2 0 0 0 0]", "0"),
        )
    ):
        sides = "\n".join(f"{patch} {{ {given[k]} }}" for patch, given in patches.items())
        write(
            case / "0" / name,
            kind,
            f"dimensions {size};\ninternalField uniform {value};\nboundaryField\n{{\n{sides}\n}}\n",
        )
    run(case, "blockMesh")
    return case


def block_case(target: Path, blocks: str) -> Path:
    """A case with a mesh from a blockMeshDict and nothing else."""
    shutil.copytree(TUTORIALS / "incompressible/icoFoam/cavity/cavity/system", target / "system")
    write(target / "system" / "blockMeshDict", "dictionary", blocks)
    run(target, "blockMesh")
    return target
