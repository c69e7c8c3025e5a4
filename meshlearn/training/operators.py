"""Training of static operators: settings, the task, and from settings to weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import Field as Setting
from pydantic import field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from .. import __version__
from ..mesh import MeshError
from ..nn.storage import read_card
from ..operators import OPERATORS, Operator, Variable, load_operator
from .data import Case, CaseSettings, Pool
from .losses import Norm, norm, relative_error
from .settings import Settings, TrainerSettings, TrainingError, parse_settings
from .trainer import Progress, Rng, Task, Trained, Trainer

Prepared = Callable[[int, int], None]


class OperatorSettings(CaseSettings):
    """A training run of an operator on cases of a data set, see `CaseSettings`.

    Attributes:
        model: name in `operators.OPERATORS`.
        options: arguments of its class besides inputs and outputs, which are those of the data.
        norm: of the loss, "l2" or "h1" (relative).
        trainer: see `TrainerSettings`.
    """

    model: str = "spon"
    options: dict[str, Any] = Setting(default_factory=dict)
    norm: Literal["l2", "h1"] = "l2"
    trainer: TrainerSettings = TrainerSettings()

    @field_validator("model")
    @classmethod
    def _known(cls, model: str) -> str:
        if model not in OPERATORS:
            known = ", ".join(OPERATORS)
            raise PydanticCustomError("model", "must be one of {known}", {"known": known})
        return model


class OperatorTask(Task):
    """The mean relative error of the outputs, one random case a step.

    Args:
        train: cases to train on.
        held_out: cases to judge on.
        kind: norm of the loss; held-out figures are in both where there are both.
    """

    def __init__(self, train: Pool, held_out: Pool, kind: str = "l2") -> None:
        self.train, self.held_out, self.kind = train, held_out, kind
        self._kept: dict[tuple[int, int, str], Any] = {}

    def loss(self, model: nn.Module, rng: Rng) -> tuple[Tensor, dict[str, float]]:
        """See `Task`."""
        assert isinstance(model, Operator)
        number = int(rng.integers(len(self.train)))
        case = self.train[number]
        given = model.perturbed(case.inputs, rng)
        found = model(case.mesh, given, case.bcs, prepared=self._prepared(model, 0, number, case))
        norms = self._norms(0, number, case, self.kind)
        return _mean_error(found, case, norms), {}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean held-out errors, "score" in the norm of the loss; the worst error on a boundary."""
        assert isinstance(model, Operator)
        rows = [self.judge(model, number) for number in range(len(self.held_out))]
        figures = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        figures["boundary"] = max(row["boundary"] for row in rows)
        return {"score": figures[self.kind], **figures}

    def judge(self, model: Operator, number: int) -> dict[str, float]:
        """Errors of one held-out case: "l2", "h1" (where all outputs have one), "boundary"."""
        case = self.held_out[number]
        with torch.no_grad():
            prepared = self._prepared(model, 1, number, case)
            found = model(case.mesh, case.inputs, case.bcs, prepared=prepared)
        smooth = all(v.element != "P0" for v in self.held_out.outputs)
        row = {
            kind: float(_mean_error(found, case, self._norms(1, number, case, kind)))
            for kind in (("l2", "h1") if smooth else ("l2",))
        }
        return {**row, "boundary": boundary_error(found, case)}

    def plain(self, number: int) -> float:
        """Relative L2 error of the data set's own cheap answer to a held-out case."""
        case = self.held_out[number]
        found = self.held_out.baseline(case)
        return float(_mean_error(found, case, self._norms(1, number, case, "l2")))

    def _prepared(self, model: Operator, side: int, number: int, case: Case) -> Any:
        key = (side, number, "prepared")
        if key not in self._kept:
            self._kept[key] = model.prepare(case.mesh)
        return self._kept[key]

    def _norms(self, side: int, number: int, case: Case, kind: str) -> dict[str, Norm]:
        key = (side, number, kind)
        if key not in self._kept:
            pool = self.held_out if side else self.train
            self._kept[key] = {v.name: norm(case.mesh, v, kind) for v in pool.outputs}
        found: dict[str, Norm] = self._kept[key]
        return found


def boundary_error(found: Mapping[str, Tensor], case: Case) -> float:
    """Largest difference to the Dirichlet values."""
    gaps = [
        (found[name].reshape(-1)[bc.dofs] - bc.values).abs().max()
        for name, conditions in case.bcs.items()
        for bc in conditions
        if len(bc.dofs)
    ]
    return max((float(gap) for gap in gaps), default=0.0)


