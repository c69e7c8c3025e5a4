"""The training loop: it learns, resumes bit for bit, stops early, and says what is wrong."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from meshlearn.training import Task, Trainer, TrainerSettings, TrainingError
from meshlearn.training.checkpoint import load_checkpoint, save_checkpoint
from meshlearn.training.trainer import CHECKPOINT


class Line(Task):
    """Fit y = 3 x - 1 from noisy random points."""

    def loss(self, model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        x = torch.from_numpy(rng.normal(size=(16, 1))).float()
        noise = torch.from_numpy(0.01 * rng.normal(size=(16, 1))).float()
        loss = ((model(x) - (3 * x - 1 + noise)) ** 2).mean()
        return loss, {"double": 2 * float(loss.detach())}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        x = torch.linspace(-1, 1, 21)[:, None]
        return {"score": float(((model(x) - (3 * x - 1)) ** 2).mean())}


def line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def settings(**changes: object) -> TrainerSettings:
    base = {"steps": 60, "learning_rate": 0.1, "evaluate_every": 20, "log_every": 1, "ema": 0.9}
    return TrainerSettings.model_validate({**base, **changes})


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_learns_and_leaves_the_given_model_alone(tmp_path):
    model = line()
    before = weights(model).clone()
    trained = Trainer(model, Line(), settings(steps=200), tmp_path).fit()
    assert torch.allclose(weights(trained.model), torch.tensor([3.0, -1.0]), atol=0.05)
    assert torch.equal(weights(model), before)
    assert trained.figures["score"] < 1e-3
    assert trained.reason == "all steps done"


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_resumed_run_is_the_same_bit_for_bit(tmp_path, schedule):
    whole = Trainer(line(), Line(), settings(schedule=schedule), tmp_path / "whole").fit()

    class HaltError(Exception):
        pass

    def interrupt(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 45:
            raise HaltError

    with pytest.raises(HaltError):
        Trainer(line(), Line(), settings(schedule=schedule), tmp_path / "parts").fit(interrupt)
    again = Trainer(line(), Line(), settings(schedule=schedule), tmp_path / "parts")
    resumed = again.fit()
    assert torch.equal(weights(resumed.model), weights(whole.model))
    for name in ("train.csv", "held_out.csv"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_log_has_a_row_for_each_step(tmp_path):
    Trainer(line(), Line(), settings(), tmp_path).fit()
    with (tmp_path / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    assert float(rows[-1]["double"]) == pytest.approx(2 * float(rows[-1]["loss"]))
    assert float(rows[-1]["rate"]) < float(rows[10]["rate"])


def test_patience_stops_and_keeps_the_best(tmp_path):
    class Worse(Line):
        calls = 0

        def evaluate(self, model: nn.Module) -> dict[str, float]:
            self.calls += 1
            return {"score": float(self.calls)}

    trained = Trainer(line(), Worse(), settings(patience=2, steps=1000), tmp_path).fit()
    assert trained.step == 20
    assert trained.reason == "no better score in 2 evaluations"


def test_time_limit_keeps_a_checkpoint(tmp_path):
    trained = Trainer(line(), Line(), settings(steps=10**6, minutes=1e-4), tmp_path).fit()
    assert trained.reason.startswith("stopped after")
    assert load_checkpoint(tmp_path / CHECKPOINT)["step"] == trained.step


def test_accumulated_samples_average(tmp_path):
    class Fixed(Line):
        values = (1.0, 3.0)

        def loss(self, model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict]:
            k = int(rng.integers(2))
            return self.values[k] * model.weight.sum(), {"k": float(k)}

    trainer = Trainer(line(), Fixed(), settings(accumulate=64, steps=1, clip=0.0), tmp_path)
    trainer.fit()
    share = float(csv_column(tmp_path / "train.csv", "k")[0])
    gradient = float(csv_column(tmp_path / "train.csv", "gradient")[0])
    assert gradient == pytest.approx(1 + 2 * share, rel=1e-5)


def csv_column(path, name: str) -> list[str]:
    with path.open() as file:
        return [row[name] for row in csv.DictReader(file)]


def test_bfloat16_trains(tmp_path):
    trained = Trainer(line(), Line(), settings(steps=200, precision="bfloat16"), tmp_path).fit()
    assert trained.figures["score"] < 0.05


def test_another_setting_in_the_folder_is_an_error(tmp_path):
    Trainer(line(), Line(), settings(), tmp_path).fit()
    with pytest.raises(TrainingError, match="another learning_rate"):
        Trainer(line(), Line(), settings(learning_rate=0.2), tmp_path).fit()


def test_another_model_in_the_folder_is_an_error(tmp_path):
    Trainer(line(), Line(), settings(), tmp_path).fit()
    with pytest.raises(TrainingError, match="another model"):
        Trainer(nn.Linear(2, 1), Line(), settings(), tmp_path).fit()


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    class Broken(Line):
        def loss(self, model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict]:
            return model.weight.sum() * math.nan, {}

    with pytest.raises(TrainingError, match="the loss is nan in step 1"):
        Trainer(line(), Broken(), settings(), tmp_path).fit()


def test_damaged_checkpoint_is_an_error(tmp_path):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"step": 1})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged"):
        load_checkpoint(path)
    with pytest.raises(TrainingError, match="cannot read the checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


def test_checkpoint_of_another_version_is_an_error(tmp_path):
    path = tmp_path / CHECKPOINT
    torch.save({"version": 0}, path)
    with pytest.raises(TrainingError, match="version"):
        load_checkpoint(path)


def test_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(path, {"step": 2, "function": lambda: None})
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [CHECKPOINT]
