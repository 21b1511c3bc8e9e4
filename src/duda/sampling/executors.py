"""Draws of a network with random calls in it: a few at once where vmap can, else one by one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C._functorch import (  # type: ignore[attr-defined]
    _is_vmap_fallback_enabled,
    _set_vmap_fallback_enabled,
    is_batchedtensor,
)
from torch.func import vmap

from duda.batches import Batch, each_input, rows_of
from duda.preservation import random_state, seeded
from duda.sampling.captured import CapturedRunner
from duda.sampling.dropout import NeedsLoop
from duda.sampling.joint import Examples, examples_in_calls
from duda.sampling.memory import Memory
from duda.sampling.plans import capture_asked_for, capture_where_it_pays, captured, timed
from duda.sampling.randomness import HiddenDropout, Randomness
from duda.sampling.values import Restart, tensors
from duda.streams import Stream, draw_key, draw_keys

__all__ = ["random_draws", "without_slow_rules"]

_log = logging.getLogger(__name__)

# All that a chunk of draws computes should fit the processor's caches and the allocator's reuse;
# benchmarks/sampling.py sets it beside chunks of other sizes.
_CHUNK_BYTES = 2**25
_FIRST_BYTES_PER_EXAMPLE = 2**15  # a guess, for the first chunk only; the next ones are measured

# What vmap says where it cannot go; what else is raised may not be raised again.
_OF_VMAP = re.compile(
    "vmap|functorch|batching rule|batchedtensor|have storage|setstorage|broadcast shape", re.I
)
_OF_MEMORY = re.compile("out of memory|allocate memory|not enough memory|alloc_failed", re.I)

_needs_loop: WeakKeyDictionary[nn.Module, set[Hashable]] = WeakKeyDictionary()


def random_draws(
    network: nn.Module,
    x: Batch,
    samples: int,
    chunk: int | None = None,
    randomness: Callable[[], Randomness] = HiddenDropout,
    *,
    seed: int,
    joint: bool = False,
    vmapped: bool = True,
) -> Iterator[Float[Tensor, "m N ..."]]:
    """Yield `samples` draws of the outputs for `x`, `chunk` at a time, sharing what they share.

    What comes before the first random call runs once on N examples. Draw m depends on the seed and
    m, and what is random for each example on its place in the batch, whatever the chunk. Where vmap
    cannot run the network, a loop over the draws takes its place, which the log tells once.

    Args:
        network: what is called; its weights are known to be the same in every draw, unless swapped.
        x: the inputs of N examples.
        samples: the number of draws.
        chunk: draws at a time; chosen by memory if not given.
        randomness: makes what tells the draws apart, anew for each pass.
        seed: of all randomness; `new_seed` takes one from torch's global generator.
        joint: whether a draw is one function of an example, the same for all of them: what is
            random for each example is drawn once.
        vmapped: whether to try several draws at once; otherwise one after the other.

    Raises:
        ValueError: if nothing in the network is random, or its random calls mix the examples of a
            batch, so that no draw can be `joint`.
    """
    x = each_input(x, lambda values: values.clone() if values.is_inference() else values)
    if capture_asked_for(network, x, randomness()):
        return
    capture_where_it_pays(network, x, randomness)
    plan = captured(network, x, randomness())
    shape = tuple((tuple(each.shape), each.dtype, each.device) for each in tensors(x))
    form = (plan is None, *shape)
    vmapped = vmapped and form not in _needs_loop.get(network, ())
    examples = examples_in_calls(network, x, randomness, seed) if joint else None
    of_kind = _Runner if plan is None else partial(CapturedRunner, plan)
    new_runner = partial(of_kind, network, x, randomness, seed, examples)
    chunks = _in_chunks(new_runner, samples, chunk, vmapped)
    chunks = timed(network, randomness(), chunks) if plan is None else chunks
    for draws, needs_loop in chunks:
        if needs_loop:
            _needs_loop.setdefault(network, set()).add(form)
        yield draws


def _in_chunks(
    new_runner: Callable[..., _Runner | CapturedRunner],
    samples: int,
    chunk: int | None,
    vmapped: bool,
) -> Iterator[tuple[Tensor, bool]]:
    """Yield draws, and whether the first of them has shown that the network needs a loop."""
    runner, done = new_runner(vmapped=vmapped), 0
    while done < samples:
        size = min(samples - done, chunk or runner.chunk(_CHUNK_BYTES)) if runner.vmapped else 1
        try:
            with without_slow_rules():
                draws = runner.run(done, size)
        except Exception as error:
            short, by_vmap = _is_of_memory(error), _is_of_vmap(error)
            if not runner.vmapped or (short and size == 1):
                raise
            said = str(error).strip().split(". ")[0] or type(error).__name__
        else:
            done += len(draws)
            yield draws, False
            continue
        name = type(runner.network).__name__
        if short:
            _log.warning("%s has too little memory for %d draws at a time: %s", name, size, said)
            chunk, runner = size // 2, new_runner(vmapped=True)
            continue
        # Whatever was said: the loop shows whether it is the network's own error.
        runner = new_runner(vmapped=False)
        draws = runner.run(done, 1)
        why = "because vmap cannot" if by_vmap else "this time"
        _log.warning("%s runs its draws one by one, %s: %s", name, why, said)
        yield draws, by_vmap and done == 0
        done += 1


def _is_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is short."""
    return isinstance(error, MemoryError) or bool(_OF_MEMORY.search(str(error)))


