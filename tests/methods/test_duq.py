"""DUQ trains as its equations say, and knows how far from the data it is."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.datasets import load
from duda.layers import RBF

LABELS = torch.tensor([0, 1, 2, 1, 0])


def network(*more: nn.Module, outputs: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), *more, nn.Tanh(), nn.Linear(8, outputs)).double()


def model(gradient_penalty: float = 0.5) -> duda.DUQ:
    made = duda.DUQ(network(), duda.Categorical(), gradient_penalty)
    made.kernels.length_scale = 0.5  # kernels well between 0 and 1
    return made


def inputs() -> Tensor:
    return torch.randn(5, 4, dtype=torch.float64)


def by_hand(duq: duda.DUQ, x: Tensor, y: Tensor, weight: float) -> Tensor:
    """Return equation 2 and the penalty, one example after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for row, label in zip(x, y, strict=True):

        def kernels(one: Tensor) -> Tensor:
            return duq(one[None]).exp()[0]

        for c, kernel in enumerate(kernels(row)):
            total = total - (kernel if c == label else 1 - kernel).log()
        slope = torch.autograd.functional.jacobian(lambda one: kernels(one).sum(), row)
        total = total + weight * (slope.square().sum() - 1) ** 2
    return total / len(x)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_loss_is_that_of_the_paper(weight: float) -> None:
    duq, x = model(weight), inputs()
    expected = by_hand(copy.deepcopy(duq).eval(), x, LABELS, weight)
    torch.testing.assert_close(duq.loss(x, LABELS), expected)
    torch.testing.assert_close(duq.eval().loss(x, LABELS).isfinite(), torch.tensor(True))


def test_the_penalty_has_right_gradients() -> None:
    duq, x = model(2.0).eval(), inputs()

    def loss(weight: Tensor) -> Tensor:
        return torch.func.functional_call(Loss(duq, x), {"duq.network.0.weight": weight}, ())

    weight = duq.network[0].weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(loss, (weight,))


class Loss(nn.Module):
    def __init__(self, duq: duda.DUQ, x: Tensor) -> None:
        super().__init__()
        self.duq, self.x = duq, x

    def forward(self) -> Tensor:
        return self.duq.loss(self.x, LABELS)


def test_a_validation_moves_nothing_and_has_no_penalty() -> None:
    duq, x = model(), inputs()
    before = duq.kernels.centroids
    with torch.no_grad():
        value = duq.eval().loss(x, LABELS)
    torch.testing.assert_close(value, F.cross_entropy(duq(x), LABELS).detach())
    loss = duq.loss(x, LABELS).detach()
    assert torch.equal(duq.kernels.centroids, before)
    torch.testing.assert_close(loss, duq.train().loss(x, LABELS).detach())
    assert not torch.equal(duq.kernels.centroids, before)


def test_batch_statistics_move_once() -> None:
    net = network(nn.BatchNorm1d(8))
    plain, x = copy.deepcopy(net).train(), inputs()
    plain(x)
    duq = duda.DUQ(net, duda.Categorical())
    duq.train().loss(x, LABELS).backward()
    assert int(duq.network[1].num_batches_tracked) == 1
    torch.testing.assert_close(duq.network[1].running_var, plain[1].running_var)


def test_the_answer_is_what_its_docstring_says() -> None:
    duq, x = model(), inputs()
    answer = duq.predict(x, keep_draws=True)
    kernels = duq.eval()(x).exp().detach()
    torch.testing.assert_close(answer.probs, kernels / kernels.sum(1, keepdim=True))
    torch.testing.assert_close(answer.score, 1 - kernels.amax(1))
    assert (answer.epistemic == 0).all()


def test_soft_labels_and_ignored_ones() -> None:
    duq, x = model(0.0), inputs()
    shares = nn.functional.one_hot(LABELS, 3).double()
    hard = copy.deepcopy(duq)
    torch.testing.assert_close(duq.loss(x, shares), hard.loss(x, LABELS))
    torch.testing.assert_close(duq.kernels.centroids, hard.kernels.centroids)
    ignoring = duda.DUQ(duq.network, duda.Categorical(ignore_index=-1), 0.0)
    other = copy.deepcopy(duq)
    some = LABELS.clone()
    some[3:] = -1
    torch.testing.assert_close(ignoring.loss(x, some), other.loss(x[:3], LABELS[:3]))
    torch.testing.assert_close(ignoring.kernels.centroids, other.kernels.centroids)
    assert ignoring.loss(x, torch.full((5,), -1)) == 0


