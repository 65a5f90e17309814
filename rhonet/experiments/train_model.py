"""Trains one model in a run folder: data set, training, calibration, export and evaluation."""

from __future__ import annotations

import gc
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
from rhonet.experiments.calibrate import calibrate, predict_validation
from rhonet.experiments.evaluate_model import evaluate_model
from rhonet.reports.plots.history import history_figure
from rhonet.reports.plots.parity import save_figure
from rhonet.serving.export import export_run
from rhonet.serving.model_card import write_card
from rhonet.training.checkpoint import has_checkpoint, weights_hash
from rhonet.training.devices import arithmetic_of, prepare_devices
from rhonet.training.experiment import Experiment
from rhonet.training.observers import ConsoleObserver, TensorBoardObserver
from rhonet.training.runs import Run, make_run, note_resumption
from rhonet.training.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

# Columns of properties.csv that give the group of a density without elements, by data.split_by.
_NAMING_COLUMNS = {
    "chemical_system": "formula or chemical_system",
    "element": "formula or chemical_system",
    "formula": "formula",
    "prototype": "prototype",
}


def start_training(config: Config, run: Run) -> None:
    """Trains from scratch into a planned run folder; prints the test table.

    Args:
        config: resolved configuration.
        run: from `rhonet.training.runs.plan_run`.

    Raises:
        UserError: data or settings do not fit; then no folder is made.
    """
    experiment = open_experiment(run, config)
    members = experiment.members()
    _finish(experiment, members, first=_begin(experiment, members))


def _begin(experiment: Experiment, members: Sequence[Experiment]) -> Trainer:
    """Makes the run folder; returns the trainer of the first network.

    Nobody else holds the trainer, so that its views go when its training is over.
    """
    run, (first, *others) = experiment.run, members
    # Before the folder is made, the first network is built and the labels of all networks are checked.
    trainer = Trainer(first)
    for member in others:
        train = member.index.rows("train")
        Standardizer.fit(member.index.properties, member.index.labels[train], member.index.volumes[train])
    make_run(run, experiment.config)
    with explain_disk(run.path, "free some space"):
        write_trained_records(run.trained_records_file, experiment.index_as_trained)
    log.info("run folder %s", run.path)
    _start_run(trainer)
    if others:
        experiment.write_record(trainer.standardizer.to_dict())
    return trainer


def resume_training(run: Run) -> None:
    """Continues an interrupted run; the final weights are those of a run without the interruption.

    Raises:
        RunError: there is no run to continue, or the data set has changed since.
    """
    config, before = run.config(), run.record()
    experiment = open_experiment(run, config, source=before["data"]["source"])
    now = experiment.describe_data()
    for what in ("fingerprint", "source"):
        if now[what] != before["data"][what]:
            raise RunError(
                f"{run.path}: was trained on data with the {what} {before['data'][what]}, now it is {now[what]}; "
                "restore the data or start a new run"
            )
    arithmetic = arithmetic_of(experiment.strategy)
    earlier = [before["arithmetic"], *(resumption["arithmetic"] for resumption in before.get("resumed", []))]
    if different := [past for past in earlier if past != arithmetic]:
        log.warning(
            "%s: was trained in %s and goes on in %s: not to the weights of a run that never stopped",
            run.path,
            _arithmetic_text(different[0]),
            _arithmetic_text(arithmetic),
        )
    note_resumption(run, arithmetic=arithmetic)
    _finish(experiment, experiment.members())


def open_experiment(run: Run, config: Config, *, source: str = "") -> Experiment:
    """Experiment of a run: prepares the devices and opens the data set, which is built if it is missing.

    Args:
        run: its folder need not exist.
        config: resolved configuration.
        source: fingerprint of the data to use, if they still exist (rhonet.data.builds); "" for the current data.

    Raises:
        UserError: data or settings do not fit.
    """
    strategy = prepare_devices(config.train)
    builder, index = open_data(config, source=source)
    return Experiment(run, config, builder, index, strategy)


