"""`python -m meshlearn` is `meshlearn`."""

from __future__ import annotations

from .cli import main

main()
