"""Settings files: defaults, values, and a sentence for each mistake."""

from __future__ import annotations

import pytest

from meshlearn.training import TrainerSettings, TrainingError, read_settings
from meshlearn.training.movers.universal import MoverSettings


def write(tmp_path, text: str):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_values_and_defaults(tmp_path):
    found = read_settings(write(tmp_path, "dim: 3\ntrainer:\n  steps: 7\n"), MoverSettings)
    assert found.dim == 3
    assert found.trainer == TrainerSettings(steps=7)
    assert read_settings(write(tmp_path, ""), MoverSettings) == MoverSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", r"run.yaml: stepz: no such setting; there are dim, width"),
        ("trainer: {steps: 0}", r"run.yaml: trainer.steps: input should be greater"),
        ("dim: [", r"run.yaml is not valid YAML in line 1"),
        ("- 1", r"run.yaml must hold names and values, got a list"),
        ("trainer: {schedule: fast}", r"trainer.schedule: input should be 'onecycle'"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(TrainingError, match=message):
        read_settings(write(tmp_path, text), MoverSettings)


def test_missing_file(tmp_path):
    with pytest.raises(TrainingError, match=r"cannot read the settings .*none.yaml: No such"):
        read_settings(tmp_path / "none.yaml", MoverSettings)
