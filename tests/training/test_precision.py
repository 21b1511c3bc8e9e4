"""Networks that compute in 16 bits in training, compiled, or with channels last."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda import Training
from duda.methods import METHODS
from duda.training.precision import _MOST
from tests.training.models import (
    ensemble,
    mlp,
    noisy,
    plain,
    regression,
    same,
    seeded_model,
    values,
)

X, Y = regression(48)


class Seen(nn.Module):
    """A linear network that notes in which dtype it computes, and its input's strides."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dtypes = nn.Linear(3, 2), list[torch.dtype]()

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.linear(x)
        self.dtypes.append(outputs.dtype)
        return outputs


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_networks_compute_in_16_bits_and_losses_in_32(
    precision: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[torch.dtype] = []
    loss = duda.Gaussian.negative_log_likelihood

    def watched(self: Any, outputs: Tensor, y: Tensor) -> Tensor:
        assert not torch.is_autocast_enabled("cpu")
        losses.append(outputs.dtype)
        return loss(self, outputs, y)

    monkeypatch.setattr(duda.Gaussian, "negative_log_likelihood", watched)
    network = Seen()
    model = duda.Deterministic(network, duda.Gaussian())
    duda.fit(model, (X, Y), epochs=2, training=Training(precision=precision, batch_size=16))
    assert network.dtypes[-6:] == [dtype] * 6
    assert losses == [torch.float32] * 6
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    model.predict(X)
    assert network.dtypes[-1] == torch.float32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_what_is_learned_is_nearly_the_same(precision: str) -> None:
    models = [plain(noisy), plain(noisy)]
    for model, training in zip(models, (Training(), Training(precision=precision)), strict=True):
        history = duda.fit(model, (X, Y), epochs=3, seed=0, training=training)
        assert history.skipped[0] <= 2  # until the scale is found
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


class Overflowing(nn.Module):
    """A network whose outputs are infinite in some of its calls in training."""

    def __init__(self, calls: set[int]) -> None:
        super().__init__()
        self.network, self.calls, self.call = mlp(), calls, 0

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.network(x)
        self.call += self.training
        return outputs * 1e38 * 1e38 if self.training and self.call in self.calls else outputs


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_overflows_is_left_out_and_counted(accumulate: int) -> None:
    steps: list[int] = []

    class Listener:
        def on_step_end(self, state: duda.training.FitState) -> None:
            steps.append(state.step)

    model = plain(lambda: Overflowing({1, 6}))
    training = Training(
        precision="fp16", schedule="cosine", batch_size=12, accumulate=accumulate, ema=0.5, clip=1
    )
    history = duda.fit(
        model, (X, Y), epochs=2, training=training, callbacks=[Listener()], target_scale=None
    )
    assert history.skipped == [2]
    assert steps == list(range(1, 8 // accumulate - 2 + 1))
    assert history.losses.isfinite().all()
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_losses_of_epochs_that_overflow_are_infinite() -> None:
    model = plain(lambda: Overflowing({1}))
    training = Training(precision="fp16", batch_size=48)
    history = duda.fit(model, (X, Y), epochs=3, training=training, target_scale=None)
    assert history.losses.isinf().tolist() == [[True, False, False]]


def test_many_steps_that_overflow_are_an_error() -> None:
    model = plain(lambda: Overflowing(set(range(1000))))
    before = values(model)
    with pytest.raises(FloatingPointError, match=f"`precision` is 'fp16', and {_MOST} steps in"):
        duda.fit(model, (X, Y), epochs=9, training=Training(precision="fp16", batch_size=3))
    assert same(
        {k: v for k, v in values(model).items() if k.startswith("network")},
        {k: v for k, v in before.items() if k.startswith("network")},
    )


def test_a_large_loss_is_scaled_until_its_gradients_fit() -> None:
    model = plain()
    training = Training(precision="fp16", batch_size=48)
    history = duda.fit(model, (X, 1e4 * Y), epochs=30, training=training, target_scale=None)
    assert 5 < history.skipped[0] < 30
    assert history.losses.isfinite().any()


@pytest.mark.parametrize(
    ("settings", "dtype", "message"),
    [
        ({"precision": "bf15"}, None, "unknown `precision` 'bf15': did you mean 'bf16'"),
        (
            {"precision": "bf16"},
            torch.float64,
            "`precision` is 'bf16', but the weights are torch.f",
        ),
        ({"precision": "fp16"}, torch.bfloat16, "but the weights are torch.bfloat16, expected"),
    ],
)
def test_precisions_that_cannot_be(
    settings: dict[str, Any], dtype: torch.dtype | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        duda.fit(plain().to(dtype), (X, Y), epochs=1, training=Training(**settings))


def test_a_device_without_a_precision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("Current CUDA Device does not support bfloat16. Please switch dtype.")

    monkeypatch.setattr(torch, "autocast", refuse)
    with pytest.raises(ValueError, match=r"'bf16', which torch does not have on cpu .*: give an"):
        duda.fit(plain(), (X, Y), epochs=1, training=Training(precision="bf16"))


@pytest.mark.parametrize(
    "settings", [{"precision": "bf16"}, {"precision": "fp16"}, {"compile": True}]
)
def test_members_train_in_turn_where_one_step_cannot(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = settings
    training = Training(**settings)
    with pytest.raises(ValueError, match=f"`vectorize` is True, but `{name}` is"):
        duda.fit(ensemble(), (X, Y), epochs=1, training=training, vectorize=True)
    if name == "precision":
        with caplog.at_level(logging.INFO, "duda"):
            assert not duda.fit(ensemble(), (X, Y), epochs=1, training=training).vectorized
        assert "the members train one after the other, because `precision` is by" in caplog.text


class Counting:
    """A backend of `torch.compile` that runs graphs as they are, and counts them and their runs."""

    def __init__(self) -> None:
        self.graphs = self.runs = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1

        def run(*given: Any) -> Any:
            self.runs += 1
            return graph.forward(*given)

        return run


def test_networks_are_compiled_for_training_alone() -> None:
    backend, hooks = Counting(), []
    models = [plain(noisy), plain(noisy)]
    models[1].network.register_forward_hook(lambda *_: hooks.append(1))  # type: ignore[union-attr]
    for model, settings in zip(models, (False, {"backend": backend}), strict=True):
        duda.fit(
            model,
            (X, Y),
            epochs=2,
            seed=0,
            training=Training(batch_size=20, compile=settings),
            validation=(X, Y),
        )
    assert (backend.graphs, backend.runs) == (2, 6)  # for 20 and for 8 examples
    assert len(hooks) >= 8
    assert same(values(models[0]), values(models[1]))
    model = models[1]
    assert [*model.state_dict()] == [*models[0].state_dict()]
    assert not any("forward" in vars(module) for module in model.modules())
    model.predict(X)
    assert backend.runs == 6
    copy.deepcopy(model)


@pytest.mark.parametrize("setting", ["yes", 1])
def test_compile_is_a_flag_or_arguments(setting: Any) -> None:
    with pytest.raises(TypeError, match=r"`compile` is .*, expected True, False or arguments of"):
        Training(compile=setting)


class Picture(nn.Module):
    """A convolutional network that notes the strides of its input and weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        last = torch.channels_last
        found = [each.is_contiguous(memory_format=last) for each in (x, self.conv.weight)]
        self.seen.append(all(found))
        logits: Tensor = self.last(self.conv(x).relu().mean((2, 3)))
        return logits


def test_channels_are_last_in_training_and_weights_as_before_at_its_end() -> None:
    x, y = torch.randn(24, 3, 8, 8), torch.arange(24) % 2
    network = Picture()
    model = duda.Deterministic(network, duda.Categorical())
    other = copy.deepcopy(model)
    strides = [weight.stride() for weight in model.parameters()]
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8, "seed": 0}
    duda.fit(model, (x, y), training=Training(channels_last=True), **settings)
    assert network.seen[-6:] == [True] * 6
    assert [weight.stride() for weight in model.parameters()] == strides
    duda.fit(other, (x, y), **settings)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_method_trains_in_16_bits(method: str, precision: str) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))

    x, y = regression(40)
    kind = METHODS[method]
    likelihood = duda.Categorical()
    losses = []
    for each in (None, precision):
        model = seeded_model(lambda: kind.from_factory(network, likelihood))
        training = Training(precision=each, batch_size=20)
        labels = (y[:, 0] > 0).long()
        history = duda.fit(model, (x, labels), epochs=2, seed=0, training=training)
        losses.append(history.losses)
    torch.testing.assert_close(losses[0], losses[1], rtol=0.05, atol=0.05)
