"""Bad input: exactly one sentence on standard error, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Run

import meshlearn as ml

NO_CELLS = """$MeshFormat
2.2 0 8
$EndMeshFormat
$Nodes
1
1 0 0 0
$EndNodes
$Elements
0
$EndElements
"""


@pytest.fixture
def bad(tmp_path: Path, samples: Path, square: Path) -> dict[str, Path]:
    """A file of each kind that cannot be used."""
    folder = tmp_path / "bad"
    folder.mkdir()
    files = {name: folder / name for name in ("cut.msh", "cut.vtu", "nan.vtu", "inverted.vtu")}
    files["cut.msh"].write_bytes((samples / "channel_cylinder.msh").read_bytes()[:20_000])
    files["cut.vtu"].write_bytes(square.read_bytes()[:5_000])
    mesh = ml.read(square)
    pos = mesh.pos.clone()
    pos[7] = torch.nan
    mesh.moved(pos).write(files["nan.vtu"])
    pos = mesh.pos.clone()
    pos[30] = torch.tensor([0.9, 0.9])
    mesh.moved(pos).write(files["inverted.vtu"])
    for name, text in (("no_cells.msh", NO_CELLS), ("not.msh", "hello\n"), ("empty.vtu", "")):
        files[name] = folder / name
        files[name].write_text(text, encoding="utf-8")
    return files | {"none.msh": folder / "none.msh"}


def assert_refused(result: object, *words: str) -> None:
    assert result.exit_code == 2, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    for word in words:
        assert word in line


FILES = {
    "cut.msh": "ends inside",
    "cut.vtu": "ends before",
    "nan.vtu": "node 7",
    "inverted.vtu": "inverted",
    "no_cells.msh": "no cells",
    "not.msh": "not a gmsh mesh",
    "empty.vtu": "cannot read",
    "none.msh": "does not exist",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", ["adapt", "solve", "convert", "view"])
def test_unusable_file(
    run: Run, bad: dict[str, Path], tmp_path: Path, command: str, name: str
) -> None:
    target = tmp_path / "out" / {"adapt": "dir", "view": "p.png"}.get(command, "mesh.vtu")
    output = [target] if command == "convert" else ["-o", target]
    assert_refused(run(command, bad[name], *output), FILES[name])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FILES)
def test_info_of_unusable_file(run: Run, bad: dict[str, Path], name: str) -> None:
    assert_refused(run("info", bad[name]), FILES[name])


ADAPT = {
    "unknown field": (["--field", "nothing"], "'nothing'", "'steep'"),
    "cell field": (["--field", "material"], "cell field"),
    "integer field": (["--field", "number"], "floating-point"),
    "unknown tag": (["--fixed", "nowhere"], "'nowhere'", "'left'"),
    "unknown problem": (["--problem", "nothing"], "'nothing'", "ring"),
    "unknown monitor": (["--monitor", "nothing"], "'nothing'", "hessian"),
    "unknown mover": (["--mover", "nothing"], "'nothing'", "variational"),
    "unknown slide": (["--slide", "up"], "'up'", "flat"),
    "unknown check": (["--allow", "everything"], "'everything'"),
    "unknown repair": (["--repair", "everything"], "'everything'"),
    "both": (["--field", "steep", "--problem", "ring"], "not both"),
    "theta": (["--theta", "2"], "theta"),
    "strength": (["--field", "steep", "--strength", "-1"], "strength"),
    "smoothing": (["--field", "steep", "--smoothing", "-1"], "smoothing"),
    "no moves": (["--iterations", "0"], "--iterations"),
    "moves of a field": (["--field", "steep", "--iterations", "2"], "one move"),
    "not a number": (["--theta", "much"], "--theta"),
    "unknown option": (["--speed", "2"], "--speed", "adapt --help"),
}


@pytest.mark.parametrize("case", ADAPT)
@pytest.mark.parametrize("existing", [False, True], ids=["new folder", "existing folder"])
def test_adapt_options(run: Run, square: Path, tmp_path: Path, case: str, existing: bool) -> None:
    options, *words = ADAPT[case]
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "report.json").write_text("old", encoding="utf-8")
    assert_refused(run("adapt", square, *options, "-o", out), *words)
    if existing:
        assert [file.name for file in out.iterdir()] == ["report.json"]
        assert (out / "report.json").read_text(encoding="utf-8") == "old"
    else:
        assert not out.exists()


def test_field_that_is_not_finite(run: Run, tmp_path: Path) -> None:
    mesh = ml.generate.rectangle(4, 4)
    values = mesh.pos[:, 0].clone()
    values[5] = torch.inf
    mesh.set_field("hot", values, "node")
    mesh.write(tmp_path / "hot.vtu")
    assert_refused(run("adapt", tmp_path / "hot.vtu", "--field", "hot"), "node 5")
    assert not (tmp_path / "hot_adapted").exists()


@pytest.mark.parametrize("command", ["adapt", "solve", "convert", "view", "generate"])
@pytest.mark.parametrize("place", ["below a file", "a folder in the way"])
def test_unwritable_output(
    run: Run, square: Path, tmp_path: Path, command: str, place: str
) -> None:
    name = {"adapt": "dir", "view": "p.png"}.get(command, "mesh.vtu")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    if place == "below a file":
        target = tmp_path / "file" / "deeper" / name
    elif command == "adapt":
        target = tmp_path / "file"
    else:
        target = tmp_path / name
        target.mkdir()
    before = sorted(tmp_path.rglob("*"))
    start = ["generate", "disk"] if command == "generate" else [command, square]
    output = [target] if command == "convert" else ["-o", target]
    assert_refused(run(*start, *output), str(target if place != "below a file" else "file"))
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_folder_in_the_place_of_a_result(run: Run, square: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.json").mkdir(parents=True)
    assert_refused(run("adapt", square, "--field", "steep", "-o", tmp_path / "out"), "report.json")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "arguments", [["adapt"], ["frobnicate"], ["--nothing"], ["info", "a", "b"]]
)
def test_usage(run: Run, arguments: list[str]) -> None:
    assert_refused(run(*arguments), "--help")
