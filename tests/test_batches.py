"""Inputs get the dtype of the weights that a network computes with, whatever others it has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.batches import dtype_for, suited, weight_like


class Weights(nn.Module):
    """Holds weights of any dtype, in order, and passes its input on."""

    def __init__(self, *weights: Tensor, buffers: tuple[Tensor, ...] = ()) -> None:
        super().__init__()
        for i, weight in enumerate(weights):
            floating = weight.is_floating_point() or weight.is_complex()
            setattr(self, f"weight{i}", nn.Parameter(weight, requires_grad=floating))
        for i, buffer in enumerate(buffers):
            self.register_buffer(f"buffer{i}", buffer)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.real.sum(1), -x.real.sum(1)], 1).float()


INT8 = torch.zeros(2, dtype=torch.int8)
UINT8 = torch.zeros(2, dtype=torch.uint8)
FLOAT8 = torch.zeros(2).to(torch.float8_e4m3fn)
HALF, BFLOAT = torch.zeros(2, dtype=torch.float16), torch.zeros(2, dtype=torch.bfloat16)
SINGLE, DOUBLE = torch.zeros(2), torch.zeros(2, dtype=torch.float64)
COMPLEX = torch.zeros(2, dtype=torch.complex64)
COMPLEX_DOUBLE = torch.zeros(2, dtype=torch.complex128)

KINDS = {
    "single": (Weights(SINGLE), torch.float32),
    "double": (Weights(DOUBLE), torch.float64),
    "half": (Weights(HALF), torch.float16),
    "int8 first": (Weights(INT8, SINGLE), torch.float32),
    "packed 4 bits first": (Weights(UINT8, BFLOAT), torch.bfloat16),
    "float8 first": (Weights(FLOAT8, BFLOAT), torch.bfloat16),
    "bool and int64 first": (Weights(INT8.bool(), INT8.long(), DOUBLE), torch.float64),
    "complex": (Weights(COMPLEX), torch.float32),
    "complex double": (Weights(COMPLEX_DOUBLE), torch.float64),
    "only integers": (Weights(INT8), torch.float64),
    "only float8": (Weights(FLOAT8), torch.float64),
    "only buffers": (Weights(buffers=(INT8, SINGLE)), torch.float32),
    "integers and a buffer": (Weights(INT8, buffers=(HALF,)), torch.float16),
    "none": (Weights(), torch.float64),
}


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_keep_their_digits_and_suit_the_weights(kind: str) -> None:
    network, expected = KINDS[kind]
    x = torch.tensor([[0.5, 2.25], [-1.75, 300.0]], dtype=torch.float64)
    found = suited(x, network)
    assert isinstance(found, Tensor)
    assert found.dtype == expected
    assert torch.equal(found.double(), x)  # which every float of 16 bits can hold
    ids = torch.tensor([[1, 2]])
    assert suited(ids, network).dtype == torch.int64  # type: ignore[union-attr]
    waves = suited(x.to(torch.complex128), network)
    assert waves.is_complex()  # type: ignore[union-attr]
    answer = duda.Deterministic(network, duda.Categorical()).predict(x[:, :1])
    torch.testing.assert_close(answer.probs, torch.stack([x[:, 0], -x[:, 0]], 1).softmax(1).float())


def test_a_fit_takes_the_same_dtype() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(INT8, requires_grad=False)
            self.linear = nn.Linear(1, 2, dtype=torch.float64)
            self.seen: set[torch.dtype] = set()

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add(x.dtype)
            return self.linear(x)

    network = Scaled()
    x, y = torch.rand(8, 1), torch.arange(8) % 2
    duda.fit(duda.Deterministic(network, duda.Categorical()), (x, y), epochs=1)
    assert network.seen == {torch.float64}


def test_a_complex_network_trains() -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, dtype=torch.complex64)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x.to(torch.complex64)).real

    x, y = torch.randn(32, 2), torch.arange(32) % 2
    history = duda.fit(duda.Deterministic(Waves(), duda.Categorical()), (x, y), epochs=2, seed=0)
    assert bool((history.losses[:, 1] < history.losses[:, 0]).all())


def test_a_network_with_only_integers_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="`model` has no parameter"):
        duda.fit(
            duda.Deterministic(Weights(INT8), duda.Categorical()),
            (torch.zeros(2, 2), torch.tensor([0, 1])),
            epochs=1,
        )


def test_the_first_weight_decides_and_nothing_is_moved_for_none() -> None:
    assert weight_like(Weights(INT8, SINGLE, DOUBLE)).dtype == torch.float32
    assert dtype_for(torch.float64, torch.int8) is None
    assert dtype_for(torch.bool, torch.float32) is None
    assert dtype_for(torch.complex128, torch.float32) == torch.complex64