def open_data(config: Config, *, predicted: Sequence[Property] = (), source: str = "") -> tuple[Any, Index]:
    """Built data set (TFDS builder) and its index; the data set is built if it is missing.

    Args:
        config: resolved configuration.
        predicted: properties of an existing model. If given, the index has those that the data set has labels for,
            instead of the configured properties.
        source: fingerprint of the data to use, if they still exist (rhonet.data.builds); "" for the current data.
    """
    builder = open_or_build(config.data, source=source)
    stored = stored_properties(builder)
    properties = shared_properties(predicted, stored) if predicted else select_properties(config.data, stored)
    index = read_index(builder, config.data, properties)
    nameless = builder.info.metadata["counts"]["without_species"]  # pyright: ignore[reportOptionalSubscript]
    # The minimum, because an id may also be the name of a group.
    alone = min(nameless, int((index.groups == index.ids).sum()))
    if alone and config.data.split_by != "id":
        log.warning(
            "%d densities name no elements and are split by their ids: copies of a crystal may fall on both sides; "
            "add a column %s to properties.csv",
            alone,
            _NAMING_COLUMNS[config.data.split_by],
        )
    return builder, index


def _arithmetic_text(arithmetic: Mapping[str, Any]) -> str:
    return f"{arithmetic['precision']} on {arithmetic['count']} {arithmetic['devices']}(s)"


def _finish(experiment: Experiment, members: Sequence[Experiment], *, first: Trainer | None = None) -> None:
    """Trains the networks that are not finished, then calibrates, exports and scores the model.

    Args:
        experiment: the whole run.
        members: experiments of its networks.
        first: trainer of the first network of a new run.
    """
    run, config, index = experiment.run, experiment.config, experiment.index
    if not len(index.rows("test")):
        log.warning(
            "no record falls into the test split: the model will not be scored; see data.split_by and data.split_seed"
        )
    calibration_sets = []
    for number, member in enumerate(members, start=1):
        if len(members) > 1:
            log.info("network %d of %d", number, len(members))
        trainer, first = first or _open_trainer(member), None
        _fit(trainer)
        del trainer
        gc.collect()  # a Trainer refers to itself; its views would stay in memory beside those of the next network
        calibration_sets.append(predict_validation(member))
    calibrate(run, calibration_sets)
    if not run.model.exists():
        export_run(run, run.model)
    if len(index.rows("test")):
        networks = config.train.ensemble
        evaluate_model(run.model, experiment.builder, index, data=config.data, out=run.path, networks=networks, run=run)
        with explain_disk(run.model, "free some space"):
            write_card(run, run.model)
    log.info("TensorBoard: tensorboard --logdir %s", run.path)


def _open_trainer(member: Experiment) -> Trainer:
    """Trainer of a network, at its checkpoint if it has one; starts the run of a network that has none."""
    trainer = Trainer(member, resume=has_checkpoint(member.run.checkpoint))
    if member.run.record_file.is_file():
        log.info("going on with %s at epoch %d", member.run.path, trainer.progress.next_epoch + 1)
    else:
        _start_run(trainer)
    return trainer


def _start_run(trainer: Trainer) -> None:
    member = trainer.experiment
    if not member.run.config_file.is_file():
        make_run(member.run, member.config)
    member.write_record(trainer.standardizer.to_dict())


def _fit(trainer: Trainer) -> None:
    """Trains the remaining epochs of one network."""
    run, config = trainer.experiment.run, trainer.experiment.config
    started, first = time.monotonic(), trainer.progress.next_epoch
    console = ConsoleObserver(config.train.epochs, done=first)
    trainer.fit([console, TensorBoardObserver(run, config, trainer)])
    log.info(
        "trained %d epochs in %.0f s; epoch %d counts; weights %s",
        trainer.progress.next_epoch - first,
        time.monotonic() - started,
        trainer.progress.kept_epoch + 1,
        weights_hash(trainer.kept.standardized.weights)[:16],
    )
    with explain_disk(run.plots, "free some space"):
        save_figure(_draw_history(trainer), run.plots / "history.png")


def _draw_history(trainer: Trainer) -> Figure:
    epochs = trainer.progress.history
    return history_figure(
        [epoch["loss"]["train"] for epoch in epochs],
        [epoch["loss"]["validation"] for epoch in epochs],
        validation_r2={name: [epoch["r2"][name] for epoch in epochs] for name in epochs[0]["r2"]},
    )
