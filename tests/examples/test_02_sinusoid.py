import pytest
import torch

import duda


@pytest.fixture
def found(example):
    return example("plot_02_sinusoid")


def test_every_method_for_numbers_is_there(found):
    shown = {type(model) for model in found["models"].values()}
    fitting = {m for m in duda.METHODS.values() if issubclass(duda.Gaussian, m.likelihoods)}
    assert shown == fitting


def test_the_titles_hold_what_was_measured(found):
    titles = [ax.get_title() for ax in found["axes"].flat]
    for name, title in zip(found["models"], titles, strict=False):
        assert title.startswith(name)
        assert f"{found['scores'][name]:.2f}" in title
        assert f"{found['errors'][name]:.3f}" in title
    assert min(found["scores"].values()) > 0.4
    assert all(0 <= share <= 1 for share in found["held"].values())


def test_an_ensemble_that_trained_a_little_opens_its_bands_beyond_the_data(found):
    torch.manual_seed(0)
    model = duda.DeepEnsemble(found["network"], duda.Gaussian(), members=5)
    duda.fit(model, found["split"].train, epochs=25, lr=3e-3, batch_size=32, seed=0)
    std = model.predict(torch.tensor([[-4.0], [4.0], [-14.0], [14.0]])).std
    assert std[2:].min() >= 3 * std[:2].max()
