"""Command: compare representations, networks, tasks, splits or training sets, with intervals."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rhonet.cli.command import OK, new_parser, run_command
from rhonet.core.config import DEFAULT_CONFIG, Config, load_config
from rhonet.core.errors import CallError
from rhonet.core.files import explain_disk, write_text
from rhonet.core.provenance import git_commit
from rhonet.core.startup import start_tensorflow
from rhonet.experiments.studies import STUDIES

if TYPE_CHECKING:
    from rhonet.experiments.task_groups import TaskGroups
    from rhonet.experiments.trials import Result

log = logging.getLogger("rhonet.study")

TABLE_FILE, RESULT_FILE, GROUPS_FILE = "study.md", "study.json", "tasks.png"


@dataclass(frozen=True)
class _Section:
    """A part of a study's report beside its comparison.

    Attributes:
        text: Markdown.
        values: for the JSON file, by name.
    """

    text: str
    values: dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "study",
        "Compare variants of a configuration on identical splits, several seeds each.\n\n"
        + "\n".join(f"  {name:15s} {study.question}" for name, study in STUDIES.items())
        + "\n\nThe records outside the test split are divided into folds. Each seed trains on all folds but one and\n"
        "predicts that fold, so every crystal is predicted once per round of folds; the test split stays unseen.\n"
        "The study splits is different: each seed holds out a fifth of all records. Scores of the variants and their\n"
        "paired differences to the first variant go to OUT/study.md and study.json; tasks also draws OUT/tasks.png.\n"
        "To continue an interrupted study, repeat the command.",
        "python -m rhonet.study views --seeds 3 --only as-configured,paper,cell\n"
        "  python -m rhonet.study tasks --seeds 5\n"
        "  python -m rhonet.study leaks --only grid_gb        (no network: seconds)",
    )
    parser.add_argument("study", choices=STUDIES, help="what to compare")
    parser.add_argument("--config", default=DEFAULT_CONFIG, metavar="NAME|FILE", help="default: %(default)s")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="your folder (default: bundled crystals)")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="SECTION.KEY=VALUE", help="change one setting"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings per variant (default: %(default)s)")
    parser.add_argument(
        "--folds",
        type=int,
        help="parts of the records (default: as many as seeds; with fewer, each crystal is predicted several times)",
    )
    parser.add_argument("--only", metavar="NAME,...", help="these variants only")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="trainings side by side, one core each"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the study (default: runs/study-NAME)")
    return parser


def main(arguments: argparse.Namespace) -> int:
    study = STUDIES[arguments.study]
    config = load_config(arguments.config, arguments.overrides).with_folder(arguments.data)
    folds = (arguments.folds or arguments.seeds) if study.in_folds else 0
    if arguments.workers < 1 or arguments.seeds < 2 or (folds and (folds < 2 or arguments.seeds % folds)):
        raise CallError(
            f"--seeds {arguments.seeds} with --folds {folds} and --workers {arguments.workers}: at least two seeds, as "
            "many as folds or a multiple of that, and one worker"
        )
    from rhonet.experiments.trials import changed_config, plan_trial, read_result, run_trials

    groups = _group_tasks(config) if study.groups_tasks else None
    variants = study.variants(config, groups) if groups else study.variants(config)
    out = arguments.out or Path("runs") / f"study-{arguments.study}"
    trials = {
        variant.name: [
            plan_trial(
                out,
                variant.name,
                config=changed_config(config, variant.changes),
                seed=seed,
                folds=folds,
                baseline=variant.baseline,
            )
            for seed in range(arguments.seeds)
        ]
        for variant in _chosen(variants, arguments.only)
    }
    source = _build_data(config)
    # Checked before hours of training: earlier trials must have seen the same data.
    for trial in itertools.chain(*trials.values()):
        if trial.is_done:
            read_result(trial, source=source)
    # Seed by seed, so that an interrupted study has results of every variant.
    run_trials(
        [trials[name][seed] for seed in range(arguments.seeds) for name in trials],
        workers=arguments.workers,
        source=source,
    )
    results = {name: [read_result(trial, source=source) for trial in planned] for name, planned in trials.items()}
    sections = [_audit(config, source)] if study.audits_leaks else []
    sections += [_describe_tasks(groups, results, out)] if groups else []
    sections += [_fit_curves(results)] if study.fits_learning_curve and len(results) > 1 else []
    if study.measures_coverage:
        sections.append(_measure_coverage(config, source, next(iter(results.values()))[:folds]))
    _report(arguments, out, results, paired=study.in_folds, sections=sections)
    return OK


def _chosen(variants: tuple, only: str | None) -> tuple:
    if only is None:
        return variants
    by_name = {variant.name: variant for variant in variants}
    wanted = [name.strip() for name in only.split(",")]
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise CallError(f"--only: there is no variant {unknown[0]!r}; there are {', '.join(by_name)}")
    return tuple(by_name[name] for name in wanted)


def _build_data(config: Config) -> str:
    """Builds the data set once, before several workers need it, and returns its fingerprint."""
    start_tensorflow()
    from rhonet.data.builds import open_or_build

    return open_or_build(config.data).info.metadata["fingerprint"]  # pyright: ignore[reportOptionalSubscript]


def _audit(config: Config, source: str) -> _Section:
    from rhonet.experiments.leaks import format_audit, read_audit
    from rhonet.experiments.train_model import open_data

    audit = read_audit(*open_data(config, source=source))
    return _Section(format_audit(audit), {"leaks": audit.to_dict()})


def _group_tasks(config: Config) -> TaskGroups:
    """Groups of targets by their labels outside the test split."""
    start_tensorflow()
    from rhonet.experiments.task_groups import find_groups
    from rhonet.experiments.train_model import open_data

    _, index = open_data(config)
    rows = np.concatenate([index.rows("train"), index.rows("validation")])
    groups = find_groups(index.properties, index.labels[rows], index.volumes[rows])
    log.info("groups of targets: %s", "; ".join(", ".join(group) for group in groups.groups))
    return groups


def _describe_tasks(groups: TaskGroups, results: dict[str, list[Result]], out: Path) -> _Section:
    """Similarities of the targets, with a figure, and gains of training several targets together."""
    from rhonet.experiments.task_gain import format_gains, measure_gains
    from rhonet.experiments.task_groups import format_groups, groups_figure
    from rhonet.reports.plots.parity import save_figure

    gains = measure_gains(results, groups)
    with explain_disk(out, "give another --out"):
        save_figure(groups_figure(groups), out / GROUPS_FILE)
    text = (
        f"## How alike the targets are\n\n{format_groups(groups)}\n![Dendrogram of the targets]({GROUPS_FILE})\n\n"
        f"## Does the claim hold?\n\n{format_gains(gains)}"
    )
    return _Section(text, {"groups": groups.to_dict(), "gains": [gain.to_dict() for gain in gains]})


def _fit_curves(results: dict[str, list[Result]]) -> _Section:
    """Fitted learning curves, extrapolated to more data."""
    from rhonet.experiments.learning_curve import fit_learning_curves, format_learning_curves

    curves = fit_learning_curves(results)
    return _Section(
        f"## With more data\n\n{format_learning_curves(curves)}",
        {"learning_curves": [curve.to_dict() for curve in curves]},
    )


def _measure_coverage(config: Config, source: str, results: Sequence[Result]) -> _Section:
    """Coverage of prediction intervals and log loss of probabilities over one round of folds."""
    from rhonet.experiments.fold_coverage import (
        format_fold_coverage,
        format_fold_probabilities,
        measure_fold_coverage,
        measure_fold_probabilities,
    )
    from rhonet.experiments.train_model import open_data

    _, index = open_data(config, source=source)
    volumes = dict(zip(index.ids, index.volumes.tolist(), strict=True))
    coverages = measure_fold_coverage([result.predictions for result in results], volumes)
    probabilities = measure_fold_probabilities([result.predictions for result in results])
    text = f"## Coverage\n\n{format_fold_coverage(coverages)}"
    if probabilities:
        text += f"\n## Probabilities\n\n{format_fold_probabilities(probabilities)}"
    values = {
        "coverage": [item.to_dict() for item in coverages],
        "probabilities": [item.to_dict() for item in probabilities],
    }
    return _Section(text, values)


def _report(
    arguments: argparse.Namespace,
    out: Path,
    results: dict[str, list[Result]],
    *,
    paired: bool,
    sections: Sequence[_Section],
) -> None:
    from rhonet.experiments.comparison import compare, format_comparison, format_differences

    comparisons = compare(results, paired=paired)
    command = shlex.join(["python", "-m", "rhonet.study", *sys.argv[1:]])
    commits = sorted({result.commit or "unknown" for trials in results.values() for result in trials})
    trained = f"trained at commit {', '.join(commits)}"
    head = f"`{command}`, {trained}, {comparisons[0].evaluation.n} predictions per variant\n\n"
    text = head + format_comparison(comparisons)
    if paired and len(comparisons) > 1:
        text += f"\nPaired differences to {comparisons[0].name}:\n\n" + format_differences(comparisons)
    text += "".join(f"\n{section.text}" for section in sections)
    values = {
        "command": command,
        "commit": git_commit(),
        "trained_at": commits,
        "variants": [comparison.to_dict() for comparison in comparisons],
    }
    for section in sections:
        values |= section.values
    with explain_disk(out, "give another --out"):
        write_text(out / TABLE_FILE, text)
        write_text(out / RESULT_FILE, json.dumps(values, indent=1, default=str) + "\n")
    print(text, end="")


if __name__ == "__main__":
    run_command(main, build_parser())
