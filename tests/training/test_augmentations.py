"""Augmentation of batches: crops, flips and mixtures, the same at each training with a seed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import Training
from duda.training.augmentations import Crop, CutMix, Flip, Mixup
from tests.training.models import double_ensemble, ensemble, mlp, plain, regression, same, values


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int = 6, size: tuple[int, int] = (5, 7)) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 3, *size, generator=seeded(n)) + 1, torch.arange(n) % 4


@given(seed=st.integers(0, 2**40), padding=st.integers(1, 9), n=st.integers(1, 5))
def test_crops_are_windows_of_padded_pictures(seed: int, padding: int, n: int) -> None:
    x, y = pictures(n)
    labels = torch.arange(n * 35).reshape(n, 5, 7)
    moved, same_y = Crop(padding)(x, y, seeded(seed))
    assert same_y is y
    again, maps = Crop(padding, target_fill=-1)(x, labels, seeded(seed))
    assert torch.equal(moved, again)
    top, left = torch.randint(2 * padding + 1, (2, n), generator=seeded(seed)).tolist()
    for i in range(n):
        for whole, fill, found in ((x[i], 0, moved[i]), (labels[i], -1, maps[i])):
            padded = nn.functional.pad(whole, [padding] * 4, value=fill)
            window = padded[..., top[i] : top[i] + 5, left[i] : left[i] + 7]
            assert torch.equal(found, window)


def test_flips_are_of_about_half_and_take_maps_along() -> None:
    x = torch.rand(400, 2, 3)
    flipped, maps = Flip()(x, x.clone(), seeded())
    assert torch.equal(flipped, maps)
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped[~mirrored], x[~mirrored])
    assert 160 < int(mirrored.sum()) < 240
    assert torch.equal(Flip(1)(x, x, seeded())[0], x.flip(-1))


@given(seed=st.integers(0, 2**40), alpha=st.sampled_from([0.1, 1.0, 4.0]))
def test_mixtures_hold_as_much_of_pictures_as_of_labels(seed: int, alpha: float) -> None:
    n = 5
    x = torch.eye(n).view(n, n, 1, 1).expand(n, n, 6, 8)  # channel c shows how much is of c
    y = torch.arange(n)
    for mixing in (Mixup(alpha, n), CutMix(alpha, n)):
        mixed, shares = mixing(x, y, seeded(seed))
        torch.testing.assert_close(mixed.mean((2, 3)), shares)
        torch.testing.assert_close(shares.sum(1), torch.ones(n))
    cut, maps = CutMix(alpha)(x, y.view(n, 1, 1).expand(n, 6, 8), seeded(seed))
    assert torch.equal(cut.argmax(1), maps)


def test_numbers_and_shares_are_mixed_as_they_are() -> None:
    x, y = regression(20)
    mixed, numbers = Mixup()(torch.cat([x, y], 1), y, seeded())
    torch.testing.assert_close(mixed[:, 3:], numbers)
    soft = torch.rand(20, 4)
    assert Mixup(classes=4)(x, soft, seeded())[1].shape == (20, 4)


def test_shares_follow_their_beta_distribution() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1)
    generator = seeded()
    drawn = torch.stack([Mixup(0.5)(x, y, generator)[0].max() for _ in range(2000)])
    drawn = drawn[drawn < 1]  # half of the orders leave both where they are
    # The larger of λ and 1 - λ, of the arcsine law: its mean is 1/2 + 1/π.
    assert float(drawn.mean()) == pytest.approx(0.8183, abs=0.02)


def _moved(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype), y


def _trained(model: Any, data: Any, **settings: Any) -> dict[str, Tensor]:
    duda.fit(model, data, epochs=3, seed=0, training=Training(batch_size=16, **settings))
    return values(model)


def test_a_training_with_a_seed_is_the_same_again_and_others_are_not() -> None:
    data = regression(50)
    one, again = (_trained(plain(), data, augment=_moved) for _ in range(2))
    assert same(one, again)
    assert not same(one, _trained(plain(), data))


def test_functions_are_called_one_after_the_other_in_training_alone() -> None:
    called: list[tuple[str, tuple[int, ...]]] = []

    def note(name: str, x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        called.append((name, tuple(x.shape)))
        return x, y

    both = [functools.partial(note, name) for name in "ab"]
    model, (x, y) = plain(), regression(20)
    duda.fit(model, (x, y), epochs=2, training=Training(augment=both), validation=(x, y))
    assert called == [("a", (20, 3)), ("b", (20, 3))] * 2


def test_batches_of_a_loader_are_augmented_too() -> None:
    data = TensorDataset(*regression(50))
    one = _trained(plain(), DataLoader(data, 25), augment=_moved)
    assert not same(one, _trained(plain(), DataLoader(data, 25)))


CLASSES = functools.partial(double_ensemble, likelihood=duda.Categorical())


@pytest.mark.parametrize("augment", [_moved, [_moved, Mixup(classes=2)]], ids=["own", "mixup"])
def test_members_in_one_step_see_what_they_see_in_turn(augment: Any) -> None:
    x, y = regression(50, torch.float64)
    models = [(first := CLASSES(mlp)), copy.deepcopy(first)]
    for model, way in zip(models, (False, True), strict=True):
        duda.fit(
            model,
            (x, (y[:, 0] > 0).long()),
            epochs=3,
            seed=0,
            vectorize=way,
            training=Training(augment=augment, batch_size=20),
        )
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_members_see_other_pictures() -> None:
    seen: list[Tensor] = []

    def note(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        seen.append(torch.rand(3, generator=generator))
        return x, y

    duda.fit(ensemble(), regression(20), epochs=2, seed=0, training=Training(augment=note))
    assert len({tuple(each.tolist()) for each in seen}) == 6


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(60, 4))


RECIPES: dict[str, Any] = {
    "labels": [Crop(2), Flip(), Mixup(classes=4)],
    "cut": [Flip(), CutMix(classes=4)],
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("method", ["mc-dropconnect", "deep-ensemble"])
def test_pictures_train(name: str, method: str) -> None:
    model = duda.METHODS[method].from_factory(convolutional, duda.Categorical())
    training = Training(augment=RECIPES[name], batch_size=8)
    history = duda.fit(model, pictures(24), epochs=1, training=training)
    assert history.losses.isfinite().all()


def test_a_run_with_other_functions_is_another_run(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "run"}
    data = pictures(8)

    def train(augment: Any) -> None:
        model = duda.Deterministic(convolutional(), duda.Categorical())
        duda.fit(model, data, training=Training(augment=augment), **arguments)

    train([Crop(2), Flip()])
    train([Crop(2), Flip()])
    with pytest.raises(ValueError, match="is of another run: its augment is"):
        train([Crop(3), Flip()])


X, Y = pictures(8)
BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "fewer": (lambda x, y, g: (x[1:], y[1:]), "`augment` made 7 inputs and 7 targets of 8"),
    "of x": (lambda x, y, g: (x[1:], y), "`augment` made 7 inputs and 8 targets of 8"),
    "x alone": (lambda x, y, g: x, "`augment` returned a Tensor, expected tensors"),
    "three": (lambda x, y, g: (x, y, g), "`augment` returned a tuple of 3 parts"),
    "no tensors": (lambda x, y, g: (x.numpy(), y), "`augment` returned a tuple of 2 parts"),
    "no classes": (Mixup(), "labels are mixed as shares of classes: give `Mixup"),
    "too few": (CutMix(classes=3), "`y` holds the label 3, which has no share"),
    "wrong labels": (lambda x, y, g: (x, y + 3), "`y` holds the label"),
    "no shares": (lambda x, y, g: (x, torch.ones(8, 4)), "sum"),
}


@pytest.mark.parametrize("kind", BAD)
def test_functions_that_return_something_else(kind: str) -> None:
    augment, message = BAD[kind]
    model = duda.Deterministic(convolutional(), duda.Categorical())
    with pytest.raises(ValueError, match=message):
        duda.fit(model, (X, Y), epochs=1, training=Training(augment=augment))


@pytest.mark.parametrize("augment", [3, Flip, [Flip(), "crop"]])
def test_functions_that_are_none(augment: Any) -> None:
    with pytest.raises(TypeError, match=r"`augment` is or holds .*, expected functions `\(x, y, g"):
        Training(augment=augment)


@pytest.mark.parametrize(
    ("change", "x", "y", "message"),
    [
        (Flip(), torch.rand(4, 3), Y[:4], r"`x` has shape \(4, 3\), expected pictures"),
        (Crop(), {"a": X}, Y, "`x` has several inputs, expected pictures"),
        (Flip(), X, torch.rand(8, 2, 4), r"`y` has shape \(8, 2, 4\) beside pictures of \(5, 7\)"),
        (Crop(), X, torch.zeros(8, 5, 7).long(), "but `target_fill` is missing"),
        (Mixup(), X.byte(), torch.rand(8, 4), "`x` has dtype torch.uint8, expected floating"),
    ],
)
def test_batches_that_are_no_pictures(change: Any, x: Any, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(x, y, seeded())


@pytest.mark.parametrize(
    "make",
    [lambda: Crop(0), lambda: Flip(2), lambda: Flip(0), lambda: Mixup(-1), lambda: CutMix(1, 0)],
)
def test_settings_out_of_range(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()
