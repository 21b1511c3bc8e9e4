"""Steps that are scheduled, clipped, accumulated and averaged are those of a loop by hand."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import duda
from duda import Training
from tests.training.models import (
    Residual,
    double_ensemble,
    ensemble,
    mlp,
    noisy,
    plain,
    regression,
    same,
    values,
)

SGD = functools.partial(torch.optim.SGD, momentum=0.9, weight_decay=0.01, nesterov=True)
X, Y = regression(48)


class Watched:
    """An optimizer factory that notes the learning rate of each step, and gradients' norms."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.rates, self.norms = settings, list[float](), list[float]()

    def __call__(self, weights: Any, lr: float = 0.1) -> torch.optim.Optimizer:
        made = torch.optim.SGD(weights, lr=lr, **self.settings)
        made.register_step_pre_hook(self.note)
        return made

    def note(self, made: torch.optim.Optimizer, *_: Any) -> None:
        (group,) = made.param_groups
        self.rates.append(group["lr"])
        norms = [weight.grad.norm() for weight in group["params"]]
        self.norms.append(float(torch.stack(norms).norm()))


def rates_of(epochs: int = 3, **settings: Any) -> list[float]:
    watched = Watched(momentum=0.5)
    training = Training(optimizer=watched, lr=0.2, batch_size=12, **settings)
    duda.fit(plain(), (X, Y), epochs=epochs, seed=0, training=training)
    return watched.rates


def test_cosine_falls_from_the_rate_to_nearly_nothing() -> None:
    expected = [0.2 * (0.5 + 0.5 * math.cos(math.pi * step / 12)) for step in range(12)]
    assert rates_of(schedule="cosine") == pytest.approx(expected)
    # As torch's own, but for the warm-up.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    for expected_rate in expected:
        assert scheduler.get_last_lr()[0] == pytest.approx(expected_rate)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("warmup", [3, 0.25, 0.2])
def test_warm_up_grows_linearly(warmup: float) -> None:
    assert rates_of(warmup=warmup) == pytest.approx([0.2 / 3, 0.4 / 3] + [0.2] * 10)
    fallen = rates_of(warmup=warmup, schedule="cosine")
    assert fallen[:4] == pytest.approx([0.2 / 3, 0.4 / 3, 0.2, 0.2])
    assert fallen[-1] == pytest.approx(0.2 * (0.5 + 0.5 * math.cos(math.pi * 8 / 9)))


def test_one_cycle_is_torchs() -> None:
    found = rates_of(schedule="one-cycle")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2, momentum=0.5)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=12)
    for rate in found:
        assert rate == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert max(found) == pytest.approx(0.2, rel=0.1)


def test_a_function_makes_a_schedule_that_is_asked_at_each_step() -> None:
    step = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=5, gamma=0.1)
    assert rates_of(schedule=step) == pytest.approx([0.2] * 5 + [0.02] * 5 + [0.002] * 2)


def test_steps_that_are_accumulated_count_as_one() -> None:
    assert len(rates_of(accumulate=3)) == 3 * 2  # 4 batches an epoch
    assert rates_of(schedule="cosine", accumulate=4) == pytest.approx([0.2, 0.15, 0.05])


def test_gradients_are_clipped_to_a_norm() -> None:
    watched = Watched()
    training = Training(optimizer=watched, clip=0.05, batch_size=12)
    duda.fit(plain(), (X, Y), epochs=2, training=training)
    assert watched.norms == pytest.approx([0.05] * 8, rel=1e-3)
    loose = [values(model) for model in (plain(), plain())]
    models = [plain(), plain()]
    for model, clip in zip(models, (None, 1e6), strict=True):
        duda.fit(model, (X, Y), epochs=2, seed=0, training=Training(clip=clip))
    assert same(values(models[0]), values(models[1]))
    assert not same(values(models[0]), loose[0])


