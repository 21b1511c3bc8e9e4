"""Every data set has the parts that it promises, the same for the same seed."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from duda import datasets
from duda.datasets import DATASETS

WITHOUT_FILES = ["digits", "sinusoid", "cubic", "cubic-heteroscedastic", "two-moons"]
needs_files = pytest.mark.skipif(
    "DUDA_DATA" not in os.environ, reason="DUDA_DATA does not name the folder with real data"
)
WHOLE = [name for name in DATASETS if name != "cifar-10"]  # has tests of its own, in test_cifar.py
NAMES = [pytest.param(name, marks=() if name in WITHOUT_FILES else needs_files) for name in WHOLE]


@pytest.mark.parametrize("name", NAMES)
def test_parts_fit_each_other(name: str) -> None:
    split = datasets.load(name, seed=3)
    assert split.name == name
    for x, y in (split.train, split.test):
        assert len(x) == len(y) > 0
        assert x.dtype == torch.float32
        assert bool(torch.isfinite(x).all())
        assert x.shape[1:] == split.test[0].shape[1:]
        if split.task == "classification":
            assert y.dtype == torch.int64
            assert set(y.tolist()) == set(range(len(split.classes)))
        else:
            assert y.dtype == torch.float32
            assert y.shape == (len(x), 1)
        if x.ndim == 4:
            assert 0 <= float(x.min()) < float(x.max()) <= 1
    if split.task == "regression":
        y = split.train[1].double()
        assert float(y.mean()) == pytest.approx(0, abs=1e-5)
        assert float(y.std(correction=0)) == pytest.approx(1, abs=1e-5)
    if split.ood is not None:
        assert split.ood.shape[1:] == split.train[0].shape[1:]
        assert split.ood_name


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_the_seed_decides(name: str) -> None:
    one, same, other = (datasets.load(name, seed) for seed in (0, 0, 1))
    assert torch.equal(one.train[0], same.train[0])
    assert torch.equal(one.ood, same.ood)
    assert not torch.equal(one.train[0], other.train[0])
    rows = torch.cat([one.train[0], one.test[0]]).flatten(1)
    assert len(rows.unique(dim=0)) == len(rows)  # no test example is a training example


def test_loading_leaves_the_global_random_state() -> None:
    before = torch.get_rng_state()
    for name in WITHOUT_FILES:
        datasets.load(name, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "noise_std"), [("sinusoid", 0.1), ("cubic", 3.0), ("cubic-heteroscedastic", None)]
)
def test_curves_have_the_noise_and_the_range_they_state(name: str, noise_std: float | None) -> None:
    split = DATASETS[name](0, size=20_000)
    x, y = split.train
    y = split.y_mean + split.y_std * y.double()
    truth = 2 * torch.sin(0.75 * x) if name == "sinusoid" else x**3
    low, high = split.curve.train_range
    assert low <= float(x.min()) < low + 0.1
    assert high - 0.1 < float(x.max()) <= high
    expected = (0.5 + 2.5 * x.abs()).double() if noise_std is None else noise_std
    standard = (y - truth) / expected
    assert float(standard.mean()) == pytest.approx(0, abs=0.03)
    assert float(standard.std()) == pytest.approx(1, abs=0.03)
    outside = (split.curve.x < low) | (split.curve.x > high)
    assert torch.equal(split.ood, split.curve.x[outside][:, None])


def test_digits_are_scikit_learns_split_in_proportion() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    split = datasets.load("digits", seed=2)
    x, y = (torch.cat(pair).numpy() for pair in zip(split.train, split.test, strict=True))
    mine = np.column_stack([x.reshape(len(x), 64) * 16, y])
    official = np.column_stack([bunch.data, bunch.target])
    assert np.array_equal(mine[np.lexsort(mine.T)], official[np.lexsort(official.T)])
    share = np.bincount(bunch.target) * 1000 / 1797
    assert (np.abs(split.train[1].bincount().numpy() - share) <= 1).all()


def test_photo_patches_are_pictures() -> None:
    ood = datasets.load("digits").ood
    assert ood.shape == (797, 1, 8, 8)
    assert (ood.amin((1, 2, 3)) == 0).all()
    assert (ood.amax((1, 2, 3)) == 1).all()
    assert torch.equal(ood * 16, (ood * 16).round())  # grey levels of the digits
    neighbours = (ood[..., 1:] - ood[..., :-1]).abs().mean()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    shuffled = (ood.flatten(1)[:, order].diff()).abs().mean()
    assert neighbours < 0.8 * shuffled


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'mnits':.*'mnist'"):
        datasets.load("mnits")
    with pytest.raises(ValueError, match=r"unknown data set 'uci:concret':.*'uci:concrete'"):
        datasets.load("uci:concret")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"`seed` is {seed}, expected"):
        datasets.load("two-moons", seed)


def test_ood_of_another_set() -> None:
    digits = datasets.load("digits")
    assert datasets.ood_inputs(digits)[1] == "patches of photographs"
    with pytest.raises(ValueError, match=r"'sinusoid' have shape \(1,\), those of 'digits'"):
        datasets.ood_inputs(digits, "sinusoid")
    with pytest.raises(ValueError, match="what the network is trained on"):
        datasets.ood_inputs(digits, "digits")
    inputs, name = datasets.ood_inputs(datasets.load("cubic"), "sinusoid")
    assert (inputs.shape, name) == ((500, 1), "sinusoid")


@needs_files
def test_mnist_and_fashion_mnist_are_out_of_distribution_for_each_other() -> None:
    mnist, fashion = datasets.load("mnist"), datasets.load("fashion-mnist")
    assert (mnist.ood_name, fashion.ood_name) == ("fashion-mnist", "mnist")
    assert torch.equal(mnist.ood, fashion.test[0])
    assert torch.equal(fashion.ood, mnist.test[0])
    inputs, name = datasets.ood_inputs(mnist, "fashion-mnist")
    assert (name, inputs.shape) == ("fashion-mnist", (10_000, 1, 28, 28))
    with pytest.raises(ValueError, match=r"'mnist' have shape \(1, 28, 28\).*'digits' \(1, 8, 8\)"):
        datasets.ood_inputs(datasets.load("digits"), "mnist")


def test_data_sets_of_one_script_are_in_the_gallery_and_their_old_names_warn() -> None:
    for name in datasets.gallery.__all__:
        assert name not in datasets.__all__
        with pytest.warns(DeprecationWarning, match=f"is now `duda.datasets.gallery.{name}`"):
            assert getattr(datasets, name) is getattr(datasets.gallery, name)
    with pytest.raises(AttributeError, match="has no attribute 'vocs'"):
        datasets.vocs  # noqa: B018
