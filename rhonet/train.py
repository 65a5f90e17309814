"""Command: build the data set if it is missing, train, evaluate on the test split, export."""

from __future__ import annotations

import argparse
from pathlib import Path

from rhonet.cli.command import OK, new_parser, run_command
from rhonet.core.config import DEFAULT_CONFIG, config_names, load_config
from rhonet.core.errors import CallError
from rhonet.core.startup import start_tensorflow
from rhonet.training.runs import open_run, plan_run


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "train",
        "Train one network on all properties at once: data set if missing -> train -> evaluate -> export.\n"
        "Prints the table of test metrics; everything else is written to the run folder.",
        "python -m rhonet.train --data my_densities --set train.epochs=40 --run-dir runs/mine",
    )
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"shipped configuration ({', '.join(config_names())}) or a TOML file (default: {DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="your density files with properties.csv (default: bundled crystals)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="change one setting, e.g. train.epochs=40; may be repeated",
    )
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="new folder for the run (default: runs/<time>)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue a run that was interrupted")
    return parser


def main(arguments: argparse.Namespace) -> int:
    if arguments.resume is not None:
        if arguments.overrides or arguments.data or arguments.run_dir or arguments.config:
            raise CallError("--resume goes on with the run's own configuration; give no other option beside it")
        run = open_run(arguments.resume)
        start_tensorflow()
        from rhonet.experiments.train_model import resume_training

        resume_training(run)
        return OK
    config = load_config(arguments.config or DEFAULT_CONFIG, arguments.overrides).with_folder(arguments.data)
    run = plan_run(arguments.run_dir)
    start_tensorflow()
    from rhonet.experiments.train_model import start_training

    start_training(config, run)
    return OK


if __name__ == "__main__":
    run_command(main, build_parser())
