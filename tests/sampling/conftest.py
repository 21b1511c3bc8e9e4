"""What tests of captured networks share."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from duda.sampling import executors
from duda.sampling.captures import CapturedRunner


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep which runner made draws."""
    found: list[str] = []
    for kind in (CapturedRunner, executors._Runner):
        run = kind.run

        def noted(self: Any, *given: Any, run: Any = run, kind: Any = kind, **named: Any) -> Tensor:
            found.append(kind.__name__)
            return run(self, *given, **named)

        monkeypatch.setattr(kind, "run", noted)
    return found
