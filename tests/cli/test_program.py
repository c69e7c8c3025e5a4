"""The program as a whole: help, version, faults, interruption, `python -m meshlearn`."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

import meshlearn as ml
from meshlearn.cli.choices import MONITORS, MOVERS
from meshlearn.mesh import files
from meshlearn.mesh.files import FORMATS
from meshlearn.mesh.quality import QUALITY_MEASURES
from meshlearn.mesh.validate import CHECKS
from meshlearn.problems import PROBLEMS

COMMANDS = ["info", "convert", "generate", "solve", "adapt", "adapt-loop", "view", "serve"]
NAMES = {
    "info": [*QUALITY_MEASURES, *CHECKS],
    "convert": [*FORMATS],
    "generate": ["channel-cylinder"],
    "solve": [*PROBLEMS],
    "adapt": [*PROBLEMS, *MONITORS, *MOVERS, "0.333", "report.json"],
    "adapt-loop": [*MONITORS, *MOVERS, "--solver", "icoFoam"],
    "view": [*QUALITY_MEASURES],
    "serve": ["loopback"],
}


def test_help_lists_the_commands(run: Run) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        result = run(*arguments)
        assert result.exit_code == 0
        listed = result.stdout.partition("Commands")[2]
        places = [listed.index(f" {command} ") for command in COMMANDS]
        assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_there_is(run: Run, command: str) -> None:
    out = run(command, "--help").stdout
    assert "xample" in out or command == "generate"
    for name in NAMES[command]:
        assert name in out
    assert "{" not in out.replace("{MESH}", "").replace("{OUT}", "")


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"meshlearn {ml.__version__}\n"


def raising(error: BaseException) -> Any:
    def read(*arguments: object, **options: object) -> None:
        raise error

    return read


@pytest.mark.parametrize("error", [RuntimeError("a\nb"), ValueError("not ours"), KeyError("c")])
def test_fault_is_one_sentence(
    run: Run, square: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(files, "read", raising(error))
    result = run("info", square)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert type(error).__name__ in line
    assert "--debug" in line


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_where(run: Run, tmp_path: Path, place: str) -> None:
    command = ["info", tmp_path / "none.msh"]
    result = run(*(["--debug", *command] if place == "before" else [*command, "--debug"]))
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_operating_system_error(run: Run, square: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "read", raising(PermissionError(13, "Permission denied", "a.msh")))
    result = run("info", square)
    assert (result.exit_code, result.stderr) == (2, "error: a.msh: Permission denied\n")


def test_interruption_leaves_nothing(
    run: Run, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ml.movers.Variational, "move", raising(KeyboardInterrupt()))
    before = sorted(tmp_path.rglob("*"))
    result = run("adapt", square, "--problem", "ring", "-o", tmp_path / "new" / "out")
    assert (result.exit_code, result.stderr) == (130, "error: interrupted; nothing was written\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_module_runs(samples: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshlearn", "info", samples / "l_shape.msh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "l_shape.msh" in done.stdout


def test_ctrl_c(samples: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "meshlearn", "adapt", samples / "box.msh", "-o", tmp_path / "out"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode in (130, -signal.SIGINT)  # a shell calls both 130
    assert errors == "error: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []
