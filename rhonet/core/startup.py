"""What a process does before its work: logging, and TensorFlow without its chatter."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile


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
