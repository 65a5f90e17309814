"""One whole experiment: data set -> training -> export -> evaluation, into one run folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from rhonet.builds import open_or_build, stored_properties
from rhonet.checkpoint import weights_hash
from rhonet.config import Config
from rhonet.dataset import Index, read_index, select_properties
from rhonet.devices import prepare_devices
from rhonet.evaluation import evaluate_model
from rhonet.export import export_run
from rhonet.model_card import write_card
from rhonet.observers import ConsoleObserver, TensorBoardObserver
from rhonet.runs import Run, RunError, new_run, write_record
from rhonet.splits import SPLITS
from rhonet.training import Trainer

log = logging.getLogger(__name__)


def start_training(config: Config, run_dir: Path | None) -> Run:
    """Trains from scratch into a new run folder; prints the test table.

    Raises:
        BuildError, FolderError, ConfigError, RunError: with one sentence for the user.
    """
    builder, index = open_data(config)
    run = new_run(run_dir, config)
    log.info("run folder %s", run.path)
    trainer = Trainer(builder, index, config, strategy=prepare_devices(config.train), run=run)
    write_record(run, data=_describe(builder, index), scales=trainer.standardizer.to_dict())
    _finish(run, config, trainer, builder=builder, index=index)
    return run


def resume_training(run: Run) -> None:
    """Goes on with an interrupted run, to the same weights as if it had never stopped.

    Raises:
        RunError: nothing to go on with, or the data set has changed since.
    """
    config = run.config()
    builder, index = open_data(config)
    before = run.record()["data"]["fingerprint"]
    if index.fingerprint() != before:
        raise RunError(
            f"{run.path}: was trained on data with fingerprint {before}, now it is {index.fingerprint()}; "
            "restore the data or start a new run"
        )
    trainer = Trainer(builder, index, config, strategy=prepare_devices(config.train), run=run)
    trainer.restore()
    log.info("going on with %s at epoch %d", run.path, trainer.progress.next_epoch + 1)
    _finish(run, config, trainer, builder=builder, index=index)


def open_data(config: Config) -> tuple[Any, Index]:
    """Built data set (TFDS builder) and its index; builds it where it is missing."""
    builder = open_or_build(config.data)
    return builder, read_index(builder, config.data, select_properties(config.data, stored_properties(builder)))


def _finish(run: Run, config: Config, trainer: Trainer, *, builder: Any, index: Index) -> None:
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
    if not run.model.exists():
        export_run(run, run.model)
    evaluate_model(run.model, builder, index, data=config.data, out=run.path)
    write_card(run, run.model)
    log.info("TensorBoard: tensorboard --logdir %s", run.path)


def _describe(builder: Any, index: Index) -> dict[str, Any]:
    metadata = builder.info.metadata
    return {
        "name": builder.info.full_name,
        "source": metadata["fingerprint"],
        "about": dict(metadata["about"]),
        "fingerprint": index.fingerprint(),
        "records": {split: len(index.rows(split)) for split in SPLITS},
    }
