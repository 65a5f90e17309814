"""Command: export the best weights of a run as a SavedModel with its card."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.cli import OK, new_parser, run_command, start_tensorflow
from rhonet.members import members_of
from rhonet.runs import Run, RunError, explain_disk, open_run
from rhonet.triton.export import export_repository
from rhonet.triton.options import add_triton_options, triton_settings

if TYPE_CHECKING:
    from rhonet.models.network import Network
    from rhonet.serving import DensityModel

log = logging.getLogger("rhonet.export")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "export",
        "Export the best weights of a run, finished or not: SavedModel (signatures serving_default and\n"
        "predict_density), model card and configuration.",
        "python -m rhonet.export runs/mine --to saved_models/mine",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="new model folder")
    add_triton_options(parser)
    return parser


def main(arguments: argparse.Namespace) -> int:
    settings, run = triton_settings(arguments), open_run(arguments.run)
    start_tensorflow()
    export_run(run, arguments.to)
    if arguments.triton is not None:
        export_repository(
            arguments.to,
            arguments.triton,
            settings=settings,
            tensorflow=arguments.triton_tensorflow,
            force=arguments.force,
        )
    print(arguments.to)
    return OK


def export_run(run: Run, folder: Path) -> None:
    """Writes the model folder of a run: saved_model/, card.toml, config.toml; whole or not at all.

    Raises:
        RunError: the folder exists, the run has no checkpoint yet, or the model cannot be written.
    """
    from rhonet.model_card import write_card
    from rhonet.serving import save_model

    if folder.exists():
        raise RunError(f"{folder}: exists already; delete it or give another folder")
    model = model_of_run(run)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explain_disk(folder, "free some space or give another folder"):
            partial.mkdir(parents=True)
            save_model(model, partial)
            shutil.copy(run.config_file, partial / run.config_file.name)
            write_card(run, partial)
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def model_of_run(run: Run) -> DensityModel:
    """What is exported: the best weights of each member, with error bars where the training was finished.

    Raises:
        RunError: a member has no checkpoint yet.
    """
    from rhonet.serving import DensityModel, ServedMember
    from rhonet.standardize import Standardizer
    from rhonet.surroundings import Surroundings

    config = run.config()
    calibration = run.calibration()
    if calibration is None:
        log.warning("%s: the training is not finished, so the model gives neither intervals nor novelty", run.path)
    gives_novelty = calibration is not None and calibration.distance_scale is not None
    members = [
        ServedMember(
            network_of_run(member.run),
            Standardizer.from_dict(member.run.record()["standardizer"]),
            Surroundings.load(member.run.surroundings_file) if gives_novelty else None,
        )
        for member in members_of(run, config)
    ]
    return DensityModel(members, config.view, calibration)


def network_of_run(run: Run) -> Network:
    """Network in float32 with the best weights of the run's checkpoint.

    Raises:
        RunError: the run has no checkpoint yet.
    """
    import keras

    from rhonet.checkpoint import load_checkpoint
    from rhonet.models.network import build_network
    from rhonet.standardize import Standardizer

    config = run.config()
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        network = build_network(config.view, config.model, Standardizer.from_dict(run.record()["standardizer"]))
    finally:
        keras.mixed_precision.set_global_policy(policy)
    load_checkpoint(run.checkpoint, {"best": network.standardized.variables})
    return network


if __name__ == "__main__":
    run_command(main, build_parser())
