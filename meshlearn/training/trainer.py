"""One training loop for everything that is trained: resumable, seeded, and never half-written.

A `Task` gives the loss of a step and the score on held-out data. Whatever is random in it must
come from the generator it is handed, which depends on the seed, the step and the process only: a
run that was interrupted and resumed gives the same weights as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoint import load_checkpoint, save_checkpoint
from .distributed import World, average_gradients, from_first, world
from .logs import Log
from .settings import TrainerSettings, TrainingError

Rng = np.random.Generator
Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each step with its number, how many there are, and the latest figures."""

CHECKPOINT = "checkpoint.pt"


class Task(ABC):
    """What is trained, and on what.

    Attributes:
        progress: share of the training that is done; the trainer sets it before each step.
    """

    progress: float = 0.0

    @abstractmethod
    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """Loss of one random sample (a scalar) and figures for the log."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on held-out data, the same at every call; "score" is the one to make small."""


@dataclass(frozen=True)
class Trained:
    """What a run ended with.

    Attributes:
        model: with the averaged weights of the best score.
        step: of these weights.
        figures: their evaluation.
        reason: why the run stopped.
        seconds: spent in it, earlier parts of a resumed run included.
    """

    model: nn.Module
    step: int
    figures: dict[str, float]
    reason: str
    seconds: float


class Trainer:
    """Trains a model on a task in a folder.

    Args:
        model: its weights at the start; not changed.
        task: loss and evaluation.
        settings: see `TrainerSettings`.
        folder: of checkpoint and logs; a run found there is resumed.
        tensorboard: whether to write event files.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        settings: TrainerSettings,
        folder: str | Path,
        *,
        tensorboard: bool = False,
    ) -> None:
        self.task, self.settings = task, settings
        self.folder = Path(folder)
        self.tensorboard = tensorboard
        self.model = copy.deepcopy(model)
        self.average = copy.deepcopy(model)
        self.best = copy.deepcopy(model.state_dict())
        self.best_step, self.best_figures, self.misses = 0, {"score": math.inf}, 0
        self.step, self.seconds = 0, 0.0
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def fit(self, progress: Progress | None = None) -> Trained:
        """Train until the steps are done, the patience or the time is at its end.

        Returns:
            The best model by the held-out score.

        Raises:
            TrainingError: the folder holds a run with other settings, or the loss is not finite.
        """
        with world() as here:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._resume()
            log = Log(self.folder, tensorboard=self.tensorboard) if here.first else None
            if log:
                log.truncate(self.step)
            begin, earlier = time.perf_counter(), self.seconds
            reason = "all steps done"
            try:
                while self.step < self.settings.steps:
                    figures = self._update(here)
                    self.seconds = earlier + time.perf_counter() - begin
                    if log and self.step % self.settings.log_every == 0:
                        log.write("train", self.step, figures)
                    if progress:
                        progress(self.step, self.settings.steps, figures)
                    late = 0 < self.settings.minutes * 60 < time.perf_counter() - begin
                    late = from_first(late, here)
                    last = late or self.step == self.settings.steps
                    if last or self.step % self.settings.evaluate_every == 0:
                        self._evaluate(log)
                        if here.first:
                            save_checkpoint(self.folder / CHECKPOINT, self._state())
                    if late:
                        reason = f"stopped after {self.settings.minutes:g} minutes"
                        break
                    if 0 < self.settings.patience <= self.misses:
                        reason = f"no better score in {self.misses} evaluations"
                        break
            finally:
                if log:
                    log.close()
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.best)
        return Trained(model, self.best_step, dict(self.best_figures), reason, self.seconds)

    def _update(self, here: World) -> dict[str, float]:
        settings = self.settings
        self.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        rng = np.random.default_rng([settings.seed, self.step, here.rank])
        figures: dict[str, float] = {}
        self.task.progress = self.step / settings.steps
        for _ in range(settings.accumulate):
            with torch.autocast(
                _device(self.model), torch.bfloat16, enabled=settings.precision == "bfloat16"
            ):
                loss, parts = self.task.loss(self.model, rng)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(f"the loss is {value} in step {self.step + 1}: lower the rate")
            (loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            for key, part in {"loss": value, **parts}.items():
                figures[key] = figures.get(key, 0.0) + part / settings.accumulate
        average_gradients(self.model.parameters(), here)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip or math.inf)
        self.optimiser.step()
        figures |= {"gradient": float(norm), "rate": float(self.schedule.get_last_lr()[0])}
        self.schedule.step()
        self.step += 1
        self._follow()
        return figures

    def _follow(self) -> None:
        """Averaged weights; young averages forget faster (Adam's bias, by other means)."""
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, new in zip(
                self.average.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                if mean.is_floating_point() and self.settings.ema > 0:
                    mean.lerp_(new, 1 - decay)
                else:
                    mean.copy_(new)

    def _evaluate(self, log: Log | None) -> None:
        self.average.eval()
        with torch.no_grad():
            figures = self.task.evaluate(self.average)
        if log:
            log.write("held_out", self.step, figures)
        if figures["score"] < self.best_figures["score"]:
            self.best = copy.deepcopy(self.average.state_dict())
            self.best_step, self.best_figures, self.misses = self.step, figures, 0
        else:
            self.misses += 1

    def _rate(self, step: int) -> float:
        share = min(step / self.settings.steps, 1.0)
        if self.settings.schedule == "constant":
            return 1.0
        if self.settings.schedule == "onecycle" and share < 0.1:
            return 0.04 + 0.96 * share / 0.1
        return 0.5 * (1 + math.cos(math.pi * share)) + 1e-4

    def _state(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(),
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best,
            "best_step": self.best_step,
            "best_figures": self.best_figures,
            "misses": self.misses,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = load_checkpoint(path)
        own = self.settings.model_dump()
        # Where a run stops may change; how it got there may not.
        free = {"minutes", "patience", "evaluate_every", "log_every"}
        other = [k for k in own if k not in free and state["settings"].get(k) != own[k]]
        if other:
            raise TrainingError(
                f"{self.folder} holds a run with another {', '.join(other)}: resume it with its "
                f"own settings, or choose another folder"
            )
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise TrainingError(f"{self.folder} holds a run of another model") from error
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        for key in ("best", "best_step", "best_figures", "misses", "step", "seconds"):
            setattr(self, key, state[key])


def _device(model: nn.Module) -> str:
    return next(model.parameters()).device.type
