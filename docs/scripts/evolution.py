"""States, changes and rates compared: the table of time-dependent operators in docs/operators.md.

    python docs/scripts/evolution.py [FOLDER]

The same network is trained for the same number of steps to return the next state, the change, and
the rate, from two seeds. Runs found in the folder are not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from meshlearn.training.evolution import (
    EvolutionSettings,
    EvolutionTask,
    load_evolution,
    train_evolution,
)
from meshlearn.training.rollout import STRATEGIES, Stepper

KINDS = ("heat", "burgers")
SEEDS = (0, 1)
SHOWN = (1, 10, 20, 40)


def settings(kind: str, strategy: str, seed: int, folder: Path) -> EvolutionSettings:
    """Of one run."""
    content = {
        "model": "mesh-graph-net",
        "options": {"width": 32, "blocks": 4, "differences": True},
        "data": {"kind": kind, "nodes": 150, "steps": max(SHOWN)},
        "samples": 60,
        "held_out": 12,
        "strategy": strategy,
        "folder": str(folder / "data"),
        "trainer": {
            "steps": 2500,
            "learning_rate": 0.003,
            "ema": 0.99,
            "evaluate_every": 2500,
            "seed": seed,
        },
    }
    return EvolutionSettings.model_validate(content)


def row(name: str, errors: Tensor, note: str = "") -> None:
    """Print the mean errors `[steps]` at some of the steps."""
    cells = [f"{100 * float(errors[k - 1]):.1f} %" for k in SHOWN]
    print(f"| {name} | {note} |", " | ".join(cells), "|", flush=True)


def main(folder: Path) -> None:
    """Train what is missing and print the table."""
    for kind in KINDS:
        print(f"\n| {kind} | seed | " + " | ".join(f"step {k}" for k in SHOWN) + " |")
        print("|---" * (2 + len(SHOWN)) + "|")
        for seed in SEEDS:
            for strategy in STRATEGIES:
                chosen = settings(kind, strategy, seed, folder)
                run = folder / f"{kind}_{strategy}_{seed}"
                weights = run / f"{chosen.model}.safetensors"
                if not weights.exists():
                    train_evolution(chosen, run, command="python docs/scripts/evolution.py")
                model, _ = load_evolution(weights)
                task = EvolutionTask(chosen, *chosen.pools())
                cases = range(len(task.held_out))

                def mean(stepper: Stepper | None = None, finer: int = 1) -> Tensor:
                    found = [task.judge(model, k, stepper, finer) for k in cases]  # noqa: B023
                    return torch.stack(found).mean(dim=0)

                row(strategy, mean(), str(seed))
                if strategy == "derivative":
                    row("derivative, half the time step", mean(finer=2), str(seed))
                    row("derivative, Euler", mean(Stepper("derivative", "euler")), str(seed))
        still = torch.stack([task.persistence(k) for k in cases]).mean(dim=0)
        row("the start, kept", still)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/evolution"))
