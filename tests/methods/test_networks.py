"""Every method on networks that nobody here wrote: it works, or says which layer it cannot take."""

from __future__ import annotations

import pytest
import torch

import duda
from duda.batches import each_input
from duda.methods import METHODS
from tests.methods.networks import CLASSES, NETWORKS

ROWS = 6
SINGLE = {"deterministic"}  # one answer, which nothing disagrees with

# What cannot be, and what is said about it.
REFUSED = {
    ("duq", "bert"): "`x` is a dict of named inputs, .*give `gradient_penalty=0`",
    ("duq", "unet"): "a UNet, has no `nn.Linear`",
    ("gradient-confidence", "unet"): "a gradient belongs to an example, not to a position",
    ("laplace", "unet"): "a UNet, has no `nn.Linear`",
    ("sde-net", "bert"): "no floating-point input, to which noise could be added",
    ("sde-net", "unet"): "a UNet, has no `nn.Linear`",
    ("test-time-augmentation", "bert"): "no input is floating-point: give `transforms`",
}

PAIRS = [(method, network) for method in METHODS for network in NETWORKS]


@pytest.mark.parametrize(("method", "network"), PAIRS)
def test_trains_and_predicts_or_says_why_not(method: str, network: str) -> None:
    factory, inputs = NETWORKS[network]
    x = inputs(ROWS)
    y = torch.arange(ROWS) % CLASSES
    if network == "unet":
        y = y[:, None, None].expand(ROWS, 8, 8)
    if (method, network) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[method, network]):
            _run(method, factory, x, y)
        return
    model, answer = _run(method, factory, x, y)
    assert answer.probs.shape == (ROWS, CLASSES, *y.shape[1:])
    torch.testing.assert_close(answer.probs.sum(1), torch.ones(y.shape))
    assert torch.equal(model.predict(x, seed=1).probs, answer.probs)
    if method not in SINGLE:
        apart = answer.epistemic
        if method == "test-time-augmentation":  # what versions of an input differ in is aleatoric
            apart = model.predict(x, seed=1, keep_draws=True).draws.std(0)
        assert (apart > 0).any() or isinstance(answer, duda.ScoredClassPrediction)
    alone = model.predict(each_input(x, lambda values: values[:2]), seed=1)
    assert len(alone) == 2
    twice = each_input(x, lambda values: torch.cat([values, values]))
    few = min(4, model.samples)
    draws = model.predict(twice, samples=few, keep_draws=True, joint=True, batch_size=8).draws
    torch.testing.assert_close(draws[:, :ROWS], draws[:, ROWS:], rtol=1e-4, atol=1e-5)


def _run(method, factory, x, y):
    model = METHODS[method].from_factory(factory, duda.Categorical())
    duda.fit(model, (x, y), epochs=4, seed=0, batch_size=3)
    return model, model.predict(x, seed=1)
