"""What is random in train mode is random in MCDropout's draws, whatever eval mode hides."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.methods.train_mode import random_in_train_mode
from tests.sampling.networks import LENGTH, WIDTH, Body


class Step(nn.Module):
    """Calls a function with itself and the input."""

    def __init__(self, function: Callable[..., Any], p: float = 0.3, **attributes: Any) -> None:
        super().__init__()
        self.function, self.p = function, p
        for name, value in attributes.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def scripted(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(net)


class Attend(nn.Module):
    def forward(self, h: Tensor, p: float) -> Tensor:
        return F.scaled_dot_product_attention(h, h, h, dropout_p=p)


class Scripted(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(WIDTH, WIDTH), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear(x))


class Handmade(nn.Module):
    """Masks of its own between layers that are not linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, 64), nn.Linear(64, 64)
        self.norm, self.last = nn.BatchNorm1d(LENGTH), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x)).relu()
        if self.training:
            h = h * (torch.rand_like(h) > 0.5) * 2
        h = self.second(h).relu()
        if self.training:
            h = h * (torch.rand_like(h) > 0.5) * 2
        return self.last(h.mean(1))


def attention_by(m: nn.Module, h: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(h, h, h, dropout_p=m.p if m.training else 0.0)


def dropout_if(m: Step, h: Tensor) -> Tensor:
    return (F.dropout(h, m.p) if m.training else h).relu()


def mask_if(m: Step, h: Tensor) -> Tensor:
    return h.masked_fill(torch.rand_like(h) < m.p, 0.0) / (1 - m.p) if m.training else h


def path(m: Step, h: Tensor) -> Tensor:
    if m.p == 0 or not m.training:
        return h
    return h * h.new_empty(len(h), 1, 1).bernoulli_(1 - m.p).div_(1 - m.p)


def floor_path(m: Step, h: Tensor) -> Tensor:
    if m.p == 0 or not m.training:
        return h
    return h.div(1 - m.p) * (1 - m.p + torch.rand(len(h), 1, 1)).floor()


def noise_if(m: Step, h: Tensor) -> Tensor:
    return h + m.p * torch.randn_like(h) if m.training else h


def gumbel_if(m: Step, h: Tensor) -> Tensor:
    return h * (F.gumbel_softmax(h) if m.training else h.softmax(-1))


def layer_if(m: Step, h: Tensor) -> Tensor:
    if m.training and torch.rand(()) < m.p:
        return h
    return h + m.layer(h).relu()


HIDDEN: dict[str, Callable[[float], nn.Module]] = {
    "attention": lambda p: Body(Step(attention_by, p)),
    "attention by another function": lambda p: Body(Step(lambda m, h: attention_by(m, h), p)),
    "the flag of who calls": lambda p: Body(
        Step(lambda m, h: m.attend(h, m.p if m.training else 0.0), p, attend=Attend())
    ),
    "F.dropout": lambda p: Body(Step(dropout_if, p)),
    "a mask": lambda p: Body(Step(mask_if, p)),
    "stochastic depth": lambda p: Body(Step(path, p)),
    "stochastic depth by floor": lambda p: Body(Step(floor_path, p)),
    "noise": lambda p: Body(Step(noise_if, p)),
    "layers left out": lambda p: Body(Step(layer_if, p, layer=nn.Linear(WIDTH, WIDTH))),
    "scripted": lambda p: Body(scripted(Scripted(p))),
    "scripted whole": lambda p: scripted(
        nn.Sequential(nn.Flatten(), nn.Dropout(p), nn.Linear(LENGTH * WIDTH, 3))
    ),
    "RReLU": lambda p: Body(nn.RReLU(0.2, 0.2 + p)),
}
ALWAYS_ON: dict[str, Callable[[], nn.Module]] = {
    "masks between layers": Handmade,
    "gumbel softmax": lambda: Body(Step(gumbel_if)),
}
ALL = ALWAYS_ON | {name: lambda make=make: make(0.3) for name, make in HIDDEN.items()}


def generators() -> list[str]:
    """Return the states of the global generators."""
    states = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()  # noqa: NPY002
    return [repr(state) for state in states]


def draws(net: nn.Module, x: Tensor, samples: int = 25, **options: Any) -> Tensor:
    model = duda.MCDropout(net, duda.Categorical(), samples=samples)
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("name", ALL)
def test_it_is_found_and_turned_on_and_all_stays_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    net, x = ALL[name](), torch.randn(6, LENGTH, WIDTH)
    modes = [module.training for module in net.modules()]
    state = {key: value.clone() for key, value in net.state_dict().items()}
    before = generators()
    found = draws(net, x)
    assert (found.std(0).amax(1) > 1e-6).all()
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert generators() == before
    torch.testing.assert_close(draws(net, x), found)
    torch.testing.assert_close(draws(net, x, chunk=1), found)
    model = duda.MCDropout(net, duda.Categorical()).eval()
    assert not torch.equal(model(x), model(x))
    assert not model.network.training


@pytest.mark.parametrize("name", HIDDEN)
def test_without_effect_it_is_not_random(name: str) -> None:
    with pytest.raises(ValueError, match="nothing is random"):
        draws(HIDDEN[name](0.0), torch.randn(6, LENGTH, WIDTH))


@pytest.mark.parametrize("name", ["attention", "stochastic depth", "noise", "F.dropout"])
def test_joint_draws_share_it(name: str) -> None:
    x = torch.randn(1, LENGTH, WIDTH).expand(4, -1, -1)
    found = draws(ALL[name](), x, joint=True)
    torch.testing.assert_close(found, found[:, :1].expand_as(found))
    assert (found.std(0) > 0).any()


def test_its_law_is_that_of_train_mode() -> None:
    torch.manual_seed(0)
    net, x = Body(Step(attention_by)), torch.randn(2, LENGTH, WIDTH)
    ours = draws(net, x, samples=4000)
    with torch.no_grad():
        theirs = torch.stack([net.train()(x).softmax(1) for _ in range(4000)])
    error = (ours.var(0) + theirs.var(0)).div(4000).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 4.5 * error).all()
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.1, atol=0)


