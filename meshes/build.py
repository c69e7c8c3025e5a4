"""Make every sample mesh again from the .geo file beside it: `python meshes/build.py`.

The first line of a .geo file is the gmsh command that makes its mesh; this script runs it.
Names on the command line choose some of them, `--output` writes elsewhere.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

# gmsh's own launcher, run by this interpreter: the one on the path may be another version.
_GMSH = "import gmsh, sys; gmsh.initialize(sys.argv, run=True); gmsh.finalize()"


def command(geo: Path) -> list[str]:
    """Return the arguments of gmsh from the first line of a .geo file."""
    with geo.open(encoding="utf-8") as lines:
        slashes, program, *arguments = shlex.split(lines.readline())
    if (slashes, program) != ("//", "gmsh"):
        raise ValueError(
            f"{geo.name} must begin with its command, as in: // gmsh -2 a.geo -o a.msh"
        )
    return arguments


def build(geo: Path, output: Path) -> Path:
    """Run gmsh on a .geo file and return the mesh that it wrote into `output`."""
    arguments = command(geo)
    target = output.resolve() / arguments[arguments.index("-o") + 1]
    arguments[arguments.index("-o") + 1] = str(target)
    subprocess.run([sys.executable, "-c", _GMSH, *arguments, "-v", "2"], cwd=geo.parent, check=True)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the meshes that are named, or all."""
    parser = argparse.ArgumentParser(description="Make the sample meshes again with gmsh.")
    parser.add_argument("names", nargs="*", help="meshes to make, without ending; all if none")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to")
    options = parser.parse_args(arguments)
    sources = {geo.stem: geo for geo in sorted(HERE.glob("*.geo"))}
    unknown = [name for name in options.names if name not in sources]
    if unknown:
        parser.error(f"no {unknown[0]}.geo here; there are {', '.join(sources)}")
    for name in options.names or sources:
        target = build(sources[name], options.output)
        sys.stdout.write(f"{target.name}: {target.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
