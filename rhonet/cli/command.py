"""Parser, logging, error messages and exit codes of all commands."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from rhonet.core.errors import UserError
from rhonet.core.startup import prepare_logging
from rhonet.core.text import printable

OK, SOME_FAILED, BAD_CALL = 0, 1, 2
INTERRUPTED, PIPE_CLOSED = 130, 141  # as shells report SIGINT and SIGPIPE


def run_command(main: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser) -> NoReturn:
    """Parses the command line, runs `main` and exits with its code.

    A `UserError` is printed as one line, with exit code 2. Any other exception is a defect of ours and keeps its
    traceback.

    Raises:
        SystemExit: always, with the exit code.
    """
    _escape_unencodable()
    arguments = parser.parse_args()
    prepare_logging(getattr(arguments, "verbose", False))
    try:
        code = main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of the output (head, less) has ended; the rest must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except UserError as error:
        print(f"{parser.prog}: error: {printable(str(error))}", file=sys.stderr)
        code = BAD_CALL
    sys.exit(code)


def _escape_unencodable() -> None:
    """Prints characters that the terminal's encoding lacks (Å in ASCII, file names that are not UTF-8) as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_like_ctrl_c() -> None:
    """Lets `kill` and a closed terminal end this process as Ctrl-C does, so that it also ends its child processes.

    A process under nohup continues when its terminal closes.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def new_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Parser of `python -m rhonet.NAME` whose help ends with an example.

    Args:
        name: of the command.
        description: first paragraph of the help.
        example: a call of the command; further lines start with two spaces.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m rhonet.{name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="more messages on stderr")
    return parser