def test_other_dropout_beside_it_is_on_and_normalization_is_not() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(Step(attention_by, 0.9), nn.BatchNorm1d(LENGTH), nn.Flatten(), nn.Dropout())
    net.append(nn.Linear(LENGTH * WIDTH, 3))
    x = torch.randn(6, LENGTH, WIDTH)
    one = draws(net, x)
    other = draws(net, torch.cat([x, x + 100]))[:, :6]  # which batch statistics would notice
    torch.testing.assert_close(one[:, :1], other[:, :1])


def test_methods_without_dropout_stay_without() -> None:
    net, x = Body(Step(attention_by)), torch.randn(3, LENGTH, WIDTH)
    for model in (
        duda.Deterministic(net, duda.Categorical()),
        duda.DeepEnsemble([net], duda.Categorical()),
        duda.MCDropConnect(net, duda.Categorical(), p=0.0),
    ):
        torch.testing.assert_close(model.predict(x).probs, net.eval()(x).softmax(1))
    around = duda.TestTimeAugmentation(duda.MCDropout(net, duda.Categorical()), None, [lambda x: x])
    assert (around.predict(x, samples=5).epistemic > 0).all()


def more(m: Step, h: Tensor) -> Tensor:
    return F.dropout(h, m.p) * 10 + 1 if m.training else h


def statistics(m: Step, h: Tensor) -> Tensor:
    h = F.dropout(h, m.p) if m.training else h
    return F.batch_norm(h, m.mean, m.variance, training=m.training)


def running(m: Step, h: Tensor) -> Tensor:
    if m.training:
        m.mean.mul_(0.9).add_(0.1)
        h = F.dropout(h, m.p)
    return h


MORE: dict[str, Callable[[], nn.Module]] = {
    "another scale": lambda: Step(more),
    "another shape": lambda: Step(lambda m, h: F.dropout(h, m.p)[:, :2] if m.training else h),
    "batch statistics": lambda: Step(
        statistics, mean=torch.zeros(LENGTH), variance=torch.ones(LENGTH)
    ),
    "a buffer": lambda: Step(running, mean=torch.zeros(())),
}


@pytest.mark.parametrize("name", MORE)
def test_what_does_more_in_train_mode_is_named_once_and_stays(name: str) -> None:
    net, x = Body(nn.Sequential(MORE[name](), nn.Dropout(0.3))), torch.randn(6, LENGTH, WIDTH)
    plain = Body(nn.Sequential(nn.Identity(), nn.Dropout(0.3)))
    plain.load_state_dict(net.state_dict(), strict=False)
    with pytest.warns(UserWarning, match=r"'middle\.0' is random in train mode only"):
        found = draws(net, x)
    if name != "batch statistics":
        torch.testing.assert_close(found, draws(plain, x))
    draws(net, x)  # warnings are errors


def numpy_number() -> float:
    return np.random.randn()  # noqa: NPY002


