"""Settings of a training run, validated, from Python or from a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class TrainingError(ValueError):
    """A training run that cannot be started or resumed; the message is one sentence."""


class Settings(BaseModel):
    """Base of all settings: unknown names are errors, values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainerSettings(Settings):
    """How to train, whatever is trained.

    Attributes:
        steps: optimiser steps.
        learning_rate: the largest.
        schedule: "onecycle" (rises over the first tenth, falls to zero), "cosine" or "constant".
        weight_decay: of AdamW.
        clip: largest norm of the gradient; 0 switches clipping off.
        ema: decay of the averaged weights that are evaluated and kept; 0 keeps the last ones.
        precision: "float32", or "bfloat16" for autocast products.
        seed: of the weights and of every sample.
        evaluate_every: steps between evaluations on held-out data; a checkpoint is kept at each.
        patience: evaluations without a better score before the run stops; 0 never stops.
        accumulate: samples whose gradients are averaged in one step.
        log_every: steps between rows of the log.
        minutes: the run stops after so long (a checkpoint is kept); 0 is no limit.
    """

    steps: int = Field(2000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(1.0, ge=0)
    ema: float = Field(0.995, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    evaluate_every: int = Field(500, ge=1)
    patience: int = Field(0, ge=0)
    accumulate: int = Field(1, ge=1)
    log_every: int = Field(20, ge=1)
    minutes: float = Field(0.0, ge=0)


S = TypeVar("S", bound=Settings)


def read_settings(path: str | Path, kind: type[S]) -> S:
    """Settings from a YAML file.

    Raises:
        TrainingError: the file is missing, is not YAML, or has a wrong name or value; the message
            says which.
    """
    return parse_settings(read_yaml(path), kind, str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Names and values of a YAML file.

    Raises:
        TrainingError: the file is missing, is not YAML, or holds something else.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise TrainingError(f"cannot read the settings {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise TrainingError(f"{path} is not valid YAML{line}") from error
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise TrainingError(f"{path} must hold names and values, got a {type(content).__name__}")
    return content


def parse_settings(content: dict[str, Any], kind: type[S], where: str = "settings") -> S:
    """Settings from a dictionary; `where` begins the message of an error."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"][:1].lower() + first["msg"][1:]
        if first["type"] == "extra_forbidden":
            message = f"no such setting; there are {', '.join(_names(kind, first['loc']))}"
        raise TrainingError(f"{where}: {name}: {message}") from error


def _names(kind: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the settings beside the one at a place, which goes through unions by their tag."""
    schema: dict[str, Any] = kind.model_json_schema()
    shared, at = schema.get("$defs", {}), schema
    for part in place[:-1]:
        at = at["properties"][part] if "properties" in at else at["discriminator"]["mapping"][part]
        reference = at if isinstance(at, str) else at.get("$ref", "")
        at = shared[reference.rpartition("/")[2]] if reference else at
    return list(at["properties"])
