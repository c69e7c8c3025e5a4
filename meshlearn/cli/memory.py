"""Memory settings that must be there before a process starts.

Arrays of hundreds of megabytes come from the system page by page and go back to it when they are
freed; on large meshes the first write to new pages takes as long as the arithmetic. glibc keeps
freed memory for the next array where it is told to: no mapping of single arrays, no return to the
system, growth in large steps, huge pages where the kernel has them. It reads that from the
environment at the start, so the program sets it and starts itself again, in the same process.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence

import typer

VARIABLE = "MESHLEARN_KEEP_MEMORY"
"""Environment variable that asks for it, in place of the option."""

SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(512 << 20),  # address space; pages count when they are written
}
HUGE_PAGES = "glibc.malloc.hugetlb=1"


def keep_memory(arguments: Sequence[str] | None = None) -> None:
    """Start the program again with `SETTINGS`, unless it has them already.

    Args:
        arguments: of the program, without its name; those of this process by default.
    """
    if all(name in os.environ for name in SETTINGS):
        return
    if platform.libc_ver()[0] != "glibc":
        typer.secho(
            "warning: --keep-memory works with glibc only (Linux); going on without it",
            fg="yellow",
            err=True,
        )
        return
    command = [sys.executable, "-m", "meshlearn"]
    command += sys.argv[1:] if arguments is None else list(arguments)
    sys.stdout.flush()
    os.execve(sys.executable, command, settings(os.environ))


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the settings; what the user has set himself stays."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    if "glibc.malloc.hugetlb" not in tunables:
        tunables = ":".join(part for part in (tunables, HUGE_PAGES) if part)
    return {**SETTINGS, **environment, "GLIBC_TUNABLES": tunables}
