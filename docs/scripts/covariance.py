"""What warped copies of 100 solved cases do to the held-out error: the table in docs/operators.md.

    python docs/scripts/covariance.py [FOLDER]

Each model is trained with and without copies, from two seeds, for the same number of steps. Runs
found in the folder are not repeated.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from meshlearn.training.operators import OperatorSettings, train_operator

SEEDS = (0, 1)
COPIES = (0, 8)
MODELS: dict[str, dict[str, Any]] = {
    "spon": {"processor": "flat", "width": 24, "blocks": 8},
    "gno": {"width": 24, "radius": 0.2},
}


def settings(model: str, copies: int, seed: int, folder: Path) -> OperatorSettings:
    """Of one run."""
    content = {
        "model": model,
        "options": MODELS[model],
        "data": {
            "kind": "covariance",
            "data": {
                "kind": "diffusion",
                "nodes": 100,
                "covariance": "gaussian",
                "variance": 1.0,
                "load": "smooth",
            },
            "copies": copies,
        },
        "samples": 100,
        "held_out": 40,
        "folder": str(folder / "data"),
        "trainer": {
            "steps": 1000,
            "learning_rate": 0.003,
            "ema": 0.99,
            "evaluate_every": 500,
            "seed": seed,
        },
    }
    return OperatorSettings.model_validate(content)


def main(folder: Path) -> None:
    """Train what is missing and print the table."""
    print("| model | seed | 100 cases | 100 cases, 8 copies of each | change |")
    print("|---|---|---|---|---|")
    for model in MODELS:
        for seed in SEEDS:
            errors = []
            for copies in COPIES:
                place = folder / f"{model}_{copies}_{seed}"
                _, trained = train_operator(settings(model, copies, seed, folder), place)
                errors.append(trained.figures["l2"])
            change = 100 * (errors[1] / errors[0] - 1)
            shown = " | ".join(f"{100 * error:.1f} %" for error in errors)
            print(f"| {model} | {seed} | {shown} | {change:+.0f} % |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/covariance"))
