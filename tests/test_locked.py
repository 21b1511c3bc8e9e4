"""The set-up of the project: each file by its hash, and the same versions wherever they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKED = re.split(r"\n(?=\S)", (ROOT / "locked.txt").read_text().strip())
CONSTRAINTS = (ROOT / "constraints.txt").read_text().split()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_each_package_has_a_version_and_hashes() -> None:
    assert len(LOCKED) > 50
    for entry in LOCKED:
        head, *hashes = entry.split(" \\\n")
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", head)
        assert hashes
        assert all(re.fullmatch(r" *--hash=sha256:[0-9a-f]{64}", each) for each in hashes)


def test_constraints_are_the_same_versions() -> None:
    assert [entry.split(" ")[0] for entry in LOCKED] == CONSTRAINTS


def test_what_the_project_asks_for_is_locked() -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = {pin.partition("==")[0] for pin in CONSTRAINTS}
    assert {re.match(r"[\w-]+", each)[0] for each in wanted} <= names


def test_builds_use_the_locked_hatchling() -> None:
    [build] = PROJECT["build-system"]["requires"]
    assert build in CONSTRAINTS


def test_no_index_is_named() -> None:
    assert not any(
        mark in (ROOT / "locked.txt").read_text() for mark in ("://", "--index", "--find")
    )
