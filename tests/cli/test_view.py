"""`meshlearn view`: pictures that show something, of any mesh."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvista as pv
from command_line import Run

import meshlearn as ml


def assert_shows_something(path: Path) -> None:
    image = pv.read(path).active_scalars
    assert len(image) > 100_000
    assert image.std() > 5, "the picture is blank"


@pytest.mark.parametrize("name", ["unit_square", "box", "cylinder_hex", "channel_cylinder_3d"])
def test_sample_mesh(run: Run, samples: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / f"{name}.png"
    result = run("view", samples / f"{name}.msh", "-o", target)
    assert (result.exit_code, result.stderr) == (0, "")
    assert_shows_something(target)


@pytest.mark.parametrize(
    "options",
    [
        ["--field", "steep"],
        ["--field", "velocity"],
        ["--field", "material"],
        ["--quality", "min_angle"],
    ],
)
def test_coloured(run: Run, square: Path, tmp_path: Path, options: list[str]) -> None:
    target = tmp_path / "picture.png"
    result = run("view", square, *options, "-o", target)
    assert (result.exit_code, result.stderr) == (0, "")
    assert_shows_something(target)


def test_without_a_display(
    run: Run, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("view", square).exit_code == 0
    assert_shows_something(tmp_path / "square.png")


def test_line_and_surface(run: Run, tmp_path: Path) -> None:
    ml.generate.interval(5).write(tmp_path / "line.vtu")
    pos = [[0.0, 0, 0], [1, 0, 0], [0, 1, 1]]
    ml.Mesh.from_cells(pos, {"triangle": [[0, 1, 2]]}).write(tmp_path / "surface.vtu")
    for name in ("line", "surface"):
        assert run("view", tmp_path / f"{name}.vtu", "-o", tmp_path / f"{name}.png").exit_code == 0
        assert_shows_something(tmp_path / f"{name}.png")


@pytest.mark.parametrize(
    "options",
    [
        ["--field", "nothing"],
        ["--quality", "nothing"],
        ["--field", "steep", "--quality", "min_angle"],
        ["-o", "picture.jpg"],
    ],
)
def test_bad_options(run: Run, square: Path, tmp_path: Path, options: list[str]) -> None:
    target = [] if "-o" in options else ["-o", tmp_path / "out" / "picture.png"]
    result = run("view", square, *options, *target)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