@pytest.mark.parametrize("accumulate", [2, 3, 5])
def test_accumulated_batches_are_one_batch(accumulate: int) -> None:
    models = [plain().double(), plain().double()]
    x, y = regression(48, torch.float64)
    for model, settings in zip(
        models,
        (
            Training(batch_size=7 * accumulate, optimizer=SGD, lr=0.01, clip=0.5),
            Training(batch_size=7, accumulate=accumulate, optimizer=SGD, lr=0.01, clip=0.5),
        ),
        strict=True,
    ):
        duda.fit(model, (x, y), epochs=3, seed=0, training=settings)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_averages_are_what_is_judged_and_what_predicts() -> None:
    seen: list[dict[str, Tensor]] = []
    judged: list[dict[str, Tensor]] = []

    class Listener:
        def on_step_end(self, state: duda.training.FitState) -> None:
            seen.append(values(state.model))

        def on_epoch_end(self, state: duda.training.FitState) -> None:
            judged.append(values(state.model))

    model = plain(noisy)
    average = values(model)
    training = Training(ema=0.7, batch_size=12)
    history = duda.fit(
        model,
        (X, Y),
        epochs=3,
        seed=0,
        training=training,
        validation=(X, Y),
        callbacks=[Listener()],
        target_scale=None,
    )
    for step, now in enumerate(seen, 1):
        decay = min(0.7, (1 + step) / (10 + step))
        for name, value in now.items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
            else:
                average[name] = value
        if step % 4 == 0:
            for name, value in judged[step // 4 - 1].items():
                torch.testing.assert_close(value, average[name], msg=name)
    best = judged[history.best_epochs[0] - 1]
    assert same(values(model), best)
    assert history.validation_losses is not None
    with torch.no_grad():
        loss = float(model.eval().loss(X, Y))
    assert float(history.validation_losses.min()) == pytest.approx(loss, rel=1e-5)


def test_the_training_itself_knows_nothing_of_averages() -> None:
    histories = [
        duda.fit(plain(noisy), (X, Y), epochs=4, seed=0, training=Training(ema=ema, batch_size=12))
        for ema in (None, 0.9)
    ]
    assert torch.equal(histories[0].losses, histories[1].losses)


def test_biases_and_norms_need_not_decay() -> None:
    def trained(decay: float, biases: bool) -> duda.UncertainModel:
        model = plain(noisy)
        optimizer = functools.partial(torch.optim.SGD, weight_decay=decay)
        training = Training(optimizer=optimizer, lr=0.1, decay_biases=biases)
        duda.fit(model, (X, Y), epochs=1, seed=0, training=training, target_scale=None)
        return model

    without, left_out, all_of_them = trained(0.0, True), trained(0.5, False), trained(0.5, True)
    for name, value in without.named_parameters():
        other = left_out.get_parameter(name)
        assert torch.equal(value, other) is (value.ndim == 1), name
        unlike = not torch.equal(other, all_of_them.get_parameter(name))
        assert unlike is (value.ndim == 1 and name != "network.1.bias"), name  # which starts at 0


@pytest.mark.parametrize("build", [plain, ensemble], ids=["loop", "one step"])
@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_so_many_steps_are_made(
    build: Callable[[], duda.UncertainModel], steps: int, epochs: int
) -> None:
    told: list[duda.training.FitState] = []

    class Listener:
        def on_step_end(self, state: duda.training.FitState) -> None:
            told.append(state)

    history = duda.fit(build(), (X, Y), steps=steps, batch_size=12, callbacks=[Listener()])
    assert history.losses.shape[1] == epochs
    assert [each.step for each in told if each.member == 0] == list(range(1, steps + 1))
    assert {each.epochs for each in told} == {epochs}


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Any:
        while True:
            yield from zip(X, Y, strict=True)


def test_steps_of_a_stream_without_end() -> None:
    model = plain()
    training = Training(schedule="cosine", optimizer=SGD, lr=0.01)
    history = duda.fit(model, Endless(), steps=7, batch_size=5, training=training)
    assert history.losses.shape == (1, 1)


SETTINGS: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine", "warmup": 2},
    "one-cycle": {"schedule": "one-cycle"},
    "clip": {"clip": 0.3},
    "accumulate": {"accumulate": 3, "optimizer": SGD, "lr": 0.01},
    "ema": {"ema": 0.9},
    "decay": {"decay_biases": False, "optimizer": SGD, "lr": 0.01},
    "all": {
        "schedule": "one-cycle",
        "clip": 0.2,
        "accumulate": 2,
        "ema": 0.8,
        "decay_biases": False,
        "optimizer": functools.partial(torch.optim.AdamW, weight_decay=0.1),
        "lr": 0.01,
    },
}


@pytest.mark.parametrize("network", [mlp, Residual])
@pytest.mark.parametrize("kind", SETTINGS)
def test_members_as_one_step_do_as_one_by_one(network: Any, kind: str) -> None:
    first = double_ensemble(network)
    models = [first, copy.deepcopy(first)]
    histories = [
        duda.fit(
            model,
            regression(50, torch.float64),
            epochs=4,
            seed=2,
            batch_size=16,
            validation=regression(30, torch.float64),
            vectorize=way,
            training=Training(**SETTINGS[kind]),
        )
        for model, way in zip(models, (False, True), strict=True)
    ]
    assert [history.vectorized for history in histories] == [False, True]
    assert histories[0].best_epochs == histories[1].best_epochs
    torch.testing.assert_close(histories[0].validation_losses, histories[1].validation_losses)
    for (name, one), other in zip(
        models[0].state_dict().items(), models[1].state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8, msg=name)


