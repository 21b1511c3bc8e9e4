"""What holds for every method with every likelihood."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import BernoulliPrediction, ClassPrediction, QuantilePrediction
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.methods import METHODS, UncertainModel
from duda.predictions import Prediction
from duda.sampling import preserved
from tests.pairs import OTHERS, PAIRS, as_targets, takes_labels

N, TARGETS = 7, 3


def network(likelihood: Likelihood) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, likelihood.width(TARGETS)),
    )


def build(method: str, likelihood: str, seed: int = 0) -> UncertainModel:
    meaning = LIKELIHOODS[likelihood]()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = METHODS[method].from_factory(lambda: network(meaning), meaning)
        if not is_ready(model):
            duda.fit(model, (inputs(), targets(meaning)), epochs=4, seed=seed)
        return model


def is_ready(model: UncertainModel) -> bool:
    """Return whether the method predicts before it is trained."""
    with preserved(model, seed=0):
        try:
            model.sampler(1)
        except ValueError:
            return False
    return True


def inputs() -> Tensor:
    return torch.randn(N, 4, generator=torch.Generator().manual_seed(0))


def targets(likelihood: Likelihood) -> Tensor:
    if takes_labels(likelihood):
        return torch.arange(N) % TARGETS
    y = torch.randn(N, TARGETS, generator=torch.Generator().manual_seed(1))
    return as_targets(likelihood, y)


def centre(answer: Prediction) -> Tensor:
    """Return what the prediction says first: probabilities, a mean or a median."""
    if isinstance(answer, ClassPrediction | BernoulliPrediction):
        return answer.probs
    return answer.median if isinstance(answer, QuantilePrediction) else answer.mean


def raw_draws(model: UncertainModel, x: Tensor, seed: int = 0, chunk: int | None = None) -> Tensor:
    with preserved(model, seed):
        return torch.cat(list(model.sampler(model.samples)(x, chunk)))


def assert_near(one: Tensor, other: Tensor) -> None:
    """Check that two tensors are equal but for the order of products of other sizes."""
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def assert_equal(one: Prediction, other: Prediction) -> None:
    a, b = one.numpy(), other.numpy()
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_shapes_and_identities(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    answer = model.predict(inputs(), seed=0, keep_draws=True)
    assert len(answer) == N
    assert answer.draws.shape[:2] == (model.samples, N)
    if isinstance(answer, ClassPrediction):
        assert answer.probs.shape == (N, TARGETS)
        torch.testing.assert_close(answer.probs.sum(1), torch.ones(N))
        torch.testing.assert_close(answer.entropy, answer.aleatoric + answer.epistemic)
        torch.testing.assert_close(answer.draws.mean(0), answer.probs)
    elif isinstance(answer, BernoulliPrediction):
        assert answer.probs.shape == answer.labels.shape == (N, TARGETS)
        assert answer.score.shape == (N,)
        torch.testing.assert_close(answer.entropy, answer.aleatoric + answer.epistemic)
        torch.testing.assert_close(answer.draws.mean(0), answer.probs)
    elif isinstance(answer, QuantilePrediction):
        levels = model.likelihood.levels
        assert answer.quantiles.shape == (N, len(levels), TARGETS)
        medians = answer.draws[:, :, levels.index(0.5)]
        torch.testing.assert_close(answer.median.to(medians), medians.mean(0))
        assert (answer.quantiles <= answer.draws.amax(0) + 1e-5).all()
        assert (answer.quantiles >= answer.draws.amin(0) - 1e-5).all()
        if method != "test-time-augmentation":  # whose draws differ in what is aleatoric
            torch.testing.assert_close(answer.epistemic, medians.var(0, correction=0))
    else:
        assert answer.mean.shape == answer.std.shape == (N, TARGETS)
        torch.testing.assert_close(answer.std**2, answer.aleatoric + answer.epistemic)
        parts = answer.components()
        means = torch.stack([part.mean.double() for part in parts])
        variances = torch.stack([part.std.double().square() for part in parts])
        total = (variances + means**2).mean(0) - means.mean(0) ** 2
        torch.testing.assert_close(answer.variance.double(), total, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_every_parameter_gets_a_gradient(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    for part in model.independent():
        part.on_epoch_start(FitState(examples=N))
        loss = part.loss(inputs(), targets(part.likelihood))
        assert loss.shape == ()
        loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    assert any(bool(g.abs().sum() > 0) for g in gradients)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_same_seed_same_answer_and_kinds_of_input_agree(method: str, likelihood: str) -> None:
    model, x = build(method, likelihood), inputs()
    answer = model.predict(x, seed=0, batch_size=3)
    y = torch.zeros(N)
    for data in (
        x,
        x.numpy(),
        TensorDataset(x),
        TensorDataset(x, y),
        DataLoader(TensorDataset(x, y), batch_size=3),
        x.double(),
    ):
        assert_equal(model.predict(data, seed=0, batch_size=3), answer)
    assert_equal(model.predict(x, seed=np.int64(0), batch_size=np.int64(3)), answer)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_save_and_load(method: str, likelihood: str, tmp_path: Path) -> None:
    model, other = build(method, likelihood), build(method, likelihood, seed=1)
    other.load_state_dict(model.state_dict())
    assert_equal(model.predict(inputs(), seed=0), other.predict(inputs(), seed=0))
    path = duda.save(model, tmp_path / "model.safetensors")
    loaded = duda.load(path, lambda: network(model.likelihood))
    assert_equal(model.predict(inputs(), seed=0), loaded.predict(inputs(), seed=0))
    assert repr(loaded) == repr(model)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_dtype_follows_the_model(method: str, likelihood: str) -> None:
    model = build(method, likelihood).double()
    answer = model.predict(inputs(), seed=0)
    assert centre(answer).dtype == torch.float64


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_joint_draws_are_functions(method: str, likelihood: str) -> None:
    model, x = build(method, likelihood), inputs()
    # Each input and its copy, in one batch and in two, and in another prediction in other chunks.
    whole = model.predict(torch.cat([x, x[:2]]), seed=0, keep_draws=True, joint=True)
    parts = model.predict(torch.cat([x, x]), seed=0, keep_draws=True, joint=True, batch_size=5)
    alone = model.predict(x[3:], seed=0, keep_draws=True, joint=True, chunk=1)
    assert all(answer.joint for answer in (whole, parts, alone))
    assert_near(whole.draws[:, :2], whole.draws[:, N:])
    assert_near(parts.draws[:, :N], parts.draws[:, N:])
    assert_near(parts.draws[:, :N], whole.draws[:, :N])
    assert_near(alone.draws, whole.draws[:, 3:N])
    if not torch.equal(*(raw_draws(model, x, seed) for seed in (0, 1))):
        again = model.predict(x, seed=1, keep_draws=True, joint=True)
        assert not torch.allclose(again.draws, whole.draws[:, :N])
    # Who says unasked that the draws are functions, and who does not, is right.
    plain = model.predict(torch.cat([x, x[:2]]), seed=0, keep_draws=True)
    assert plain.joint == torch.allclose(plain.draws[:, :2], plain.draws[:, N:], 1e-4, 1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_device_follows_the_model(method: str, likelihood: str) -> None:
    model = build(method, likelihood).cuda()
    state = torch.cuda.get_rng_state()
    answer = model.predict(inputs(), seed=0)
    assert answer.score.device.type == "cuda"
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert_equal(model.predict(inputs(), seed=0).to("cpu"), answer.to("cpu"))


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_forward_is_one_draw_and_modes_stay(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    model.train()
    before = copy.deepcopy(model.state_dict())
    model.predict(inputs(), seed=0)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    assert model(inputs()).shape == (N, model.likelihood.width(TARGETS))


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_chunks_agree(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    whole = model.predict(inputs(), seed=0, keep_draws=True)
    for chunk in (1, 3, 100):
        other = model.predict(inputs(), seed=0, keep_draws=True, chunk=chunk)
        assert_near(other.draws, whole.draws)
        assert_near(centre(other), centre(whole))


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_every_batch_starts_again(method: str, likelihood: str) -> None:
    model, x = build(method, likelihood), inputs()
    answer = model.predict(torch.cat([x, x]), seed=0, keep_draws=True, batch_size=N)
    assert torch.equal(answer.draws[:, :N], answer.draws[:, N:])
    assert_equal(answer[:N], answer[N:])
    with preserved(model, 0):
        sampler = model.sampler(model.samples)
        one, other = (torch.cat(list(sampler(x))) for _ in range(2))
    assert torch.equal(one, other)


class Fuse(nn.Module):
    """Passes its input on, until it is lit."""

    lit = False

    def forward(self, x: Tensor) -> Tensor:
        if self.lit:
            raise RuntimeError("blown")
        return x


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_leaves_the_model_as_it_was(method: str) -> None:
    def factory() -> nn.Module:
        layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 8), Fuse()
        return nn.Sequential(*layers, nn.Linear(8, TARGETS))

    model = METHODS[method].from_factory(factory, duda.Categorical())
    duda.fit(model, (inputs(), torch.arange(N) % TARGETS), epochs=4, seed=0)
    model.train()
    before, weights = copy.deepcopy(model.state_dict()), list(model.parameters())
    state = torch.get_rng_state()
    for module in model.modules():
        if isinstance(module, Fuse):
            module.lit = True
    with pytest.raises(RuntimeError, match="blown"):
        model.predict(inputs(), seed=0)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert list(map(id, model.parameters())) == list(map(id, weights))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("method", "likelihood"), OTHERS)
def test_likelihoods_that_make_no_sense_are_told(method: str, likelihood: str) -> None:
    with pytest.raises(ValueError, match=r"`likelihood` is a \w+, expected for a \w+ a"):
        build(method, likelihood)


BAD_CALLS = {
    "no examples": ({"x": torch.zeros(0, 4)}, ValueError, "`x` has shape .*at least one example"),
    "no data set": ({"x": TensorDataset(torch.zeros(0, 4))}, ValueError, "at least one example"),
    "NaN": ({"x": torch.full((2, 4), torch.nan)}, ValueError, "`x` has 8 NaN"),
    "infinite": ({"x": torch.full((2, 4), torch.inf)}, ValueError, "8 infinite"),
    "a list": ({"x": [[1.0] * 4]}, TypeError, "`x` is a list"),
    "True samples": ({"x": torch.zeros(2, 4), "samples": True}, ValueError, "`samples` is True"),
    "no samples": ({"x": torch.zeros(2, 4), "samples": 0}, ValueError, "`samples` is 0"),
    "negative samples": ({"x": torch.zeros(2, 4), "samples": -3}, ValueError, "`samples` is -3"),
    "half a sample": ({"x": torch.zeros(2, 4), "samples": 1.5}, ValueError, "`samples` is 1.5"),
    "no batch": ({"x": torch.zeros(2, 4), "batch_size": 0}, ValueError, "`batch_size` is 0"),
    "no chunk": ({"x": torch.zeros(2, 4), "chunk": 0}, ValueError, "`chunk` is 0"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(method: str, case: str) -> None:
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        build(method, "categorical").predict(**call)


@pytest.mark.parametrize("method", METHODS)
def test_a_likelihood_is_an_instance(method: str) -> None:
    with pytest.raises(TypeError, match=r"`likelihood` is a .*with its brackets"):
        METHODS[method].from_factory(lambda: nn.Linear(4, 3), duda.Categorical)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_is_a_module(method: str) -> None:
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        METHODS[method].from_factory(lambda: torch.relu, duda.Categorical())
