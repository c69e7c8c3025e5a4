"""`meshlearn adapt`: the main job on sample meshes and on stored fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import pyvista as pv
import torch
from command_line import Run, strict_json

import meshlearn as ml
from meshlearn.cli.choices import MONITORS

FILES = {"before_after.png", "report.json"}


def halves(path: Path, *, stacked: bool) -> list[np.ndarray]:
    """The panel before and the panel after of a picture, without the colour bar."""
    image = pv.read(path)
    width, height, _ = image.dimensions
    pixels = image.active_scalars.reshape(height, width, -1)[::-1]
    pixels = pixels[: height - height // 6]
    return np.array_split(pixels, 2, axis=0 if stacked else 1)


@pytest.fixture(scope="module")
def adapted(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Adapt a sample mesh once a module; its output folder and report."""
    done: dict[str, Path] = {}

    def folder(name: str, run: Run) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp(name) / "new" / "out"
            result = run("adapt", samples / f"{name}.msh", "-o", done[name])
            assert (result.exit_code, result.stderr) == (0, "")
            assert "no nodal field" in result.stdout
        return done[name]

    return folder


@pytest.mark.parametrize("name", ["unit_square", "l_shape", "channel_cylinder", "box"])
class TestSampleMeshes:
    def test_only_positions_change(self, adapted: Any, run: Run, samples: Path, name: str) -> None:
        before = ml.read(samples / f"{name}.msh")
        after = ml.read(adapted(name, run) / f"{name}.msh")
        assert len(after.inverted_cells()) == 0
        assert after.moved(before.pos) == before
        assert float(after.volumes().sum()) == pytest.approx(float(before.volumes().sum()), 1e-12)

    def test_files_open_elsewhere(self, adapted: Any, run: Run, samples: Path, name: str) -> None:
        out = adapted(name, run)
        assert {file.name for file in out.iterdir()} == FILES | {f"{name}.msh", f"{name}.vtu"}
        n = ml.read(samples / f"{name}.msh").num_nodes
        grid = pv.read(out / f"{name}.vtu")
        assert grid.n_points == n
        fields = {"u", "exact", "error", "monitor", "displacement"}
        assert fields | {"u_before", "monitor_before"} <= set(grid.point_data.keys())
        assert {"quality", "quality_before"} <= set(grid.cell_data.keys())
        assert grid.point_data["displacement"].shape == (n, 3)
        assert len(meshio.read(out / f"{name}.vtu").points) == n
        assert len(meshio.read(out / f"{name}.msh").points) == n

    def test_format_of_the_input(self, adapted: Any, run: Run, samples: Path, name: str) -> None:
        heads = [
            file.read_bytes()[:21]
            for file in (samples / f"{name}.msh", adapted(name, run) / f"{name}.msh")
        ]
        assert heads[0] == heads[1]  # version, and text or binary

    def test_report(self, adapted: Any, run: Run, name: str) -> None:
        out = adapted(name, run)
        text = (out / "report.json").read_text(encoding="utf-8")
        report = strict_json(text)
        assert report["schema"] == "meshlearn/adapt/1"
        assert report["software"]["meshlearn"] == ml.__version__
        assert str(out) not in text
        assert report["input"]["file"] == f"{name}.msh"
        steps, best = report["steps"], report["best_step"]
        assert [step["inverted_cells"] for step in steps] == [0] * len(steps)
        assert steps[best]["estimate"] == min(step["estimate"] for step in steps)
        assert steps[0]["move"] is None
        assert all(step["move"]["inverted_cells"] == 0 for step in steps[1:])

    def test_picture(self, adapted: Any, run: Run, name: str) -> None:
        long = name == "channel_cylinder"
        before, after = halves(adapted(name, run) / "before_after.png", stacked=long)
        assert before.std() > 5
        assert after.std() > 5


@pytest.mark.parametrize("name", ["unit_square", "l_shape"])
def test_error_falls(adapted: Any, run: Run, name: str) -> None:
    report = strict_json((adapted(name, run) / "report.json").read_text(encoding="utf-8"))
    assert report["reduction"]["l2"] > 2
    assert report["reduction"]["interpolation_l2"] > 2


