"""Short memory: tiles that do not fit are halved, rows first and then draws; these are the same."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, rows_of
from duda.sampling.tiles import from_row
from duda.trees import tensors

__all__ = ["Fitting", "Runner"]

_log = logging.getLogger(__name__)

_OF_MEMORY = re.compile("out of memory|allocate memory|not enough memory|alloc_failed", re.I)


class Runner(Protocol):
    """Makes draws of some rows."""

    def chunk(self) -> int:
        """Return how many draws need as much memory as there is."""

    def run(self, first: int, size: int, *, last: bool = False) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `first`."""


class Fitting:
    """Makes draws of all rows of a batch, of as many rows and then draws at a time as fit.

    Args:
        new_runner: makes what makes draws of some rows.
        network: what is called.
        x: all rows.
        apart: tells whether rows come out the same in a tile of their own.
        vmapped: whether several draws are made at once.
    """

    def __init__(
        self,
        new_runner: Callable[[Batch], Runner],
        network: nn.Module,
        x: Batch,
        apart: Callable[[], bool],
        *,
        vmapped: bool,
    ) -> None:
        self.new_runner, self.network, self.x = new_runner, network, x
        self.apart, self.vmapped = apart, vmapped
        self._runners = [new_runner(x)]
        self._rows, self._draws = rows_of(x), 0
        self._chunk: int | None = None

    def chunk(self) -> int:
        """Return how many draws of all rows need as much memory as there is."""
        if self._chunk is None:
            self._chunk = self._runners[0].chunk()
        return self._chunk

    def run(self, first: int, size: int, *, last: bool = False) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `first`.

        Raises:
            torch.OutOfMemoryError: if not even one draw of one row fits.
        """
        while True:
            try:
                return self._run(first, size, last)
            except Exception as error:
                if not _is_of_memory(error):
                    raise
                self._halve(size, error)

    def _run(self, first: int, size: int, last: bool) -> Tensor:
        most = self._draws or size
        starts = range(first, first + size, most)
        of_rows = []
        for runner in self._runners:
            draws = []
            for start in starts:
                ends = last and start == starts[-1]
                draws.append(runner.run(start, min(most, first + size - start), last=ends))
            of_rows.append(draws[0] if len(draws) == 1 else torch.cat(draws))
        return of_rows[0] if len(of_rows) == 1 else torch.cat(of_rows, 1)

    def _halve(self, size: int, error: Exception) -> None:
        """Take half as many rows, or of one row half as many draws, from now on."""
        name, rows, draws = type(self.network).__name__, self._rows, self._draws or size
        said = str(error).strip().split(". ")[0] or type(error).__name__
        if rows > 1 and self.apart():
            self._rows = -(-rows // 2)
        elif draws > 1:
            self._draws = draws // 2
        else:
            device = next(tensors(self.x)).device
            remedy = "half precision, a smaller input" if rows == 1 else "a smaller `batch_size`"
            raise torch.OutOfMemoryError(
                f"{device} has too little memory for one draw of {rows} row{'s' * (rows > 1)} of a "
                f"{name}: take {remedy} or another device ({said})."
            ) from error
        _log.warning(
            "%s has too little memory for %d draws of %d rows: %s", name, draws, rows, said
        )
        self._runners = []  # before others come, as they keep what their passes share
        for start in range(0, rows_of(self.x), self._rows):
            with from_row(start):
                self._runners.append(self.new_runner(self._some(start)))

    def _some(self, start: int) -> Batch:
        if self._rows == rows_of(self.x):
            return self.x
        return each_input(self.x, lambda values: values[start : start + self._rows])


def _is_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is short."""
    return isinstance(error, MemoryError) or bool(_OF_MEMORY.search(str(error)))
