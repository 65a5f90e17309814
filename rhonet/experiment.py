"""One whole experiment: data set -> training -> export -> evaluation, into one run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rhonet.builds import open_or_build, stored_properties
from rhonet.checkpoint import has_checkpoint, weights_hash
from rhonet.config import Config
from rhonet.dataset import Index, read_index, select_properties, shared_properties
from rhonet.devices import prepare_devices
from rhonet.evaluation import evaluate_model
from rhonet.export import export_run
from rhonet.model_card import write_card
from rhonet.observers import ConsoleObserver, TensorBoardObserver
from rhonet.plots import history_figure, save_figure
from rhonet.properties import Property
from rhonet.runs import Run, RunError, explain_disk, make_run, write_record
from rhonet.splits import SPLITS
from rhonet.training import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)


def start_training(config: Config, run: Run) -> None:
    """Trains from scratch into a planned run folder; prints the test table.

    Raises:
        BuildError, FolderError, ConfigError, RunError: with one sentence for the user; the folder is made only
            once data and settings have proved to fit.
    """
    strategy = prepare_devices(config.train)
    builder, index = open_data(config)
    trainer = Trainer(builder, index, config, strategy=strategy, run=run)
    make_run(run, config)
    log.info("run folder %s", run.path)
    write_record(run, data=_describe(builder, index), scales=trainer.standardizer.to_dict())
    _finish(run, config, trainer, builder=builder, index=index)


def resume_training(run: Run) -> None:
    """Goes on with an interrupted run, to the same weights as if it had never stopped.

    Raises:
        RunError: nothing to go on with, or the data set has changed since.
    """
    config, before = run.config(), run.record()["data"]
    strategy = prepare_devices(config.train)
    builder, index = open_data(config)
    now = _describe(builder, index)
    for what in ("fingerprint", "source"):
        if now[what] != before[what]:
            raise RunError(
                f"{run.path}: was trained on data with the {what} {before[what]}, now it is {now[what]}; "
                "restore the data or start a new run"
            )
    trainer = Trainer(builder, index, config, strategy=strategy, run=run)
    if has_checkpoint(run.checkpoint):
        trainer.restore()
    log.info("going on with %s at epoch %d", run.path, trainer.progress.next_epoch + 1)
    _finish(run, config, trainer, builder=builder, index=index)


def open_data(config: Config, *, predicted: Sequence[Property] = ()) -> tuple[Any, Index]:
    """Built data set (TFDS builder) and its index; builds it where it is missing.

    Args:
        predicted: properties of an existing model; those that the data set has labels for are taken then,
            instead of the configured ones.
    """
    builder = open_or_build(config.data)
    nameless = builder.info.metadata["counts"]["without_species"]  # pyright: ignore[reportOptionalSubscript]
    if nameless and config.data.split_by != "id":
        log.warning(
            "%d densities name no elements and are split by their ids: copies of a crystal may fall on both sides; "
            "add a column formula or chemical_system to properties.csv",
            nameless,
        )
    stored = stored_properties(builder)
    properties = shared_properties(predicted, stored) if predicted else select_properties(config.data, stored)
    return builder, read_index(builder, config.data, properties)


def _finish(run: Run, config: Config, trainer: Trainer, *, builder: Any, index: Index) -> None:
    if not len(index.rows("test")):
        log.warning("no record falls into the test split: the model will not be scored; see data.fractions")
    started, first = time.monotonic(), trainer.progress.next_epoch
    console = ConsoleObserver(config.train.epochs, done=first)
    trainer.fit([console, TensorBoardObserver(run, config, trainer)])
    log.info(
        "trained %d epochs in %.0f s; best epoch %d; weights %s",
        trainer.progress.next_epoch - first,
        time.monotonic() - started,
        trainer.progress.best_epoch + 1,
        weights_hash(trainer.best.standardized.variables)[:16],
    )
    with explain_disk(run.plots, "free some space"):
        save_figure(_draw_history(trainer), run.plots / "history.png")
    if not run.model.exists():
        export_run(run, run.model)
    if len(index.rows("test")):
        evaluate_model(run.model, builder, index, data=config.data, out=run.path)
        with explain_disk(run.model, "free some space"):
            write_card(run, run.model)
    log.info("TensorBoard: tensorboard --logdir %s", run.path)


def _draw_history(trainer: Trainer) -> Figure:
    epochs = trainer.progress.history
    return history_figure(
        [epoch["loss"]["train"] for epoch in epochs],
        [epoch["loss"]["validation"] for epoch in epochs],
        validation_r2={name: [epoch["r2"][name] for epoch in epochs] for name in epochs[0]["r2"]},
    )


def _describe(builder: Any, index: Index) -> dict[str, Any]:
    metadata = builder.info.metadata
    return {
        "name": builder.info.full_name,
        "source": metadata["fingerprint"],
        "about": dict(metadata["about"]),
        "fingerprint": index.fingerprint(),
        "records": {split: len(index.rows(split)) for split in SPLITS},
    }
