from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from duda.path_lock import path_lock

_HOLDER = """
import sys, time
from duda.path_lock import path_lock
with path_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_run(tmp_path: Path):
    """Start a process that holds a path until it is killed."""
    started = []

    def start(path: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(path)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("name", ["", "run.ckpt", "new folder/run.ckpt"])
def test_the_second_run_is_told_who_has_the_path_and_since_when(
    tmp_path: Path, other_run, name: str
) -> None:
    process = other_run(tmp_path / name)
    told = rf"another run writes `.*{name}` \(process {process.pid} on .*, for \d+ s\)"
    with pytest.raises(OSError, match=told), path_lock(tmp_path / name):
        pytest.fail("both runs have it")
    with path_lock(tmp_path / "another.ckpt"):
        pass


_PARENT = """
import os, sys, time
from duda.path_lock import path_lock
with path_lock(sys.argv[1]):
    if os.fork():
        print("held", flush=True)
        time.sleep(60)
    time.sleep(1)
    os._exit(0)
"""


def test_workers_that_outlive_a_killed_run_for_a_moment_hold_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "held\n"
        parent.kill()
        parent.wait()
        with path_lock(tmp_path):
            pass


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_run_that_was_killed_holds_nobody_up(
    tmp_path: Path, other_run, sent: int
) -> None:
    process = other_run(tmp_path)
    process.send_signal(sent)
    process.wait()
    with path_lock(tmp_path):
        assert os.listdir(tmp_path) == [".lock"]
    assert os.listdir(tmp_path) == []


def test_who_has_it_may_ask_again_and_keeps_it_until_the_outermost_ends(tmp_path: Path) -> None:
    with path_lock(tmp_path), path_lock(tmp_path):
        with path_lock(tmp_path / ".." / tmp_path.name):
            pass
        assert (tmp_path / ".lock").exists()
    assert not any(tmp_path.iterdir())


def test_another_thread_of_the_same_process_is_another_run(tmp_path: Path) -> None:
    errors: list[OSError] = []

    def second() -> None:
        try:
            with path_lock(tmp_path):
                pass
        except OSError as error:
            errors.append(error)

    with path_lock(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_one_after_the_other_and_never_two_at_once(tmp_path: Path) -> None:
    inside, most, errors = [], [], []

    def work() -> None:
        for _ in range(200):
            try:
                with path_lock(tmp_path / "run"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except OSError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert all(error.startswith("another run writes") for error in errors)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*: .*choose"), path_lock(tmp_path / "file/x"):
        pass


def test_no_file_is_changed_through_a_link_with_the_name_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("text")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="cannot write"), path_lock(tmp_path):
        pass
    assert (tmp_path / "mine").read_text() == "text"
