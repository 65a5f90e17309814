from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys

import pytest

from rhonet.cli import command
from rhonet.cli.command import new_parser, run_command
from rhonet.core.errors import UserError
from rhonet.core.startup import prepare_logging
from tests.crystals import REPOSITORY, run_module

COMMANDS = ("train", "evaluate", "predict", "inspect", "prepare", "export", "serve", "explain", "study")


@pytest.mark.parametrize("error", [UserError, *UserError.__subclasses__()])
def test_mistakes_of_users_are_one_line_and_code_two(error, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])

    def fail(_: argparse.Namespace) -> int:
        raise error("it is wrong; mend it")

    with pytest.raises(SystemExit) as done:
        run_command(fail, new_parser("x", "does something", "x"))
    assert done.value.code == 2
    assert capsys.readouterr().err == "python -m rhonet.x: error: it is wrong; mend it\n"


def test_defects_of_ours_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])

    def fail(_: argparse.Namespace) -> int:
        raise ValueError("defect")

    with pytest.raises(ValueError, match="defect"):
        run_command(fail, new_parser("x", "does something", "x"))


def test_interrupted_command_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x"])

    def stop(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as done:
        run_command(stop, new_parser("x", "does something", "x"))
    assert done.value.code == 130
    assert capsys.readouterr().err == "python -m rhonet.x: interrupted\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example(name):
    parser = importlib.import_module(f"rhonet.{name}").build_parser()
    assert f"example:\n  python -m rhonet.{name} " in parser.format_help()


# Tests of the other commands start a process already.
@pytest.mark.parametrize("name", ["evaluate", "export", "explain", "study"])
def test_command_runs_as_a_module(name):
    done = run_module(name, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: python -m rhonet.{name} ")


def test_starting_tensorflow_hides_its_notes_and_nothing_else():
    code = """
import os, sys, types
from rhonet.core import startup

def noisy(name):
    os.write(2, b"oneDNN custom operations are on. You may see\\nsomething real\\n")

startup.importlib = types.SimpleNamespace(import_module=noisy)
startup.start_tensorflow()
print("later", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stderr == "something real\nlater\n"
    assert command.OK == 0


def test_output_that_nobody_reads_to_the_end_is_no_error():
    code = """
import sys
from rhonet.cli.command import new_parser, run_command
sys.argv = ["x"]
run_command(lambda _: print("row\\n" * 10**6) or 0, new_parser("x", "does something", "x"))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (141, b"")


def test_notes_of_libraries_are_kept_from_users_but_not_their_errors(caplog):
    absl = logging.getLogger("absl")
    prepare_logging(verbose=False)
    absl.setLevel(logging.WARNING)  # as absl does when it is imported
    absl.warning("is deprecated")
    absl.error("is broken")
    assert caplog.messages == ["is broken"]
