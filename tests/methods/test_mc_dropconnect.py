"""MC-DropConnect: which weights are masked, by what law, and what the draws share."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import duda
from tests.sampling.networks import Counter

SAMPLES = 4000


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0].mean(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0].mean(1)


class Pooled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flatten(2).mean(2)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x).mean(1)


class Words(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer((x.abs() * 3).long().clamp(max=9))
        return out.mean(1) if out.ndim == 3 else out


class Backwards(nn.Module):
    """Calls its layers in another order than it has registered them in."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 3)
        self.middle = nn.Linear(8, 8)
        self.counter = Counter()
        self.first = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.counter(self.first(x)).relu()).relu())


LAYERS = {
    "Linear": (lambda: nn.Linear(6, 3), (5, 6)),
    "Conv1d": (lambda: Pooled(nn.Conv1d(2, 3, 3)), (5, 2, 6)),
    "Conv2d": (lambda: Pooled(nn.Conv2d(2, 4, 3, groups=2, padding_mode="circular")), (5, 2, 6, 6)),
    "Conv3d": (lambda: Pooled(nn.Conv3d(2, 3, 3)), (5, 2, 4, 4, 4)),
    "ConvTranspose1d": (lambda: Pooled(nn.ConvTranspose1d(2, 3, 3)), (5, 2, 6)),
    "ConvTranspose2d": (lambda: Pooled(nn.ConvTranspose2d(2, 3, 3)), (5, 2, 6, 6)),
    "Embedding": (lambda: Words(nn.Embedding(10, 3)), (5, 6)),
    "EmbeddingBag": (lambda: Words(nn.EmbeddingBag(10, 3)), (5, 6)),
    "LSTM": (lambda: Recurrent(nn.LSTM(6, 3, 2, batch_first=True)), (5, 4, 6)),
    "GRU": (lambda: Recurrent(nn.GRU(6, 3, batch_first=True)), (5, 4, 6)),
    "MultiheadAttention": (Attention, (5, 4, 6)),
    "TransformerEncoder": (Encoder, (5, 4, 6)),
}


def layer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = LAYERS[name]
    return make(), torch.randn(*shape)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_with_weights_is_masked(name: str) -> None:
    network, x = layer_and_input(name)
    model = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.3, samples=20)
    answer = model.predict(x, seed=0)
    assert (answer.epistemic > 0).any()
    assert all(isinstance(weight, nn.Parameter) for weight in network.parameters())
    network.eval()
    with torch.no_grad():
        plain = network(x)
    without = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.0, samples=3).predict(x)
    torch.testing.assert_close(without.mean, plain)
    assert (without.epistemic < 1e-12).all()


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_reach_the_weights(name: str) -> None:
    network, x = layer_and_input(name)
    model = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.3)
    model.loss(x, torch.zeros(len(x), model(x).shape[1])).backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize(
    ("p", "vmapped"), [(0.1, True), (0.25, True), (0.5, True), (0.9, True), (0.25, False)]
)
def test_moments_of_a_linear_layer(p: float, vmapped: bool) -> None:
    torch.manual_seed(0)
    samples = SAMPLES if vmapped else SAMPLES // 8  # in turn, each takes its time
    network, x = nn.Linear(5, 3).double(), torch.randn(4, 5).double()
    model = duda.MCDropConnect(network, duda.FixedGaussian(), p=p, samples=samples)
    answer = model.predict(x, seed=1, keep_draws=True, chunk=500 if vmapped else 1)
    means = answer.draws.chunk(2, dim=2)[0]
    with torch.no_grad():
        expected = network(x)
        # Var(w m / (1 - p)) = w² p / (1 - p), and masks are independent.
        variance = x.square() @ network.weight.square().T * p / (1 - p)
    error = (answer.mean - expected).abs()
    assert (error <= 5 * (variance / samples).sqrt()).all()
    centred = (means - expected).square()
    spread = centred.var(0).sqrt() / math.sqrt(samples)
    assert ((centred.mean(0) - variance).abs() <= 5 * spread).all()
    # One mask for a whole batch: the same draws' errors go together in all examples.
    together = ((means - expected)[:, 0] * (means - expected)[:, 1]).mean(0)
    with torch.no_grad():
        covariance = (x[0] * x[1]) @ network.weight.square().T * p / (1 - p)
    spread = ((means - expected)[:, 0] * (means - expected)[:, 1]).std(0) / math.sqrt(samples)
    assert ((together - covariance).abs() <= 5 * spread).all()