def numbers_of(draw: Callable[[nn.Module], float]) -> nn.Module:
    return Body(Step(lambda m, h: F.dropout(h, m.p, m.training) + draw(m)))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (numbers_of(lambda m: numpy_number()), "'middle' takes numbers from numpy"),
        (numbers_of(lambda m: random.random()), "'middle' takes numbers from Python"),
        (
            numbers_of(lambda m: numpy_number() if m.training else 0.0),
            "'middle' takes numbers from numpy in train mode",
        ),
        (
            Body(Step(lambda m, h: F.dropout(h) + m.own.normal(), own=np.random.default_rng(0))),
            "a generator of its own",
        ),
    ],
)
def test_numbers_that_no_draw_can_own_are_told_once(net: nn.Module, message: str) -> None:
    x = torch.randn(6, LENGTH, WIDTH)
    with pytest.warns(UserWarning, match=message):
        draws(net, x)
    draws(net, x)


def test_a_network_is_searched_once_until_it_changes() -> None:
    calls = []

    def counted(m: Step, h: Tensor) -> Tensor:
        calls.append(len(h))
        return attention_by(m, h)

    net, x = Body(Step(counted)), torch.randn(6, LENGTH, WIDTH)
    assert random_in_train_mode(net, x) == [net.middle]
    searched = len(calls)
    net.train()
    net.load_state_dict(net.state_dict())
    assert random_in_train_mode(net, x) == [net.middle]
    assert len(calls) == searched
    net.middle.p = 0.0
    assert random_in_train_mode(net, x) == []
    net.middle = Step(noise_if)
    assert random_in_train_mode(net, x) == [net.middle]


def test_an_error_of_the_network_leaves_the_search_for_later() -> None:
    net = Body(nn.Sequential(Step(attention_by, 0.5), nn.Dropout(0.1)))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        draws(net, torch.randn(6, LENGTH, WIDTH + 1))
    x = torch.randn(6, LENGTH, WIDTH)
    assert random_in_train_mode(net, x) == [net.middle[0]]


class Wanting(nn.Module):
    """Wants targets in train mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.training and y is None:
            raise ValueError("no targets")
        return self.inner(x)


def test_networks_that_want_more_in_train_mode() -> None:
    x = torch.randn(6, LENGTH, WIDTH)
    for net in (Wanting(Body(Step(attention_by))), Wanting(Wanting(Body(Step(attention_by))))):
        assert (draws(net, x).std(0).amax(1) > 1e-6).all()
    net = Body(Step(lambda m, h: 1 / 0 if m.training else F.dropout(h, m.p)))
    with pytest.warns(UserWarning, match="cannot run in train mode"):
        draws(net, x)


def test_what_torch_makes_is_not_searched() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.Linear(8, 3))
    seen = []
    net[0].register_forward_hook(lambda module, args, out: seen.append(len(out)))
    draws(net, torch.randn(6, 4))
    assert seen == [6]


def small(name: str, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    transformers = pytest.importorskip("transformers")
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = {"input_ids": torch.randint(3, 40, (4, 6)), "attention_mask": torch.ones(4, 6).int()}
    images = {"pixel_values": torch.randn(4, 3, 16, 16)}
    settings, x = {
        "Bert": ({"vocab_size": 40, "hidden_size": 16, **size}, tokens),
        "DistilBert": (
            {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
            tokens,
        ),
        "ViT": ({"hidden_size": 16, "image_size": 16, "patch_size": 8, **size}, images),
        "Beit": ({"hidden_size": 16, "image_size": 16, "patch_size": 8, **size}, images),
    }[name]
    config = getattr(transformers, f"{name}Config")(num_labels=3, **settings, **options)
    kind = "ImageClassification" if x is images else "SequenceClassification"
    return getattr(transformers, f"{name}For{kind}")(config), x


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Bert", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.3}),
        (
            "Bert",
            {
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.3,
                "attn_implementation": "eager",
            },
        ),
        ("DistilBert", {"dropout": 0.0, "attention_dropout": 0.3, "seq_classif_dropout": 0.0}),
        ("ViT", {"attention_probs_dropout_prob": 0.3}),
        ("Beit", {"drop_path_rate": 0.3}),
    ],
)
def test_transformers_of_hugging_face(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net, x = small(name, **options)
    for weight in net.parameters():
        weight.data.mul_(4)
    assert (draws(net, x).std(0).amax(1) > 1e-5).all()


def test_the_default_of_vit_is_not_random() -> None:
    net, x = small("ViT")
    with pytest.raises(ValueError, match="nothing is random"):
        draws(net, x)
