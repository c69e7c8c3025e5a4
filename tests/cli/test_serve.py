"""`meshlearn serve` as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from command_line import Run

from meshlearn.plugins.client import Client

POINTS, CELLS = np.array([[0.0, 0], [1, 0], [0, 1]]), {"triangle": [[0, 1, 2]]}


@contextmanager
def serving(*options: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "meshlearn", "serve", *map(str, options)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    what, _, value = process.stdout.readline().strip().partition(" ")
    return what, value


def test_it_prints_a_port_and_a_token_and_leaves_when_told() -> None:
    with serving("--port", 0) as process:
        (what, port), (other, token) = said(process), said(process)
        assert (what, other) == ("port", "token")
        with Client.connect(int(port), token, timeout=60) as client:
            moved, _ = client.adapt(POINTS, CELLS, monitor=np.ones(3))
        assert (moved == POINTS).all()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_it_removes_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serving("--socket", path) as process:
        assert said(process) == ("socket", str(path))
        with Client.connect(path, timeout=60) as client:
            assert client.version
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not path.exists()


def test_one_place_only(run: Run, tmp_path: Path) -> None:
    result = run("serve", "--socket", tmp_path / "s", "--port", 0)
    assert result.exit_code == 2
    assert "give --socket or --port, not both" in result.stderr


def test_a_person_is_told_what_to_give() -> None:
    inner, outer = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "meshlearn", "serve"],
        stdin=outer,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(inner)
    os.close(outer)
    assert done.returncode == 2
    assert "give --socket or --port to run it by hand" in done.stderr
