"""Files are written whole or not at all, whatever happens meanwhile."""

import os
import subprocess
import sys

import pytest

from rhonet.core.errors import DiskError
from rhonet.core.files import _MACHINE, explain_disk, plain_values, replacing, write_text


def test_a_file_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "first")
    with pytest.raises(TypeError), replacing(path) as partial:
        partial.write_text(None)  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "first"
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


def test_only_what_killed_processes_of_this_machine_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed = tmp_path / f".{ended.pid}@{_MACHINE}.partial.file.txt"
    others = [
        tmp_path / f".{os.getppid()}@{_MACHINE}.partial.file.txt",  # of a process that is running
        tmp_path / f".{ended.pid}@other.partial.file.txt",  # of another machine
        tmp_path / f".notes@{_MACHINE}.partial.file.txt",  # of nobody
        tmp_path / f".{ended.pid}@{_MACHINE}.partial.other.txt",  # of another file
    ]
    for file in (killed, *others):
        file.write_text("half")
    write_text(tmp_path / "file.txt", "whole")
    assert not killed.exists()
    assert all(file.exists() for file in others)


def test_a_leftover_that_cannot_be_removed_stops_nothing(tmp_path):
    (tmp_path / f".999999999@{_MACHINE}.partial.file.txt").mkdir()
    write_text(tmp_path / "file.txt", "whole")
    assert (tmp_path / "file.txt").read_text() == "whole"


def test_what_the_disk_refuses_is_one_sentence(tmp_path):
    said = "x: cannot be written: No such file or directory; free some space"
    with pytest.raises(DiskError, match=said), explain_disk(tmp_path / "x", "free some space"):
        write_text(tmp_path / "missing" / "x", "")


def test_numbers_that_json_lacks_become_none():
    assert plain_values({"a": (1.0, float("nan")), "b": [float("inf"), {"c": "text"}]}) == {
        "a": [1.0, None],
        "b": [None, {"c": "text"}],
    }
