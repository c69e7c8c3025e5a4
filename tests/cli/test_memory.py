"""`--keep-memory`: the program starts itself again with glibc's settings, once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from meshlearn.cli import main, memory

SHOW = "import sys; from meshlearn.cli import memory; memory.keep_memory(['--version'])"


class StartedError(Exception):
    """In place of the new program."""

    def __init__(self, program: str, command: Sequence[str], environment: dict[str, str]) -> None:
        super().__init__(program)
        self.command, self.environment = list(command), environment


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any) -> None:
        raise StartedError(*arguments)

    for name in (*memory.SETTINGS, "GLIBC_TUNABLES", memory.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "execve", start)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))


@pytest.mark.usefixtures("caught")
def test_same_command_with_the_settings() -> None:
    with pytest.raises(StartedError) as started:
        memory.keep_memory(["info", "mesh.vtu"])
    assert started.value.command == [sys.executable, "-m", "meshlearn", "info", "mesh.vtu"]
    assert started.value.environment.items() >= memory.SETTINGS.items()
    assert "hugetlb=1" in started.value.environment["GLIBC_TUNABLES"]


@pytest.mark.usefixtures("caught")
def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=2")
    found = memory.settings(os.environ)
    assert found["MALLOC_TOP_PAD_"] == "1"
    assert found["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=2"


@pytest.mark.usefixtures("caught")
def test_not_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in memory.SETTINGS.items():
        monkeypatch.setenv(name, value)
    memory.keep_memory([])


@pytest.mark.usefixtures("caught")
def test_elsewhere_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    memory.keep_memory([])
    assert "works with glibc only" in capsys.readouterr().err


@pytest.mark.usefixtures("caught")
def test_arguments_of_main_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[str] | None] = []
    monkeypatch.setattr("meshlearn.cli.keep_memory", seen.append)
    with pytest.raises(SystemExit):
        main(["--keep-memory"])
    monkeypatch.setenv(memory.VARIABLE, "1")
    with pytest.raises(SystemExit):
        main([])
    assert seen == [["--keep-memory"], []]


def test_for_real() -> None:
    bare = {k: v for k, v in os.environ.items() if k not in memory.SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=bare, capture_output=True, text=True, check=True
    )
    glibc = platform.libc_ver()[0] == "glibc"
    assert done.stdout.startswith("meshlearn ") == glibc
