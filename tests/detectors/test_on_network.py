import copy
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.detectors import (
    DETECTORS,
    Detector,
    Energy,
    Mahalanobis,
    MaxLogit,
    NearestNeighbors,
    OnNetwork,
    energy,
    features_of,
    logits_of,
)


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.fixture
def x():
    return torch.randn(60, 2)


Y = torch.arange(60) % 3


def test_features_are_what_goes_into_the_last_linear_layer(network, x):
    expected = Mahalanobis().fit(features_of(network, x, "1"), Y)
    found = OnNetwork(network, Mahalanobis()).fit(x, Y)
    torch.testing.assert_close(found.score(x), expected.score(features_of(network, x, "1")))
    assert torch.equal(found(x), found.score(x))


def test_a_layer_can_be_chosen(network, x):
    expected = NearestNeighbors(k=2).fit(features_of(network, x, "0"))
    found = OnNetwork(network, NearestNeighbors(k=2), "0").fit(x)
    torch.testing.assert_close(found.score(x), expected.score(features_of(network, x, "0")))


def test_positions(x):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    pictures = torch.randn(60, 1, 6, 6)
    rows = features_of(network, pictures, "0", positions="mean")
    found = OnNetwork(network, Mahalanobis(), "0", positions="mean").fit(pictures, Y)
    torch.testing.assert_close(found.score(pictures), Mahalanobis().fit(rows, Y).score(rows))


@pytest.mark.parametrize("detector", [Energy(temperature=2.0), MaxLogit()])
def test_logits_need_no_fit(network, x, detector):
    network.eval()
    with torch.no_grad():
        logits = network(x)
    network.train()
    found = OnNetwork(network, detector)
    torch.testing.assert_close(found.score(x), detector.score(logits))
    torch.testing.assert_close(found.fit(x).score(x), detector.score(logits))
    torch.testing.assert_close(logits_of(network, x, batch_size=7), logits)
    assert network.training


def test_logits_of_positions():
    network = nn.Conv2d(1, 3, 1)
    assert OnNetwork(network, Energy()).score(torch.randn(2, 1, 4, 5)).shape == (2, 4, 5)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_batches(network, x, batch_size):
    whole = OnNetwork(network, Mahalanobis()).fit(x, Y)
    parts = OnNetwork(network, Mahalanobis(), batch_size=batch_size).fit(x, Y)
    torch.testing.assert_close(parts.score(x), whole.score(x), rtol=1e-5, atol=1e-5)


def test_sources_of_inputs(network, x):
    expected = OnNetwork(network, Mahalanobis()).fit(x, Y).score(x)
    pairs = TensorDataset(x, Y)
    shuffled = DataLoader(pairs, 7, shuffle=True)
    for source in ((x, Y), (x.numpy(), Y.numpy()), pairs, DataLoader(pairs, 7), shuffled):
        detector = OnNetwork(network, Mahalanobis())
        assert detector.fit(source) is detector
        torch.testing.assert_close(detector.score(x), expected, rtol=1e-5, atol=1e-5)
    for source in (x.numpy(), pairs, DataLoader(pairs, 7)):
        torch.testing.assert_close(detector.score(source), expected, rtol=1e-5, atol=1e-5)


def test_labels_are_not_needed_by_all(network, x):
    expected = OnNetwork(network, NearestNeighbors(k=3)).fit(x).score(x)
    for source in ((x, Y), TensorDataset(x, Y), TensorDataset(x)):
        found = OnNetwork(network, NearestNeighbors(k=3)).fit(source)
        torch.testing.assert_close(found.score(x), expected)
    with pytest.raises(TypeError, match=r"expected a pair|batch of `data`"):
        OnNetwork(network, Mahalanobis()).fit(x)


def test_named_inputs():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

        def forward(self, left, right):
            return self.head(self.layer(left + right))

    inputs = {"left": torch.randn(60, 2), "right": torch.randn(60, 2)}
    for detector in (Mahalanobis(), Energy()):
        assert OnNetwork(Named(), detector).fit(inputs, Y).score(inputs).shape == (60,)


def test_the_network_is_left_as_it_was(network, x):
    network.train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    for kind in DETECTORS.values():
        OnNetwork(network, kind()).fit(x, Y).score(x)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_gates_and_answers(network, x):
    detector = OnNetwork(network, Mahalanobis()).fit(x, Y)
    answer = duda.Deterministic(network, duda.Categorical()).predict(x)
    found = detector.scored(answer, x)
    torch.testing.assert_close(found.score, detector.score(x))
    gate = duda.Gate.false_alarm(0.2).fit(detector.score(x))
    assert torch.equal(gate(found).decisions, gate(detector.score(x)).decisions)
    assert gate(detector.score(50 * x)).accepted.double().mean() < 0.5


@pytest.mark.parametrize("name", DETECTORS)
def test_a_file_gives_the_same_scores_to_the_last_bit(network, x, name, tmp_path):
    detector = OnNetwork(network, DETECTORS[name](), batch_size=9).fit(x, Y)
    back = OnNetwork.load(detector.save(tmp_path / "detector"), copy.deepcopy(network))
    assert torch.equal(back.score(x), detector.score(x))
    assert back.detector.get_params() == detector.detector.get_params()
    assert (back.layer, back.positions, back.batch_size) == (None, None, 9)