def test_a_kernel_of_one_has_a_finite_loss() -> None:
    duq = model(0.0)
    with torch.no_grad():
        duq.kernels.weight.zero_()
        duq.kernels.sums.zero_()
    loss = duq.loss(inputs(), LABELS)
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in duq.parameters())


@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_two_moons_are_near_and_the_ring_is_far(penalty: float) -> None:
    moons = load("two-moons")
    net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    duq = duda.DUQ(net, duda.Categorical(), penalty)
    duda.fit(duq, moons.train, epochs=25, lr=3e-3, batch_size=64, seed=0)
    near, far = duq.predict(moons.test[0]), duq.predict(moons.ood)
    assert (near.labels == moons.test[1]).float().mean() > 0.94
    assert (near.score.median() < 0.2) & (far.score.median() > 0.9)
    score = torch.cat([near.score, far.score])
    assert duda.evaluation.rank(score, torch.arange(len(score)) >= len(near)).auroc > 0.99


def test_attention_and_recurrent_layers_have_a_penalty() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.lstm = nn.LSTM(4, 6, batch_first=True)
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            mixed, _ = self.attention(x, x, x, need_weights=False)
            return self.head(self.lstm(mixed)[0][:, -1])

    duq = duda.DUQ(Recurrent(), duda.Categorical())
    duq.kernels.length_scale = 1.0
    duq.loss(torch.randn(5, 6, 4), LABELS).backward()
    assert all(weight.grad is not None for weight in duq.parameters())


def test_a_network_with_kernels_of_its_own_is_taken_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), RBF(8, 3, length_scale=0.3))
    assert duda.DUQ(net, duda.Categorical()).network is net
    plain = network()
    assert isinstance(duda.DUQ(plain, duda.Categorical()).network[-1], RBF)
    assert isinstance(plain[-1], nn.Linear)


class Signs(nn.Module):
    """Looks numbers up by their signs, through which no gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Embedding(2, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first((x > 0).long()).sum(1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: model(-1.0), "`gradient_penalty` is -1.0"),
        (lambda: model(math.nan), "`gradient_penalty` is nan"),
        (lambda: duda.DUQ(network(), duda.Gaussian()), "expected for a DUQ a Categorical"),
        (lambda: duda.DUQ(nn.ReLU(), duda.Categorical()), "a ReLU, has no `nn.Linear`"),
        (
            lambda: duda.DUQ(nn.Sequential(RBF(3, 3), RBF(3, 3)), duda.Categorical()),
            "the network has 2 RBF layers, expected one",
        ),
        (
            lambda: model().loss(torch.zeros(5, 4, dtype=torch.long), LABELS),
            "`x` is a tensor of torch.int64.*give `gradient_penalty=0`",
        ),
        (
            lambda: duda.DUQ(Signs(), duda.Categorical()).loss(inputs(), LABELS),
            "`network` uses `x` for nothing that has a gradient.*give `gradient_penalty=0`",
        ),
        (lambda: model().loss({"input": inputs()}, LABELS), "`x` is a dict of named inputs"),
        (lambda: model().loss(inputs(), LABELS + 1), "`y` holds the label 3, expected 0 to 2"),
        (lambda: model().predict(inputs(), samples=2), "nothing is random in a DUQ model"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_words_train_without_a_penalty() -> None:
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
    duq = duda.DUQ(net, duda.Categorical(), gradient_penalty=0)
    words = {"input": torch.randint(9, (5, 2))}
    duq.loss(words, LABELS).backward()
    assert duq.predict(words).score.shape == (5,)


class HeadFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Linear(8, 3), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).tanh())


def test_the_kernels_take_the_place_of_the_layer_that_makes_the_outputs() -> None:
    duq = duda.DUQ(HeadFirst().double(), duda.Categorical())
    assert isinstance(duq.network.head, RBF)
    duq.loss(inputs(), LABELS).backward()
    assert duq.predict(inputs()).score.shape == (5,)


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid(), nn.ReLU()])
@pytest.mark.parametrize("call", ["loss", "predict", "fit"])
def test_nothing_may_come_after_the_kernels(call: str, end: nn.Module) -> None:
    duq = duda.DUQ(nn.Sequential(network(), end), duda.Categorical())
    before = copy.deepcopy(duq.state_dict())
    calls = {
        "loss": lambda: duq.loss(inputs(), LABELS),
        "predict": lambda: duq.predict(inputs()),
        "fit": lambda: duda.fit(duq, (inputs(), LABELS), epochs=1),
    }
    with pytest.raises(ValueError, match=r"RBF.* as its last layer, which does not put out what"):
        calls[call]()
    assert all(torch.equal(value, before[name]) for name, value in duq.state_dict().items())
