"""How tests run mypy: with a cache in the checkout that stays, apart from that of `make lint`."""

from __future__ import annotations

import os
from pathlib import Path

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "one")  # caches are no place for two at a time
MYPY = {"MYPY_CACHE_DIR": str(Path(__file__).parents[1] / ".mypy_cache" / "tests" / _WORKER)}
