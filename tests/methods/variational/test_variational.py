"""Variational inference: the loss and its gradients, what is random, and that it trains."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.hooks import FitState
from duda.methods.variational.priors import Prior
from tests.methods.networks import CLASSES, NETWORKS
from tests.sampling.networks import Counter

ESTIMATORS = ("weight", "local", "flipout")


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def data(rows: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 4), torch.arange(rows) % 3


def model_of(network: nn.Module | None = None, **options) -> duda.Variational:
    return duda.Variational(network or mlp(), duda.Categorical(), **options)


def set_stds(model: duda.Variational, std: float) -> None:
    for raw in model.raw_stds:
        nn.init.constant_(raw, math.log(math.expm1(std)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("prior", [duda.GaussianPrior(0.3), duda.ScaleMixturePrior()])
def test_loss_is_the_negative_elbo_for_an_example(estimator: str, prior: Prior) -> None:
    model = model_of(estimator=estimator, prior=prior, examples=50)
    x, y = data()
    torch.manual_seed(1)
    loss = model.loss(x, y)
    torch.manual_seed(1)
    kl = model.kl_divergence()
    expected = F.cross_entropy(model(x), y) + kl / 50
    torch.testing.assert_close(loss, expected)


def test_kl_divergence_is_a_sum_over_weights_and_biases() -> None:
    model = model_of(prior=duda.GaussianPrior(0.5))
    expected = torch.zeros(())
    for mean, raw in zip(model.network.parameters(), model.raw_stds, strict=True):
        q = torch.distributions.Normal(mean, F.softplus(raw))
        p = torch.distributions.Normal(torch.zeros_like(mean), 0.5)
        expected = expected + torch.distributions.kl_divergence(q, p).sum()
    torch.testing.assert_close(model.kl_divergence(), expected)


def test_kl_divergence_from_itself_is_zero() -> None:
    model = model_of(prior=duda.GaussianPrior(0.5)).double()
    for mean in model.network.parameters():
        nn.init.zeros_(mean)
    set_stds(model, 0.5)
    assert abs(float(model.kl_divergence().detach())) < 1e-12


def test_weight_of_the_kl_divergence_grows() -> None:
    model = model_of(annealing_epochs=3)
    x, y = data()

    def share(epoch: int) -> float:
        model.on_epoch_start(FitState(epoch=epoch, examples=10))
        torch.manual_seed(0)
        loss = model.loss(x, y)
        torch.manual_seed(0)
        data_term = F.cross_entropy(model(x), y)
        return float(((loss - data_term) / (model.kl_divergence() / 10)).detach())

    assert [share(epoch) for epoch in (0, 1, 2, 3, 9)] == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1], rel=1e-4
    )
    model.eval()
    assert share(0) == pytest.approx(1, rel=1e-4)
    model.train()
    model.annealing_epochs = 0
    assert share(0) == pytest.approx(1, rel=1e-4)


def test_fit_tells_the_size_of_the_training_data() -> None:
    told: list[tuple[bool, int | None]] = []

    class Told(duda.Variational):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            told.append((self.training, self.examples))
            return super().loss(x, y)

    model = Told(mlp(), duda.Categorical())
    duda.fit(model, data(60), epochs=2, validation=data(10))
    assert told == [(True, 60)] * 2
    model = Told(mlp(), duda.Categorical(), examples=1000)
    duda.fit(model, data(60), epochs=1)
    assert told[-1] == (True, 1000)


def gradients(model: duda.Variational, x: Tensor, y: Tensor, draws: int) -> Tensor:
    """Return one gradient of the loss in each draw, all parameters in a row."""
    rows = []
    parameters = list(model.parameters())
    for _ in range(draws):
        found = torch.autograd.grad(model.loss(x, y), parameters)
        rows.append(torch.cat([each.flatten() for each in found]))
    return torch.stack(rows)


def test_estimators_have_the_same_expected_gradient() -> None:
    x, y = data()
    network = mlp()
    found = {}
    for estimator in ESTIMATORS:
        model = model_of(network, estimator=estimator, examples=50)
        set_stds(model, 0.3)
        found[estimator] = gradients(model, x, y, draws=400)
    for one, other in (("weight", "local"), ("weight", "flipout"), ("local", "flipout")):
        a, b = found[one], found[other]
        spread = ((a.var(0) + b.var(0)) / len(a)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 5 * spread + 1e-7).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradient_is_zero_at_the_posterior_that_is_known(estimator: str) -> None:
    # Linear regression with known noise s and orthogonal inputs has a posterior of independent
    # normals: precision Σ x² / s² + 1 / p² for each weight, whose prior is N(0, p²).
    rows, noise, prior = 32, 0.5, 2.0
    x = torch.linalg.qr(torch.randn(rows, 3).double())[0] * torch.tensor([2.0, 3.0, 1.0])
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]).double() + noise * torch.randn(rows, 1)
    model = duda.Variational(
        nn.Linear(3, 1, bias=False).double(),
        duda.FixedGaussian(noise),
        duda.GaussianPrior(prior),
        estimator,
        examples=rows,
    )
    precision = x.square().sum(0) / noise**2 + prior**-2
    with torch.no_grad():
        model.network.weight.copy_((x.T @ y).T / noise**2 / precision)
        model.raw_stds[0].copy_(precision.rsqrt().expm1().log())
    found = gradients(model, x, y, draws=400)
    assert (found.mean(0).abs() <= 5 * found.std(0) / math.sqrt(len(found))).all()
    assert (found.std(0) > 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_without_noise_it_is_the_trained_network_it_starts_from(estimator: str) -> None:
    network = nn.Sequential(mlp(), nn.BatchNorm1d(3))
    x, _ = data()
    before = copy.deepcopy(network.state_dict())
    plain = duda.Deterministic(network, duda.Categorical()).predict(x)
    model = model_of(network, estimator=estimator)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(isinstance(weight, nn.Parameter) for weight in network.parameters())
    near = model.predict(x, seed=0, samples=300)
    assert 0 < (near.probs - plain.probs).abs().max() < 0.05  # it starts with little noise
    for raw in model.raw_stds:
        nn.init.constant_(raw, -100.0)
    torch.testing.assert_close(model.predict(x, seed=0).probs, plain.probs)


def test_starting_stds_follow_the_number_of_inputs() -> None:
    model = model_of(nn.Sequential(nn.Linear(100, 5), nn.Conv2d(4, 3, 5)))
    found = [F.softplus(raw) for raw in model.raw_stds]
    assert [tuple(each.shape) for each in found] == [(5, 100), (5,), (3, 4, 5, 5), (3,)]
    for each in found:
        torch.testing.assert_close(each, torch.full_like(each, 0.01))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_only_chosen_layers_are_random_and_the_others_run_once(estimator: str) -> None:
    counter = Counter()
    network = nn.Sequential(nn.Linear(4, 8), counter, nn.ReLU(), nn.Linear(8, 3))
    model = model_of(network, estimator=estimator, layers=["3"])
    assert len(model.raw_stds) == 2
    answer = model.predict(data()[0], seed=0)
    assert (answer.epistemic > 0).all()
    assert counter.rows == [6]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_frozen_weights_stay_plain(estimator: str) -> None:
    network = mlp()
    network[0].requires_grad_(False)
    model = model_of(network, estimator=estimator, examples=6)
    assert len(model.raw_stds) == 2
    model.loss(*data()).backward()
    assert network[0].weight.grad is None
    assert all(raw.grad is not None for raw in model.raw_stds)


class Language(nn.Module):
    """A network whose first and last layer have one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, 8)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, CLASSES, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(x))[0][:, -1])


