"""Entry of the command line, as `duda` and as `python -m duda`, quiet from its first moment."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # Before the modules are read, which takes a while: nothing is to be cleaned up yet.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from duda.cli import main as run

    run()


if __name__ == "__main__":
    main()
