"""Density files on a command line: options for reading them, the reader, and the list of failed files."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.cli.command import OK, SOME_FAILED
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats import FORMATS, read_density

if TYPE_CHECKING:
    import ase

log = logging.getLogger(__name__)

FILE_HELP = "density file, FILE::ENTRY where it holds several, or DIR/AECCAR0+AECCAR2"


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE..., --structure and --input-format."""
    parser.add_argument("files", nargs="+", metavar="FILE", help=FILE_HELP)
    add_reading_options(parser)


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Adds --structure and --input-format."""
    parser.add_argument(
        "--structure", type=Path, metavar="FILE", help="cell and atoms (CIF, POSCAR, ...) that the density files lack"
    )
    names = [row.name for row in FORMATS]
    parser.add_argument(
        "--input-format",
        choices=names,
        metavar="NAME",
        help=f"format of the files, if it is not recognised: {', '.join(names)}",
    )


@dataclass(frozen=True)
class Reader:
    """Reads the files of a command line.

    Attributes:
        structure: cell and atoms for files without them.
        format: name of the format, None to recognise it by the content.
    """

    structure: ase.Atoms | None
    format: str | None

    def read(self, file: str) -> ChargeDensity | str:
        """The density, or the reason why there is none."""
        try:
            return read_density(file, structure=self.structure, format=self.format)
        except (FormatError, OSError) as error:
            return str(error)
        except MemoryError:
            return f"{file}: its grid does not fit into memory"


def reader_for(arguments: argparse.Namespace) -> Reader:
    """Reader with the options of `add_reading_options`.

    Raises:
        FormatError: the structure cannot be read.
    """
    structure = None
    if arguments.structure is not None:
        from rhonet.formats.structure import read_structure

        structure = read_structure(arguments.structure)
    return Reader(structure, arguments.input_format)


def report_failures(reasons: Sequence[str], *, n_files: int) -> int:
    """Exit code of the command; lists the reason of each failed file on stderr, and counts them.

    Args:
        reasons: one sentence per failed file.
        n_files: number of all files.
    """
    for reason in reasons:
        log.warning("error: %s", reason)
    if reasons:
        log.warning("%d of %d files failed", len(reasons), n_files)
    return SOME_FAILED if reasons else OK
