"""Start of a process: logging, and TensorFlow without its startup messages."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile

_STARTUP_NOTES = ("oneDNN custom operations are on", "before absl::InitializeLog()")


def prepare_logging(verbose: bool) -> None:
    """Sends progress messages to stderr; hides TensorFlow's own messages below warnings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    # absl carries TFDS' own deprecation notes. A filter, as absl sets the level of its logger when it is imported.
    logging.getLogger("absl").addFilter(_is_error)
    logging.getLogger("rhonet").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("tfds_builders").setLevel(logging.DEBUG if verbose else logging.INFO)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def start_tensorflow() -> None:
    """Imports TensorFlow without two startup notes that no log level silences; other output is kept."""
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            output.seek(0)
            for line in output.read().decode(errors="replace").splitlines():
                if not any(note in line for note in _STARTUP_NOTES):
                    print(line, file=sys.stderr)
