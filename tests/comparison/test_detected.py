import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.comparison.detected import Detected
from duda.detectors import DETECTORS, Energy, Mahalanobis, NearestNeighbors, OnNetwork


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture
def data():
    return duda.datasets.load("two-moons", seed=0)


def test_training_ends_with_the_detector(data):
    model = Detected(network(), duda.Categorical(), Mahalanobis())
    with pytest.raises(ValueError, match="this Mahalanobis is not fitted"):
        model.predict(data.test[0])
    duda.fit(model, data.train, epochs=3, seed=0)
    answer = model.predict(data.test[0])
    plain = duda.Deterministic(model.network, duda.Categorical()).predict(data.test[0])
    assert torch.equal(answer.probs, plain.probs)
    expected = OnNetwork(model.network, Mahalanobis()).fit(data.train).score(data.test[0])
    torch.testing.assert_close(answer.score, expected)


@pytest.mark.parametrize("name", DETECTORS)
def test_each_detector_and_a_gate(name, data):
    torch.manual_seed(0)
    model = Detected(network(), duda.Categorical(), DETECTORS[name]())
    duda.fit(model, data.train, epochs=3, seed=0)
    answer = model.predict(data.test[0])
    assert answer.score.shape == (len(data.test[0]),)
    assert duda.Gate.keep(0.9).fit(answer)(answer).accepted.double().mean() >= 0.9


def test_a_shuffled_loader_keeps_answers_and_scores_together(data):
    model = Detected(network(), duda.Categorical(), NearestNeighbors(k=5), "0")
    duda.fit(model, data.train, epochs=1, seed=0)
    loader = DataLoader(TensorDataset(data.test[0]), 16, shuffle=True)
    whole = model.predict(data.test[0])
    with pytest.warns(UserWarning, match="shuffles"):
        shuffled = model.predict(loader)

    def pairs(answer):
        return sorted(zip(answer.probs[:, 0].tolist(), answer.score.tolist(), strict=True))

    for one, other in zip(pairs(whole), pairs(shuffled), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_copy_has_a_network_of_its_own(data):
    model = Detected(network(), duda.Categorical(), Energy())
    other = copy.deepcopy(model)
    nn.init.zeros_(other.network[2].weight)
    nn.init.zeros_(other.network[2].bias)
    assert model.predict(data.test[0]).score.std() > 0
    assert len(other.predict(data.test[0]).score.unique()) == 1


def test_detectors_stand_beside_methods_in_a_comparison(data):
    names = ["deterministic", "mahalanobis", "energy"]
    found = duda.compare("two-moons", names, epochs=20)
    scores = {run.method: run.test.score for run in found.runs}
    assert list(scores) == names
    assert len({tuple(run.test.probs[:, 0].tolist()) for run in found.runs}) == 1
    assert not torch.equal(scores["mahalanobis"], scores["energy"])
    far = {run.method: run.figures["auroc_ood"] for run in found.runs}
    assert far["mahalanobis"] != far["deterministic"]
    assert "mahalanobis" in found.report().html()


def test_detectors_by_label(data):
    def mine(make, likelihood):
        return Detected(make(), likelihood, NearestNeighbors(k=3))

    methods = {"mine": mine, "density": DETECTORS["feature-density"]}
    found = duda.compare(data.train, methods, network=network, epochs=2)
    assert found.methods == ["mine", "density"]


def test_a_detector_needs_classes():
    with pytest.raises(ValueError, match="'mahalanobis', which does not take the likelihood"):
        duda.compare("sinusoid", ["mahalanobis"], epochs=1)


@pytest.mark.parametrize("arguments", [{"probs": True}, {"class_dim": -1}])
def test_detectors_read_logits_with_classes_first(arguments):
    with pytest.raises(ValueError, match=r"expected `Categorical\(\)`: detectors read logits"):
        Detected(nn.Linear(2, 3), duda.Categorical(**arguments), Energy())
