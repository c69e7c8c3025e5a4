"""`data generate` and `data check`: made once, resumed, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    content = {"data": {"kind": "diffusion", "nodes": 70}, "samples": 3, "held_out": 2}
    path.write_text(yaml.safe_dump(content))
    return path


def test_generated_resumed_checked(run: Run, run_json: Run, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    report: Any = run_json("data", "generate", "--config", config, "-o", out, "--workers", 2)
    assert (report["train"]["made"], report["held_out"]["made"]) == (3, 2)
    assert "random coefficients" in report["data"]
    folder = Path(report["train"]["folder"])
    assert report["train"]["bytes"] == sum(f.stat().st_size for f in folder.glob("*.pt"))
    times = {f: f.stat().st_mtime_ns for f in folder.glob("*.pt")}
    (folder / "000001.pt").unlink()
    text = run("data", "generate", "--config", config, "-o", out).stdout
    assert "train: 3 cases, 1 made now" in text
    assert "held_out: 2 cases, 0 made now" in text
    changed = [f.name for f, t in times.items() if f.stat().st_mtime_ns != t]
    assert changed == ["000001.pt"]
    checked: Any = run_json("data", "check", out)
    assert sorted(row["cases"] for row in checked.values()) == [2, 3]
    assert all(not row[k] for row in checked.values() for k in ("missing", "damaged", "unlisted"))


def test_damage_is_found_and_not_blessed_by_another_run(
    run: Run, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    run("data", "generate", "--config", config, "-o", out)
    first, second = sorted(out.glob("*/000001.pt"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    run("data", "generate", "--config", config, "-o", out)
    second.unlink()
    (second.parent / "000009.pt").write_bytes(b"?")
    result = run("data", "check", out)
    assert result.exit_code == 2
    assert "2 files are missing or damaged (" in result.stderr
    assert "diffusion_seed0" in result.stdout
    second.parent.joinpath("cases.json").write_text("{")
    result = run("data", "check", out)
    assert result.exit_code == 2
    assert "cases.json is damaged: remove it and generate again" in result.stderr
    second.parent.joinpath("cases.json").write_text('{"files": [], "data": ""}')
    assert "is no list of cases" in run("data", "check", out).stderr


def test_the_settings_of_a_training_run_will_do(run_json: Run, tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "model": "diffusion",
        "options": {"width": 8, "steps": 2},
        "data": {"nodes": 70},
        "samples": 2,
        "held_out": 1,
        "folder": str(tmp_path / "data"),
        "trainer": {"steps": 2, "evaluate_every": 2},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    report: Any = run_json("data", "generate", "--config", path, "-o", tmp_path / "data")
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "data").rglob("*.pt")}
    assert len(files) == report["train"]["cases"] + report["held_out"]["cases"] == 3
    run_json("train", "operator", "--config", path, "-o", tmp_path / "run")
    assert files == {f: f.stat().st_mtime_ns for f in (tmp_path / "data").rglob("*.pt")}


def test_bad_input_is_one_sentence(run: Run, tmp_path: Path) -> None:
    result = run("data", "check", tmp_path)
    assert result.exit_code == 2
    assert "no data set that `data generate` made lies in" in result.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text("data: {kind: sand}\n")
    result = run("data", "generate", "--config", bad, "-o", tmp_path / "data")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "'sand' found using 'kind' does not match any of the expected tags: 'darcy'" in line
    bad.write_text("sample: 3\n")
    result = run("data", "generate", "--config", bad, "-o", tmp_path / "data")
    assert "sample: no such setting; there are data, samples" in result.stderr


def test_help(run: Run) -> None:
    assert "diffusion" in run("data", "generate", "--help").stdout
    assert "xample" in run("data", "check", "--help").stdout
