"""Training of operators that carry states forward in time, see `rollout`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field as Setting
from torch import Tensor, nn

from ..mesh import MeshError
from ..nn.storage import read_card
from ..operators import OPERATORS, Operator, load_operator
from ..operators.variables import columns_of
from .data.recorded import AnyTrajectories
from .data.trajectories import Trajectories, Trajectory, TrajectorySettings
from .losses import Norm, norm
from .operators import built, operator_card
from .rollout import Rollout, State, Stepper, combined
from .settings import Settings, TrainerSettings, TrainingError, parse_settings
from .trainer import Progress, Rng, Task, Trained, Trainer

Prepared = Callable[[int, int], None]


class EvolutionSettings(Settings):
    """A training run of an operator on trajectories.

    Attributes:
        model: name in `operators.OPERATORS`.
        options: arguments of its class besides inputs and outputs.
        data: of the trajectories.
        samples: trajectories to train on.
        held_out: trajectories to judge on; none is trained on.
        strategy, integrator: see `rollout.Stepper`.
        noise: deviation of what is added to the states read in training, in units of theirs.
        unroll: steps that the model takes by itself in training; 1 is teacher forcing.
        pushforward: whether only the last of these steps has a gradient (Brandstetter, Worrall &
            Welling, "Message passing neural PDE solvers", ICLR 2022).
        curriculum: share of the training over which the steps grow from 1 to `unroll`.
        folder: of the cached trajectories.
        workers: processes that make trajectories.
        trainer: see `TrainerSettings`.
    """

    model: str = "mesh-graph-net"
    options: dict[str, Any] = Setting(default_factory=dict)
    data: AnyTrajectories = TrajectorySettings()
    samples: int = Setting(40, ge=1)
    held_out: int = Setting(8, ge=1)
    strategy: Literal["next", "residual", "derivative"] = "derivative"
    integrator: Literal["euler", "ab2", "heun", "rk4"] = "rk4"
    noise: float = Setting(0.0, ge=0)
    unroll: int = Setting(1, ge=1)
    pushforward: bool = False
    curriculum: float = Setting(0.5, ge=0, le=1)
    folder: str = "out/data"
    workers: int = Setting(1, ge=1)
    trainer: TrainerSettings = TrainerSettings()

    @property
    def stepper(self) -> Stepper:
        """How states are carried on."""
        return Stepper(self.strategy, self.integrator)

    def pools(self) -> tuple[Trajectories, Trajectories]:
        """Trajectories to train on and trajectories held out."""
        return (
            self.data.pool(self.samples, self.folder),
            self.data.others().pool(self.held_out, self.folder),
        )


class EvolutionTask(Task):
    r"""Errors of what the model returns, or of the states it comes to by itself.

    One step: || N(u_k) - target ||^2 / s^2 in L2, with the state, its change or its rate as the
    target and s the deviation of the target in the training data. Several steps: the same of the
    states, over the deviation of their changes: of the last one with `pushforward`, else the mean.

    Args:
        settings: of the run.
        train: trajectories to train on.
        held_out: trajectories to judge on.
    """

    def __init__(
        self, settings: EvolutionSettings, train: Trajectories, held_out: Trajectories
    ) -> None:
        self.settings, self.train, self.held_out = settings, train, held_out
        self._prepared: dict[tuple[int, int], Any] = {}
        self._known: dict[tuple[int, int], dict[str, Norm]] = {}

    @property
    def length(self) -> int:
        """Steps that the model takes by itself now."""
        share = self.progress / self.settings.curriculum if self.settings.curriculum else 1.0
        return 1 + math.floor(min(share, 1.0) * (self.settings.unroll - 1) + 1e-9)

    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """See `Task`."""
        assert isinstance(model, Operator)
        number, count = int(rng.integers(len(self.train))), self.length
        run = self.train[number]
        rollout, norms = self._ready(model, 0, number, run)
        last = run.steps - max(count, 1)
        k = int(rng.integers(1, last)) if last > 1 else 1
        start = run.at(k)
        if model.every and count == 1:
            # as in a rollout from the first state: not after every step, and free of noise
            rollout.follow(run.at(k - k % model.every))
        if self.settings.noise:
            start = model.with_noise(start, self.settings.noise, rng)
        # the columns of a log do not change on the way
        figures = {"unrolled": float(count)} if self.settings.unroll > 1 else {}
        if count == 1:
            found = rollout.answer(start, k * run.dt, run.dt)
            wanted = target(run, k, self.settings.strategy)
            return self._scaled(model, norms, found, wanted), figures
        free = count - 1 if self.settings.pushforward else 0
        with torch.no_grad():
            start = [start, *rollout.run(start, run.dt, free, k * run.dt)][-1]
        errors = []
        for j, state in enumerate(rollout.run(start, run.dt, count - free, (k + free) * run.dt), 1):
            errors.append(self._scaled(model, norms, state, run.at(k + free + j), run.dt))
        return torch.stack(errors).mean(), figures

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Relative L2 error of whole rollouts, "score" the mean over time; see `errors_in_time`."""
        assert isinstance(model, Operator)
        rows = torch.stack([self.judge(model, number) for number in range(len(self.held_out))])
        mean = rows.mean(dim=0)
        return {"score": float(mean.mean()), "first": float(mean[0]), "last": float(mean[-1])}

    def judge(
        self, model: Operator, number: int, stepper: Stepper | None = None, finer: int = 1
    ) -> Tensor:
        """Errors of the rollout of one held-out trajectory at each of its steps `[steps]`.

        Args:
            model: as trained.
            number: of the trajectory.
            stepper: another one than in training.
            finer: steps taken for each state.
        """
        run = self.held_out[number]
        rollout, norms = self._ready(model, 1, number, run)
        if stepper is not None:
            rollout.stepper = stepper
        with torch.no_grad():
            states = list(rollout.run(run.at(0), run.dt / finer, run.steps * finer))
        return errors_in_time(run, states[finer - 1 :: finer], norms)

    def persistence(self, number: int) -> Tensor:
        """The same errors of the start, kept for ever."""
        run = self.held_out[number]
        return errors_in_time(run, [run.at(0)] * run.steps, self._norms(1, number, run))

    def _ready(
        self, model: Operator, side: int, number: int, run: Trajectory
    ) -> tuple[Rollout, dict[str, Norm]]:
        key, stepper = (side, number), self.settings.stepper
        if key not in self._prepared:
            self._prepared[key] = model.prepare(run.mesh)
        rollout = Rollout(model, run.mesh, run.fields, run.bcs, stepper, self._prepared[key])
        return rollout, self._norms(side, number, run)

    def _norms(self, side: int, number: int, run: Trajectory) -> dict[str, Norm]:
        key = (side, number)
        if key not in self._known:
            self._known[key] = {v.name: norm(run.mesh, v) for v in self.train.states}
        return self._known[key]

    def _scaled(
        self,
        model: Operator,
        norms: Mapping[str, Norm],
        found: State,
        wanted: State,
        dt: float | None = None,
    ) -> Tensor:
        """Mean squared error over the domain, in units of the outputs' deviations.

        Args:
            dt: given where states are compared: rates count by the change that they make.
        """
        parts = []
        for variable, own in columns_of(model.outputs):
            scale = model.output_scale[own].double().mean()
            if dt is not None and self.settings.strategy == "derivative":
                scale = dt * scale
            known = norms[variable.name]
            error = (found[variable.name] - wanted[variable.name]).reshape(-1, variable.width)
            domain = known.squared(torch.ones_like(error[:, :1]))
            parts.append((known.squared(error) / (domain * variable.width * scale**2)).mean())
        return torch.stack(parts).mean()


