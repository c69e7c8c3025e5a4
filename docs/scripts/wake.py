"""Rollouts of a cylinder wake against classical predictions: a table in docs/operators.md.

    python docs/scripts/wake.py [FOLDER]

A MeshGraphNet learns the change over a time step, with noise, from ten runs at other Reynolds
numbers. Beside it: the start kept for ever, and the proper orthogonal decomposition of the same
runs (the leading modes of all states) with the linear map that carries its coefficients on best.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from meshlearn.training.data.trajectories import Trajectories, Trajectory
from meshlearn.training.evolution import (
    EvolutionSettings,
    EvolutionTask,
    errors_in_time,
    load_evolution,
    train_evolution,
)
from meshlearn.training.losses import norm

SHOWN = (1, 10, 50, 100)
MODES = (8, 16, 32)


def settings(seed: int, folder: Path) -> EvolutionSettings:
    """Of one run."""
    content = {
        "model": "mesh-graph-net",
        "options": {"width": 32, "blocks": 6, "differences": True},
        "data": {"kind": "cylinder-wake", "nodes": 750, "steps": 110, "refine": 1},
        "samples": 10,
        "held_out": 3,
        "strategy": "residual",
        "noise": 0.02,
        "folder": str(folder / "data"),
        "trainer": {
            "steps": 4000,
            "learning_rate": 0.002,
            "ema": 0.99,
            "evaluate_every": 1000,
            "seed": seed,
        },
    }
    return EvolutionSettings.model_validate(content)


class Modes:
    """Leading modes of runs on one mesh, and the linear map of their coefficients."""

    def __init__(self, runs: Trajectories, count: int) -> None:
        states = [run.states["u"].flatten(1) for run in runs]
        whole = torch.cat(states)
        self.mean = whole.mean(dim=0)
        _, _, modes = torch.linalg.svd(whole - self.mean, full_matrices=False)
        self.modes = modes[:count]
        now, later = (torch.cat([s[part] for s in states]) for part in (slice(-1), slice(1, None)))
        self.map = torch.linalg.lstsq(self.reduced(now), self.reduced(later)).solution

    def reduced(self, states: Tensor) -> Tensor:
        """Coefficients `[k, count]`."""
        return (states - self.mean) @ self.modes.T

    def errors(self, run: Trajectory, steps: int) -> Tensor:
        """Errors of the prediction from the first state, see `errors_in_time`."""
        known = {"u": norm(run.mesh, RUNS.states[0])}
        start, states = run.states["u"][0], []
        now = self.reduced(start.flatten()[None])
        for _ in range(steps):
            now = now @ self.map
            states.append({"u": (self.mean + now @ self.modes).view_as(start)})
        return errors_in_time(run, states, known)


def row(name: str, seed: str, errors: Tensor) -> None:
    """Print mean errors `[steps]`."""
    cells = [f"{100 * float(errors[k - 1]):.1f} %" for k in SHOWN]
    print(f"| {name} | {seed} |", " | ".join(cells), "|", flush=True)


folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/wake")
print("| | seed | " + " | ".join(f"step {k}" for k in SHOWN) + " |")
print("|---" * (2 + len(SHOWN)) + "|")
for seed in (0, 1):
    chosen = settings(seed, folder)
    weights = folder / str(seed) / f"{chosen.model}.safetensors"
    if not weights.exists():
        train_evolution(chosen, folder / str(seed), command="python docs/scripts/wake.py")
    model, _ = load_evolution(weights)
    RUNS, held_out = chosen.pools()
    task = EvolutionTask(chosen, RUNS, held_out)
    cases = range(len(held_out))
    row("MeshGraphNet", str(seed), torch.stack([task.judge(model, k) for k in cases]).mean(dim=0))
row("the start, kept", "", torch.stack([task.persistence(k) for k in cases]).mean(dim=0))
for count in MODES:
    linear = Modes(RUNS, count)
    found = torch.stack([linear.errors(held_out[k], held_out[k].steps) for k in cases])
    row(f"{count} modes and a linear map", "", found.mean(dim=0))
