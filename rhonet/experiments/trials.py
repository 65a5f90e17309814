"""Trials: trainings of the variants of one configuration, each scored on crystals that it has not seen.

A baseline that is fitted on the same crystals is also a trial.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import multiprocessing
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rhonet.core.config import Config, config_from_dict
from rhonet.core.errors import ConfigError, DataError, RunError, WorkerError
from rhonet.core.files import explain_disk, replacing, write_text
from rhonet.core.predictions import Predictions, merge_predictions
from rhonet.core.properties import Property
from rhonet.core.provenance import git_commit
from rhonet.data.index import Index
from rhonet.training.runs import Run, make_run

if TYPE_CHECKING:
    from rhonet.training.experiment import Experiment

log = logging.getLogger(__name__)

RESULT_NAME = "predictions.npz"
ABOUT_NAME = "trial.json"


@dataclass(frozen=True)
class Trial:
    """One training of one variant, or one fit of a baseline.

    Attributes:
        path: its run folder.
        variant: name of the variant.
        seed: of weights, order and augmentation; it also selects the fold that is predicted.
        config: resolved configuration.
        baseline: name of the baseline that predicts instead of a network, "" for none.
    """

    path: Path
    variant: str
    seed: int
    config: Config
    baseline: str = ""

    @property
    def is_done(self) -> bool:
        return (self.path / RESULT_NAME).is_file()


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a finished trial.

    Attributes:
        trial: the trial.
        predictions: for the crystals of its fold.
        cpu_seconds: CPU time of the training.
        commit: of rhonet when it was trained, "" if unknown.
    """

    trial: Trial
    predictions: Predictions
    cpu_seconds: float
    commit: str = ""


def plan_trial(out: Path, variant: str, *, config: Config, seed: int, folds: int, baseline: str = "") -> Trial:
    """Trial of a variant, trained to the last epoch: without early stopping, as the fold that stops it is scored.

    Args:
        out: folder of the study.
        variant: name of the variant.
        config: configuration of the variant.
        seed: of the trial.
        folds: number of folds. Fold `seed` modulo `folds` is predicted, the other folds train, and the test split is
            not used. With 0, the seed makes its own split.
        baseline: name of the baseline that predicts instead of a network, "" for none.

    Raises:
        RunError: the folder holds a trial of another configuration.
    """
    split = {"folds": folds, "fold": seed % folds} if folds else {"split_seed": seed}
    data = dataclasses.replace(config.data, **split)
    train = dataclasses.replace(config.train, seed=seed, patience=0)
    resolved = dataclasses.replace(config, data=data, train=train)
    trial = Trial(out / variant / f"seed-{seed}", variant, seed, resolved, baseline)
    if trial.path.exists() and Run(trial.path).config_file.is_file():
        try:
            before = Run(trial.path).config()
        except ConfigError as error:
            raise RunError(f"{error}; or give another --out") from error
        if before != trial.config:
            raise RunError(f"{trial.path}: was run with another configuration; give another --out or remove it")
    return trial


def run_trials(trials: Sequence[Trial], *, workers: int, source: str) -> None:
    """Runs the trials that are not done yet in single-threaded processes, and logs each result.

    Args:
        trials: in the order to run them.
        workers: number of processes.
        source: fingerprint of the data set.

    Raises:
        UserError: raised by a trial; running trials are finished, no other trial is started.
        WorkerError: a process was killed.
    """
    waiting = [trial for trial in trials if not trial.is_done]
    log.info("%d trials, %d done before, %d at a time", len(trials), len(trials) - len(waiting), workers)
    if not waiting:
        return
    started = time.monotonic()
    # One core per worker: two trainings at the same time are faster than one after the other on two cores.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker) as pool:
        running = {pool.submit(_run_trial, trial, source): trial for trial in waiting}
        for done, future in enumerate(as_completed(running), start=1):
            trial, line = running[future], _await_line(future, pool)
            minutes = (time.monotonic() - started) / 60
            log.info(
                "%d/%d after %.0f min: %s seed %d: %s", done, len(waiting), minutes, trial.variant, trial.seed, line
            )


def _await_line(future: Future[str], pool: ProcessPoolExecutor) -> str:
    """Log line of a trial; if it failed, cancels the waiting trials and raises its error."""
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a trial's process was killed, probably for want of memory; give fewer --workers (finished trials are kept)"
        ) from error
    except Exception:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def read_result(trial: Trial, *, source: str) -> Result:
    """Predictions and cost of a finished trial.

    Args:
        trial: it must be done.
        source: fingerprint of the study's data set.

    Raises:
        RunError: the trial saw other data, or its data are unknown.
    """
    file = trial.path / ABOUT_NAME
    if not file.is_file():
        raise RunError(f"{file}: is missing, so the trial's data are unknown; give another --out or remove the trial")
    about = json.loads(file.read_text(encoding="utf-8"))
    if about["source"] != source:
        raise RunError(
            f"{trial.path}: was run on another state of the data set (fingerprint {about['source'][:16]}, now "
            f"{source[:16]}); give another --out or remove it"
        )
    with np.load(trial.path / RESULT_NAME) as stored:
        properties = tuple(Property(**item) for item in json.loads(str(stored["properties"])))
        predictions = Predictions(
            properties,
            tuple(stored["ids"].tolist()),
            labels={item.name: stored[f"labels/{item.name}"] for item in properties},
            values={item.name: stored[f"values/{item.name}"] for item in properties},
            groups=tuple(stored["groups"].tolist()),
        )
    return Result(trial, predictions, about["cpu_seconds"], about["commit"])


