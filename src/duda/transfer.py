"""Transfer of tensors to a device and of numbers back, with as few waits as can be."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["number_in", "numbers_in", "read_once", "sent", "together", "wide"]

_known_numbers: MutableMapping[Tensor, tuple[int, list[float]]] = WeakTensorKeyDictionary()


def sent(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return values on a device, and in a dtype if it is given.

    >>> sent(torch.ones(1), torch.device("cpu"), torch.float64).dtype
    torch.float64
    """
    # The other way, to the host, nobody would know when they have arrived.
    return values.to(device, dtype, non_blocking=device.type == "cuda")


def wide(device: torch.device) -> torch.dtype:
    """Return the longest floats that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def together(values: Sequence[Tensor]) -> Tensor:
    """Return tensors of one shape, which may lie on several devices, as one.

    >>> together([torch.tensor(True), torch.tensor(False)])
    tensor([ True, False])
    """
    device = _common([each.device for each in values])
    # Each call of torch costs time, `to` also where there is nothing to do.
    return torch.stack([each if each.device == device else sent(each, device) for each in values])


def read_once(values: Sequence[Tensor]) -> list[float]:
    """Return the numbers of some tensors, one after the other, by one wait for their device.

    >>> read_once([torch.tensor([True, False]), torch.tensor(3)])
    [1.0, 0.0, 3.0]
    """
    if not values:
        return []
    if len(values) == 1 and values[0].ndim == 1:
        return [float(each) for each in _numbers_on_host(values[0])]
    device = _common([each.device for each in values])
    flat = [sent(each.detach().reshape(-1), device, wide(device)) for each in values]
    return _numbers_on_host(torch.cat(flat))


def _numbers_on_host(values: Tensor) -> list[float]:
    """Wait for the device; in a prediction and the steps of a training nothing else does."""
    numbers: list[float] = values.tolist()
    return numbers


def numbers_in(tensor: Tensor) -> list[float]:
    """Return the numbers that a tensor holds, which are read again only after a write to it."""
    if tensor.is_inference():  # which do not count the writes
        return read_once([tensor])
    known = _known_numbers.get(tensor)
    if known is None or known[0] != tensor._version:
        known = _known_numbers[tensor] = tensor._version, read_once([tensor])
    return known[1]


def number_in(tensor: Tensor) -> float:
    """Return the only number that a tensor holds, as `numbers_in` does.

    >>> noise = torch.zeros(1)
    >>> number_in(noise), number_in(noise), number_in(noise.add_(2))
    (0.0, 0.0, 2.0)
    """
    (number,) = numbers_in(tensor)
    return number


def _common(devices: Sequence[torch.device]) -> torch.device:
    return next((each for each in devices if each.type != "cpu"), devices[0])