def _is_of_vmap(error: Exception) -> bool:
    """Return whether an error says that vmap cannot run a network, so that it never will."""
    return isinstance(error, NeedsLoop) or bool(_OF_VMAP.search(str(error)))


class _Runner:
    """Runs a network for chunks of draws, with or without vmap, and with what it remembers."""

    def __init__(
        self,
        network: nn.Module,
        x: Batch,
        randomness: Callable[[], Randomness],
        seed: int,
        examples: Examples | None = None,
        *,
        vmapped: bool,
    ) -> None:
        self.network = network
        self.x = x
        self.randomness = randomness
        self.seed = seed
        self.examples = examples
        self.vmapped = vmapped
        self.device = next(tensors(x)).device
        mode = randomness()
        self.memory = Memory(
            network, mode.known(network), vmapped=vmapped, same_weights=mode.same_weights
        )
        self._ran = False

    def chunk(self, budget: int) -> int:
        """Return how many draws fit the budget, by what the last pass computed."""
        bytes_per_draw = self.memory.drawn_bytes
        if not self._ran:
            bytes_of_x = sum(each.nbytes for each in tensors(self.x))
            bytes_per_draw = max(16 * bytes_of_x, rows_of(self.x) * _FIRST_BYTES_PER_EXAMPLE)
        return max(1, budget // max(1, bytes_per_draw))

    def run(self, start: int, size: int) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `start`."""
        one_pass = self._vmapped if self.vmapped else self._single
        numbers = torch.arange(start, start + size, device=self.device)
        gpus = [self.device] if self.device.type == "cuda" else []
        while True:
            try:
                # What the streams do not know of, such as dropout inside cuDNN, follows from these.
                with seeded(draw_key(self.seed, start), gpus):
                    draws = one_pass(numbers, draw_keys(self.seed, numbers))
            except Restart:
                self.memory.restart()
            except Exception as error:
                # A call that the memory could not see may have met a tensor without data.
                used = self.memory.on and self.memory.used and self._ran
                if not used or _is_of_memory(error):
                    raise
                self.memory.on = False
            else:
                self._ran = True
                return draws

    def _vmapped(self, numbers: Tensor, keys: Tensor) -> Tensor:
        before = random_state(self.device)
        found, differs = 0, False

        def one_draw(draw: Tensor, key: Tensor) -> Tensor:
            nonlocal found, differs
            mode, stream = self.randomness(), Stream(key, self.examples)
            outputs = self._outputs(mode, draw, stream)
            found, differs = mode.found, is_batchedtensor(outputs)
            return outputs

        draws = vmap(one_draw, randomness="different")(numbers, keys)
        if not all(map(torch.equal, before, random_state(self.device))):
            raise NeedsLoop("it takes random numbers where nobody sees it")
        if not differs and not found:
            raise NeedsLoop("it shows no randomness")
        return draws

    def _single(self, numbers: Tensor, keys: Tensor) -> Tensor:
        before = random_state(self.device)
        mode, stream = self.randomness(), Stream(keys[0], self.examples)
        outputs = self._outputs(mode, numbers[0], stream)
        same = all(map(torch.equal, before, random_state(self.device)))
        if same and not mode.found and not stream.shapes and not self._ran:
            raise ValueError(
                f"nothing is random in this {type(self.network).__name__}, so all draws would be "
                "the same: add dropout to it (`nn.Dropout`, or `F.dropout`, with p above 0), or "
                "use `duda.Deterministic` or `duda.DeepEnsemble`."
            )
        return outputs.unsqueeze(0)

    def _outputs(self, mode: Randomness, draw: Tensor, stream: Stream) -> Tensor:
        mode.draw, mode.stream = draw, stream
        with mode:
            return self.memory.run(partial(mode.call, self.network), self.x, stream)


@contextmanager
def without_slow_rules() -> Iterator[None]:
    """Let vmap refuse an operator that it has no rule for, instead of warning and crawling."""
    enabled = _is_vmap_fallback_enabled()
    _set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        _set_vmap_fallback_enabled(enabled)
