"""Runs every benchmark but `uci`, which takes an hour, one after the other."""

from __future__ import annotations

import importlib

NAMES = (
    "importing",
    "sampling",
    "gpu",
    "members",
    "sub_ensembles",
    "dropconnect",
    "training",
    "variational",
    "epistemic",
    "methods",
    "evaluation",
    "gate",
    "active_learning",
    "exploration",
)

for name in NAMES:
    print(f"\n== {name} ==", flush=True)
    importlib.import_module(f"benchmarks.{name}").main()
