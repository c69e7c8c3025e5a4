"""Training: one loop for movers and operators, its settings, logs and checkpoints."""

from __future__ import annotations

from .settings import Settings, TrainerSettings, TrainingError, read_settings
from .trainer import Task, Trained, Trainer

__all__ = [
    "Settings",
    "Task",
    "Trained",
    "Trainer",
    "TrainerSettings",
    "TrainingError",
    "read_settings",
]
