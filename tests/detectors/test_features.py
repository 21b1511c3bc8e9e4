import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from duda.detectors import features_of


class Counting(nn.Module):
    """A network with modes, buffers, a layer that runs twice and one that never does."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5)
        )
        self.again = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.register_buffer("passes", torch.zeros(1))
        self.register_buffer("reassigned", torch.zeros(1))
        self.batches = []

    def forward(self, x):
        self.passes += 1
        self.reassigned = self.reassigned + 1
        self.batches.append(len(x))
        pooled = self.body(x).mean((2, 3))
        return self.head(self.again(self.again(pooled)))


@pytest.fixture
def network():
    return Counting()


@pytest.fixture
def x():
    return torch.randn(10, 1, 6, 6)


def test_plain_features(network, x):
    network.eval()
    pooled = network.body(x).mean((2, 3))
    expected = network.head(network.again(network.again(pooled))).detach()
    found = features_of(network, x, "head")
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_positions(network, x):
    network.eval()
    out = network.body[0](x).detach()
    torch.testing.assert_close(
        features_of(network, x, "body.0", positions="mean"), out.mean((2, 3))
    )
    flat = features_of(network, x, "body.0", positions="flatten")
    torch.testing.assert_close(flat, out.flatten(1))
    corner = features_of(network, x, "body.0", positions=lambda out: out[:, :, 0, 0])
    torch.testing.assert_close(corner, out[:, :, 0, 0])


def test_positions_do_nothing_to_plain_features(network, x):
    expected = features_of(network, x, "head")
    assert torch.equal(features_of(network, x, "head", positions="mean"), expected)
    assert torch.equal(features_of(network, x, "head", positions="flatten"), expected)


def test_what_is_overwritten_later(network, x):
    # the ReLU after the normalisation writes into its output
    found = features_of(network, x, "body.1", positions="flatten")
    assert (found < 0).any()


def test_batches(network, x):
    whole = features_of(network, x, "head")
    network.batches.clear()
    torch.testing.assert_close(features_of(network, x, "head", batch_size=4), whole)
    assert network.batches == [4, 4, 2]


@pytest.mark.parametrize("fail", [False, True])
def test_the_network_is_left_as_it_was(network, x, fail):
    network.train()
    network.body[1].eval()
    modes = [module.training for module in network.modules()]
    before = copy.deepcopy(network.state_dict())
    buffers = {name: buffer.data_ptr() for name, buffer in network.named_buffers()}
    if fail:
        with pytest.raises(RuntimeError):
            features_of(network, torch.randn(2, 3, 6, 6), "head")
    else:
        features_of(network, x, "head")
    assert [module.training for module in network.modules()] == modes
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert buffers == {name: buffer.data_ptr() for name, buffer in network.named_buffers()}
    assert not any(module._forward_hooks for module in network.modules())


def test_sources_of_inputs(network, x):
    expected = features_of(network, x, "head")
    dataset = TensorDataset(x, torch.zeros(10))
    for source in (x.numpy(), dataset, DataLoader(dataset, 3)):
        torch.testing.assert_close(features_of(network, source, "head"), expected)


def test_named_inputs():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, left, right):
            return self.layer(left + right)

    network = Named()
    inputs = {"left": torch.ones(5, 2), "right": np.ones((5, 2), dtype=np.float32)}
    expected = network.layer(torch.full((5, 2), 2.0)).detach()
    torch.testing.assert_close(features_of(network, inputs, "layer"), expected)


def test_outputs_that_are_no_tensor():
    network = nn.Sequential(nn.LSTM(3, 4, batch_first=True))
    x = torch.randn(5, 7, 3)
    with pytest.raises(TypeError, match="puts out a tuple, expected a tensor"):
        features_of(network, x, "0")
    last = features_of(network, x, "0", positions=lambda out: out[0][:, -1])
    torch.testing.assert_close(last, network(x)[0][:, -1].detach())


def test_a_transformer_has_features():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = nn.TransformerEncoder(layer, 2)
    x = torch.randn(3, 5, 8)
    found = features_of(network, x, "layers.0.linear1", positions=lambda out: out.mean(1))
    assert found.shape == (3, 16)


def test_two_names_of_one_layer():
    layer = nn.Linear(2, 2)
    network = nn.ModuleDict({"one": layer, "other": layer})
    network.forward = lambda x: layer(x)
    x = torch.randn(3, 2)
    assert torch.equal(features_of(network, x, "one"), features_of(network, x, "other"))


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        ("haed", {}, "unknown layer 'haed': did you mean 'head'"),
        ("again", {}, "layer 'again' ran 2 times in one pass"),
        ("unused", {}, "layer 'unused' ran 0 times in one pass"),
        ("body.0", {}, r"puts out shape \(10, 4, 4, 4\), expected \(N, D\): say `positions"),
        ("body.0", {"positions": lambda out: out}, r"expected \(N, D\)"),
        ("body.0", {"positions": lambda out: out.flatten(0, 2)}, "160 rows for 10 inputs"),
        ("body.0", {"positions": "max"}, "`positions` is 'max'"),
        ("head", {"batch_size": 0}, "`batch_size` is 0"),
    ],
)
def test_bad_input(network, x, layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        features_of(network, x, layer, **arguments)


def test_inputs_that_are_not_finite(network, x):
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="`x` has 1 NaN"):
        features_of(network, x, "head")
