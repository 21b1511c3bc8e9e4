"""The same random numbers in every run of a test, alone or among others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# A shared machine may take its time; what CI finds must be found again.
settings.register_profile("duda", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("duda")


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("DUDA_DATA")
    if not folder:
        pytest.skip("DUDA_DATA is not set: it names the folder of real data sets.")
    return Path(folder)
