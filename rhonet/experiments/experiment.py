"""One whole experiment: data set -> training -> export -> evaluation, into one run folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rhonet.core.config import Config
from rhonet.core.errors import RunError
from rhonet.core.files import explain_disk
from rhonet.core.properties import Property
from rhonet.core.standardize import Standardizer
from rhonet.data.builds import open_or_build, stored_properties
from rhonet.data.index import Index, read_index, select_properties, shared_properties
from rhonet.data.records_csv import write_trained_records
from rhonet.data.splits import SPLITS
from rhonet.experiments.calibrate import calibrate, predict_validation
from rhonet.experiments.evaluate_model import evaluate_model
from rhonet.reports.plots.history import history_figure
from rhonet.reports.plots.parity import save_figure
from rhonet.serving.export import export_run
from rhonet.serving.model_card import write_card
from rhonet.training.checkpoint import has_checkpoint, weights_hash
from rhonet.training.devices import arithmetic_of, prepare_devices
from rhonet.training.ensemble import Member, members_of
from rhonet.training.observers import ConsoleObserver, TensorBoardObserver
from rhonet.training.runs import Run, make_run, note_resumption, write_record
from rhonet.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

# What tells the groups of densities that name no elements, by data.split_by.
_NAMING_COLUMNS = {
    "chemical_system": "formula or chemical_system",
    "element": "formula or chemical_system",
    "formula": "formula",
    "prototype": "prototype",
}


def start_training(config: Config, run: Run) -> None:
    """Trains from scratch into a planned run folder; prints the test table.

    Raises:
        BuildError, FolderError, ConfigError, RunError: with one sentence for the user; the folder is made only
            once data and settings have proved to fit.
    """
    strategy = prepare_devices(config.train)
    builder, index = open_data(config)
    # The first network is made before the folder, and the labels of all are looked at: what does not fit shows here.
    first, *others = members_of(run, config)
    trainer = Trainer(builder, _index_of(first, builder, index), first.config, strategy=strategy, run=first.run)
    for member in others:
        own = _index_of(member, builder, index)
        train = own.rows("train")
        Standardizer.fit(own.properties, own.labels[train], own.volumes[train])
    make_run(run, config)
    with explain_disk(run.path, "free some space"):
        write_trained_records(run.trained_records_file, _as_trained(index, config))
    log.info("run folder %s", run.path)
    _start_member(first, trainer, builder=builder)
    if others:
        scales = trainer.standardizer.to_dict()
        write_record(run, data=_describe(builder, index, config), scales=scales, arithmetic=arithmetic_of(strategy))
    _train_members(run, config, builder=builder, index=index, strategy=strategy, first=trainer)


def resume_training(run: Run) -> None:
    """Goes on with an interrupted run, to the same weights as if it had never stopped.

    Raises:
        RunError: nothing to go on with, or the data set has changed since.
    """
    config, before = run.config(), run.record()["data"]
    strategy = prepare_devices(config.train)
    builder, index = open_data(config, source=before["source"])
    now = _describe(builder, index, config)
    for what in ("fingerprint", "source"):
        if now[what] != before[what]:
            raise RunError(
                f"{run.path}: was trained on data with the {what} {before[what]}, now it is {now[what]}; "
                "restore the data or start a new run"
            )
    arithmetic = arithmetic_of(strategy)
    record = run.record()
    earlier = [record.get("arithmetic", arithmetic), *(one["arithmetic"] for one in record.get("resumed", []))]
    if others := [one for one in earlier if one != arithmetic]:
        log.warning(
            "%s: was trained in %s and goes on in %s: not to the weights of a run that never stopped",
            run.path,
            _spelled(others[0]),
            _spelled(arithmetic),
        )
    note_resumption(run, arithmetic=arithmetic)
    _train_members(run, config, builder=builder, index=index, strategy=strategy)


def open_data(config: Config, *, predicted: Sequence[Property] = (), source: str = "") -> tuple[Any, Index]:
    """Built data set (TFDS builder) and its index; builds it where it is missing.

    Args:
        source: fingerprint of the data that are wanted, if they are still there (rhonet.data.builds).
        predicted: properties of an existing model; those that the data set has labels for are taken then,
            instead of the configured ones.
    """
    builder = open_or_build(config.data, source=source)
    stored = stored_properties(builder)
    properties = shared_properties(predicted, stored) if predicted else select_properties(config.data, stored)
    index = read_index(builder, config.data, properties)
    nameless = builder.info.metadata["counts"]["without_species"]  # pyright: ignore[reportOptionalSubscript]
    # An id may be spelled like a group.
    alone = min(nameless, int((index.groups == index.ids).sum()))
    if alone and config.data.split_by != "id":
        log.warning(
            "%d densities name no elements and are split by their ids: copies of a crystal may fall on both sides; "
            "add a column %s to properties.csv",
            alone,
            _NAMING_COLUMNS[config.data.split_by],
        )
    return builder, index


def _spelled(arithmetic: Mapping[str, Any]) -> str:
    return f"{arithmetic['precision']} on {arithmetic['count']} {arithmetic['devices']}(s)"


def _train_members(
    run: Run, config: Config, *, builder: Any, index: Index, strategy: Any, first: Trainer | None = None
) -> None:
    """Trains what is not finished (`first` is the trainer of a new run's first network), then exports and scores."""
    if not len(index.rows("test")):
        log.warning(
            "no record falls into the test split: the model will not be scored; see data.split_by and data.split_seed"
        )
    members, calibration_sets = members_of(run, config), []
    for number, member in enumerate(members, start=1):
        if len(members) > 1:
            log.info("network %d of %d", number, len(members))
        trainer, first = first or _open_trainer(member, builder=builder, index=index, strategy=strategy), None
        _fit(trainer, member)
        calibration_sets.append(predict_validation(member.run, member.config, builder, trainer.index))
    calibrate(run, calibration_sets)
    if not run.model.exists():
        export_run(run, run.model)
    if len(index.rows("test")):
        networks = config.train.ensemble
        evaluate_model(run.model, builder, index, data=config.data, out=run.path, networks=networks, run=run)
        with explain_disk(run.model, "free some space"):
            write_card(run, run.model)
    log.info("TensorBoard: tensorboard --logdir %s", run.path)


def _open_trainer(member: Member, *, builder: Any, index: Index, strategy: Any) -> Trainer:
    """Trainer of a network, at its checkpoint if it has one; makes the folder of one that was never begun."""
    own = _index_of(member, builder, index)
    begun = has_checkpoint(member.run.checkpoint)
    trainer = Trainer(builder, own, member.config, strategy=strategy, run=member.run, resume=begun)
    if member.run.record_file.is_file():
        log.info("going on with %s at epoch %d", member.run.path, trainer.progress.next_epoch + 1)
    else:
        _start_member(member, trainer, builder=builder)
    return trainer


def _index_of(member: Member, builder: Any, index: Index) -> Index:
    """Index with the member's own folds."""
    return read_index(builder, member.config.data, index.properties) if member.config.data.folds else index


def _start_member(member: Member, trainer: Trainer, *, builder: Any) -> None:
    if not member.run.config_file.is_file():
        make_run(member.run, member.config)
    write_record(
        member.run,
        data=_describe(builder, trainer.index, member.config),
        scales=trainer.standardizer.to_dict(),
        arithmetic=arithmetic_of(trainer.strategy),
    )


def _fit(trainer: Trainer, member: Member) -> None:
    """Trains the remaining epochs of one network."""
    started, first = time.monotonic(), trainer.progress.next_epoch
    console = ConsoleObserver(member.config.train.epochs, done=first)
    trainer.fit([console, TensorBoardObserver(member.run, member.config, trainer)])
    log.info(
        "trained %d epochs in %.0f s; epoch %d counts; weights %s",
        trainer.progress.next_epoch - first,
        time.monotonic() - started,
        trainer.progress.kept_epoch + 1,
        weights_hash(trainer.kept.standardized.weights)[:16],
    )
    with explain_disk(member.run.plots, "free some space"):
        save_figure(_draw_history(trainer), member.run.plots / "history.png")


def _draw_history(trainer: Trainer) -> Figure:
    epochs = trainer.progress.history
    return history_figure(
        [epoch["loss"]["train"] for epoch in epochs],
        [epoch["loss"]["validation"] for epoch in epochs],
        validation_r2={name: [epoch["r2"][name] for epoch in epochs] for name in epochs[0]["r2"]},
    )


def _as_trained(index: Index, config: Config) -> Index:
    return index if config.train.ensemble == 1 else index.as_trained_by_ensemble(config.data)


def _describe(builder: Any, index: Index, config: Config) -> dict[str, Any]:
    metadata = builder.info.metadata
    seen = _as_trained(index, config)
    return {
        "name": builder.info.full_name,
        "source": metadata["fingerprint"],
        "about": dict(metadata["about"]),
        "fingerprint": index.fingerprint(),
        "records": {split: len(seen.rows(split)) for split in SPLITS},
    }