def tokens(rows: int) -> Tensor:
    return torch.arange(4 * rows).view(rows, 4) % CLASSES


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", [*NETWORKS, "tied"])
def test_networks_that_others_wrote(estimator: str, name: str) -> None:
    factory, inputs = NETWORKS.get(name, (Language, tokens))
    model = model_of(factory(), estimator=estimator, examples=100, samples=4)
    x = inputs(3)
    y = torch.arange(3)
    if name == "unet":
        y = y[:, None, None].expand(3, 8, 8)
    model.loss(x, y).backward()
    trained = dict(model.named_parameters())
    assert all(trained[f"network.{each}"].grad is not None for each in model._names)
    assert all(raw.grad is not None and bool(raw.grad.any()) for raw in model.raw_stds)
    answer = model.predict(x, seed=0)
    assert (answer.epistemic > 0).all()
    assert torch.equal(model.predict(x, seed=0).probs, answer.probs)


def test_a_tied_weight_counts_once() -> None:
    model = model_of(Language())
    assert len(model.raw_stds) == 5  # the embedding, and four of the recurrent layer
    model.load_state_dict(copy.deepcopy(model).state_dict())
    assert sum(raw.numel() for raw in model.raw_stds) == sum(
        weight.numel() for weight in model.network.parameters()
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_digits_are_learned(estimator: str, kind: str) -> None:
    split = duda.datasets.load("digits")
    networks = {
        "mlp": lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)
        ),
        "cnn": lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)
        ),
    }
    model = model_of(networks[kind](), estimator=estimator)
    duda.fit(model, split.train, epochs=8, lr=3e-3, batch_size=32, seed=0)
    x, y = split.test
    answer = model.predict(x, seed=0)
    assert (answer.labels == y).float().mean() >= 0.9
    noise = model.predict(torch.rand_like(x), seed=0)
    assert noise.epistemic.mean() > 1.5 * answer.epistemic.mean()


def test_settings_are_shown_so_that_checkpoints_know_them() -> None:
    shown = repr(model_of(prior=duda.GaussianPrior(2.0), estimator="local"))
    assert "prior=GaussianPrior(std=2.0), estimator='local', layers=None" in shown
    assert "examples=None" in shown


BAD = {
    "estimator": ({"estimator": "flip"}, ValueError, "`estimator` is 'flip', expected 'weight'"),
    "layers": ({"layers": "conv"}, ValueError, "`layers` names 'conv', which fits no layer"),
    "prior": ({"prior": 1.0}, TypeError, "`prior` is a float, expected one of duda's"),
    "examples": ({"examples": 0}, ValueError, "`examples` is 0, expected a whole number"),
    "epochs": ({"annealing_epochs": -1}, ValueError, "`annealing_epochs` is -1, expected"),
    "half an epoch": ({"annealing_epochs": 0.5}, ValueError, "`annealing_epochs` is 0.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings(case: str) -> None:
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        model_of(**options)


def test_bad_networks() -> None:
    with pytest.raises(ValueError, match="weights are all frozen"):
        model_of(mlp().requires_grad_(False))
    with pytest.raises(ValueError, match="has no layer with weights"):
        model_of(nn.ReLU())


def test_loss_needs_the_number_of_examples() -> None:
    with pytest.raises(ValueError, match="`examples` is not known, expected the size of"):
        model_of().loss(*data())
