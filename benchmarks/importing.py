"""What `import duda` costs beside `import torch`: at most 0.2 s more.

Run with `python -m benchmarks.importing`. Each import has an interpreter of its own. "every name"
also imports what all the names of `duda` need, such as the methods and `fit`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.clock import machine, side_by_side

WAYS = {
    "nothing": "",
    "torch": "import torch",
    "torch, duda": "import torch, duda",
    "torch, every name": "import torch; from duda import *",
}
LIMIT = 0.2


def main() -> None:
    """Print the median seconds of each import, and what it adds to that of torch."""

    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True)

    seconds = side_by_side({name: lambda code=code: run(code) for name, code in WAYS.items()}, 11)
    print(f"fresh interpreters, {machine()}; `import duda` may add {LIMIT} s")
    for name, times in seconds.items():
        added = statistics.median(a - b for a, b in zip(times, seconds["torch"], strict=True))
        print(f"{name:20s} {statistics.median(times):6.2f} s {added:+7.3f} s beside torch")


if __name__ == "__main__":
    main()