def test_arguments_of_fit_go_before_those_of_its_training() -> None:
    models = [plain(), plain()]
    recipe = Training(lr=0.5, batch_size=3, ema=0.5)
    duda.fit(models[0], (X, Y), epochs=1, seed=0, training=recipe, lr=0.01, batch_size=12)
    ready = Training(lr=0.01, batch_size=12, ema=0.5)
    duda.fit(models[1], (X, Y), epochs=1, seed=0, training=ready)
    assert same(values(models[0]), values(models[1]))


NAN = functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: math.nan)
NEGATIVE = functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1.0 - step)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "cosin"}, "unknown `schedule` 'cosin': did you mean 'cosine'"),
        ({"schedule": "onecycle"}, "did you mean 'one-cycle'"),
        ({"schedule": NAN}, "`schedule` sets the learning rate to nan after 0 steps"),
        ({"schedule": NEGATIVE}, r"`schedule` sets the learning rate to -0\.001 after 2 steps"),
        ({"warmup": -1}, "`warmup` is -1, expected a whole number"),
        ({"warmup": 1.5}, "`warmup` is 1.5, expected a whole number"),
        ({"warmup": 48}, "`warmup` is 48, expected fewer than the 48 steps"),
        ({"warmup": 2, "schedule": NEGATIVE}, "`warmup` is 2, but `schedule` is a function"),
        ({"accumulate": 0}, "`accumulate` is 0"),
        ({"clip": 0}, "`clip` is 0, expected a number above 0"),
        ({"clip": math.inf}, "`clip` is inf"),
        ({"ema": 1.0}, "`ema` is 1.0, expected a number between 0 and 1"),
        ({"ema": 0}, "`ema` is 0, expected"),
        ({"decay_biases": False}, "`decay_biases` is False, but the Adam has no weight decay"),
    ],
)
@pytest.mark.parametrize("build", [plain, ensemble], ids=["loop", "one step"])
def test_settings_that_are_wrong(build: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        duda.fit(build(), (X, Y), epochs=4, training=Training(**{"batch_size": 4, **settings}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": 3}, "`schedule` is a int, expected 'cosine'"),
        ({"schedule": lambda optimizer: 0.1}, "`schedule` made a float"),
        (
            {"schedule": torch.optim.lr_scheduler.ReduceLROnPlateau},
            "`schedule` made a ReduceLROnPlateau",
        ),
        ({"warmup": "long"}, "`warmup` is 'long'"),
        ({"decay_biases": 1}, "`decay_biases` is 1"),
        ({"clip": "hard"}, "`clip` is a str, expected a number"),
    ],
)
def test_settings_of_the_wrong_kind(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        duda.fit(plain(), (X, Y), epochs=4, training=Training(**settings))


def test_lengths_that_contradict_each_other() -> None:
    for lengths in ({}, {"epochs": 2, "steps": 3}):
        with pytest.raises(ValueError, match="`epochs` and `steps` are"):
            duda.fit(plain(), (X, Y), **lengths)
    with pytest.raises(ValueError, match="`steps` is 0"):
        duda.fit(plain(), (X, Y), steps=0)
    with pytest.raises(TypeError, match=r"`training` is a dict, expected a `duda.Training"):
        duda.fit(plain(), (X, Y), epochs=1, training={"lr": 1})  # type: ignore[arg-type]
    stream = DataLoader(Endless(), 5)
    with pytest.raises(ValueError, match=r"`schedule` is 'cosine', but .* give `steps` in place"):
        duda.fit(plain(), stream, epochs=1, training=Training(schedule="cosine"))


def test_a_loader_of_uneven_batches_is_accumulated_by_examples() -> None:
    models = [plain().double(), plain().double()]
    x, y = regression(20, torch.float64)
    uneven = DataLoader(TensorDataset(x, y), batch_sampler=[[*range(3)], [*range(3, 20)]])
    for model, data, count in zip(
        models, (uneven, DataLoader(TensorDataset(x, y), 20)), (2, 1), strict=True
    ):
        training = Training(accumulate=count, optimizer=SGD, lr=0.1)
        duda.fit(model, data, epochs=2, seed=0, training=training)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)
