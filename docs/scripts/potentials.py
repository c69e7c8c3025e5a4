"""Potentials in a shape never seen, trained on one mesh of each shape or on many.

    python docs/scripts/potentials.py [FOLDER [STEPS [SEED...]]]

The table in docs/operators.md: BoundaryValueGNN is trained on squares, disks, plates with a hole
and L-shapes, by default from three seeds, and judged after the last step. Beside it stand the
nearest training case, and a constant. Runs found in the folder are not repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshlearn.fem import recover
from meshlearn.nn import nearest_pairs
from meshlearn.operators import Operator, Variable, resampled
from meshlearn.training.data import Case, Pool
from meshlearn.training.losses import norm, relative_error
from meshlearn.training.operators import OperatorSettings, train_operator

SEEDS = (0, 1, 2)
STEPS = 4000
JUDGED = 40
MESHES: dict[str, dict[str, bool]] = {
    "one of each shape": {"varied": False},
    "each case its own": {},
    "and turned, scaled, refined": {"augment": True},
}
TESTS: dict[str, dict[str, Any]] = {
    "shapes seen": {"test_shapes": ()},
    "U": {},
    "U, 2.3 times the nodes": {"nodes": 700},
    "U, two sources": {"test_sources": (2, 2)},
}


def settings(
    meshes: dict[str, bool], folder: Path, seed: int = 0, steps: int = STEPS
) -> OperatorSettings:
    """Of one run."""
    content = {
        "model": "boundary-value",
        "options": {"width": 48, "blocks": 4},
        "data": {
            "kind": "boundary-value",
            "nodes": 300,
            "boundary": 0.0,  # else u is mostly the value of the boundary
            "gradient": False,
            **meshes,
        },
        "samples": 400,
        "held_out": JUDGED,
        "folder": str(folder / "data"),
        "trainer": {
            "steps": steps,
            "learning_rate": 0.003,
            "ema": 0.99,
            "evaluate_every": steps,  # nothing is chosen by the cases it is judged on
            "seed": seed,
        },
    }
    return OperatorSettings.model_validate(content)


def tests(folder: Path) -> dict[str, Pool]:
    """Cases to judge on, none of them among those of training."""
    data = settings({}, folder).data
    return {
        name: data.model_copy(update=changes).others().pool(JUDGED, folder / "data")
        for name, changes in TESTS.items()
    }


def row(name: str, note: str, pools: dict[str, Pool], answer: Callable[[Case], Tensor]) -> None:
    """Print mean relative L2 errors of u, and of its recovered gradient."""
    cells = []
    for pool in pools.values():
        pairs = torch.tensor([errors(answer(case), case) for case in pool]).mean(dim=0)
        cells.append(" / ".join(f"{100 * value:.1f} %" for value in pairs.tolist()))
    print(f"| {name} | {note} | {' | '.join(cells)} |", flush=True)


def errors(u: Tensor, case: Case) -> list[float]:
    """Of a potential and of its recovered gradient."""
    truth, slope = case.outputs["u"], Variable("gradient", "P1", case.mesh.dim)
    found, exact = (recover(case.mesh, v).gradient for v in (u, truth))
    plain, vector = (norm(case.mesh, v) for v in (Variable("u"), slope))
    return [float(relative_error(u, truth, plain)), float(relative_error(found, exact, vector))]


def learned(model: Operator) -> Callable[[Case], Tensor]:
    """What a trained operator answers."""

    def answer(case: Case) -> Tensor:
        with torch.no_grad():
            return model(case.mesh, case.inputs, case.bcs)["u"]

    return answer


def nearest(train: Pool) -> Callable[[Case], Tensor]:
    """The potential of the training case whose sources are most alike.

    Both domains are brought to the unit box; a node takes the value of the nearest node there.
    """
    known = [(boxed(case), looks(case), case.outputs["u"]) for case in train]

    def answer(case: Case) -> Tensor:
        at, own = boxed(case), looks(case)
        best = (float("inf"), torch.empty(0))
        for place, seen, u in known:
            node = nearest_pairs(place, at, 1)[0]
            gap = float((seen[node] - own).square().mean())
            best = min(best, (gap, u[node]), key=lambda pair: pair[0])
        found = best[1].clone()
        for held in case.bcs["u"]:
            found[held.dofs] = held.values
        return found

    return answer


def boxed(case: Case) -> Tensor:
    """Nodes in the unit box."""
    low, high = case.mesh.pos.amin(dim=0), case.mesh.pos.amax(dim=0)
    return (case.mesh.pos - low) / (high - low)


def looks(case: Case) -> Tensor:
    """Sources at the nodes `[n, 1]`."""
    return resampled(case.mesh, "P0", "P1", case.inputs["f"][:, None])


def main(folder: Path, steps: int, seeds: Sequence[int]) -> None:
    """Train what is missing and print the table."""
    pools = tests(folder)
    print("| meshes of training | seed | " + " | ".join(pools) + " |")
    print("|---" * (2 + len(pools)) + "|")
    for name, meshes in MESHES.items():
        for seed in seeds:
            chosen = settings(meshes, folder, seed, steps)
            _, trained = train_operator(chosen, folder / f"{name.split()[0]}_{steps}_{seed}")
            assert isinstance(trained.model, Operator)
            row(name, str(seed), pools, learned(trained.model))
    train = settings({}, folder).pools()[0]
    row("nearest training case", "", pools, nearest(train))
    row("the case's own mean", "", pools, lambda case: train.baseline(case)["u"])


if __name__ == "__main__":
    place, count, *numbers = [*sys.argv[1:], *("out/potentials", STEPS)[len(sys.argv) - 1 :]]
    main(Path(place), int(count), [int(number) for number in numbers] or SEEDS)
