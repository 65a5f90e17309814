"""Command: scores of a run or an exported model, beside those of the baselines."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.cli.command import OK, new_parser, run_command
from rhonet.core.config import load_config
from rhonet.core.errors import CallError, ModelError
from rhonet.core.startup import start_tensorflow
from rhonet.data.splits import ALL, SPLITS
from rhonet.serving.model_card import read_card
from rhonet.training.runs import Run

if TYPE_CHECKING:
    import numpy as np

    from rhonet.core.config import DataConfig
    from rhonet.data.index import Index

log = logging.getLogger("rhonet.evaluate")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "evaluate",
        "Score a run or an exported model on one split: table on the terminal, metrics.json,\n"
        "predictions.csv with every sample, parity plots, and report.html, a self-contained page with\n"
        "all of it. The data set is the model's own unless another folder is given; of that folder,\n"
        "all crystals are scored that did not train the model.",
        "python -m rhonet.evaluate runs/mine --baselines all --out mine-evaluated\n"
        "  python -m rhonet.evaluate runs/mine --data new_crystals --out mine-on-new",
    )
    parser.add_argument("model", type=Path, metavar="RUN_OR_MODEL", help="run folder or model folder")
    parser.add_argument(
        "--split",
        choices=(*SPLITS, ALL),
        help="split of the model's own data (default: test); with --data only all, which includes crystals that "
        "trained the model",
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="another folder of density files")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="data.KEY=VALUE",
        help="change a setting of the --data FOLDER, e.g. data.name; for the model's own data only data.data_dir",
    )
    parser.add_argument(
        "--baselines",
        choices=("quick", "all"),
        help="baselines on the model's own data: quick (dummy, histogram, composition) or all (also shape and scale of "
        "the grid, and an autoencoder, which trains for minutes) (default: quick)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the results (default: RUN_OR_MODEL/evaluation-SPLIT, or -FOLDER)",
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder = arguments.model / "model" if (arguments.model / "model").is_dir() else arguments.model
    if not (folder / "config.toml").is_file() or not (folder / "saved_model").is_dir():
        raise ModelError(
            f"{arguments.model}: neither a finished run nor a model folder; "
            "python -m rhonet.export RUN --to DIR makes one"
        )
    is_run = folder != arguments.model and Run(arguments.model).config_file.is_file()
    networks = load_config(folder / "config.toml").train.ensemble
    _check_settings(arguments)
    if arguments.data is None:
        _check_own(arguments, networks)
    # Only the settings of the data are used: all others are in the SavedModel.
    config = load_config(folder / "config.toml", [*arguments.overrides, "train.ensemble=1"])
    if arguments.data is not None:
        config = config.with_folder(arguments.data, keep_name="data.name" in _named(arguments))
    scored_name = (arguments.split or "test") if arguments.data is None else arguments.data.resolve().name
    out = arguments.out or arguments.model / f"evaluation-{scored_name}"
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise CallError(f"{out}: exists already and is not an empty folder; give another --out")
    card = read_card(folder)
    start_tensorflow()
    from rhonet.evaluation.baselines.trees import BASELINES, QUICK_BASELINES
    from rhonet.experiments.evaluate_model import evaluate_model
    from rhonet.experiments.train_model import open_data

    trained_on = card.content["data"]["source"]
    source = trained_on if arguments.data is None else ""
    builder, index = open_data(config, predicted=card.properties, source=source)
    is_own = builder.info.metadata["fingerprint"] == trained_on
    if arguments.data is not None and is_own:
        _check_own(arguments, networks)
    elif arguments.data is not None:
        _check_other(arguments)
    elif index.fingerprint() != card.content["data"]["fingerprint"]:
        log.warning(
            "the data set has changed since the model was trained (%s records then): these scores may differ "
            "from the metrics on its card",
            sum(card.content["data"]["records"].values()),
        )
    is_own = is_own or arguments.data is None
    evaluate_model(
        folder,
        builder,
        index,
        data=config.data,
        out=out,
        split=arguments.split or ("test" if is_own else ALL),
        networks=networks if is_own else 1,
        baselines=BASELINES if arguments.baselines == "all" else QUICK_BASELINES,
        run=Run(arguments.model) if is_run else None,
        left_out=None if is_own else _seen_records(folder, index, config.data, score_all=arguments.split == ALL),
    )
    return OK


def _seen_records(folder: Path, index: Index, data: DataConfig, *, score_all: bool) -> np.ndarray | None:
    """Records of another data set that the model has seen and that are not scored, (n,) bool; None to score all.

    Logs how many there are.

    Args:
        folder: model folder.
        index: of the data set.
        data: how it is split.
        score_all: scores them nevertheless.
    """
    from rhonet.data.records_csv import seen_in_training

    trained_records = Run(folder).trained_records_file
    if score_all and not trained_records.is_file():
        log.warning("%s: is missing: the scores include crystals that trained the model", trained_records)
        return None
    seen = seen_in_training(trained_records, index, split_by=data.split_by)
    if seen.any():
        log.warning(
            "%d of %d crystals trained the model, as %s (the same %s and volume): %s",
            seen.sum(),
            len(seen),
            index.ids[seen][0],
            "id" if data.split_by == "prototype" else data.split_by,
            "their scores are optimistic" if score_all else "they are not scored; if they are others, give --split all",
        )
    return None if score_all else seen


def _named(arguments: argparse.Namespace) -> dict[str, str]:
    """Arguments of --set by the name of the setting."""
    return {text.partition("=")[0].strip(): text for text in arguments.overrides}


def _check_settings(arguments: argparse.Namespace) -> None:
    """Refuses settings that are fixed in the exported model.

    Raises:
        CallError: there is such a setting.
    """
    if wrong := [text for name, text in _named(arguments).items() if not name.startswith("data.")]:
        raise CallError(f"--set {wrong[0]!r}: only data.KEY=VALUE; all else is in the exported model")


def _check_other(arguments: argparse.Namespace) -> None:
    """Refuses options that have no meaning for other data than the model's own.

    Raises:
        CallError: there is such an option.
    """
    if wrong := _named(arguments).get("data.split_by"):
        raise CallError(
            f"--set {wrong!r}: crystals that trained the model are recognised by the groups of its own split; leave "
            "it out"
        )
    if arguments.split not in (None, ALL):
        raise CallError(
            f"--split {arguments.split}: {arguments.data} is not the model's own data set, and no split of it trained "
            "the model; leave --split out"
        )
    if arguments.baselines is not None:
        raise CallError(
            "--baselines are for the model's own data, as they learn from its training split; leave the option out "
            "with --data"
        )


def _check_own(arguments: argparse.Namespace, networks: int) -> None:
    """Refuses scores on the model's own data that would be misleading.

    Raises:
        CallError: the options ask for such scores.
    """
    harmless = {"data.data_dir"} if arguments.data is None else {"data.data_dir", "data.name"}
    if wrong := [text for name, text in _named(arguments).items() if name not in harmless]:
        raise CallError(
            f"--set {wrong[0]!r}: for the model's own data only data.data_dir=DIR may change; another split would "
            "score crystals that it was trained on"
        )
    if arguments.split == ALL:
        raise CallError("--split all needs a --data FOLDER of other crystals: most of the model's own trained it")
    if networks > 1 and arguments.split not in (None, "test"):
        raise CallError(
            f"--split {arguments.split}: of the {networks} networks of {arguments.model} all but one have trained on "
            "each record outside the test split; score the test split, or a run of one network"
        )
    if arguments.split == "validation":
        log.warning(
            "the intervals were calibrated on the validation split (and, with train.patience, the epoch was chosen on "
            "it): its scores are optimistic"
        )


if __name__ == "__main__":
    run_command(main, build_parser())
