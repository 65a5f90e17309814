"""Command: summaries of density files; also draws them and writes them in other formats."""

from __future__ import annotations

import argparse
import json
import logging

from rhonet.cli.command import new_parser, run_command
from rhonet.cli.inputs import add_file_arguments, reader_for, report_failures
from rhonet.cli.outputs import add_output_options, check_outputs, write_field, write_picture
from rhonet.core.config import ViewConfig, load_resolved_config
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import CallError, ModelError

log = logging.getLogger("rhonet.inspect")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "inspect",
        "Summarise density files (CHGCAR, cube, ...; gz, bz2, xz too): format, cell, grid, electrons, spin,\n"
        "extremes, oddities, and what rhonet would do with them. Files that cannot be read are listed with their\n"
        "reason, and the exit code is then 1. With one FILE, also draw it or write it in another format.",
        "python -m rhonet.inspect CHGCAR other.cube.gz\n"
        "  python -m rhonet.inspect CHGCAR --plot density.png --save density.cube\n"
        "  python -m rhonet.inspect --json calculations/*/CHGCAR | jq -r '[.file, .n_electrons] | @tsv'",
    )
    add_file_arguments(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per file and line, as each is read (Å, Å³, degrees, e/Å³, µB); "
        "{file, error} for one that cannot be read",
    )
    add_output_options(
        parser,
        plot="draw slices and planar averages (png, pdf, svg); only with one FILE",
        save="write the density as OUT.cube or as CHGCAR (OUT.CHGCAR, DIR/CHGCAR), compressed for .gz; only with one "
        "FILE. A magnetization goes into the CHGCAR, and to OUT_magnetization.cube beside a cube",
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    _check_call(arguments)
    from rhonet.data.checks.summary import summarize_density

    reader, view = reader_for(arguments), _released_view()
    reasons = []
    for file in arguments.files:
        density = reader.read(file)
        if isinstance(density, str):
            reasons.append(density)
            if arguments.json:
                print(json.dumps({"file": file, "error": density}), flush=True)
            continue
        summary = summarize_density(file, density, view=view)
        print(summary.to_json() if arguments.json else summary.to_text(), flush=True)
        _draw_and_save(density, file, arguments)
        del density  # two densities may not fit into memory
    return report_failures(reasons, n_files=len(arguments.files))


def _check_call(arguments: argparse.Namespace) -> None:
    """Refuses outputs that cannot be written, before anything is read.

    Raises:
        CallError: --plot cannot be written, or an output is asked for several files.
        WriteError: --save cannot be written.
    """
    for option, path in (("--plot", arguments.plot), ("--save", arguments.save)):
        if path is not None and len(arguments.files) > 1:
            raise CallError(f"{option} {path} takes one FILE, but {len(arguments.files)} are given; call once for each")
    check_outputs(arguments)


def _draw_and_save(density: ChargeDensity, file: str, arguments: argparse.Namespace) -> None:
    """Writes the outputs of --plot and --save.

    Raises:
        CallError: the picture cannot be written.
        WriteError: the density cannot be written.
    """
    if arguments.plot is not None:
        from rhonet.reports.plots.density import density_figure

        write_picture(density_figure(density, title=file), arguments.plot)
    if arguments.save is not None:
        write_field(density, arguments.save, overwrite=arguments.force)


def _released_view() -> ViewConfig | None:
    """Input settings of the released model, None where it is not installed."""
    from rhonet.serving.model_card import released_model

    try:
        return load_resolved_config(released_model() / "config.toml").view
    except ModelError:
        return None


if __name__ == "__main__":
    run_command(main, build_parser())
