"""Pictures: what they show is in `tests/problems/test_results.py`; here what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshlearn import generate, plot
from meshlearn.mesh import MeshError
from meshlearn.mesh.drawing import Panel, check_png, save

MESH = generate.rectangle(2, 2)


def test_the_public_names_are_these() -> None:
    assert plot.Panel is Panel
    assert plot.save is save


def test_frames_become_a_gif_with_one_colour_scale(tmp_path: Path) -> None:
    frames = [plot.Panel(MESH, "", k * MESH.pos[:, 0], "u") for k in (1.0, 2.0, 4.0)]
    path = plot.animate(frames, tmp_path / "a.gif", milliseconds=40, width=200)
    with Image.open(path) as image:
        assert (image.n_frames, image.width, image.info["duration"]) == (3, 200, 40)
        shown = []
        for k in range(3):
            image.seek(k)
            shown.append(np.asarray(image.convert("RGB"), dtype=int))
    # with scales of their own the three meshes would look alike
    top = image.height // 2
    for one, other in ((0, 1), (1, 2)):
        assert np.abs(shown[one][:top] - shown[other][:top]).mean() > 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_what_is_no_animation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"animations are GIF files, got 'a\.png'"):
        plot.animate([plot.Panel(MESH)], tmp_path / "a.png")
    with pytest.raises(MeshError, match="at least one frame"):
        plot.animate([], tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_a_figure_needs_a_panel(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="at least one panel"):
        save([], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(MeshError, match=r"got 'a\.jpg'; end the name in \.png"):
        check_png(Path("a.jpg"))
    check_png(Path("a.PNG"))


def test_values_must_fit_the_mesh(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"one row a node \(9\) or a cell \(8\), got 3"):
        save([Panel(MESH, values=torch.ones(3))], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_positions_must_be_finite(tmp_path: Path) -> None:
    broken = MESH.moved(torch.full_like(MESH.pos, float("nan")))
    with pytest.raises(MeshError, match="not finite cannot be drawn"):
        save([Panel(broken)], tmp_path / "a.png")


@pytest.mark.parametrize("count", ["num_nodes", "num_cells"])
def test_values_that_are_not_finite_leave_a_picture(count: str, tmp_path: Path) -> None:
    values = torch.ones(getattr(MESH, count))
    values[0] = float("nan")
    assert save([Panel(MESH, "with a hole", values, "u")], tmp_path / "a.png").stat().st_size > 1000
