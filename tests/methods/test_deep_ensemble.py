"""An ensemble is the mixture of its members."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import duda


def factory() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6))


def test_an_ensemble_of_one_is_its_member() -> None:
    net, x = factory(), torch.randn(5, 4)
    for likelihood in (duda.Categorical(), duda.Gaussian(), duda.FixedGaussian()):
        one = duda.DeepEnsemble([net], likelihood).predict(x).numpy()
        plain = duda.Deterministic(net, likelihood).predict(x).numpy()
        assert all((one[name] == plain[name]).all() for name in plain)


def test_first_members_predict_alone() -> None:
    model, x = duda.DeepEnsemble(factory, duda.Categorical(), members=4), torch.randn(5, 4)
    with torch.no_grad():
        probs = torch.stack([member(x).softmax(1) for member in model.members])
    for k in (1, 2, 4):
        torch.testing.assert_close(model.predict(x, members=k).probs, probs[:k].mean(0))
    torch.testing.assert_close(model.predict(x, samples=2).probs, probs[:2].mean(0))


def test_gaussian_members_make_the_mixture_of_lakshminarayanan() -> None:
    likelihood = duda.Gaussian()
    model, x = duda.DeepEnsemble(factory, likelihood, members=5), torch.randn(5, 4)
    with torch.no_grad():
        mean, variance = likelihood.moments(torch.stack([m(x) for m in model.members]), dim=2)
    answer = model.predict(x)
    torch.testing.assert_close(answer.mean, mean.mean(0))
    torch.testing.assert_close(
        answer.variance, (variance + mean**2).mean(0) - mean.mean(0) ** 2, rtol=1e-4, atol=1e-6
    )


def test_members_differ() -> None:
    model = duda.DeepEnsemble(factory, duda.Categorical())
    assert len(model.members) == 5
    assert not torch.equal(model.members[0][0].weight, model.members[1][0].weight)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: duda.DeepEnsemble(factory, duda.Categorical(), 0), ValueError, "`members` is 0"),
        (lambda: duda.DeepEnsemble([], duda.Categorical()), ValueError, "`members` is 0"),
        (
            lambda: duda.DeepEnsemble([factory()], duda.Categorical(), 2),
            ValueError,
            "the list has 1",
        ),
        (
            lambda: duda.DeepEnsemble(factory(), duda.Categorical()),
            TypeError,
            "`networks` is one network",
        ),
    ],
)
def test_bad_members(make, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_the_same_module_twice_is_no_ensemble() -> None:
    net = factory()
    with pytest.raises(ValueError, match="same module more than once"):
        duda.DeepEnsemble(lambda: net, duda.Categorical())


def test_members_and_samples_must_agree() -> None:
    model = duda.DeepEnsemble(factory, duda.Categorical(), members=3)
    with pytest.raises(ValueError, match="give only one"):
        model.predict(torch.zeros(1, 4), members=1, samples=2)
    with pytest.raises(ValueError, match="the ensemble has 3"):
        model.predict(torch.zeros(1, 4), members=4)


def test_a_deterministic_model_has_one_draw() -> None:
    with pytest.raises(ValueError, match="has one draw"):
        duda.Deterministic(factory(), duda.Categorical()).predict(torch.zeros(1, 4), samples=9)
