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
    """What a study reports beside its comparison: Markdown, and values for the JSON file by name."""

    text: str
    found: dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "study",
        "Compare variants of a configuration on identical splits, several seeds each.\n\n"
        + "\n".join(f"  {name:15s} {study.question}" for name, study in STUDIES.items())
        + "\n\nEach seed trains on all folds but one of the records outside the test split and predicts that fold, so\n"
        "every crystal is predicted once per round of folds and the test split stays unseen; for splits, each seed\n"
        "holds out a fifth of all records instead. The variants and their paired differences to the first go to\n"
        "OUT/study.md and study.json, with what the study asks beside; tasks draws OUT/tasks.png. An interrupted\n"
        "study goes on where it stopped when the command is repeated.",
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
    # Before hours of training: what is there must be of the same data.
    for trial in itertools.chain(*trials.values()):
        if trial.is_done:
            read_result(trial, source=source)
    # Seed by seed, so that an interrupted study has something to say about every variant.
    run_trials(
        [trials[name][seed] for seed in range(arguments.seeds) for name in trials],
        workers=arguments.workers,
        source=source,
    )
    results = {name: [read_result(trial, source=source) for trial in ours] for name, ours in trials.items()}
    sections = [_audit(config, source)] if study.audits_leaks else []
    sections += [_describe_tasks(groups, results, out)] if groups else []
    sections += [_read_on(results)] if study.reads_on and len(results) > 1 else []
    sections += [_cover(config, source, next(iter(results.values()))[:folds])] if study.covers else []
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
    """Builds the data set once, before the workers ask for it at the same time; its fingerprint."""
    start_tensorflow()
    from rhonet.data.builds import open_or_build

    return open_or_build(config.data).info.metadata["fingerprint"]  # pyright: ignore[reportOptionalSubscript]


def _audit(config: Config, source: str) -> _Section:
    from rhonet.experiments.leaks import format_audit, read_audit
    from rhonet.experiments.train_model import open_data

    audit = read_audit(*open_data(config, source=source))
    return _Section(format_audit(audit), {"leaks": audit.to_dict()})


def _group_tasks(config: Config) -> TaskGroups:
    """Groups by the labels of all records that train in some fold; no label of the test split counts."""
    start_tensorflow()
    from rhonet.experiments.task_groups import find_groups
    from rhonet.experiments.train_model import open_data

    _, index = open_data(config)
    rows = np.concatenate([index.rows("train"), index.rows("validation")])
    groups = find_groups(index.properties, index.labels[rows], index.volumes[rows])
    log.info("groups of targets: %s", "; ".join(", ".join(group) for group in groups.groups))
    return groups


def _describe_tasks(groups: TaskGroups, results: dict[str, list[Result]], out: Path) -> _Section:
    """How alike the targets are, with its figure, and what more of them in one training gain."""
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


def _read_on(results: dict[str, list[Result]]) -> _Section:
    """Where the learning curve leads."""
    from rhonet.experiments.learning_curve import fit_learning_curves, format_learning_curves

    found = fit_learning_curves(results)
    return _Section(
        f"## With more data\n\n{format_learning_curves(found)}", {"growth": [one.to_dict() for one in found]}
    )


def _cover(config: Config, source: str, results: Sequence[Result]) -> _Section:
    """How often intervals hold the truth and how far probabilities can be believed, over one round of folds."""
    from rhonet.experiments.fold_coverage import (
        format_fold_coverage,
        format_fold_probabilities,
        measure_fold_coverage,
        measure_fold_probabilities,
    )
    from rhonet.experiments.train_model import open_data

    _, index = open_data(config, source=source)
    volumes = dict(zip(index.ids, index.volumes.tolist(), strict=True))
    found = measure_fold_coverage([result.predictions for result in results], volumes)
    classes = measure_fold_probabilities([result.predictions for result in results])
    text = f"## Coverage\n\n{format_fold_coverage(found)}"
    if classes:
        text += f"\n## Probabilities\n\n{format_fold_probabilities(classes)}"
    values = {"coverage": found, "probabilities": classes}
    return _Section(text, {name: [one.to_dict() for one in many] for name, many in values.items()})


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
    commits = sorted({one.commit or "unknown" for ours in results.values() for one in ours})
    trained = f"trained at commit {', '.join(commits)}"
    head = f"`{command}`, {trained}, {comparisons[0].evaluation.n} predictions per variant\n\n"
    text = head + format_comparison(comparisons)
    if paired and len(comparisons) > 1:
        text += f"\nPaired differences to {comparisons[0].name}:\n\n" + format_differences(comparisons)
    text += "".join(f"\n{section.text}" for section in sections)
    found = {
        "command": command,
        "commit": git_commit(),
        "trained_at": commits,
        "variants": [one.to_dict() for one in comparisons],
    }
    for section in sections:
        found |= section.found
    with explain_disk(out, "give another --out"):
        write_text(out / TABLE_FILE, text)
        write_text(out / RESULT_FILE, json.dumps(found, indent=1, default=str) + "\n")
    print(text, end="")


if __name__ == "__main__":
    run_command(main, build_parser())