def test_a_file_keeps_layer_and_positions(network, x, tmp_path):
    detector = OnNetwork(network, Mahalanobis(), "0", positions="mean").fit(x, Y)
    back = OnNetwork.load(detector.save(tmp_path / "detector"), network)
    assert (back.layer, back.positions) == ("0", "mean")


def test_other_weights_are_told(network, x, tmp_path):
    path = OnNetwork(network, Mahalanobis()).fit(x, Y).save(tmp_path / "detector")
    with torch.no_grad():
        network[0].weight[0, 0] += 1e-3
    with pytest.raises(ValueError, match="`network` has other weights than the one that"):
        OnNetwork.load(path, network)
    with pytest.raises(ValueError, match=r"holds a 'duda\.detector-on-a-network', expected a"):
        Detector.load(path)


def test_what_no_file_can_hold(network, x, tmp_path):
    detector = OnNetwork(network, Mahalanobis(), positions=lambda out: out)
    with pytest.raises(ValueError, match="not fitted"):
        detector.save(tmp_path / "detector")
    with pytest.raises(TypeError, match="a file cannot hold the function at 'positions'"):
        detector.fit(x, Y).save(tmp_path / "detector")


def test_a_damaged_file(network, x, tmp_path):
    path = OnNetwork(network, Mahalanobis()).fit(x, Y).save(tmp_path / "detector")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        OnNetwork.load(path, network)
    with pytest.raises(FileNotFoundError, match="no detector on a network at"):
        OnNetwork.load(tmp_path / "nothing", network)


def test_parameters(network):
    detector = OnNetwork(network, NearestNeighbors(k=3))
    assert detector.get_params()["detector__k"] == 3
    assert clone(detector).set_params(detector__k=5, layer="0").detector.k == 5
    assert detector.detector.k == 3


def test_bad_input(network, x):
    with pytest.raises(TypeError, match=r"`detector` a ABCMeta, expected .*with its brackets"):
        OnNetwork(network, Mahalanobis)
    with pytest.raises(TypeError, match="`network` is a Mahalanobis and `detector` a Sequential"):
        OnNetwork(Mahalanobis(), network)
    with pytest.raises(TypeError, match=r"`network` is a MCDropout, .* give `model\.network`"):
        OnNetwork(duda.MCDropout(network, duda.Categorical()), Mahalanobis())
    with pytest.raises(ValueError, match="`positions` is 'max'"):
        OnNetwork(network, Mahalanobis(), positions="max")
    with pytest.raises(ValueError, match="`batch_size` is 0"):
        OnNetwork(network, Mahalanobis(), batch_size=0)
    with pytest.raises(ValueError, match="unknown layer '7'"):
        OnNetwork(network, Mahalanobis(), "7").fit(x, Y)
    with pytest.raises(ValueError, match=r"`layer` is '0' .* expected neither: a Energy takes"):
        OnNetwork(network, Energy(), "0").score(x)
    with pytest.raises(ValueError, match="is not fitted"):
        OnNetwork(network, Mahalanobis()).score(x)
    with pytest.raises(ValueError, match="`x` has 1 NaN"):
        OnNetwork(network, Energy()).score(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match=r"has no `nn\.Linear`"):
        OnNetwork(nn.Conv2d(1, 2, 1), Mahalanobis()).fit(torch.randn(6, 1, 2, 2), Y[:6])
    with pytest.raises(ValueError, match="`data` has 60 inputs but 3 targets"):
        OnNetwork(network, Mahalanobis()).fit(x, Y[:3])
    with pytest.raises(ValueError, match=r"layer '0' takes in shape \(60, 4, 2\), expected"):
        OnNetwork(nn.Sequential(nn.Linear(2, 3)), Mahalanobis()).fit(torch.randn(60, 4, 2), Y)


def test_one_input(network, x):
    detector = OnNetwork(network, NearestNeighbors(k=1)).fit(x[:1])
    assert detector.score(x[:1]).tolist() == [0.0]
    assert energy(logits_of(network, x[:1])).shape == (1,)


def test_float64_networks_and_arrays(network, x):
    network = network.double()
    detector = OnNetwork(network, Mahalanobis()).fit(x.numpy(), np.asarray(Y))
    assert detector.score(x.double()).dtype == torch.float64
    torch.testing.assert_close(detector.score(x), detector.score(x.double()))


def test_what_an_item_is_goes_to_no_file(network, x, tmp_path):
    def rule(item):
        return (item[1],), {}, item[2]

    data = TensorDataset(torch.arange(60), x, Y)
    detector = OnNetwork(network, Mahalanobis(), inputs=rule).fit(data)
    path = detector.save(tmp_path / "detector")
    assert torch.equal(OnNetwork.load(path, network).score(x), detector.score(data))
    assert torch.equal(OnNetwork.load(path, network, inputs=rule).score(data), detector.score(data))


@pytest.mark.parametrize("detector", [Energy(), MaxLogit()], ids=["energy", "max-logit"])
def test_probabilities_are_no_logits(network, x, detector):
    ended = OnNetwork(nn.Sequential(network, nn.Softmax(1)), detector)
    with pytest.raises(ValueError, match="add up to 1 for each example, as after a softmax"):
        ended.score(x)
