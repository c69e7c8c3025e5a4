"""From settings to weights: what `meshlearn train mover` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...movers.learned import UniversalMover
from ..trainer import Progress, Trained, Trainer
from .universal import MoverSettings, UniversalTask, card, fresh_network

Prepared = Callable[[int, int], None]


def train_mover(
    settings: MoverSettings,
    folder: str | Path,
    *,
    command: str = "",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    tensorboard: bool = False,
) -> tuple[Path, Trained]:
    """Train a universal mover; a run found in `folder` is resumed.

    Args:
        settings: of the run.
        folder: of checkpoint, logs and the weights `universal_{dim}d.safetensors`.
        command: goes into the card.
        prepared: called after each sample made, with how many are done and how many there are.
        progress: called after each step.
        tensorboard: whether to write event files.

    Returns:
        The path of the weights, and the run.

    Raises:
        TrainingError: the folder holds a run with other settings.
    """
    task = UniversalTask(settings)
    for pool in (task.pool, task.held_out):
        pool.prepare(settings.workers, prepared)
    trainer = Trainer(
        fresh_network(settings), task, settings.trainer, folder, tensorboard=tensorboard
    )
    trained = trainer.fit(progress)
    mover = UniversalMover({settings.dim: trained.model})  # type: ignore[dict-item]
    path = Path(folder) / f"universal_{settings.dim}d"
    about = {"command": command, **card(settings, trained.figures, trained.seconds)}
    return mover.save(path, settings.dim, about), trained
