"""Every mover on every case: writes docs/movers-compared.md and docs/data/movers_compared.json.

    python docs/scripts/movers_compared.py [--only CASE] [--missing | --render | --pictures]

Each mover runs the loop of a user: solve, recover the Hessian, move, four times; the mesh with the
smallest finite-element error is in the table, the unmoved one included. Poisson's equation is
solved with linear elements on the right-hand side that belongs to the case's function.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mover_cases import CASES, Case
from PIL import Image

import meshlearn as ml
from meshlearn.mesh import Mesh, MeshError
from meshlearn.monitors import Hessian
from meshlearn.monitors.solution import HessianKind
from meshlearn.movers import Mover
from meshlearn.plot import Panel, save
from meshlearn.problems import Poisson

DOCS = Path(__file__).parents[1]
OUTER = 4
WIDTH = 900
"""Of a picture, pixels."""


@dataclass(frozen=True)
class Contestant:
    """A mover with the monitor that it is given."""

    title: str
    mover: Callable[[], Mover]
    kind: HessianKind = "l2"
    strength: float = 3.0


def contestants() -> list[Contestant]:
    """All movers that follow a monitor."""
    movers = ml.movers
    found = [
        Contestant("Variational 1/3", movers.Variational),
        Contestant("Variational .1", lambda: movers.Variational(theta=0.1), strength=1.0),
        Contestant("Variational .02", lambda: movers.Variational(theta=0.02), strength=1.0),
        Contestant("Variational 1/3 metric", movers.Variational, "metric", 1.0),
        Contestant("Variational .1 metric", lambda: movers.Variational(theta=0.1), "metric", 1.0),
    ]
    if hasattr(movers, "MongeAmpere"):
        found.append(
            Contestant("MongeAmpere", lambda: movers.MongeAmpere(fallback=None), strength=1.0)
        )
    return [
        *found,
        Contestant("Winslow", movers.Winslow),
        Contestant("Laplacian", movers.Laplacian),
        Contestant("Spring lineal", lambda: movers.Spring("lineal")),
        Contestant("Spring torsional", lambda: movers.Spring("torsional")),
    ]


def loop(
    case: Case, contestant: Contestant, mesh: Mesh | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """The states of the loop with one mover on one case, and what stopped it early."""
    mesh = case.mesh() if mesh is None else mesh
    problem = Poisson.manufactured(case.solution)
    size = float(mesh.volumes().sum() / mesh.num_nodes) ** (1 / mesh.dim)
    current, states = mesh, [_state(problem, mesh, None, 0.0)]
    for k in range(OUTER):
        monitor = Hessian(
            current,
            states[-1]["u"],
            kind=contestant.kind,
            strength=contestant.strength,
            smoothing=size if k == 0 else size / 2,
        )
        begin = time.process_time()
        try:
            result = contestant.mover().move(mesh, monitor, start=current)
        except MeshError as error:
            return states, str(error)
        seconds = time.process_time() - begin
        current = result.mesh
        states.append(_state(problem, current, result.report, seconds))
    return states, None


def run(case: Case, contestant: Contestant, mesh: Mesh | None = None) -> dict[str, Any]:
    """The loop with one mover on one case, as a row of the table."""
    states, failure = loop(case, contestant, mesh)
    best = min(range(len(states)), key=lambda k: states[k]["l2"])
    first, chosen = states[0], states[best]
    last = states[max(best, 1) if len(states) > 1 else 0]
    return ({} if failure is None else {"failure": failure}) | {
        "case": case.name,
        "mover": contestant.title,
        "nodes": first["mesh"].num_nodes,
        "best": best,
        "moves": len(states) - 1,
        "seconds_per_move": sum(s["seconds"] for s in states) / max(len(states) - 1, 1),
        "gain_l2": first["l2"] / chosen["l2"],
        "gain_h1": first["h1"] / chosen["h1"],
        "gain_interpolation_l2": first["interpolation_l2"] / chosen["interpolation_l2"],
        "gain_interpolation_h1": first["interpolation_h1"] / chosen["interpolation_h1"],
        "gain_l2_by_move": [first["l2"] / s["l2"] for s in states[1:]],
        "l2_before": first["l2"],
        "h1_before": first["h1"],
        "report": last["report"],
    }


def draw(case: Case, contestant: Contestant) -> Path:
    """A small picture of the mesh before and of the best one after."""
    states, _ = loop(case, contestant)
    chosen = min(states, key=lambda state: state["l2"])
    panels = [
        Panel(state["mesh"], f"{title}, L2 error {state['l2']:.1e}", state["u"], "u")
        for title, state in (("before", states[0]), (contestant.title, chosen))
    ]
    path = DOCS / "images" / f"compared_{case.name}.png"
    with Image.open(save(panels, path)) as image:
        small = image.convert("RGB").resize((WIDTH, WIDTH * image.height // image.width))
    small.quantize(64).save(path, optimize=True)
    return path


def _state(problem: Poisson, mesh: Mesh, report: Any, seconds: float) -> dict[str, Any]:
    with torch.no_grad():
        solution = problem.solve(mesh)
        found, nodal = solution.errors(), problem.interpolation_errors(mesh)
    return {
        "mesh": mesh,
        "u": solution.u,
        "l2": found["l2"],
        "h1": found["h1"],
        "interpolation_l2": nodal["l2"],
        "interpolation_h1": nodal["h1"],
        "report": None if report is None else report.as_dict(),
        "seconds": seconds,
    }


def cells(row: dict[str, Any]) -> list[str]:
    """What the table says of a row."""
    report = row["report"]
    if report is None:
        return [row["mover"], *["-"] * 7, "failed: " + row["failure"]]
    return [
        row["mover"],
        f"{row['gain_interpolation_l2']:.2f} / {row['gain_interpolation_h1']:.2f}",
        f"{row['gain_l2']:.2f} / {row['gain_h1']:.2f}",
        ", ".join(f"{gain:.2f}" for gain in row["gain_l2_by_move"]),
        f"{report['equidistribution_before']:.2f} → {report['equidistribution_after']:.2f}",
        f"{report['min_quality']:.2f}",
        f"{report['min_volume_ratio']:.3f}",
        f"{row['seconds_per_move']:.2f}",
        remark(row),
    ]


def remark(row: dict[str, Any]) -> str:
    """What went wrong, if anything."""
    report, found = row["report"], []
    if "failure" in row:
        found.append(f"failed at move {row['moves'] + 1}: {row['failure']}")
    if not report["converged"]:
        found.append(report["reason"])
    if report["shortened_nodes"]:
        found.append(f"{report['shortened_nodes']} nodes held back, or the mesh would tangle")
    if row["best"] == 0:
        found.append("no move helped")
    return "; ".join(found)


HEAD = """# Movers compared

