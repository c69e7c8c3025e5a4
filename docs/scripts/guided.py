"""Parameters of the equation as masks or as columns: the table of Guided in docs/operators.md.

    python docs/scripts/guided.py [FOLDER]

MeshGraphNet learns the rate of advection and diffusion from trajectories of various diffusivities,
from two seeds: without being told the diffusivity, with it as one more column, and inside Guided.
It is judged on rollouts with values between those of training, and with larger ones. Runs found in
the folder are not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from meshlearn.operators import Operator
from meshlearn.training.evolution import EvolutionSettings, EvolutionTask, fresh_evolution
from meshlearn.training.trainer import Trainer

SEEDS = (0, 1)
STEPS = 2000
JUDGED = 10
TRAINED, LARGER = (0.003, 0.03), (0.03, 0.06)
NET = {"blocks": 4, "differences": True}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "MeshGraphNet, not told": ("mesh-graph-net", {"width": 32, **NET}),
    "MeshGraphNet, one more column": ("mesh-graph-net", {"width": 32, **NET}),
    "Guided MeshGraphNet": (
        "guided",
        {"parameters": ["log_k"], "options": {"width": 31, **NET}, "channels": 16},
    ),
}


def settings(name: str, seed: int, folder: Path) -> EvolutionSettings:
    """Of one run."""
    model, options = MODELS[name]
    content = {
        "model": model,
        "options": options,
        "data": {"kind": "advection-diffusion", "nodes": 150, "steps": 40, "k": TRAINED},
        "samples": 60,
        "held_out": JUDGED,
        "integrator": "heun",
        "folder": str(folder / "data"),
        "trainer": {
            "steps": STEPS,
            "learning_rate": 0.003,
            "ema": 0.99,
            "evaluate_every": STEPS,  # nothing is chosen by the runs it is judged on
            "seed": seed,
        },
    }
    return EvolutionSettings.model_validate(content)


def cells(errors: Tensor) -> str:
    """Mean over time, and the last of errors `[steps]`."""
    return f"{100 * float(errors.mean()):.1f} % | {100 * float(errors[-1]):.1f} %"


def main(folder: Path) -> None:
    """Train what is missing and print the table."""
    print("| | seed | parameters | k as trained, mean | last | larger k, mean | last |")
    print("|---" * 7 + "|")
    for name in MODELS:
        for seed in SEEDS:
            chosen = settings(name, seed, folder)
            train, between = chosen.pools()
            beyond = chosen.data.model_copy(update={"k": LARGER}).others()
            pools = (between, beyond.pool(JUDGED, folder / "data"))
            if name.endswith("not told"):
                train.fields = tuple(v for v in train.fields if v.name != "log_k")
            model = fresh_evolution(chosen, train)
            task = EvolutionTask(chosen, train, between)
            place = folder / f"{list(MODELS).index(name)}_{seed}"
            trained = Trainer(model, task, chosen.trainer, place).fit()
            assert isinstance(trained.model, Operator)
            tasks = [EvolutionTask(chosen, train, pool) for pool in pools]
            found = [cells(mean(task, trained.model)) for task in tasks]
            count = sum(p.numel() for p in model.parameters())
            print(f"| {name} | {seed} | {count:,} | {' | '.join(found)} |", flush=True)
    still = [torch.stack([t.persistence(k) for k in range(JUDGED)]).mean(dim=0) for t in tasks]
    print(f"| the start, kept | | | {' | '.join(cells(errors) for errors in still)} |")


def mean(task: EvolutionTask, model: Operator) -> Tensor:
    """Mean errors at each step `[steps]`."""
    return torch.stack([task.judge(model, k) for k in range(JUDGED)]).mean(dim=0)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/guided"))
