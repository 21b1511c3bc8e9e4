"""Work that is the same for every draw is done once, and memory does not grow with the draws."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import duda
from duda.sampling import HiddenDropout, executors
from tests.sampling.networks import Counter

ROWS, SAMPLES = 6, 50


class Trunk(nn.Module):
    """A trunk and a head with dropout; the ways to write a forward pass differ by `style`."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.style = style
        self.counter = Counter()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.hooked: list[int] = []
        self.conv.register_forward_hook(lambda module, args, out: self.hooked.append(len(out)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(self.counter(x))
        if self.style == "modules":
            h = self.act(self.norm(h))
        elif self.style == "functions":
            h = F.relu(h) + h.sigmoid() * 2
        else:
            h = F.relu(h, inplace=True)
            h += 1
        h = self.dropout(h.mean((2, 3)))
        if self.style == "loop":
            h = h if h.sum() > -1e9 else -h  # data-dependent: vmap gives up
        return self.head(h)


@pytest.mark.parametrize("style", ["modules", "functions", "in place", "loop"])
@pytest.mark.parametrize("chunk", [None, SAMPLES, 8, 1])
def test_the_trunk_runs_once_on_the_batch(style: str, chunk: int | None) -> None:
    net = Trunk(style)
    model = duda.MCDropout(net, duda.Categorical(), samples=SAMPLES)
    x = torch.randn(ROWS, 1, 8, 8)
    model.predict(x, seed=0)  # for the loop, the first prediction also tries vmap
    net.counter.rows.clear()
    net.hooked.clear()
    answer = model.predict(x, seed=0, chunk=chunk)
    assert net.counter.rows == [ROWS]
    assert net.hooked == [ROWS]
    assert (answer.epistemic > 0).all()


def test_each_batch_runs_the_trunk_once() -> None:
    net = Trunk("modules")
    model = duda.MCDropout(net, duda.Categorical(), samples=SAMPLES)
    model.predict(torch.randn(10, 1, 8, 8), batch_size=4, chunk=7)
    assert net.counter.rows == [4, 4, 2]


@pytest.mark.parametrize("style", ["modules", "functions", "in place"])
def test_remembered_trunk_gives_the_values_of_the_plain_network(style: str) -> None:
    net = Trunk(style).eval()
    net.dropout.p = 2.0**-18  # which drops nothing
    x = torch.randn(ROWS, 1, 8, 8)
    before = x.clone()
    with torch.no_grad():
        expected = net(x)
        for vmapped in (True, False):
            runner = executors._Runner(net, x, HiddenDropout, 0, vmapped=vmapped)
            for _ in range(3):
                torch.testing.assert_close(runner.run(0, 1)[0], expected)
    assert torch.equal(x, before)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors alive, and remembers the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.device.type != "meta":
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self.alive:
                    self.alive[key] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, key, None)
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


@pytest.mark.parametrize("style", ["modules", "loop"])
@pytest.mark.parametrize("likelihood", [duda.Categorical(), duda.FixedGaussian()])
def test_memory_does_not_grow_with_the_draws(style: str, likelihood: object) -> None:
    net = Trunk(style)
    model = duda.MCDropout(net, likelihood)
    x = torch.randn(ROWS, 1, 8, 8)
    model.predict(x, seed=0, samples=2)
    peaks = []
    for samples in (50, 1000):
        with LiveBytes() as live:
            model.predict(x, seed=0, samples=samples, chunk=25)
        peaks.append(live.peak)
    assert peaks[0] > x.nbytes
    assert peaks[1] <= 1.2 * peaks[0]


@pytest.mark.parametrize("style", ["modules", "functions", "in place"])
def test_nothing_is_kept_where_all_draws_are_one_pass(style: str) -> None:
    """At the peak there is what a plain pass needs, a copy of the inputs, and little else."""
    net, x = Trunk(style).eval(), torch.randn(64, 1, 32, 32)
    model = duda.MCDropout(net, duda.Categorical(), samples=2)
    model.predict(x, seed=0)
    peaks = []
    for call in (lambda: net(x.clone()), lambda: model.predict(x, seed=0)):
        with torch.no_grad(), LiveBytes() as live:
            call()
        peaks.append(live.peak)
    assert peaks[1] <= peaks[0] + x.nbytes + 2**16


def test_what_was_kept_goes_with_the_prediction() -> None:
    model = duda.MCDropout(Trunk("functions"), duda.Categorical(), samples=10)
    x = torch.randn(ROWS, 1, 8, 8)
    model.predict(x, seed=0)
    while gc.collect():  # what other tests have left may go in several rounds
        pass
    flags = gc.get_debug()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        model.predict(x, seed=0)
        gc.collect()
        left = [tuple(item.shape) for item in gc.garbage if isinstance(item, Tensor)]
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
    assert left == []  # nothing that waits for the collector of cycles


class Named(dict):
    """Outputs with attributes, as those of Hugging Face."""

    @property
    def features(self) -> Tensor:
        return self["features"]


class Twins(nn.Module):
    """Makes each of its calls twice, one of them to write to, and wraps what they give."""

    def __init__(self) -> None:
        super().__init__()
        self.counter, self.layer, self.act = Counter(), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Named:
        x = self.counter(x)
        one, other = self.layer(x), self.layer(x)
        one += 1
        return Named(features=self.act(one) + self.act(other) + torch.zeros(4) + torch.zeros(4))


class Unwrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twins, self.dropout, self.head = Twins(), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.twins(x).features))


@pytest.mark.parametrize("vmapped", [True, False])
def test_a_call_made_twice_in_a_pass_is_shared_like_others(vmapped: bool) -> None:
    net, x = Unwrapped().eval(), torch.randn(ROWS, 4)

    def draws(runners: int) -> list[Tensor]:
        """Return three draws, by one runner, or each by one of its own."""
        made = [executors._Runner(net, x, HiddenDropout, 0, vmapped=vmapped) for _ in range(3)]
        return [made[number % runners].run(number, 1) for number in range(3)]

    with torch.no_grad():
        expected = draws(runners=3)
        net.twins.counter.rows.clear()
        torch.testing.assert_close(draws(runners=1), expected)
    assert net.twins.counter.rows == [ROWS]
