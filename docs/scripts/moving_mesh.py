"""A moving-mesh solver against itself on a mesh that stays: a table in docs/learned_movers.md.

    python docs/scripts/moving_mesh.py [FOLDER]

Burgers' equations with fronts, and the wake of a cylinder. Both solvers are the same module with as
many parameters, trained for as many steps from the same three seeds; they return the change over a
time step. Errors are those of `training.evolution.errors_in_time`, mean over the held-out runs;
given are mean, least and largest of the seeds. Runs found in the folder are not repeated.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshlearn.operators import Operator, load_operator
from meshlearn.training.data.trajectories import Trajectories
from meshlearn.training.evolution import EvolutionSettings, EvolutionTask, fresh_evolution
from meshlearn.training.operators import operator_card
from meshlearn.training.rollout import Rollout
from meshlearn.training.trainer import Trainer

SEEDS = (0, 1, 2)
MOVERS = {"moving mesh": "universal", "mesh that stays": "none"}
PROBLEMS: dict[str, dict[str, Any]] = {
    "burgers": {
        "data": {
            "kind": "burgers",
            "nodes": 150,
            "steps": 40,
            "refine": 2,
            "finer": 1,
            "k": (0.004, 0.02),
        },
        "samples": 40,
        "held_out": 10,
        "every": 2,
        "steps": 2000,
        "rate": 0.003,
        "noise": 0.0,
        "shown": (1, 10, 20, 40),
    },
    "wake": {
        "data": {"kind": "cylinder-wake", "nodes": 750, "steps": 60, "refine": 1},
        "samples": 8,
        "held_out": 3,
        "every": 5,
        "steps": 1000,
        "rate": 0.002,
        "noise": 0.02,
        "shown": (1, 10, 50),
    },
}
COMMAND = "python docs/scripts/moving_mesh.py"
ROUNDS, TIMED = 5, 10


def settings(problem: str, mover: str, seed: int, folder: Path) -> EvolutionSettings:
    """Of one run."""
    given = PROBLEMS[problem]
    content = {
        "model": "moving-mesh-solver",
        "options": {"mover": mover, "every": given["every"]},
        "data": given["data"],
        "samples": given["samples"],
        "held_out": given["held_out"],
        "strategy": "residual",
        "noise": given["noise"],
        "folder": str(folder / "data"),
        "trainer": {
            "steps": given["steps"],
            "learning_rate": given["rate"],
            "ema": 0.99,
            "evaluate_every": given["steps"],
            "seed": seed,
        },
    }
    return EvolutionSettings.model_validate(content)


def trained(
    chosen: EvolutionSettings, folder: Path, train: Trajectories, held_out: Trajectories
) -> Operator:
    """The weights in a folder, made if they are missing.

    The pools are shared by all runs of a problem, so that each state is moved once.
    """
    weights = folder / f"{chosen.model}.safetensors"
    if not weights.exists():
        task = EvolutionTask(chosen, train, held_out)
        run = Trainer(fresh_evolution(chosen, train), task, chosen.trainer, folder).fit()
        assert isinstance(run.model, Operator)
        run.model.save(folder / chosen.model, operator_card(chosen, chosen.model, run, COMMAND))
    return load_operator(weights)


def row(name: str, errors: Tensor, shown: tuple[int, ...], note: str = "") -> None:
    """Print mean, least and largest of errors `[seeds, steps]` at some of the steps."""
    cells = []
    for k in shown:
        at = 100 * errors[:, k - 1]
        spread = f" ({float(at.min()):.2f}-{float(at.max()):.2f})" if len(at) > 1 else ""
        cells.append(f"{float(at.mean()):.2f}{spread} %")
    print(f"| {name} |", " | ".join(cells), f"| {note} |", flush=True)


def seconds(models: dict[str, Operator], task: EvolutionTask) -> dict[str, float]:
    """Time of a step of a rollout: least of some rounds, one model after the other in each."""
    run, found = task.held_out[0], dict.fromkeys(models, float("inf"))
    for turn in range(ROUNDS):
        # another start each time: what was moved once would not be moved again
        start = {"u": run.at(0)["u"] * (1 + 1e-4 * (turn + 1))}
        for name, model in models.items():
            rollout = Rollout(model, run.mesh, run.fields, run.bcs, task.settings.stepper)
            begin = time.perf_counter()
            with torch.no_grad():
                for _ in rollout.run(start, run.dt, TIMED):
                    pass
            found[name] = min(found[name], (time.perf_counter() - begin) / TIMED)
    return found


def compare(problem: str, folder: Path) -> None:
    """Train what is missing and print the table of a problem."""
    shown = PROBLEMS[problem]["shown"]
    train, held_out = settings(problem, "none", 0, folder).pools()
    errors: dict[str, list[Tensor]] = {name: [] for name in MOVERS}
    models: dict[str, Operator] = {}
    for seed in SEEDS:
        for name, mover in MOVERS.items():
            chosen = settings(problem, mover, seed, folder)
            place = folder / f"{problem}_{mover}_{seed}"
            models[name] = trained(chosen, place, train, held_out)
            task = EvolutionTask(chosen, train, held_out)
            cases = range(len(held_out))
            mean = torch.stack([task.judge(models[name], k) for k in cases]).mean(dim=0)
            errors[name].append(mean)
            print(f"<!-- {name}, seed {seed}: {[round(float(mean[k - 1]), 5) for k in shown]} -->")
    took = seconds(models, task)
    count = sum(p.numel() for p in models["moving mesh"].parameters())
    print(f"\n| {problem} | " + " | ".join(f"step {k}" for k in shown) + " | one step |")
    print("|---" * (2 + len(shown)) + "|")
    for name in MOVERS:
        note = f"{1000 * took[name]:.0f} ms"
        row(f"{name}, {count:,} parameters", torch.stack(errors[name]), shown, note)
    still = torch.stack([task.persistence(k) for k in cases]).mean(dim=0)
    row("the start, kept", still[None], shown)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "out/moving_mesh")
    for name in PROBLEMS:
        compare(name, place)
