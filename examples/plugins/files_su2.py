"""A mesh file of another code, adapted to a solution in a second file; only coordinates change."""

from pathlib import Path

import numpy as np

import meshlearn as ml
from meshlearn.plugins import files

# Stand-ins for what a solver has: its mesh with a comment of the user, and a finer solution.
mesh = ml.generate.rectangle(24, 24)
mesh.write("case.su2")
text = Path("case.su2").read_text()
Path("case.su2").write_text(text.replace("NMARK", "% walls, by hand\nNMARK"))
fine = ml.generate.rectangle(60, 60)
radius = np.hypot(*fine.pos.numpy().T)
fine.set_field("Mach", np.tanh((0.5 - radius) / 0.05), "node")
fine.write("solution.vtu")

report = files.adapt("case.su2", "Mach", field_file="solution.vtu", output="moved.su2")

before, after = (Path(name).read_text().splitlines() for name in ("case.su2", "moved.su2"))
changed = sum(a != b for a, b in zip(before, after, strict=True))
print(f"estimated error {report.estimates[0]:.2e} -> {report.estimates[1]:.2e}")
print(f"{changed} of {len(before)} lines changed, all of them coordinates")
