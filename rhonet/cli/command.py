"""What all commands share: logging to stderr, and users' mistakes as one line instead of a traceback."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import NoReturn

from rhonet.core.text import printable

OK, SOME_FAILED, BAD_CALL = 0, 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as shells report SIGINT and SIGPIPE


class CallError(ValueError):
    """Options that make no sense together, or name what cannot be used."""


def run_command(main: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> NoReturn:
    """Parses the command line, runs `main` and exits with its code.

    Errors of the user's input (`user_errors`, raised at our boundaries with a full sentence) are printed as
    one line with exit code 2; everything else is a defect of ours and keeps its traceback.
    """
    _let_everything_through()
    arguments = parser.parse_args()
    prepare_logging(getattr(arguments, "verbose", False))
    try:
        code = main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever reads the output (head, less) has seen enough; what is left must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except user_errors() as error:
        print(f"{parser.prog}: error: {printable(str(error))}", file=sys.stderr)
        code = BAD_CALL
    sys.exit(code)


def _let_everything_through() -> None:
    """Prints what the terminal's encoding lacks (Å in ASCII, file names that are no UTF-8) as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_like_ctrl_c() -> None:
    """Lets a plain `kill` and a closed terminal end this process as Ctrl-C does, so that what it started ends too.

    A process under nohup goes on when its terminal closes.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def user_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the user."""
    from rhonet.core.config import ConfigError
    from rhonet.data.builds import BuildError
    from rhonet.data.folder import FolderError
    from rhonet.formats import FormatError
    from rhonet.formats.writers import WriteError
    from rhonet.training.runs import RunError

    return BuildError, CallError, ConfigError, FolderError, FormatError, RunError, WriteError


def prepare_logging(verbose: bool) -> None:
    """Progress on stderr; TensorFlow's own chatter only where it warns."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # TFDS' own deprecation notes reach users through absl, which sets the level of its logger when it is imported.
    logging.getLogger("absl").addFilter(_is_error)
    logging.getLogger("rhonet").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("tfds_builders").setLevel(logging.DEBUG if verbose else logging.INFO)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def new_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Parser of `python -m rhonet.NAME` whose help ends with an example."""
    parser = argparse.ArgumentParser(
        prog=f"python -m rhonet.{name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    return parser


def start_tensorflow() -> None:
    """Imports TensorFlow without the two notes on oneDNN that no log level silences; other output is kept."""
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                if not any(note in line for note in _STARTUP_NOTES):
                    print(line, file=sys.stderr)


_STARTUP_NOTES = ("oneDNN custom operations are on", "before absl::InitializeLog()")