def test_displacement_leads_back(adapted: Any, run: Run, samples: Path) -> None:
    after = ml.read(adapted("l_shape", run) / "l_shape.vtu")
    before = ml.read(samples / "l_shape.msh")
    assert torch.allclose(after.pos - after.displacement[:, :2], before.pos, atol=1e-14)


def test_text(run: Run, samples: Path, tmp_path: Path) -> None:
    result = run("adapt", samples / "unit_square.msh", "--iterations", 1, "-o", tmp_path / "out")
    for word in ("problem 'ring'", "L2 error", "inverted", "converged", "times smaller", "(best)"):
        assert word in result.stdout


def test_field_is_interpolated(run_json: Run, square: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run_json("adapt", square, "--field", "steep", "-o", out)
    assert report["adapted_to"] == "field 'steep'"
    assert report["best_step"] == 1
    assert report["reduction"]["estimate"] > 1.5
    before, after = ml.read(square), ml.read(out / "square.vtu")
    x, y = after.pos.unbind(dim=1)
    assert float((after.pos - before.pos).norm(dim=1).max()) > 1e-3
    assert torch.allclose(after.linear, 2 * x - y, atol=1e-12)
    assert torch.allclose(after.velocity[:, 0], y, atol=1e-12)
    assert torch.equal(after.number, before.number)
    assert torch.equal(after.material, before.material)
    assert after.facet_tags.keys() == before.facet_tags.keys()
    result = ml.read(out / "square_result.vtu")
    assert torch.equal(result.steep, after.steep)
    assert torch.equal(result.steep_before, before.steep)


def test_several_fields(run_json: Run, square: Path, tmp_path: Path) -> None:
    fields = ("--field", "steep", "--field", "velocity")
    report = run_json("adapt", square, *fields, "-o", tmp_path / "out", "--no-picture")
    assert report["options"]["fields"] == ["steep", "velocity"]
    assert not (tmp_path / "out" / "before_after.png").exists()


def test_only_field_is_the_default(run: Run, samples: Path, tmp_path: Path) -> None:
    mesh = ml.read(samples / "unit_square.msh")
    mesh.set_field("heat", torch.tanh(20 * mesh.pos[:, 0] - 8), "node")
    mesh.write(tmp_path / "one.vtu")
    result = run("adapt", tmp_path / "one.vtu")
    assert "field 'heat'" in result.stdout
    assert (tmp_path / "one_adapted" / "report.json").is_file()


def test_no_improvement_keeps_the_mesh(run: Run, square: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("adapt", square, "--field", "linear", "-o", out)
    assert result.exit_code == 0
    assert "No move lowered the estimated error" in result.stdout
    assert ml.read(out / "square.vtu") == ml.read(square)
    assert strict_json((out / "report.json").read_text(encoding="utf-8"))["best_step"] == 0


@pytest.mark.parametrize("monitor", MONITORS)
def test_every_monitor(run_json: Run, square: Path, tmp_path: Path, monitor: str) -> None:
    settings = ("--monitor", monitor, "--strength", 2, "--smoothing", 0.05, "--theta", 0.2)
    report = run_json(
        "adapt", square, "--field", "steep", *settings, "-o", tmp_path / "out", "--no-picture"
    )
    assert report["steps"][1]["inverted_cells"] == 0
    assert report["steps"][1]["move"]["max_displacement"] > 1e-3


def test_monge_ampere_and_who_moves_where_it_cannot(
    run: Run, square: Path, samples: Path, tmp_path: Path
) -> None:
    options = ("--mover", "monge-ampere", "--iterations", "1", "--problem", "bell")
    fit = run("adapt", square, "-o", tmp_path / "a", *options)
    assert (fit.exit_code, "fell back" in fit.stdout) == (0, False)
    bent = run("adapt", samples / "l_shape.msh", "-o", tmp_path / "b", *options)
    assert bent.exit_code == 0
    said = " ".join(bent.stdout.split())
    assert "Moved by MongeAmpere (fell back to Variational: the domain is not convex)." in said


def test_fixed_and_not_sliding(run: Run, square: Path, tmp_path: Path) -> None:
    before = ml.read(square)
    for options, tag in (
        (("--fixed", "left", "--fixed", "top"), "left"),
        (("--slide", "none"), "boundary"),
    ):
        out = tmp_path / tag
        assert (
            run("adapt", square, "--field", "steep", *options, "-o", out, "--no-picture").exit_code
            == 0
        )
        after = ml.read(out / "square.vtu")
        held = before.tagged_nodes(tag)
        assert torch.equal(after.pos[held], before.pos[held])
        assert not torch.equal(after.pos, before.pos)


def test_repair(run: Run, tmp_path: Path) -> None:
    good = ml.generate.rectangle(6, 6)
    cells = good.cells["triangle"].clone()
    cells[3] = cells[3][[0, 2, 1]]
    bad = ml.Mesh.from_cells(good.pos, {"triangle": cells}, allow=("inverted", "nonmanifold"))
    bad.write(tmp_path / "bad.vtu")
    arguments = ("adapt", tmp_path / "bad.vtu", "-o", tmp_path / "out", "--problem", "smooth")
    assert run(*arguments).exit_code == 2
    assert not (tmp_path / "out").exists()
    assert run(*arguments, "--repair", "inverted", "--no-picture").exit_code == 0
    assert len(ml.read(tmp_path / "out" / "bad.vtu").inverted_cells()) == 0


def test_files_of_others_stay(run: Run, square: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    (out / "report.json").write_text("old", encoding="utf-8")
    assert run("adapt", square, "--field", "steep", "-o", out, "--no-picture").exit_code == 0
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert strict_json((out / "report.json").read_text(encoding="utf-8"))["steps"]
    names = {"notes.txt", "report.json", "square.vtu", "square_result.vtu"}
    assert {file.name for file in out.iterdir()} == names


class TestBoundaries:
    def test_curves_layers_and_periodic_sides(self, run: Run, tmp_path: Path) -> None:
        square = ml.generate.rectangle(10, 10)
        high = torch.nonzero(square.centroids()[:, 1] > 0.8).squeeze(1)
        mesh = ml.Mesh.from_cells(
            square.pos,
            square.cells,
            facet_tags=square.facet_tags,
            cell_tags={"layer": high},
            node_fields={"t": torch.tanh(20 * (square.pos[:, 1] - 0.4))},
        )
        mesh.write(tmp_path / "square.vtu")
        options = ("--slide", "curved", "--rigid", "layer", "--periodic", "left:right")
        done = run("adapt", tmp_path / "square.vtu", *options, "-o", tmp_path / "out", "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        used = strict_json(done.stdout)["options"]
        assert used["slide"] == "curved"
        assert used["rigid"] == ["layer"]
        assert used["periodic"] == ["left:right"]
        moved = ml.read(tmp_path / "out" / "square.vtu")
        kept = mesh.tagged_nodes("layer")
        assert torch.equal(moved.pos[kept], mesh.pos[kept])
        left, right = mesh.tagged_nodes("left"), mesh.tagged_nodes("right")
        height = [moved.pos[side][mesh.pos[side, 1].argsort(), 1] for side in (left, right)]
        assert torch.allclose(*height, atol=1e-14)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--rigid", "left"), "rigid names 'left', which is no cell tag"),
            (("--periodic", "left"), "a periodic pair is two tags"),
            (("--periodic", "left:bottom"), "has no partner on 'bottom'"),
        ],
    )
    def test_bad_ones_are_named(
        self, run: Run, tmp_path: Path, options: tuple[str, ...], message: str
    ) -> None:
        ml.generate.rectangle(4, 4).write(tmp_path / "square.vtu")
        done = run("adapt", tmp_path / "square.vtu", *options, "-o", tmp_path / "out")
        assert done.exit_code == 2
        assert message in done.stderr
