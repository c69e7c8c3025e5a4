"""Checkpoints that are whole or absent: written beside, then renamed."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ..mesh.files.replacing import replacing
from .settings import TrainingError

_VERSION = 1
DAMAGED = (RuntimeError, EOFError, ValueError, KeyError, UnpicklingError)
"""What `torch.load` raises on a file that is cut off or is something else."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a dictionary of tensors, numbers, strings and state dictionaries."""
    with replacing(path) as temporary:
        torch.save({"version": _VERSION, **state}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote; only tensors and plain values are read, no code is run.

    Raises:
        TrainingError: no such file, not a checkpoint, or one of another version.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except DAMAGED as error:
        raise TrainingError(f"{path} is not a checkpoint, or is damaged: remove it") from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise TrainingError(f"{path} is not a checkpoint of this version of meshlearn: remove it")
    return state