def pool_results(results: Iterable[Result]) -> Predictions:
    """Merged predictions of several trials; a sample occurs once for each trial that predicted it, in its group."""
    parts = [(result.trial.seed, result.predictions) for result in results]
    return merge_predictions(
        [
            replace(part, ids=tuple(f"{name} (seed {seed})" for name in part.ids), groups=part.groups or part.ids)
            for seed, part in parts
        ]
    )


def write_result(trial: Trial, predictions: Predictions, *, cpu_seconds: float, source: str) -> None:
    """Writes the result for `read_result`; the predictions are written last, as they mark the trial as done.

    Args:
        trial: its folder exists.
        predictions: for the crystals of its fold.
        cpu_seconds: CPU time of the training.
        source: fingerprint of the data set.
    """
    arrays = {f"labels/{item.name}": predictions.labels[item.name] for item in predictions.properties}
    arrays |= {f"values/{item.name}": predictions.values[item.name] for item in predictions.properties}
    properties = json.dumps([dataclasses.asdict(item) for item in predictions.properties])
    about = {"cpu_seconds": round(cpu_seconds, 1), "source": source, "commit": git_commit()}
    write_text(trial.path / ABOUT_NAME, json.dumps(about) + "\n")
    names = {"ids": np.array(predictions.ids), "groups": np.array(predictions.groups, str)}
    with replacing(trial.path / RESULT_NAME) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **names, properties=properties, **arrays)


class _Worker:
    """State of a worker process that is kept from one trial to the next."""

    views: Any = None


def _prepare_worker() -> None:
    from rhonet.core.startup import prepare_logging, start_tensorflow

    os.environ["OMP_NUM_THREADS"] = "1"
    prepare_logging(verbose=False)
    logging.getLogger("rhonet").setLevel(logging.WARNING)
    start_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _run_trial(trial: Trial, source: str) -> str:
    """Trains the network or fits the baseline, predicts the fold and writes the result; returns a line for the log."""
    from rhonet.evaluation.metrics import evaluate
    from rhonet.experiments.train_model import open_data
    from rhonet.training.devices import prepare_devices
    from rhonet.training.experiment import Experiment

    strategy = prepare_devices(trial.config.train)
    builder, index = open_data(trial.config, source=source)
    if (fingerprint := builder.info.metadata["fingerprint"]) != source:
        raise DataError(f"{trial.path}: the data set has changed during the study ({fingerprint}, it was {source})")
    run = Run(trial.path)
    with explain_disk(trial.path, "free some space"):
        if not run.config_file.is_file():
            make_run(run, trial.config)
        started = time.process_time()
        predictions = (
            _fit_baseline(trial, builder, index)
            if trial.baseline
            else _train(Experiment(run, trial.config, builder, index, strategy))
        )
        cpu_seconds = time.process_time() - started
        gc.collect()  # a Trainer refers to itself; its views would stay in memory beside those of the next trial
        write_result(trial, predictions, cpu_seconds=cpu_seconds, source=fingerprint)
    average = evaluate(predictions, resamples=0).averages["all"].r2.value
    return f"mean R² {average:.3f}"


def _fit_baseline(trial: Trial, builder: Any, index: Index) -> Predictions:
    from rhonet.evaluation.baselines.on_records import predict_baselines

    data, name = trial.config.data, trial.baseline
    return predict_baselines(builder, index, data=data, split="validation", names=(name,), seed=trial.seed)[name]


def _train(experiment: Experiment) -> Predictions:
    """Predictions of the averaged weights after the last epoch."""
    from rhonet.training.trainer import Epoch, Trainer
    from rhonet.views.pipeline import KeptViews

    class LastEpoch:
        predictions: Predictions | None = None

        def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
            pass

        def on_epoch(self, epoch: Epoch) -> None:
            self.predictions = epoch.predictions

    last = LastEpoch()
    if _Worker.views is None:
        _Worker.views = KeptViews()
    Trainer(experiment, kept_views=_Worker.views).fit([last])
    assert last.predictions is not None
    return last.predictions


def changed_config(config: Config, changes: Mapping[str, Mapping[str, Any]]) -> Config:
    """The configuration with some settings of some sections changed.

    Raises:
        ConfigError: an unknown setting or a wrong value.
    """
    tree = config.to_dict()
    for section, values in changes.items():
        tree[section] = {**tree[section], **values}
    return config_from_dict(tree)
