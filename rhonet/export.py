"""Command: export the trained weights of a run as a SavedModel with its card, on request also as ONNX files."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.cli.command import OK, CallError, new_parser, run_command, start_tensorflow
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.options import add_triton_options, triton_settings
from rhonet.serving.triton.repository import check_destination
from rhonet.training.ensemble import members_of
from rhonet.training.runs import Run, RunError, explain_disk, open_run

if TYPE_CHECKING:
    from rhonet.models.network import Network
    from rhonet.serving.exported_model import DensityModel

log = logging.getLogger("rhonet.export")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "export",
        "Export the trained weights of a run, finished or not: SavedModel (signatures serving_default,\n"
        "predict_density, and its two halves views and network), model card and configuration.",
        "python -m rhonet.export runs/mine --to saved_models/mine --onnx",
    )
    parser.add_argument(
        "source", type=Path, metavar="RUN_OR_MODEL", help="run folder; or model folder, whose copy gets the additions"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="new model folder; --triton of a model folder needs none"
    )
    parser.add_argument(
        "--onnx", action="store_true", help="add model.onnx, for batches of grids, and its halves views and network"
    )
    add_triton_options(parser)
    return parser


def main(arguments: argparse.Namespace) -> int:
    settings = triton_settings(arguments)
    if arguments.triton is not None:
        check_destination(arguments.triton, tensorflow=arguments.triton_tensorflow, force=arguments.force)
    is_model = (arguments.source / "card.toml").is_file()
    folder = arguments.to or arguments.source
    if not is_model:
        open_run(arguments.source)  # a folder that is neither is told before an option that is missing
    if arguments.to is None:
        if arguments.triton is None or arguments.onnx or not is_model:
            raise CallError("--to DIR is missing: the model folder to write; --triton of a model folder needs none")
    elif is_model:
        if not arguments.onnx and arguments.triton is None:
            raise CallError(f"{arguments.source}: is exported already; --onnx or --triton DIR makes more of it")
        start_tensorflow()
        export_model(arguments.source, arguments.to, onnx=arguments.onnx)
    else:
        run = open_run(arguments.source)
        start_tensorflow()
        export_run(run, arguments.to, onnx=arguments.onnx)
    if arguments.triton is not None:
        export_repository(
            folder,
            arguments.triton,
            settings=settings,
            tensorflow=arguments.triton_tensorflow,
            force=arguments.force,
        )
    print(arguments.to or arguments.triton)
    return OK


def export_run(run: Run, folder: Path, *, onnx: bool = False) -> None:
    """Writes the model folder of a run: saved_model/, card.toml, config.toml, records.csv; whole or not at all.

    Args:
        onnx: also the files of `rhonet.serving.onnx_export`.

    Raises:
        RunError: the folder exists, the run has no checkpoint yet, or the model cannot be converted or written.
    """
    from rhonet.serving.exported_model import save_model
    from rhonet.serving.model_card import write_card

    with _new_folder(folder) as partial:
        save_model(model_of_run(run), partial)
        for file in (run.config_file, run.trained_records_file):
            if file.is_file():  # an earlier rhonet did not list the records
                shutil.copy(file, partial / file.name)
        write_card(run, partial)
        if onnx:
            _add_onnx(partial)


def export_model(model: Path, folder: Path, *, onnx: bool) -> None:
    """Copies a model folder; whole or not at all.

    Args:
        onnx: with the files of `rhonet.serving.onnx_export`, made from its SavedModel.

    Raises:
        RunError: the folder exists, or the model cannot be read, converted or written.
    """
    with _new_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        if onnx:
            _add_onnx(partial)


def _add_onnx(folder: Path) -> None:
    from rhonet.serving.onnx_export import write_onnx

    write_onnx(folder)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes its name when all went well and vanishes otherwise.

    Raises:
        RunError: the folder exists, or something cannot be written.
    """
    if folder.exists():
        raise RunError(f"{folder}: exists already; delete it or give another folder")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explain_disk(folder, "free some space or give another folder"):
            partial.mkdir(parents=True)
            yield partial
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def model_of_run(run: Run) -> DensityModel:
    """What is exported: the trained weights of each member, with error bars where the training was finished.

    Raises:
        RunError: a member has no checkpoint yet.
    """
    from rhonet.core.standardize import Standardizer
    from rhonet.serving.exported_model import DensityModel, ServedMember
    from rhonet.uncertainty.training_peaks import Surroundings

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
    """Network in float32 with the weights that count of the run's checkpoint.

    Raises:
        RunError: the run has no checkpoint yet.
    """
    import keras

    from rhonet.core.standardize import Standardizer
    from rhonet.models.network import build_network
    from rhonet.training.checkpoint import load_checkpoint

    config = run.config()
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        network = build_network(config.view, config.model, Standardizer.from_dict(run.record()["standardizer"]))
    finally:
        keras.mixed_precision.set_global_policy(policy)
    load_checkpoint(run.checkpoint, {"kept": network.standardized.variables})
    return network


if __name__ == "__main__":
    run_command(main, build_parser())