def target(run: Trajectory, k: int, strategy: str) -> State:
    """What a model of a strategy should return for state `k`."""
    if strategy == "derivative":
        return run.rate(k)
    return run.at(k + 1) if strategy == "next" else combined(run.at(k + 1), (-1.0, run.at(k)))


def errors_in_time(run: Trajectory, states: list[State], norms: Mapping[str, Norm]) -> Tensor:
    """L2 errors at each step `[steps]`, over the norm of the start.

    What decays would otherwise be judged by its last traces.
    """
    start = _squared(run.at(0), norms)
    errors = (combined(state, (-1.0, run.at(k))) for k, state in enumerate(states, 1))
    return torch.stack([(_squared(error, norms) / start).sqrt().mean() for error in errors])


def fresh_evolution(settings: EvolutionSettings, train: Trajectories) -> Operator:
    """An untrained operator with the scales of the training data.

    Raises:
        TrainingError: an unknown model, or an option that its class does not have.
    """
    if settings.model not in OPERATORS:
        raise TrainingError(f"model must be one of {', '.join(OPERATORS)}, got {settings.model!r}")
    model = built(settings, [*train.fields, *train.states], train.states)
    model.fit_scales(
        (run.mesh, {**run.fields, **run.at(k)}, target(run, k, settings.strategy))
        for run in train
        for k in range(1, run.steps, max(run.steps // 8, 1))
    )
    return model


def train_evolution(
    settings: EvolutionSettings,
    folder: str | Path,
    *,
    command: str = "",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    tensorboard: bool = False,
) -> tuple[Path, Trained]:
    """Train an operator on trajectories; a run found in `folder` is resumed.

    Args:
        settings: of the run.
        folder: of checkpoint, logs and weights.
        command: goes into the card.
        prepared: called after each trajectory made, with how many are done and how many there are.
        progress: called after each step.
        tensorboard: whether to write event files.

    Returns:
        The path of the weights, and the run.

    Raises:
        TrainingError: an unknown model or option, or a run with other settings in the folder.
    """
    train, held_out = settings.pools()
    for pool in (train, held_out):
        pool.prepare(settings.workers, prepared)
    task = EvolutionTask(settings, train, held_out)
    model = fresh_evolution(settings, train)
    trained = Trainer(model, task, settings.trainer, folder, tensorboard=tensorboard).fit(progress)
    title = f"trajectories of {settings.data.kind} (meshlearn.training.data.trajectories)"
    card = operator_card(settings, title, trained, command)
    assert isinstance(trained.model, Operator)
    return trained.model.save(Path(folder) / settings.model, card), trained


def load_evolution(path: str | Path) -> tuple[Operator, EvolutionSettings]:
    """Weights that `train_evolution` wrote, and the settings of their run.

    Raises:
        MeshError: no such weights, or those of another kind of training.
    """
    return load_operator(path), evolution_settings(path)


def evolution_settings(path: str | Path) -> EvolutionSettings:
    """The settings of the run that gave some weights.

    Raises:
        MeshError: no such weights, or those of another kind of training.
    """
    card = read_card(path)
    if "strategy" not in card.get("settings", {}):
        raise MeshError(f"{path} was not trained on trajectories: its card names no strategy")
    return parse_settings(card["settings"], EvolutionSettings, str(path))


def evaluate_evolution(
    path: str | Path, count: int | None = None, finer: int = 1
) -> list[dict[str, float]]:
    """Mean errors of held-out rollouts at each step, see `errors_in_time`.

    Args:
        path: of weights that `train_evolution` wrote.
        count: trajectories; as many as were held out in training by default.
        finer: steps taken for each step of the data: rates allow it, states and changes do not.

    Returns:
        For each step: its number and time, the error, and that of the start kept for ever.

    Raises:
        MeshError: no such weights, or finer steps of a model of states or changes.
    """
    model, settings = load_evolution(path)
    if finer > 1 and settings.strategy != "derivative":
        raise MeshError(
            f"the model was trained with strategy {settings.strategy!r}, for one time step; only "
            "one of the derivative can take others"
        )
    settings = settings.model_copy(update={"held_out": count or settings.held_out})
    task = EvolutionTask(settings, *settings.pools())
    cases = range(len(task.held_out))
    found = torch.stack([task.judge(model, k, finer=finer) for k in cases]).mean(dim=0)
    still = torch.stack([task.persistence(k) for k in cases]).mean(dim=0)
    dt = settings.data.step
    return [
        {"step": k, "time": k * dt, "error": error, "persistence": kept}
        for k, (error, kept) in enumerate(zip(found.tolist(), still.tolist(), strict=True), 1)
    ]


def _squared(state: State, norms: Mapping[str, Norm]) -> Tensor:
    """Squared norm of all fields together, on each mesh `[graphs]`."""
    parts = [
        norms[name].squared(u.reshape(-1, norms[name].variable.width)) for name, u in state.items()
    ]
    return torch.stack(parts).sum(dim=0)
