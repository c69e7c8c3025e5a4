"""Shared by the tests of the command line: the type of the `run` fixture, strict JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]
"""Runs the program with arguments; the result has exit_code, stdout, stderr."""


def strict_json(text: str) -> Any:
    """Parse JSON without NaN and Infinity."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)
