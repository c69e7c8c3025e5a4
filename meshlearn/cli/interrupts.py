"""Ctrl-C at the wrong moment: VTK crashes when it comes while VTK is being imported."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_CRASHING = ("pyvista", "vtkmodules.vtkIOXML", "vtkmodules.vtkIOLegacy")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if held:
        raise KeyboardInterrupt


def load_vtk() -> None:
    """Import now what could crash later, where files would be left behind."""
    with uninterrupted():
        for name in _CRASHING:
            importlib.import_module(name)
