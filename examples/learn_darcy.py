"""A structure-preserving operator learns Darcy flow through rough rock, boundary values exact.

python examples/learn_darcy.py [OUTPUT.png]

Two short trainings from the same weights: one operator sets the values on the boundary, its twin is
only shown them. The picture is a domain that neither has seen.
"""

from __future__ import annotations

import sys
import tempfile

import torch

from meshlearn.plot import Panel, save
from meshlearn.training import Trainer
from meshlearn.training.operators import (
    OperatorSettings,
    OperatorTask,
    fresh_operator,
)

settings = OperatorSettings.model_validate(
    {
        "data": {"nodes": 100, "variance": 0.5},
        "options": {"width": 16, "blocks": 5, "levels": 3},
        "samples": 48,
        "held_out": 9,
        "trainer": {
            "steps": 240,
            "learning_rate": 0.005,
            "ema": 0.95,
            "evaluate_every": 120,
        },
    }
)
panels = []
with tempfile.TemporaryDirectory() as folder:
    train, held_out = settings.model_copy(update={"folder": f"{folder}/data"}).pools()
    task = OperatorTask(train, held_out)
    case = held_out[2]
    panels.append(Panel(case.mesh, "solved", case.outputs["u"], "u"))
    for boundary in ("exact", "soft"):
        options = {**settings.options, "boundary": boundary}
        model = fresh_operator(settings.model_copy(update={"options": options}), train)
        before = task.evaluate(model)["l2"]
        trained = Trainer(model, task, settings.trainer, f"{folder}/{boundary}").fit()
        print(
            f"{boundary:5}   held-out error {100 * before:.0f} % -> "
            f"{100 * trained.figures['l2']:.0f} %, "
            f"off by {trained.figures['boundary']:.1e} on the boundary"
        )
        with torch.no_grad():
            found = trained.model(case.mesh, case.inputs, case.bcs)["u"]
        panels.append(Panel(case.mesh, f"predicted, boundary {boundary}", found, "u"))
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'learn_darcy.png')}")
