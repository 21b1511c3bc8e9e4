"""Two runs on one checkpoint: the second is refused, and takes nothing from the first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import duda
from tests.training.models import plain, regression

HOLDER = """
import sys, time, torch, duda
from duda.training import Callback
class Slow(Callback):
    def on_epoch_end(self, state):
        print("epoch", flush=True)
        time.sleep(60)
x = torch.randn(9, 3)
model = duda.Deterministic(torch.nn.Linear(3, 2), duda.Gaussian())
duda.fit(model, (x, x[:, :1]), epochs=3, checkpoint=sys.argv[1], callbacks=[Slow()])
"""


def test_a_second_run_on_the_same_path_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "epoch\n"
        content = path.read_bytes()
        writing = path.with_name(f".{path.name}.abcd1234.safetensors")  # as the first would
        writing.write_bytes(b"half")
        told = rf"another run writes `.*run.safetensors` \(process {first.pid} on .*, for \d+ s\)"
        with pytest.raises(OSError, match=told):
            duda.fit(plain(), regression(), epochs=1, checkpoint=path)
        assert writing.read_bytes() == b"half"
        assert path.read_bytes() == content
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    with pytest.raises(ValueError, match="is of another run"):  # the lock died with its owner
        duda.fit(plain(), regression(), epochs=1, checkpoint=path)
    assert os.listdir(tmp_path) == [path.name]
