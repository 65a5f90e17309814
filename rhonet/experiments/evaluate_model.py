"""Predictions of a model for stored records, scored together with baselines on the same split."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rhonet import __version__
from rhonet.core.config import DataConfig
from rhonet.core.errors import DataError
from rhonet.core.files import explain_disk
from rhonet.core.predictions import Predictions
from rhonet.core.provenance import command_line, git_commit
from rhonet.data.index import Index, read_formulas, records_at
from rhonet.data.records import decode_record
from rhonet.data.splits import ALL, SPLITS
from rhonet.evaluation.baselines.on_records import predict_baselines
from rhonet.evaluation.baselines.trees import QUICK_BASELINES
from rhonet.evaluation.metrics import Evaluation, evaluate
from rhonet.reports.html_report import REPORT, ReportContent, write_report
from rhonet.reports.plots.parity import save_figures
from rhonet.reports.predictions_csv import PREDICTIONS, write_predictions
from rhonet.reports.terminal import SplitSummary, format_report, write_metrics
from rhonet.serving.exported_model import Predictor
from rhonet.serving.model_card import Card, read_card
from rhonet.training.ensemble import members_of
from rhonet.training.runs import Run
from rhonet.uncertainty.prediction_sets import with_sets

log = logging.getLogger(__name__)


def evaluate_model(
    folder: Path,
    builder: Any,
    index: Index,
    *,
    data: DataConfig,
    out: Path,
    split: str = "test",
    networks: int = 1,
    baselines: Sequence[str] = QUICK_BASELINES,
    run: Run | None = None,
    left_out: np.ndarray | None = None,
) -> Evaluation:
    """Scores an exported model on one split or on all records; prints the table and writes the results to `out`.

    The model is the SavedModel that is served; it gets the stored grids. The baselines are fitted on the training
    split of the same data.

    Args:
        folder: model folder.
        builder: built TFDS data set.
        index: labels and splits of its records.
        data: how the records were split.
        out: folder for the results, made if missing.
        split: "train", "validation", "test" or `rhonet.data.splits.ALL`; the latter has no baselines.
        networks: number of networks of the model. The networks of an ensemble together saw all records outside the
            test split, so the baselines are fitted on all of these.
        baselines: names of the baselines to compare with (rhonet.evaluation.baselines.trees).
        run: run in which the model was trained, for its training history; None if it is not available.
        left_out: (n,) bool, records that are not scored, whatever their split.

    Raises:
        DataError: the split is empty.
        DiskError: the results cannot be written.
    """
    started = time.monotonic()
    rows = index.rows(split)
    rows = rows if left_out is None else rows[~left_out[rows]]
    seen = index if networks == 1 else index.as_trained_by_ensemble(data)
    counts = {name: len(seen.rows(name)) for name in SPLITS if len(seen.rows(name)) or name == split}
    baselines = () if split == ALL else baselines
    if not len(rows) or (baselines and not counts.get("train")):
        raise DataError(
            f"nothing to evaluate: {len(rows)} {split} and {counts.get('train', 0)} train records; "
            "give another --split, or crystals that did not train the model by --data FOLDER"
        )
    card = read_card(folder)
    predictions = with_sets(predict_records(Predictor(folder), builder, index, rows), card.calibration)
    compared = predict_baselines(builder, seen, data=data, split=split, names=baselines) if baselines else {}
    evaluation = evaluate(predictions)
    baseline_evaluations = {name: evaluate(item) for name, item in compared.items()}
    summary = SplitSummary(split, data.split_by, data.split_seed, data.fractions, counts)
    with explain_disk(out, "give another folder"):
        out.mkdir(parents=True, exist_ok=True)
        write_metrics(out / "metrics.json", evaluation, baselines=baseline_evaluations, split=summary)
        formulas = read_formulas(builder)
        write_predictions(out / PREDICTIONS, predictions, baselines=compared, formulas=formulas)
        save_figures(out / "plots", predictions, evaluation, split=split)
        content = ReportContent(
            model=(folder if run is None else run.path).resolve().name,
            facts=describe_evaluation(folder, card, data_name=builder.info.full_name, fingerprint=index.fingerprint()),
            split=summary,
            predictions=predictions,
            volumes=index.volumes[rows],
            formulas=formulas,
            baselines=compared,
            evaluation=evaluation,
            baseline_evaluations=baseline_evaluations,
            calibration=card.calibration,
            histories=() if run is None else histories_of(run),
        )
        write_report(out / REPORT, content)
    print(format_report(evaluation, baselines=baseline_evaluations, split=summary), end="", flush=True)
    log.info("evaluated %d %s records in %.0f s; see %s", len(rows), split, time.monotonic() - started, out / REPORT)
    return evaluation


def predict_records(predictor: Predictor, builder: Any, index: Index, rows: np.ndarray) -> Predictions:
    """Predictions for stored records, with their labels; one call of the model per record.

    They have prediction intervals and novelty if the model gives them.

    Args:
        predictor: the model.
        builder: built TFDS data set.
        index: labels, ids and groups of its records.
        rows: record numbers (n,).
    """
    answers = [predictor.predict(decode_record(record)) for record in records_at(builder, rows)]
    bounded = [item.name for item in index.properties if answers and item.name in answers[0].lower]
    novelty = np.array([answer.novelty for answer in answers], np.float64)
    return Predictions(
        properties=index.properties,
        ids=tuple(index.ids[rows].tolist()),
        labels={item.name: index.labels[rows, column] for column, item in enumerate(index.properties)},
        values={
            item.name: np.array([answer.values[item.name] for answer in answers], np.float64).reshape(
                (len(rows), item.classes) if item.kind == "multiclass" else len(rows)
            )
            for item in index.properties
        },
        lower={name: np.array([answer.lower[name] for answer in answers], np.float64) for name in bounded},
        upper={name: np.array([answer.upper[name] for answer in answers], np.float64) for name in bounded},
        novelty=None if np.isnan(novelty).any() else novelty,
        groups=tuple(index.groups[rows].tolist()),
    )


def describe_evaluation(folder: Path, card: Card, *, data_name: str, fingerprint: str) -> dict[str, str]:
    """Facts for the report by name: origin of the model, data that it is scored on, time and command; "" if unknown.

    Args:
        folder: model folder.
        card: model card.
        data_name: name of the data set that is scored.
        fingerprint: of that data set.
    """
    model, data = card.content["model"], card.content["data"]
    about = data.get("about", {})
    theory = (about.get(name, "") for name in ("functional", "code", "density"))
    trained_on = f"{data['name']}, fingerprint {data['fingerprint']}"
    scored = f"{data_name}, fingerprint {fingerprint}"
    return {
        "Model": str(folder),
        "Trained": _readable(datetime.fromisoformat(model["trained"])),
        "Trained by": model["command"],
        "Trained with": _version(model["rhonet"], model["commit"]),
        "Trained on": "" if scored == trained_on else trained_on,
        "Data": scored,
        "Training data": ", ".join(fact for fact in theory if fact),
        "Evaluated": _readable(datetime.now(UTC)),
        "Evaluated by": command_line(),
        "Evaluated with": _version(__version__, git_commit()),
    }


def histories_of(run: Run) -> list[list[dict[str, Any]]]:
    """Epochs of each network of a run that has trained at least one epoch, as history.jsonl holds them.

    Raises:
        RunError: a file is damaged.
    """
    return [epochs for member in members_of(run, run.config()) if (epochs := member.run.history())]


def _readable(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _version(version: str, commit: str) -> str:
    return f"rhonet {version}, commit {commit}" if commit else f"rhonet {version}"