class ModelSettings(Protocol):
    """What settings of every training of an operator say of the model."""

    @property
    def model(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def trainer(self) -> TrainerSettings: ...


def built(
    settings: ModelSettings, inputs: Sequence[Variable], outputs: Sequence[Variable]
) -> Operator:
    """An untrained operator without scales, from the seed of the run.

    Raises:
        TrainingError: an option that the class does not have.
    """
    torch.manual_seed(settings.trainer.seed)
    try:
        return OPERATORS[settings.model](list(inputs), list(outputs), **settings.options)
    except TypeError as error:
        raise TrainingError(f"options of {settings.model}: {error}") from error


def fresh_operator(settings: OperatorSettings, train: Pool) -> Operator:
    """An untrained operator with the scales of the training data.

    Raises:
        TrainingError: an option that the class does not have.
    """
    model = built(settings, train.inputs, train.outputs)
    model.fit_scales((case.mesh, case.inputs, case.outputs) for case in train)
    return model


def train_operator(
    settings: OperatorSettings,
    folder: str | Path,
    *,
    command: str = "",
    prepared: Prepared | None = None,
    progress: Progress | None = None,
    tensorboard: bool = False,
) -> tuple[Path, Trained]:
    """Train an operator; a run found in `folder` is resumed.

    Args:
        settings: of the run.
        folder: of checkpoint, logs and weights.
        command: goes into the card.
        prepared: called after each case made, with how many are done and how many there are.
        progress: called after each step.
        tensorboard: whether to write event files.

    Returns:
        The path of the weights, and the run.

    Raises:
        TrainingError: an unknown option, or the folder holds a run with other settings.
    """
    train, held_out = settings.pools()
    for pool in (train, held_out):
        pool.prepare(settings.workers, prepared)
    task = OperatorTask(train, held_out, settings.norm)
    model = fresh_operator(settings, train)
    trained = Trainer(model, task, settings.trainer, folder, tensorboard=tensorboard).fit(progress)
    card = operator_card(settings, settings.data.title, trained, command)
    assert isinstance(trained.model, Operator)
    return trained.model.save(Path(folder) / settings.model, card), trained


def operator_card(settings: Settings, title: str, trained: Trained, command: str) -> dict[str, Any]:
    """What is written beside the weights of an operator.

    Args:
        settings: of the run.
        title: of the data.
        trained: the run.
        command: that made it.
    """
    return {
        "version": __version__,
        "command": command,
        "data": title,
        "settings": settings.model_dump(),
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "held_out": {k: v for k, v in trained.figures.items() if math.isfinite(v)},
        "seconds": round(trained.seconds),
    }


def evaluate_operator(
    path: str | Path,
    count: int | None = None,
    nodes: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Errors of trained weights on held-out cases, by kind of case and of "all".

    Args:
        path: of weights that `train_operator` wrote.
        count: cases; as many as were held out in training by default.
        nodes: of the meshes; those of training by default.
        changes: of other settings of the data, by name.

    Returns:
        For each kind: cases, mean and worst relative L2 error, mean H1 error (not a number where
        an output has none), boundary error, and the mean L2 error of the data set's baseline.

    Raises:
        MeshError: no such weights, or a card without the settings of its run.
        TrainingError: `nodes` for a data set whose meshes are what they are.
    """
    model, card = load_operator(path), read_card(path)
    if "settings" not in card:
        raise MeshError(f"the card of {path} has no settings: it does not say its data")
    settings = parse_settings(card["settings"], OperatorSettings, str(path))
    data = settings.data if nodes is None else settings.data.resized(nodes)
    data = parse_settings({**data.model_dump(), **(changes or {})}, type(data), "data")
    update = {"data": data, "held_out": count or settings.held_out}
    task = OperatorTask(*settings.model_copy(update=update).pools(), settings.norm)
    rows: dict[str, list[dict[str, float]]] = {"all": []}
    for number in range(len(task.held_out)):
        row = {**task.judge(model, number), "baseline": task.plain(number)}
        for name in ("all", task.held_out[number].kind):
            rows.setdefault(name, []).append(row)
    return {name: _summary(found) for name, found in rows.items()}


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    errors = torch.tensor([row["l2"] for row in rows])
    return {
        "cases": float(len(rows)),
        "l2_mean": float(errors.mean()),
        "l2_worst": float(errors.max()),
        "h1_mean": sum(row.get("h1", math.nan) for row in rows) / len(rows),
        "boundary": max(row["boundary"] for row in rows),
        "baseline": sum(row["baseline"] for row in rows) / len(rows),
    }


def _mean_error(found: Mapping[str, Tensor], case: Case, norms: Mapping[str, Norm]) -> Tensor:
    parts = [relative_error(found[name], u, norms[name]).mean() for name, u in case.outputs.items()]
    return torch.stack(parts).mean()
