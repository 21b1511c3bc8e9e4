"""Which layers have weights, and other weights in their place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import duda
from duda.sampling import swapped_weights, weight_layers, weights_of


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 3))
        self.embedding = nn.Embedding(5, 4)
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.lstm = nn.LSTM(4, 4, 2, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


ALL = [
    "embedding",
    "encoder.self_attn",
    "encoder.linear1",
    "encoder.linear2",
    "lstm",
    "head.0",
    "head.2",
]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, ALL),
        ("head", ["head.0", "head.2"]),
        (["encoder.linear?", "lstm"], ["encoder.linear1", "encoder.linear2", "lstm"]),
        (["*"], ALL),
        (lambda name, module: isinstance(module, nn.Embedding), ["embedding"]),
        (lambda name, module: name == "", [""]),
    ],
)
def test_layers_are_chosen(layers: object, expected: list[str]) -> None:
    assert list(weight_layers(Network(), layers)) == expected  # type: ignore[arg-type]


def test_a_name_that_fits_nothing_is_told() -> None:
    with pytest.raises(ValueError, match=r"`layers` names 'hea', .*'head.0', 'head.2'"):
        weight_layers(Network(), ["lstm", "hea"])
    with pytest.raises(ValueError, match="no layer with weights to choose"):
        weight_layers(nn.Sequential(nn.ReLU()))


def test_a_weight_that_is_computed_is_told() -> None:
    network = Network()
    nn.utils.parametrizations.spectral_norm(network.head[0])
    assert list(weight_layers(network, "head")) == ["head.0", "head.2"]
    with pytest.raises(ValueError, match=r"the layer 'head.0', a \w+, computes its weight"):
        weights_of(network.head[0], "head.0")


def test_an_attention_layer_owns_its_projections() -> None:
    layer = Network().encoder.self_attn
    assert list(weights_of(layer, "a")) == ["a.in_proj_weight", "a.out_proj.weight"]
    assert len(weights_of(layer, "a", bias=True)) == 4
    assert len(weights_of(nn.LSTM(2, 3, 2, bidirectional=True), "")) == 8
    assert list(weights_of(nn.Linear(2, 3), "", bias=True)) == ["weight", "bias"]


def test_other_weights_hold_for_a_while_and_reach_lists_of_them() -> None:
    lstm, x = nn.LSTM(2, 3), torch.randn(4, 1, 2)
    before = lstm(x)[0]
    zeros = {name: torch.zeros_like(weight) for name, weight in lstm.named_parameters()}
    with swapped_weights(lstm, zeros):
        assert not lstm(x)[0].any()
    assert all(isinstance(weight, nn.Parameter) for weight in lstm._flat_weights)
    assert torch.equal(lstm(x)[0], before)


def test_they_leave_also_after_an_exception_and_under_all_names() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    network[1].weight = network[0].weight
    weight, mean = network[0].weight, network[2].running_mean
    new = {"1.weight": torch.zeros(2, 2), "2.running_mean": torch.ones(2)}

    def fail() -> None:
        assert network[0].weight is network[1].weight is new["1.weight"]
        assert network[2].running_mean is new["2.running_mean"]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), swapped_weights(network, new):
        fail()
    assert network[0].weight is network[1].weight is weight
    assert network[2].running_mean is mean


@pytest.mark.parametrize("name", sorted(duda.layers._MOVED))
def test_old_names_are_one_more_version_in_layers(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"now `duda\.sampling\.{name}`"):
        assert getattr(duda.layers, name) is getattr(duda.sampling, name)
    with pytest.raises(AttributeError, match="no attribute 'last_lines'"):
        duda.layers.last_lines  # noqa: B018
