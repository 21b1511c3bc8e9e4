"""Loops of others: several processes by `torchrun`, and Accelerate, with the code on the pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import duda
from tests.docs.test_pages import code

ROOT = Path(__file__).parents[2]

# What the page does, with other models too, and whether all processes have the same in the end.
CHECKS = """
    for method in ("laplace", "variational", "deep-ensemble", "batch-ensemble"):
        torch.manual_seed(0)
        model = duda.METHODS[method].from_factory(make_network, duda.Categorical())
        before = [weight.clone() for weight in model.parameters()]
        train(model, *(part[:100] for part in data.train), epochs=1)
        moved = [not torch.equal(*pair) for pair in zip(before, model.parameters())]
        same = []
        for value in (*model.parameters(), *model.buffers()):
            others = [torch.empty_like(value) for _ in range(2)]
            distributed.all_gather(others, value.detach())
            same.append(torch.equal(*others))
        if rank == 0:
            print(method, all(moved), all(same))
    del model, others
    import gc

    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()
"""


def test_one_model_trains_in_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    before, after = code("several-devices.md").split("    distributed.barrier()", 1)
    script.write_text(before + CHECKS + after.split("destroy_process_group()", 1)[1])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            "--standalone",
            script,
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"accuracy (\S+)", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 0.85
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines()[1:])
    assert len(found) == 4
    assert set(found.values()) == {"True True"}
    model = duda.load(tmp_path / "model.safetensors", page_network())
    assert model.predict(torch.zeros(1, 2)).probs.shape == (1, 2)


def page_network() -> Any:
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(code("several-devices.md"), "several-devices.md", "exec"), names)
    return names["make_network"]


class Accelerator:
    """What the page uses of Accelerate's, on one processor."""

    def __init__(self, mixed_precision: str, cpu: bool) -> None:
        self.steps = 0

    def prepare(self, *parts: Any) -> Any:
        return parts

    def accumulate(self, step: Any) -> AbstractContextManager[None]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        self.steps += 1
        loss.backward()


def run_page(names: dict[str, Any], precision: str) -> None:
    source = code("accelerate.md").replace('mixed_precision="no"', f'mixed_precision="{precision}"')
    exec(compile(source, "accelerate.md", "exec"), names)
    data = duda.datasets.load("two-moons", seed=0)
    assert duda.evaluation.accuracy(names["answer"], data.test[1]) > 0.85


def test_the_page_on_accelerate_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", SimpleNamespace(Accelerator=Accelerator))  # type: ignore[arg-type]
    names: dict[str, Any] = {}
    run_page(names, "no")
    assert names["accelerator"].steps == 10 * len(names["plain"])


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_page_runs_with_accelerate_itself(precision: str) -> None:
    pytest.importorskip("accelerate").state.AcceleratorState._reset_state(True)
    run_page({}, precision)