def test_biases_are_masked_only_if_asked_for() -> None:
    network = nn.Linear(4, 3)
    x = torch.zeros(2, 4)  # so that only biases show
    for bias in (False, True):
        model = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.5, bias=bias)
        assert bool((model.predict(x, seed=0).epistemic > 1e-12).all()) == bias


@pytest.mark.parametrize("chunk", [None, 1])
def test_first_layers_run_once_in_forward_order(chunk: int | None) -> None:
    network = Backwards()
    x = torch.randn(6, 4)
    for count, masked in ((1, ["last", "middle"]), (2, ["last"])):
        model = duda.MCDropConnect(network, duda.Categorical(), 0.5, count, samples=30)
        model.predict(x[:1], seed=0)  # which finds the order
        network.counter.rows.clear()
        assert (model.predict(x, seed=0, chunk=chunk).epistemic > 0).all()
        assert network.counter.rows == [6]
        assert sorted(model._names(x)) == [f"{name}.weight" for name in masked]


def test_first_convolutions_run_once_in_a_loop() -> None:
    counter = Counter()
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        counter,
        *(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)),
        nn.Flatten(),
        nn.Linear(4 * 36, 3),
    )
    model = duda.MCDropConnect(network, duda.Categorical(), 0.3, 1, samples=5)
    x = torch.randn(12, 1, 6, 6)
    model.predict(x, seed=0)
    counter.rows.clear()
    assert (model.predict(x, seed=0).epistemic > 0).all()
    assert counter.rows == [12]


def test_layers_can_be_chosen() -> None:
    x = torch.randn(6, 4)
    for layers in ("last", ["l*"], lambda name, _: name == "last"):
        network = Backwards()
        model = duda.MCDropConnect(network, duda.Categorical(), 0.5, layers=layers)
        assert model._names(x) == ["last.weight"]


def test_a_weight_with_two_names_has_one_mask() -> None:
    network = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    network[1].weight = network[0].weight
    model = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.5)
    seen = []
    for layer in network:
        layer.register_forward_pre_hook(lambda module, _: seen.append(module.weight))
    model(torch.ones(1, 4))
    assert seen[0] is seen[1] is not network[0].weight


def test_a_convolution_in_a_loop_and_in_vmap_has_the_same_law() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    model = duda.MCDropConnect(network, duda.FixedGaussian(), p=0.3, samples=1500)
    few, many = torch.randn(2, 1, 8, 8).double(), torch.randn(9, 1, 8, 8).double()
    x = torch.cat([few, many])
    at_once = model.predict(few, seed=0)  # eight rows at most
    in_turn = model.predict(x, seed=1)[:2]
    spread = (at_once.epistemic + in_turn.epistemic).sqrt() / math.sqrt(1500)
    assert ((at_once.mean - in_turn.mean).abs() <= 5 * spread).all()
    torch.testing.assert_close(at_once.epistemic, in_turn.epistemic, rtol=0.25, atol=0)


def test_training_and_copies() -> None:
    network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    model = duda.MCDropConnect(network, duda.Categorical(), deterministic_layers=1)
    x = torch.randn(64, 2)
    history = duda.fit(model, (x, (x[:, 0] > 0).long()), epochs=30, lr=0.02, seed=0)
    assert history.losses[0, -1] < 0.5 * history.losses[0, 0]
    again = copy.deepcopy(model)
    first, second = (each.predict(x, seed=3).probs for each in (model, again))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.0}, "`p` is 1.0, expected a probability"),
        ({"p": -0.1}, "`p` is -0.1"),
        ({"p": math.nan}, "`p` is nan"),
        ({"deterministic_layers": 2}, "`deterministic_layers` is 2, expected 0 to 1"),
        ({"deterministic_layers": -1}, "`deterministic_layers` is -1"),
        ({"layers": "head"}, "`layers` names 'head', which fits no layer .*'0', '2'"),
        ({"layers": lambda name, module: False}, "no layer with weights to choose"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match=message):
        duda.MCDropConnect(network, duda.Categorical(), **arguments)


def test_a_network_without_weights_is_told() -> None:
    with pytest.raises(ValueError, match=r"no layer with weights .*it has BatchNorm1d, Sequential"):
        duda.MCDropConnect(nn.Sequential(nn.BatchNorm1d(3)), duda.Categorical())
