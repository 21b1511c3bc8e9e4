from __future__ import annotations

import duda
from tests.cli.runner import run


def test_help_and_version_say_what_there_is():
    assert run("--version").stdout == f"duda {duda.__version__}\n"
    assert {"compare", "evaluate"} <= set(run("--help").stdout.split())
    assert "--seeds" in run("compare", "--help").stdout
