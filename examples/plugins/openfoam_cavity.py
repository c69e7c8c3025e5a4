"""The cavity tutorial of OpenFOAM: solve, adapt, check, solve again (needs OpenFOAM)."""

import os
import shutil
import subprocess
from pathlib import Path

from meshlearn.plugins import openfoam

TUTORIALS = "/usr/share/doc/openfoam-examples/examples"  # where Debian has them
os.environ.setdefault("WM_PROJECT_DIR", "/usr/share/openfoam")


def run(tool):
    done = subprocess.run([tool], cwd="cavity", capture_output=True, text=True, check=True)
    return done.stdout


shutil.rmtree("cavity", ignore_errors=True)
shutil.copytree(Path(TUTORIALS) / "incompressible/icoFoam/cavity/cavity", "cavity")
run("blockMesh")
run("icoFoam")
report = openfoam.adapt("cavity", "U", output="constant", slide_patches=["fixedWalls"])
print(f"estimated error {report.estimates[0]:.2e} -> {report.estimates[1]:.2e}")
print({name: f"{value:.3g}" for name, value in report.moves[-1]["check"].items()})
print("checkMesh:", "Mesh OK." if "Mesh OK." in run("checkMesh") else "failed")
run("icoFoam")
