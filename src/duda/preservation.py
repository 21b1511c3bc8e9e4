"""Preservation: modes, weights, buffers and random state of a network's user stay as they were."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from ctypes import string_at

import numpy as np
import torch
from torch import Tensor, nn

from duda.activations import plain_activations
from duda.checks import check_whole
from duda.harmless import are_harmless
from duda.inside import modules_in
from duda.thread_lock import one_thread
from duda.written import Copies, guarded, guarding

__all__ = [
    "devices_of",
    "in_eval_mode",
    "modes_kept",
    "others_seeded",
    "preserved",
    "random_bytes",
    "random_state",
    "seeded",
    "set_random_state",
]


@contextmanager
def preserved(
    model: nn.Module, seed: int | None = None, *, watched: bool = True, itself: bool = True
) -> Iterator[None]:
    """Put `model` in eval mode, and leave it bit-identical at the end, also after an exception.

    With a `seed` the random state starts from it, and is what it was before afterwards.

    Args:
        model: a network, or a model around networks.
        seed: of the random numbers.
        watched: whether all calls of torch are watched for writes to weights; otherwise those
            within `guarded` are, as calls of a network by `called`, and others take less time.
        itself: whether the model's own code may write to something, too, not just modules in it.
    """
    with (
        one_thread,
        nullcontext() if seed is None else seeded(seed, devices_of(model)),
        torch.inference_mode(False),
        torch.no_grad(),
    ):
        modules = modules_in(model)
        if not itself and are_harmless(modules[1:]):
            with _modes_of_eval(modules):
                yield
            return
        with (
            plain_activations(model),
            in_eval_mode(model),
            guarding(model),
            guarded() if watched else nullcontext(),
        ):
            yield


def devices_of(model: nn.Module) -> list[torch.device]:
    """Return the GPUs that a model's weights and buffers are on, whose random state is its own."""
    found: dict[torch.device, None] = {}
    for module in modules_in(model):
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and tensor.is_cuda:
                found[tensor.device] = None
    return [*found]


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Put `network` in eval mode, and modes and buffers back at the end, also after an exception.

    >>> network = nn.BatchNorm1d(2)
    >>> with in_eval_mode(network):
    ...     network.training
    False
    >>> network.training
    True
    """
    with one_thread:
        modules = modules_in(network)
        buffers = [
            (module, name, buffer)
            for module in modules
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        copies = Copies(buffer for _, _, buffer in buffers)
        try:
            with _modes_of_eval(modules):
                yield
        finally:
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
            copies.put_back()


@contextmanager
def _modes_of_eval(modules: Sequence[nn.Module]) -> Iterator[None]:
    with modes_kept(modules):
        for module in modules:
            if module.training:
                module.training = False
        yield


@contextmanager
def modes_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put the modes of these modules, training or eval, back at the end, after an exception too."""
    modes = [(module, module.training) for module in modules]
    try:
        yield
    finally:
        for module, training in modes:
            if module.training is not training:
                module.training = training


def random_state(device: torch.device | None) -> list[Tensor]:
    """Return the states of the generators for the CPU and, if it is a GPU, for `device`."""
    return [generator.get_state() for generator in _generators(device)]


def random_bytes(device: torch.device | None) -> list[bytes]:
    """Return these states to be compared, which lie on the host and so need no wait."""
    states = random_state(device)
    return [string_at(state.data_ptr(), state.nbytes) for state in states]  # no call of torch


def set_random_state(state: list[Tensor], device: torch.device | None) -> None:
    """Put the generators back into a state that `random_state` returned."""
    for generator, one in zip(_generators(device), state, strict=True):
        generator.set_state(one)


@contextmanager
def seeded(seed: int, devices: Iterable[torch.device]) -> Iterator[None]:
    """Start the generators from `seed`, and put them back at the end.

    Raises:
        ValueError: if `seed` is no whole number.
    """
    seed = check_whole(seed, "seed")
    with one_thread:
        before = [(device, random_state(device)) for device in (torch.device("cpu"), *devices)]
        try:
            for device, _ in before:
                for generator in _generators(device):
                    generator.manual_seed(seed)
            yield
        finally:
            for device, state in before:
                set_random_state(state, device)


@contextmanager
def others_seeded(seed: int | None) -> Iterator[None]:
    """Start the generators of Python and numpy from a seed, if given, and put them back."""
    with one_thread:
        python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
        try:
            if seed is not None:
                random.seed(int(seed))
                np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def _generators(device: torch.device | None) -> list[torch.Generator]:
    if device is None or device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
