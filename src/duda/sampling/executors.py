"""Draws of a network with random calls in it: a few at once where vmap can, else one by one."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable, Iterator
from contextlib import nullcontext
from functools import partial
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.func import vmap

from duda.batches import Batch, each_input, rows_of
from duda.preservation import random_bytes, random_state, seeded, set_random_state
from duda.sampling.calls import NeedsLoop
from duda.sampling.captures import (
    CapturedRunner,
    capture_asked_for,
    capture_where_it_pays,
    captured,
    timed,
)
from duda.sampling.folding import Folding
from duda.sampling.joint import Examples, examples_in_calls
from duda.sampling.memory import Fitting, Runner
from duda.sampling.networks import without_slow_rules
from duda.sampling.prefix import Prefix
from duda.sampling.randomness import HiddenDropout, Randomness
from duda.sampling.tiles import (
    are_apart,
    draws_at_a_time,
    is_first_tile,
    rows_that_fit,
    starts_of,
)
from duda.streams import Stream, draw_key, draw_keys
from duda.transfer import sent
from duda.trees import tensors

__all__ = ["random_draws", "rows_at_a_time"]

_log = logging.getLogger(__name__)

# What vmap says where it cannot go; what else is raised may not be raised again.
_OF_VMAP = re.compile(
    "vmap|functorch|batching rule|batchedtensor|have storage|setstorage|broadcast shape", re.I
)
# Of these, what no graph holds either, as it follows from values of a draw.
_OF_VALUES = re.compile(
    r"data-dependent|\.item\(\)|can output dynamic|data pointer|nobody sees it|no randomness", re.I
)

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

    What comes before the first random call runs once on N examples: all of it if the draws are made
    at once, else what modules do. Draw m depends on the seed and m, and what is random for each
    example on its place in the batch, whatever the chunk. Where vmap cannot run the network, a loop
    over the draws takes its place, which the log tells once.

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
    first = is_first_tile()  # of a batch: others are made as it was, when tiles were chosen
    if first:
        capture_where_it_pays(network, x, randomness)
    plan = captured(network, x, randomness()) if first else None
    form = (plan is None, *_form(x))
    vmapped = vmapped and form not in _needs_loop.get(network, ())
    examples = examples_in_calls(network, x, randomness, seed) if joint else None

    def made(some: Batch, vmapped: bool) -> Runner:
        own = None if examples is None else Examples(rows_of(some), examples.places)
        whole = rows_of(some) == rows_of(x)
        of_kind = partial(CapturedRunner, plan) if plan is not None and whole else _Runner
        return of_kind(network, some, randomness, seed, own, vmapped=vmapped)

    def new_runner(vmapped: bool) -> Fitting:
        apart = partial(are_apart, network, x, randomness)
        return Fitting(partial(made, vmapped=vmapped), network, x, apart, vmapped=vmapped)

    chunks = _in_chunks(new_runner, samples, chunk, vmapped, captured=plan is not None)
    chunks = timed(network, randomness(), chunks, first) if plan is None else chunks
    for draws, needs_loop in chunks:
        if needs_loop:
            _needs_loop.setdefault(network, set()).add(form)
        yield draws


def rows_at_a_time(
    network: nn.Module, x: Batch, samples: int, randomness: Callable[[], Randomness]
) -> int:
    """Return of how many rows of a batch all draws fit the memory.

    It is all rows, unless draws are made by vmap of a network in which each row is by itself.
    """
    looped = (True, *_form(x)) in _needs_loop.get(network, ())
    if looped or captured(network, x, randomness()) is not None:
        return rows_of(x)
    return rows_that_fit(network, x, samples, randomness)


def _form(x: Batch) -> tuple[Hashable, ...]:
    return tuple((tuple(each.shape[1:]), each.dtype, each.device) for each in tensors(x))


def _in_chunks(
    new_runner: Callable[..., Fitting],
    samples: int,
    chunk: int | None,
    vmapped: bool,
    captured: bool,
) -> Iterator[tuple[Tensor, bool]]:
    """Yield draws, and whether the first of them has shown that the network needs a loop."""
    runner, done = new_runner(vmapped=vmapped), 0
    while done < samples:
        size = min(samples - done, chunk or runner.chunk()) if runner.vmapped else 1
        try:
            with without_slow_rules():
                draws = runner.run(done, size, last=done + size == samples)
        except Exception as error:
            if not runner.vmapped or isinstance(error, torch.OutOfMemoryError):
                raise
            by_vmap = _is_of_vmap(error)
            said = str(error).strip().split(". ")[0] or type(error).__name__
            of_values = bool(_OF_VALUES.search(str(error)))
        else:
            done += len(draws)
            yield draws, False
            continue
        name = type(runner.network).__name__
        # Whatever was said: the loop shows whether it is the network's own error.
        runner = new_runner(vmapped=False)
        draws = runner.run(done, 1)
        why = "because vmap cannot" if by_vmap else "this time"
        prepare = ", or try `prepare(x)`," * (not captured and not of_values)
        remedy = f"; write that otherwise{prepare} for a speed of many draws at once"
        _log.warning("%s runs its draws one by one, %s: %s%s", name, why, said, remedy * by_vmap)
        yield draws, by_vmap and done == 0
        done += 1


def _is_of_vmap(error: Exception) -> bool:
    """Return whether an error says that vmap cannot run a network, so that it never will."""
    return isinstance(error, NeedsLoop) or bool(_OF_VMAP.search(str(error)))


class _Runner:
    """Runs a network for chunks of draws, with or without vmap."""

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
        self.network, self.x = network, x
        self.randomness, self.seed, self.examples = randomness, seed, examples
        self.vmapped = vmapped
        self.device = next(tensors(x)).device
        # Numbers that the examples share are the same in all tiles.
        self._start = starts_of(network, x, randomness) if examples is None else None
        self._prefix = Prefix(network)
        folds = vmapped and examples is None
        self._folding = Folding(network, x, randomness, self._start) if folds else None
        self._ran, self._remembers = False, True

    def chunk(self) -> int:
        """Return how many draws need as much memory as there is."""
        return draws_at_a_time(self.network, self.x, self.randomness)

    def run(self, first: int, size: int, *, last: bool = False) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `first`.

        The last ones need not be remembered by anybody.
        """
        self._remembers = not last
        numbers = sent(torch.arange(first, first + size), self.device)
        keys = sent(draw_keys(self.seed, range(first, first + size)), self.device)
        draws = self._vmapped(numbers, keys) if self.vmapped else self._single(first, numbers, keys)
        self._ran = True
        return draws

    def _vmapped(self, numbers: Tensor, keys: Tensor) -> Tensor:
        found, differs = 0, False

        def one_draw(draw: Tensor, key: Tensor) -> Tensor:
            nonlocal found, differs
            mode = self._mode(draw, key)
            outputs = self._outputs(mode, _any_batched)
            found, differs = mode.found, is_batchedtensor(outputs)
            return outputs

        state, before = random_state(self.device), random_bytes(self.device)
        folding = self._folding
        try:
            if folding:
                draws = folding(keys)
            else:
                draws = vmap(one_draw, randomness="different")(numbers, keys)
        finally:
            moved = random_bytes(self.device) != before
            if moved:
                set_random_state(state, self.device)
        if moved:
            raise NeedsLoop("it takes random numbers where nobody sees it")
        if folding:
            return draws
        if not differs and not found:
            raise NeedsLoop("it shows no randomness")
        if folding is not None:
            folding.learn(draws, keys)
        return draws

    def _single(self, first: int, numbers: Tensor, keys: Tensor) -> Tensor:
        gpus = [self.device] if self.device.type == "cuda" else []
        mode = self._mode(numbers[0], keys[0])
        # What the streams do not know of, such as dropout inside cuDNN, follows from this seed.
        with seeded(draw_key(self.seed, first), gpus):
            before = random_bytes(self.device)

            def differs(outputs: object = None) -> bool:
                return mode.differs or random_bytes(self.device) != before

            outputs = self._outputs(mode, differs)
            if not self._ran and not mode.found and not differs():
                raise ValueError(
                    f"nothing is random in this {type(self.network).__name__}, so all draws would "
                    "be the same: add dropout to it (`nn.Dropout`, or `F.dropout`, with p above "
                    "0), or use `duda.Deterministic` or `duda.DeepEnsemble`."
                )
        return outputs.unsqueeze(0)

    def _mode(self, draw: Tensor, key: Tensor) -> Randomness:
        mode = self.randomness()
        mode.draw, mode.stream = draw, Stream(key, self.examples, start=self._start)
        return mode

    def _outputs(self, mode: Randomness, differs: Callable[[object], bool]) -> Tensor:
        x = each_input(self.x, Tensor.clone)  # which the network may write to
        used = self._prefix.used(differs) if self._ran or self._remembers else nullcontext()
        with used, mode:
            return mode.call(self.network, x)


def _any_batched(outputs: object) -> bool:
    return any(is_batchedtensor(each) for each in tensors(outputs))
