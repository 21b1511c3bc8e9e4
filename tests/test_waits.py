"""Nobody waits for the device: what is read back from it is read once for a prediction or epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import transfer
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS, UncertainModel
from tests.methods.test_contract import build, network
from tests.pairs import PAIRS, as_targets, takes_labels

SIZE, TARGETS = 8, 3
ASKED: dict[str, dict[str, Any]] = {
    "plain": {},
    "seed": {"seed": 0},
    "draws": {"seed": 0, "keep_draws": True},
    "joint": {"seed": 0, "joint": True},
}
# What is read is one piece at the end. Whether draws are joint is said with draws that are kept, so
# that a pass on copies of an example asks for it, and what is random for each example asks twice
# which axis of a mask is the examples'.
MOST = {"plain": 1, "seed": 1, "draws": 2, "joint": 4}
# What is read once in a training: checks of its first step, and of what a network ends in.
START = 24
# Each method with a likelihood of each kind, each likelihood with a method that draws.
SOME = [p for p in PAIRS if p[0] == "mc-dropout" or p[1] in ("categorical", "fixed-gaussian")]
# What is found by iteration, until a number says that it is near.
ITERATED = {("laplace", "fixed-gaussian")}
# A device without numbers has no generator of torch, which these draw by.
WITHOUT_GENERATORS = [pair for pair in SOME if pair[0] not in ("laplace", "swag")]


class Waits(TorchDispatchMode):
    """Counts the calls for which a host waits for its device; on a CPU they are the same."""

    _NAMES = ("_local_scalar_dense", "equal", "nonzero", "item", "is_nonzero", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        states = name == "equal" and args[0].dtype == torch.uint8  # of generators, on the host
        self.count += name in self._NAMES and not states
        return func(*args, **(kwargs or {}))


@contextmanager
def waits() -> Iterator[Waits]:
    """Count the waits, those of the one function that reads for all among them."""
    with Waits() as found, pytest.MonkeyPatch.context() as patch:
        read = transfer._numbers_on_host

        def counted(values: Tensor) -> list[float]:
            found.count += 1
            return read(values)

        patch.setattr(transfer, "_numbers_on_host", counted)
        yield found


@contextmanager
def unreadable() -> Iterator[list[int]]:
    """Let all that is read be 0, which is no reason to doubt, and note how much it is."""
    found: list[int] = []

    def zeros(values: Tensor) -> list[float]:
        found.append(values.numel())
        return [0.0] * values.numel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_numbers_on_host", zeros)
        patch.setattr(transfer, "numbers_in", lambda tensor: [1.0] * tensor.numel())  # settings
        yield found


def inputs(batches: int) -> Tensor:
    return torch.randn(SIZE * batches, 4, generator=torch.Generator().manual_seed(0))


def untrained(method: str, likelihood: str) -> tuple[UncertainModel, Tensor, Tensor]:
    """Return a model, and inputs and targets of five batches."""
    meaning, x = LIKELIHOODS[likelihood](), inputs(5)
    y = (
        torch.arange(len(x)) % TARGETS
        if takes_labels(meaning)
        else as_targets(meaning, x[:, :TARGETS])
    )
    torch.manual_seed(0)
    return METHODS[method].from_factory(lambda: network(meaning), meaning), x, y


@pytest.mark.parametrize(("method", "likelihood"), SOME)
def test_a_prediction_is_read_once(method: str, likelihood: str) -> None:
    if (method, likelihood) == ("mc-dropout", "quantiles"):
        pytest.skip("quantiles of mixtures are iterated until they stand still, but on a device")
    model = build(method, likelihood)
    model.predict(inputs(1))  # looks at the network's end
    for asked, arguments in ASKED.items():
        for batches in (1, 5):
            with waits() as found:
                model.predict(inputs(batches), batch_size=SIZE, **arguments)
            assert found.count <= MOST[asked]


@pytest.mark.parametrize("kind", ["tensors", "loader"])
@pytest.mark.parametrize(("method", "likelihood"), SOME)
def test_an_epoch_is_read_once(method: str, likelihood: str, kind: str) -> None:
    if (method, likelihood) in ITERATED:
        pytest.skip("its noise is found by iteration")
    counts = []
    for epochs in (1, 3):
        model, x, y = untrained(method, likelihood)
        data = (x, y) if kind == "tensors" else DataLoader(TensorDataset(x, y), SIZE)
        with waits() as found:
            duda.fit(model, data, epochs=epochs, batch_size=SIZE, seed=0)
        counts.append(found.count)
    parts = len(model.independent())
    assert counts[0] <= START * parts
    # A DataLoader reads a seed for its workers, at each start.
    assert (counts[1] - counts[0]) / 2 <= parts * (1 + (kind == "loader"))


@pytest.mark.parametrize(("method", "likelihood"), WITHOUT_GENERATORS)
def test_a_device_that_cannot_be_read(
    method: str, likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads a number of `meta` raises an error, but for what reads for all at the end."""
    monkeypatch.setattr("duda.sampling.captures.plans._SECONDS", math.inf)  # on a slow machine
    model = build(method, likelihood)
    with unreadable() as found:
        model, few = model.to("meta"), min(model.samples, 4)
        model.predict(inputs(1), samples=few)  # looks at the network's end
        for asked, arguments in ASKED.items():
            found.clear()
            answer = model.predict(inputs(2), samples=few, batch_size=SIZE, **arguments)
            assert answer.device.type == "meta"
            assert len(found) <= MOST[asked]


@pytest.mark.parametrize("kind", ["tensors", "loader"])
@pytest.mark.parametrize(("method", "likelihood"), WITHOUT_GENERATORS)
def test_a_training_where_nothing_can_be_read(method: str, likelihood: str, kind: str) -> None:
    model, x, y = untrained(method, likelihood)
    data = (x, y) if kind == "tensors" else DataLoader(TensorDataset(x, y), SIZE)
    with unreadable() as found:
        scale = duda.TargetScale(0.0, 1.0) if model.likelihood.takes_scale else None
        model = model.to("meta")
        duda.fit(model, data, epochs=2, batch_size=SIZE, seed=0, target_scale=scale)
    assert found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("asked", ["plain", "seed"])
@pytest.mark.parametrize(("method", "likelihood"), SOME)
def test_a_gpu_is_waited_for_once(method: str, likelihood: str, asked: str) -> None:
    model, x = build(method, likelihood).cuda(), inputs(6).cuda()
    model.predict(x, batch_size=SIZE, **ASKED[asked])
    read = transfer._numbers_on_host

    def allowed(values: Tensor) -> list[float]:
        torch.cuda.set_sync_debug_mode("default")
        try:
            return read(values)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_numbers_on_host", allowed)
        torch.cuda.set_sync_debug_mode("error")
        try:
            model.predict(x, batch_size=SIZE, **ASKED[asked])
        finally:
            torch.cuda.set_sync_debug_mode("default")
