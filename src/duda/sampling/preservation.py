"""Predicting without a trace: modes, weights, buffers and random state stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from duda.eval_mode import in_eval_mode, restore
from duda.sampling.calls import written
from duda.sampling.streams import seeded

__all__ = ["devices_of", "preserved"]


@contextmanager
def preserved(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Put `model` in eval mode, and leave it bit-identical at the end, also after an exception.

    With a `seed` the random state starts from it, and is what it was before afterwards.
    """
    guard = _WeightGuard(model)
    with ExitStack() as stack:
        if seed is not None:
            stack.enter_context(seeded(seed, devices_of(model)))
        for context in (guard, torch.inference_mode(False), torch.no_grad(), in_eval_mode(model)):
            stack.enter_context(context)
        try:
            yield
        finally:
            for weight, content in guard.saved.values():
                restore(weight, content)


class _WeightGuard(TorchFunctionMode):
    """Copies a weight before the first call that writes to it; the others cost nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.saved: dict[int, tuple[Tensor, Tensor]] = {}
        self._weights = {weight.data_ptr(): weight for weight in model.parameters()}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, after saving the weight that it writes to."""
        kwargs = kwargs or {}
        target = written(func, args, kwargs)
        if target is not None and not torch._C._functorch.is_functorch_wrapped_tensor(target):
            weight = self._weights.get(target.untyped_storage().data_ptr())
            if weight is not None and id(weight) not in self.saved:
                self.saved[id(weight)] = (weight, weight.detach().clone())
        return func(*args, **kwargs)


def devices_of(model: nn.Module) -> list[torch.device]:
    """Return the GPUs that a model's weights and buffers are on, whose random state is its own."""
    tensors = (*model.parameters(), *model.buffers())
    return list({tensor.device for tensor in tensors if tensor.device.type == "cuda"})
