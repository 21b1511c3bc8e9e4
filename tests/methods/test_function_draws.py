"""Draws of functions: the same curve wherever it is asked for, and what it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.batches import Batch
from duda.methods import Sampler, UncertainModel
from duda.sampling import preserved


def network(outputs: int = 2) -> nn.Module:
    return nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, outputs))


LIKELIHOODS = {
    "classes": (duda.Categorical(), 3, (3,)),
    "gaussian": (duda.Gaussian(), 2, (1,)),
    "quantiles": (duda.Quantiles((0.1, 0.5, 0.9)), 3, (1,)),
    "evidence": (duda.NormalInverseGamma(), 4, (1,)),
}


@pytest.mark.parametrize("case", LIKELIHOODS)
def test_a_curve_is_the_same_in_all_pieces(case: str) -> None:
    likelihood, outputs, shape = LIKELIHOODS[case]
    model = duda.MCDropout(network(outputs), likelihood, samples=9)
    x = torch.linspace(-1, 1, 21)[:, None]
    curves = duda.function_draws(model, x, seed=0)
    assert curves.shape == (9, 21, *shape)
    assert len(curves[:, 0].unique(dim=0)) == 9
    pieces = [duda.function_draws(model, part, 9, 0, chunk=2) for part in x.split(4)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), curves)


def test_a_curve_is_a_network_with_one_mask() -> None:
    net = network()
    model = duda.MCDropout(net, duda.FixedGaussian(1.0), samples=40)
    x = torch.linspace(-1, 1, 200)[:, None].double()
    net.double()
    curves = duda.function_draws(model, x, seed=0)
    with torch.no_grad():
        hidden = torch.cat([torch.relu(net[0](x)), torch.ones(200, 1).double()], 1)
        for each in curves:
            # A linear function of the hidden features, whose weights are dropped or doubled.
            torch.testing.assert_close(hidden @ (torch.linalg.pinv(hidden) @ each), each)


def test_draws_of_numbers_are_means_and_of_classes_probabilities() -> None:
    x = torch.randn(5, 1)
    for likelihood in (duda.Categorical(), duda.Gaussian()):
        ensemble = duda.DeepEnsemble(network, likelihood, members=3)
        draws = duda.function_draws(ensemble, x)
        answer = ensemble.predict(x)
        mean = answer.probs if isinstance(answer, duda.ClassPrediction) else answer.mean
        torch.testing.assert_close(draws.mean(0), mean)


class Independent(duda.MCDropout):
    """Makes no joint draws, whatever is asked."""

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        return super().sampler(samples)


def test_draws_that_are_no_functions_are_told() -> None:
    with pytest.raises(ValueError, match="a Independent's draws are no functions of the input"):
        duda.function_draws(Independent(network(), duda.Gaussian()), torch.zeros(2, 1))


class Noisy(nn.Module):
    """Adds noise of each example's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.randn(len(x), 1)


OWN_RANDOMNESS = {
    "deterministic": lambda: duda.Deterministic(Noisy(), duda.Gaussian()),
    "ensemble of MC-Dropout": lambda: duda.DeepEnsemble(
        lambda: duda.MCDropout(network(), duda.Gaussian()), duda.Gaussian(), members=3
    ),
    "augmented": lambda: duda.TestTimeAugmentation(Noisy(), duda.Gaussian(), [torch.clone] * 2),
}


@pytest.mark.parametrize("name", OWN_RANDOMNESS)
def test_networks_that_draw_by_themselves_are_told(name: str) -> None:
    model, x = OWN_RANDOMNESS[name](), torch.zeros(4, 1)
    with pytest.raises(ValueError, match=f"a network of this {type(model).__name__} draws random"):
        model.predict(x, joint=True)
    assert not model.predict(x, keep_draws=True).joint


class SixRows(nn.Module):
    """Takes six examples at a time, as what was exported may."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.view(6, 1))
        return out


@pytest.mark.parametrize(("inner", "joint"), [(nn.Linear(1, 2), True), (Noisy(), False)])
def test_networks_for_batches_of_one_size(inner: nn.Module, joint: bool) -> None:
    if isinstance(inner, nn.Linear):  # so that the outputs are looked at, as a sigmoid's would be
        nn.init.constant_(inner.bias, 0.25)
    model, x = duda.Deterministic(SixRows(inner), duda.Gaussian()), torch.zeros(12, 1)
    assert model.predict(x, keep_draws=True, batch_size=6).joint == joint


@pytest.mark.parametrize(
    "make", [duda.MCDropConnect, duda.Variational, duda.BatchEnsemble, duda.MCDropout]
)
def test_methods_that_draw_for_the_network_share_its_noise(make: type[UncertainModel]) -> None:
    model, x = make(Noisy(), duda.Gaussian()), torch.zeros(6, 1)
    assert not model.predict(x, keep_draws=True, seed=0).joint
    curves = duda.function_draws(model, x, seed=0, batch_size=4)
    torch.testing.assert_close(curves, curves[:, :1].expand_as(curves))


class Biased(UncertainModel):
    """Adds a number of each draw's own to the outputs, by a sampler of three lines."""

    def __init__(self, net: nn.Module, likelihood: duda.likelihoods.Likelihood) -> None:
        super().__init__(likelihood, samples=4)
        self.network = net

    def forward(self, x: Batch) -> Tensor:
        return self.network(x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        shifts = torch.randn(samples, 1, 1)
        return Sampler(lambda x, chunk: (shifts + self(x)).split(chunk or samples), joint=True)


def test_a_method_of_ones_own_needs_a_sampler_only() -> None:
    model, x = Biased(nn.Linear(1, 2), duda.Gaussian()), torch.randn(6, 1)
    curves = duda.function_draws(model, x, seed=0)
    assert curves.shape == (4, 6, 1)
    torch.testing.assert_close(duda.function_draws(model, x, 4, 0, batch_size=2, chunk=3), curves)
    with preserved(model, 0):
        sampler = model.sampler(4)
        assert [len(draws) for draws in sampler(x, 3)] == [3, 1]