<!-- written by docs/scripts/movers_compared.py -->

The table below is the outcome of the loop that a user runs: solve, build a monitor from the
solution's recovered Hessian, move, {outer} times over, each move from where the last one ended. Of
the {states} meshes, the unmoved one included, the one with the smallest L2 error of the
finite-element solution counts. Poisson's equation has the function of the case as its solution;
elements are linear. How much smaller an error became is a factor: above 1 is better than the
unmoved mesh.

- *interpolation*, *FEM*: factor by which the L2 / H1 error of the interpolant and of the
  finite-element solution fell.
- *by move*: the factor of the FEM L2 error after each of the moves.
- *spread*: std/mean of the monitor's share of the cells over their original sizes; 0 is perfect
  equidistribution.
- *quality*: smallest mean ratio of a cell; *volume*: smallest volume of a cell over its original.
- *s*: processor seconds for a move, monitor evaluations included, problem and recovery not; one
  thread of {machine}, other work beside it.

MongeAmpere runs without its fallback (by default it leaves non-convex domains to Variational).

No mover ever returned an inverted cell; what it had to do for that is under *remarks*. Variational
with θ = 1/3, Winslow, Laplacian and the springs follow the density `Hessian(kind="l2",
strength=3)`, θ = 0.1, 0.02 and MongeAmpere the same with strength 1, as they follow it more
closely; "metric" is the anisotropic `kind="metric"` with strength 1. The monitor is smoothed over
the mean distance of nodes before the first move, over half of it later.

All figures are in [movers_compared.json](data/movers_compared.json). One command measures them
again:

```console
$ OMP_NUM_THREADS=1 python docs/scripts/movers_compared.py
```
"""


def page(rows: list[dict[str, Any]]) -> str:
    """The Markdown page."""
    machine = f"a {platform.machine()} machine"
    out = [HEAD.format(outer=OUTER, states=OUTER + 1, machine=machine)]
    head = ["mover", "interpolation", "FEM", "by move", "spread", "quality", "volume", "s"]
    head.append("remarks")
    for case in CASES.values():
        order = [contestant.title for contestant in contestants()]
        mine = [row for row in rows if row["case"] == case.name]
        mine.sort(key=lambda row: order.index(row["mover"]))
        if not mine:
            continue
        first = mine[0]
        out.append(f"## {case.title[0].upper()}{case.title[1:]}\n")
        out.append(
            f"{first['nodes']} nodes; before: L2 error {first['l2_before']:.2e}, H1 error "
            f"{first['h1_before']:.2e}.\n"
        )
        picture = DOCS / "images" / f"compared_{case.name}.png"
        if picture.exists():
            out.append(f"![Before and after]({picture.relative_to(DOCS).as_posix()})\n")
        out.append("| " + " | ".join(head) + " |")
        out.append("|" + "---|" * len(head))
        out += ["| " + " | ".join(cells(row)) + " |" for row in mine]
        out.append("")
    return "\n".join(out)


def plain(value: Any) -> Any:
    """Numbers to four digits; what is not finite by name."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(CASES), help="one case")
    parser.add_argument("--missing", action="store_true", help="what the JSON file lacks only")
    parser.add_argument("--render", action="store_true", help="the page from the JSON file only")
    parser.add_argument("--pictures", action="store_true", help="draw the cases, measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = DOCS / "data" / "movers_compared.json"
    rows = json.loads(data.read_text(encoding="utf-8")) if data.exists() else []
    chosen = [CASES[options.only]] if options.only else list(CASES.values())
    if options.pictures:
        for case in chosen:
            mine = [
                row for row in rows if row["case"] == case.name and "Variational" in row["mover"]
            ]
            winner = max(mine, key=lambda row: float(row["gain_l2"]))["mover"]
            (contestant,) = (c for c in contestants() if c.title == winner)
            if not case.name.endswith("10k"):
                print(draw(case, contestant), flush=True)
    for case in [] if options.render or options.pictures else chosen:
        for contestant in contestants():
            key = (case.name, contestant.title)
            known = [row for row in rows if (row["case"], row["mover"]) == key]
            if known and options.missing:
                continue
            row = plain(run(case, contestant))
            rows = [other for other in rows if other not in known] + [row]
            print(case.name, " | ".join(cells(row)), flush=True)
            data.parent.mkdir(exist_ok=True)
            data.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (DOCS / "movers-compared.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
