"""Noisy logits: quadrature and limits for the mean softmax, and noise that does not pile up."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor

from duda import Categorical, SampledSoftmax
from duda.likelihoods import sampled_softmax
from tests.sampling.test_sharing import LiveBytes

SILENT = -200.0  # a raw scale of 0 after softplus


def outputs_of(mean: Tensor, std: float) -> Tensor:
    raw = SILENT if std == 0 else float(np.log(np.expm1(std)))
    return torch.cat([mean, torch.full_like(mean, raw)], dim=-1)


def mean_sigmoid(gap: float, std: float) -> float:
    """Return E sigmoid(gap + std √2 ε): two classes, each with noise of `std`."""
    noise = scipy.stats.norm(gap, std * np.sqrt(2))
    value, _ = scipy.integrate.quad(
        lambda z: noise.pdf(z) / (1 + np.exp(-z)), gap - 12 * std, gap + 12 * std
    )
    return value


@pytest.mark.parametrize("std", [0.5, 3.0])
def test_mean_softmax_and_loss_are_those_of_quadrature(std: float) -> None:
    expected = mean_sigmoid(1.0, std)
    likelihood = SampledSoftmax(samples=20_000)
    outputs = outputs_of(torch.tensor([[1.0, 0.0]], dtype=torch.float64), std)
    near = 5 * 0.5 / np.sqrt(20_000)
    assert float(likelihood.reduce(outputs[None]).probs[0, 0]) == pytest.approx(expected, abs=near)
    loss = float(likelihood.loss(outputs, torch.tensor([1])))
    assert np.exp(-loss) == pytest.approx(1 - expected, abs=near)


def test_without_noise_it_is_categorical() -> None:
    mean = torch.randn(3, 5, 4, dtype=torch.float64)
    draws = torch.cat([mean, torch.full_like(mean, SILENT)], dim=2)
    one, other = SampledSoftmax(7).reduce(draws, True), Categorical().reduce(mean, True)
    for name, value in other.numpy().items():
        np.testing.assert_allclose(one.numpy()[name], value, rtol=1e-9, atol=1e-9, err_msg=name)
    y = torch.tensor([0, 1, 2, 3, 3])
    soft = torch.rand(5, 4).softmax(1)
    for target in (y, soft):
        torch.testing.assert_close(
            SampledSoftmax(7).loss(draws[0], target), Categorical().loss(mean[0], target)
        )


def test_noise_of_the_logits_is_aleatoric() -> None:
    mean = torch.randn(1, 6, 3)
    quiet = SampledSoftmax().reduce(outputs_of(mean, 0.0).expand(20, 6, 6))
    loud = SampledSoftmax().reduce(outputs_of(mean, 4.0).expand(20, 6, 6))
    assert float(loud.epistemic.max()) < 1e-6
    assert float(quiet.epistemic.max()) < 1e-6
    assert bool((loud.aleatoric > quiet.aleatoric).any())


def test_draws_that_disagree_are_epistemic() -> None:
    sure = torch.tensor([[[30.0, 0.0]], [[0.0, 30.0]]])
    answer = SampledSoftmax().reduce(outputs_of(sure, 0.0))
    assert float(answer.epistemic) == pytest.approx(np.log(2), abs=1e-6)
    assert answer.votes.tolist() == [[1, 1]]


def test_chunks_of_noise_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = outputs_of(torch.randn(1, 50, 3, dtype=torch.float64), 2.0)
    torch.manual_seed(0)
    whole = SampledSoftmax(400).reduce(outputs)
    monkeypatch.setattr(sampled_softmax, "_CHUNK_NUMBERS", 1000)  # six samples at a time
    torch.manual_seed(0)
    parts = SampledSoftmax(400).reduce(outputs)
    torch.testing.assert_close(whole.probs, parts.probs)


def test_the_same_outputs_have_the_same_answer_in_all_places() -> None:
    outputs = outputs_of(torch.randn(1, 1, 3), 2.0)
    answer = SampledSoftmax().reduce(outputs.expand(4, 9, 6))
    assert torch.equal(answer.probs, answer.probs[:1].expand(9, 3))


def test_the_noise_is_spread_more_evenly_than_by_chance() -> None:
    mean, errors = torch.randn(1, 300, 10, dtype=torch.float64), []
    exact = (mean[0] + torch.randn(20_000, 1, 10, dtype=torch.float64)).softmax(2).mean(0)
    for seed in range(5):
        torch.manual_seed(seed)
        probs = SampledSoftmax(100).reduce(outputs_of(mean, 1.0)).probs
        errors.append(float((probs - exact).square().mean().sqrt()))
    by_chance = float((mean[0] + torch.randn(100, 300, 10)).softmax(2).var(0).mean().sqrt()) / 10
    assert max(errors) < by_chance / 2


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    log_softmax = Tensor.log_softmax

    def watched(values: Tensor, dim: int) -> Tensor:
        if dim == 2 and len(values) > 3:  # with noise
            sizes.append(values.numel())
        return log_softmax(values, dim)

    monkeypatch.setattr(Tensor, "log_softmax", watched)
    monkeypatch.setattr(sampled_softmax, "_CHUNK_NUMBERS", 1000)
    SampledSoftmax(400).reduce(torch.zeros(3, 50, 6))
    assert max(sizes) <= 1000
    assert sum(sizes) == 3 * 400 * 50 * 3


def test_the_global_generator_decides_the_noise() -> None:
    outputs = outputs_of(torch.randn(2, 4, 3), 1.0)
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(SampledSoftmax().reduce(outputs).probs)
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_unlabelled_pixels_add_nothing() -> None:
    outputs, y = torch.randn(2, 6, 4, 4), torch.randint(3, (2, 4, 4))
    y[0] = 255
    likelihood = SampledSoftmax(ignore_index=255)
    torch.manual_seed(0)
    whole = likelihood.loss(outputs, y)
    torch.manual_seed(0)
    outputs[0] = 100.0
    assert torch.equal(likelihood.loss(outputs, y), whole)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_bad_samples_are_told(wrong: object) -> None:
    with pytest.raises(ValueError, match="`samples` is"):
        SampledSoftmax(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 3), (4, 2), (4,)])
def test_outputs_of_the_wrong_width_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the network's outputs have shape"):
        SampledSoftmax().loss(torch.zeros(shape), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("positions", [(), (2, 3)])
def test_gradients_of_a_loss_in_chunks_are_those_of_its_noise(
    positions: tuple[int, ...], soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampled_softmax, "_LOSS_NUMBERS", 60)  # rows: two of three classes each
    likelihood = SampledSoftmax(samples=10)
    outputs = torch.randn(5, 6, *positions, dtype=torch.float64, requires_grad=True)
    y = torch.randint(3, (5, *positions))
    if soft:
        y = torch.rand(5, 3, *positions).double().softmax(1)

    def loss(outputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        return likelihood.loss(outputs, y)

    assert torch.autograd.gradcheck(loss, outputs)


def test_a_loss_in_chunks_is_that_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, y = torch.randn(4, 6, 5, dtype=torch.float64), torch.randint(3, (4, 5))
    outputs[:, 3:] -= 40  # hardly any noise
    likelihood = SampledSoftmax(samples=10, ignore_index=1)
    expected = likelihood.loss(outputs, y)
    monkeypatch.setattr(sampled_softmax, "_LOSS_NUMBERS", 1)
    torch.testing.assert_close(likelihood.loss(outputs, y), expected)


def test_memory_of_the_loss_does_not_grow_with_the_samples() -> None:
    outputs, y = torch.randn(2, 20, 64, 64, requires_grad=True), torch.randint(10, (2, 64, 64))
    for samples in (100, 1000):  # all logits have 33 and 330 MB
        with LiveBytes() as live:
            SampledSoftmax(samples=samples).loss(outputs, y).backward()
        assert live.peak < 25e6
