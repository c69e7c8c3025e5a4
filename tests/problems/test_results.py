"""Every result draws and writes itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import torch
from torch import Tensor

from meshlearn import problems
from meshlearn.mesh import MeshError, generate
from meshlearn.mesh.files import read
from meshlearn.problems.output import plot_fields, spread

SQUARE = generate.rectangle(4, 4)


def bump(x: Tensor) -> Tensor:
    return torch.exp(-10 * ((x - 0.5) ** 2).sum(dim=1))


def lid(x: Tensor) -> Tensor:
    on = (x[:, 1] > 1 - 1e-9).double()
    return torch.stack([on, 0 * on], dim=1)


RESULTS: dict[str, Callable[[], Any]] = {
    "solution": lambda: problems.Poisson(source=1.0).solve(SQUARE),
    "elastic": lambda: problems.Elasticity(displacements={"left": 0.0}, body=(0, -1)).solve(SQUARE),
    "flow": lambda: problems.Stokes(1.0, {"boundary": lid}).solve(SQUARE),
    "series": lambda: problems.Heat(initial=bump).solve(SQUARE, 0.1, 4, every=2),
    "vectors": lambda: problems.Burgers(
        viscosity=0.1, initial=lambda x: x * 0.1, boundary=lambda x, t: x * 0.1
    ).solve(SQUARE, 0.1, 2, every=1),
    "transport": lambda: problems.swirl(bump).solve(SQUARE, 0.1),
    "waves": lambda: problems.ShallowWater(1.0, bump).solve(SQUARE, 0.1, 4, every=2),
    "flow series": lambda: problems.UnsteadyNavierStokes(
        problems.NavierStokes(1.0, {"boundary": lid})
    ).solve(SQUARE, 0.1, 4, every=2),
}
MANY = ("series", "vectors", "transport", "waves", "flow series")


@cache
def result(name: str) -> Any:
    return RESULTS[name]()


def picture(path: Path) -> Any:
    """Colours between 0 and 1 `[rows, columns, 3]`."""
    image = pv.read(path)
    width, height, _ = image.dimensions
    return image.active_scalars.reshape(height, width, -1)[..., :3] / 255


@pytest.mark.parametrize("name", RESULTS)
def test_it_draws_itself(name: str, tmp_path: Path) -> None:
    path = result(name).plot(tmp_path / "a.png")
    assert path == tmp_path / "a.png"
    image = picture(path)
    assert image.std() > 0.02
    coloured = np.ptp(image, axis=2) > 0.1
    assert coloured.mean() > 0.1


@pytest.mark.parametrize("name", RESULTS)
def test_it_writes_itself(name: str, tmp_path: Path) -> None:
    path = result(name).write(tmp_path / ("a.pvd" if name in MANY else "a.vtu"))
    assert path.exists()
    first = sorted(tmp_path.glob("*.vtu"))[0]
    found = read(first).node_fields
    assert found
    assert all(bool(torch.isfinite(values).all()) for values in found.values())


def test_no_result_is_forgotten() -> None:
    with_files = {
        type_
        for _, type_ in inspect.getmembers(problems, inspect.isclass)
        if hasattr(type_, "write")
    }
    assert with_files
    assert all(hasattr(type_, "plot") for type_ in with_files)
    assert {type(result(name)) for name in RESULTS} >= with_files


@pytest.mark.parametrize(
    ("name", "fields"),
    [("flow", ("speed", "pressure")), ("elastic", ("u", "von_mises"))],
)
def test_fields_are_chosen_by_name(name: str, fields: tuple[str, ...], tmp_path: Path) -> None:
    images = [picture(result(name).plot(tmp_path / f"{f}.png", field=f)) for f in fields]
    assert images[0].shape != images[1].shape or abs(images[0] - images[1]).max() > 0.1
    with pytest.raises(MeshError, match=f"no field 'depth' to plot; there are {fields[0]}"):
        result(name).plot(tmp_path / "b.png", field="depth")


def test_a_body_is_drawn_deformed(tmp_path: Path) -> None:
    still, moved = (picture(result("elastic").plot(tmp_path / "a.png", scale=s)) for s in (0, 0.5))
    assert still.shape != moved.shape or abs(still - moved).max() > 0.1


def test_panels_are_as_many_as_asked_for(tmp_path: Path) -> None:
    one, three = (picture(result("series").plot(tmp_path / "a.png", panels=p)) for p in (1, 3))
    assert three.shape[1] > 1.3 * one.shape[1]
    assert spread(11, 3) == [0, 5, 10]
    assert spread(2, 5) == [0, 1]
    assert spread(7, 1) == [6]


def test_pictures_are_png_files(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"end the name in \.png"):
        result("solution").plot(tmp_path / "a.jpg")
    assert plot_fields(SQUARE, tmp_path / "c.png", {"t": bump(SQUARE.pos)}, "u").exists()
