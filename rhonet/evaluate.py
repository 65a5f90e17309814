"""Command: how good a run or an exported model is, beside the baselines."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from rhonet.cli import OK, new_parser, run_command, start_tensorflow
from rhonet.config import load_config
from rhonet.model_card import read_card
from rhonet.runs import Run, RunError
from rhonet.splits import SPLITS

log = logging.getLogger("rhonet.evaluate")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "evaluate",
        "Score a run or an exported model on one split: table on the terminal, metrics.json,\n"
        "parity plots and report.html, a page with all of it that needs nothing else.\n"
        "The data set and the split are the model's own unless another folder is given.",
        "python -m rhonet.evaluate runs/mine --split validation --out /tmp/mine",
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run folder or model folder")
    parser.add_argument("--split", choices=SPLITS, default="test", help="which split (default: test)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="another folder of density files")
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
    config = load_config(folder / "config.toml").with_folder(arguments.data)
    out = arguments.out or arguments.model / f"evaluation-{arguments.split}"
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RunError(f"{out}: exists already and is not an empty folder; give another --out")
    card = read_card(folder)
    start_tensorflow()
    from rhonet.baselines import BASELINES, QUICK_BASELINES
    from rhonet.evaluation import evaluate_model
    from rhonet.experiment import open_data

    builder, index = open_data(config, predicted=card.properties)
    if arguments.data is None and index.fingerprint() != card.content["data"]["fingerprint"]:
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
        baselines=baselines,
        run=Run(arguments.model) if is_run else None,
    )
    return OK


if __name__ == "__main__":
    run_command(main, build_parser())
