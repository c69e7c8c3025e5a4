"""Settings shared by every test: seeds, threads, off-screen pictures, hypothesis profiles."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import pyvista
import torch
from hypothesis import HealthCheck, settings

pyvista.OFF_SCREEN = True
torch.set_num_threads(1)  # pytest-xdist already fills the cores

# Meshes are built in seconds on a busy machine: a deadline would measure the machine.
settings.register_profile(
    "dev", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, print_blob=True, database=None
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Start every test from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - code under test may use the legacy generator
    torch.manual_seed(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long campaigns unless `-m` names them."""
    if "nightly" in config.getoption("markexpr"):
        return
    long = [item for item in items if item.get_closest_marker("nightly")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
