"""The movers that can be trained, by the name that a settings file gives them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ... import __version__
from ...movers.learned import M2N, UM2N, DataFreeMover
from ...movers.learned.one_pass import OnePass
from ..settings import Settings, TrainingError, parse_settings, read_yaml
from ..trainer import Progress, Trained, Trainer
from .data_free import DataFreeSettings, DataFreeTask, refine
from .labelled import M2NSettings, M2NTask, UM2NSettings, UM2NTask
from .run import Prepared, train_mover
from .universal import MoverSettings

BASELINES: dict[str, type[OnePass]] = {"um2n": UM2N, "m2n": M2N, "data-free": DataFreeMover}
"""Published movers, which ship without weights."""
MODELS: dict[str, type[Settings]] = {
    "universal": MoverSettings,
    "um2n": UM2NSettings,
    "m2n": M2NSettings,
    "data-free": DataFreeSettings,
}
"""Settings of a training run by the name of its model; universal where none is given."""
Baseline = UM2NSettings | M2NSettings | DataFreeSettings


def read_mover_settings(path: str | Path) -> MoverSettings | Baseline:
    """Settings of the model that the file names.

    Raises:
        TrainingError: see `training.read_settings`; or an unknown model.
    """
    content = read_yaml(path)
    name = content.pop("model", "universal")
    if not isinstance(name, str) or name not in MODELS:
        raise TrainingError(f"{path}: model: unknown {name!r}; there are {', '.join(MODELS)}")
    return parse_settings(content, MODELS[name], str(path))  # type: ignore[return-value]


def train(
    settings: MoverSettings | Baseline,
    folder: str | Path,
    *,
    command: str = "",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    tensorboard: bool = False,
) -> tuple[Path, Trained]:
    """Train any of the models; arguments, result and errors as `run.train_mover`."""
    if isinstance(settings, MoverSettings):
        return train_mover(
            settings,
            folder,
            command=command,
            prepared=prepared,
            progress=progress,
            tensorboard=tensorboard,
        )
    task = _task(settings)
    for pool in (task.pool, task.held_out):
        pool.prepare(settings.workers, prepared)
    trainer = Trainer(settings.network(), task, settings.trainer, folder, tensorboard=tensorboard)
    trained = trainer.fit(progress)
    if isinstance(task, DataFreeTask):
        trained = refine(task, trained)
    mover = BASELINES[settings.model](trained.model)  # type: ignore[arg-type]
    about = {"command": command, **_card(settings, trained)}
    return mover.save(Path(folder) / settings.model, about), trained


def _task(settings: Baseline) -> UM2NTask | M2NTask | DataFreeTask:
    if isinstance(settings, UM2NSettings):
        return UM2NTask(settings)
    if isinstance(settings, M2NSettings):
        return M2NTask(settings)
    return DataFreeTask(settings)


def _card(settings: Baseline, trained: Trained) -> dict[str, Any]:
    return {
        "version": __version__,
        "data": "unit square, sums of Gaussians (meshlearn.training.movers.labels)",
        "seed": settings.trainer.seed,
        "settings": settings.model_dump(),
        "held_out": {k: v for k, v in trained.figures.items() if math.isfinite(v)},
        "seconds": round(trained.seconds),
    }
