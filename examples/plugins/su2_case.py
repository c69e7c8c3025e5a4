"""SU2: the mesh of a configuration, adapted between runs (needs SU2_CFD and a case in case.cfg)."""

from meshlearn.plugins import su2

report = su2.adapt("case.cfg", "Mach", solver="SU2_CFD case.cfg", iterations=3, timeout=7200)
for run in report.runs:
    print(f"{run.log}: {run.seconds:.0f} s")
print("estimated errors:", report.adaptation.estimates)
print("last lift:", su2.history("case.cfg")["CL"][-1])
