"""Output files of commands: a picture (--plot) and a field (--save), which replace existing files only with --force."""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import CallError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

PICTURES = (".png", ".pdf", ".svg")


def add_output_options(parser: argparse.ArgumentParser, *, plot: str, save: str) -> None:
    """Options --plot, --save and --force.

    Args:
        parser: of the command.
        plot: help of --plot.
        save: help of --save.
    """
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help=plot)
    parser.add_argument("--save", type=Path, metavar="OUT", help=save)
    parser.add_argument("--force", action="store_true", help="let --plot and --save replace files that exist")


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuses outputs that cannot be written, before anything is read.

    Raises:
        CallError: --plot cannot be written.
        WriteError: --save cannot be written.
    """
    if arguments.save is not None:
        from rhonet.formats.writers import check_target

        check_target(arguments.save, overwrite=arguments.force)
    plot = arguments.plot
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise CallError(f"--plot {plot}: its suffix is none of {', '.join(PICTURES)}")
    if plot is not None and plot.exists() and not arguments.force:
        raise CallError(f"--plot {plot}: exists already; choose another name, or --force to replace it")


def check_field(density: ChargeDensity, arguments: argparse.Namespace) -> None:
    """Refuses a field on the grid of this density that --save could not write, before the field is computed.

    Raises:
        WriteError: it could not be written.
    """
    if arguments.save is not None:
        from rhonet.formats.writers import check_targets

        check_targets(density, arguments.save, overwrite=arguments.force)


def write_picture(figure: Figure, path: Path) -> None:
    """Draws the figure into the file.

    Raises:
        CallError: the file cannot be written.
    """
    from rhonet.reports.plots.parity import save_figure

    try:
        with warnings.catch_warnings():
            # Letters without a glyph appear as boxes in the title, which needs no warning.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            save_figure(figure, path)
    except OSError as error:
        raise CallError(f"--plot {path}: cannot be written: {error.strerror or error}") from error
    log.info("wrote %s", path)


def write_field(field: ChargeDensity, path: Path, *, overwrite: bool, title: str | None = None) -> None:
    """Writes the field as cube or CHGCAR, according to the name, and logs what was written.

    Args:
        field: to write.
        path: where; its name decides the format.
        overwrite: replaces existing files.
        title: comment line of the file.

    Raises:
        WriteError: the field cannot be written.
    """
    from rhonet.formats.writers import write_density

    written = write_density(field, path, title=title, overwrite=overwrite)
    log.info("wrote %s", ", ".join(map(str, written.paths)))
    for note in written.notes:
        log.warning("note: %s", note)
