"""Command: how good a run or an exported model is, beside the baselines."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from rhonet.cli import OK, CallError, new_parser, run_command, start_tensorflow
from rhonet.config import load_config
from rhonet.model_card import read_card
from rhonet.runs import Run, RunError
from rhonet.splits import ALL, SPLITS

log = logging.getLogger("rhonet.evaluate")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "evaluate",
        "Score a run or an exported model on one split: table on the terminal, metrics.json,\n"
        "parity plots and report.html, a page with all of it that needs nothing else.\n"
        "The data set and the split are the model's own unless another folder is given.",
        "python -m rhonet.evaluate runs/mine --baselines all --out mine-evaluated\n"
        "  python -m rhonet.evaluate runs/mine --data new_crystals --split all --out mine-on-new",
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run folder or model folder")
    parser.add_argument(
        "--split", choices=(*SPLITS, ALL), default="test", help="which split, or all records of --data (default: test)"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="another folder of density files")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="data.KEY=VALUE",
        help="change a setting of that data set, as data.name; of the model's own only data.data_dir",
    )
    parser.add_argument(
        "--baselines",
        choices=("quick", "all"),
        default="quick",
        help="what stands beside the model: dummy, histogram and composition, or shape and scale of the grid and an "
        "autoencoder as well, which trains for minutes (default: quick)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the results (default: RUN_OR_MODEL/evaluation-SPLIT)"
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder = arguments.model / "model" if (arguments.model / "model").is_dir() else arguments.model
    if not (folder / "config.toml").is_file() or not (folder / "saved_model").is_dir():
        raise RunError(
            f"{arguments.model}: neither a finished run nor a model folder; "
            "python -m rhonet.export RUN --to DIR makes one"
        )
    is_run = folder != arguments.model and Run(arguments.model).config_file.is_file()
    # Only the data's settings count: all others are in the SavedModel.
    networks = load_config(folder / "config.toml").train.ensemble
    _check_settings(arguments)
    is_own = arguments.data is None
    if is_own:
        _check_split(arguments, networks)
    config = load_config(folder / "config.toml", [*arguments.overrides, "train.ensemble=1"])
    config = config.with_folder(arguments.data)
    out = arguments.out or arguments.model / f"evaluation-{arguments.split}"
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out}: exists already and is not an empty folder; give another --out")
    card = read_card(folder)
    start_tensorflow()
    from rhonet.baselines import BASELINES, QUICK_BASELINES
    from rhonet.evaluation import evaluate_model
    from rhonet.experiment import open_data

    builder, index = open_data(config, predicted=card.properties)
    if not is_own and builder.info.metadata["fingerprint"] == card.content["data"]["source"]:
        is_own = True
        _check_split(arguments, networks)
    if is_own and index.fingerprint() != card.content["data"]["fingerprint"]:
        log.warning(
            "the data set has changed since the model was trained (%s records then): what is scored here may differ "
            "from the metrics on its card",
            sum(card.content["data"]["records"].values()),
        )
    baselines = BASELINES if arguments.baselines == "all" else QUICK_BASELINES
    evaluate_model(
        folder,
        builder,
        index,
        data=config.data,
        out=out,
        split=arguments.split,
        networks=networks if is_own else 1,
        baselines=baselines,
        run=Run(arguments.model) if is_run else None,
    )
    return OK


def _check_settings(arguments: argparse.Namespace) -> None:
    """Refuses settings that the model has taken already, and such as would score what it was trained on."""
    if wrong := [text for text in arguments.overrides if not text.strip().startswith("data.")]:
        raise CallError(f"--set {wrong[0]!r}: only data.KEY=VALUE; all else is in the exported model")
    wrong = [text for text in arguments.overrides if not text.strip().startswith("data.data_dir=")]
    if wrong and arguments.data is None:
        raise CallError(
            f"--set {wrong[0]!r}: without --data only data.data_dir=DIR; another split of the model's own data would "
            "score crystals that it was trained on"
        )


def _check_split(arguments: argparse.Namespace, networks: int) -> None:
    """Refuses scores on the model's own data that would not say what they seem to."""
    if arguments.split == ALL:
        raise CallError("--split all needs a --data FOLDER of other crystals: most of the model's own trained it")
    if networks > 1 and arguments.split != "test":
        raise CallError(
            f"--split {arguments.split}: of the {networks} networks of {arguments.model} all but one have trained on "
            "each record outside the test split; score the test split, or a run of one network"
        )
    if arguments.split == "validation":
        log.warning("the validation split chose the best epoch and made the intervals: its scores flatter the model")


if __name__ == "__main__":
    run_command(main, build_parser())
