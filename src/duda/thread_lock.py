"""Threads: one at a time patches modules or seeds generators, which all of them share."""

from __future__ import annotations

import os
from threading import RLock

__all__ = ["one_thread"]

# Modes, weights, hooks and torch's generators are those of a process. Whoever changes them for a
# while holds this lock, also for another model: the generators are the same.
one_thread = RLock()

if hasattr(os, "register_at_fork"):  # workers of a DataLoader start with no other threads
    os.register_at_fork(after_in_child=one_thread._at_fork_reinit)  # type: ignore[attr-defined]
