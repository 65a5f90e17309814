"""Checks of the labels of a folder (ranges, splits, outliers), and suggested declarations of unknown columns."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.core.config import DataConfig, TrainConfig
from rhonet.core.properties import PROPERTIES, Property
from rhonet.core.standardize import learned_scale
from rhonet.core.text import counted
from rhonet.data.checks.facts import DensityFacts
from rhonet.data.checks.finding import ERROR, NOTE, WARNING, Finding, some_of
from rhonet.data.folder import Sample
from rhonet.data.properties_csv import are_numbers, is_missing_word, plain_name
from rhonet.data.splits import SPLITS, assign_split

FEW_LABELS = 100
OUTLIER_SCORE = 8.0
GAP_OF_A_METAL = 0.05
_FEWEST_TO_COMPARE = 5
_SHARE_OF_ONE_VALUE = 0.2
# With fewer chemical systems, a split by another group is suggested.
_FEW_SYSTEMS = 10
_SEEDS_TO_TRY = 1000
_MOST_CLASSES = 20
_WIDE_RANGE = 100.0
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_WORDS_FOR_BITS = {"true", "false", "yes", "no", "t", "f", "y", "n"}


@dataclass(frozen=True)
class LabelSummary:
    """Labels of one property over the rows whose density can be used.

    Attributes:
        name: of the property.
        unit: of the property.
        kind: of the property.
        transform: of the property.
        known: number of rows with a label.
        missing: number of rows without a label.
        least: lowest label, NaN without any (as for the next two).
        median: of the labels.
        most: highest label.
        splits: number of labels in each part of the default split.
        outliers: ids of labels far from the others, the farthest first.
    """

    name: str
    unit: str
    kind: str
    transform: str
    known: int
    missing: int
    least: float
    median: float
    most: float
    splits: Mapping[str, int]
    outliers: tuple[str, ...]


def summarise_labels(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[Property]
) -> tuple[LabelSummary, ...]:
    """One summary per property; unusable densities and their labels are left out, as in training.

    Args:
        samples: rows of the table, by id.
        facts: one per row.
        properties: of the table.
    """
    usable = [density for density in facts if not density.error]
    splits = {density.id: default_split(density) for density in usable}
    summaries = []
    for declared in properties:
        labels = {density.id: samples[density.id].labels[declared.name] for density in usable}
        known = {name: label for name, label in labels.items() if not math.isnan(label)}
        values = np.array(list(known.values()) or [math.nan])
        volumes = np.array([density.volume for density in usable if density.id in known])
        counts = Counter(splits[name] for name in known)
        summaries.append(
            LabelSummary(
                declared.name,
                declared.unit,
                declared.kind,
                declared.transform,
                len(known),
                len(usable) - len(known),
                float(values.min()),
                float(np.median(values)),
                float(values.max()),
                {split: counts[split] for split in SPLITS},
                _outliers(declared, known, volumes),
            )
        )
    return tuple(summaries)


def default_split(density: DensityFacts, *, seed: int | None = None) -> str:
    """Split of a density with the default settings, or with another seed."""
    defaults = DataConfig()
    assert defaults.split_by == "chemical_system"
    seed = defaults.split_seed if seed is None else seed
    return assign_split(density.chemical_system, fractions=defaults.fractions, seed=seed)


def check_labels(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], summaries: Sequence[LabelSummary]
) -> Iterator[Finding]:
    """Finds properties that cannot be learned or scored, outliers, and labels that contradict each other.

    Args:
        samples: rows of the table, by id.
        facts: one per row.
        summaries: from `summarise_labels`.
    """
    for summary in summaries:
        name = summary.name
        if summary.known and summary.least == summary.most:
            yield Finding(WARNING, "constant labels", f"{name} is {summary.least:g} everywhere: nothing can be learned")
        if summary.outliers:
            cases = some_of([f"{samples[key].labels[name]:.5g} ({key})" for key in summary.outliers])
            usual = f"the other labels (median {summary.median:.4g})"
            text = f"{name} is far from {usual}: {cases}; a typing error or another unit?"
            yield Finding(NOTE, "outliers", text, summary.outliers)
    few = [f"{summary.name} ({summary.known})" for summary in summaries if 0 < summary.known < FEW_LABELS]
    if few:
        text = f"fewer than {FEW_LABELS} labels, so expect large errors and wide intervals: {', '.join(few)}"
        yield Finding(NOTE, "few labels", text)
    yield from _check_splits(samples, facts, summaries)
    if {"is_metal", "band_gap"} <= {summary.name for summary in summaries}:
        yield from _check_metals(samples)


def suggest_declarations(undeclared: Mapping[str, Sequence[str]], bookkeeping: Sequence[str] = ()) -> str:
    """Lines for dataset.toml that declare unknown columns, guessed from their cells; "" where there are none.

    Args:
        undeclared: cells of each unknown column, by its name.
        bookkeeping: columns that dataset.toml lists as bookkeeping already.
    """
    texts, tables = list(bookkeeping), []
    for column, cells in undeclared.items():
        known = [cell for cell in cells if cell and not is_missing_word(cell)]
        name = column if column.isidentifier() else plain_name(column)
        if PROPERTIES.get(plain_name(column)) or not name.isidentifier() or not known:
            continue
        numbers = [cell for cell in known if _NUMBER.fullmatch(cell)]
        if are_numbers(known) or {cell.lower() for cell in known} <= _WORDS_FOR_BITS:
            tables.append(_declaration(name, column, numbers, is_amount=are_numbers(known)))
        else:
            texts.append(name)
    lines = []
    if len(texts) > len(bookkeeping):
        lines = ["# above the first [table]: columns that are no properties", f"bookkeeping = {json.dumps(texts)}", ""]
    return "\n".join([*lines, "\n".join(tables)]).strip() + "\n" if lines or tables else ""


def _outliers(declared: Property, known: Mapping[str, float], volumes: np.ndarray) -> tuple[str, ...]:
    """Ids of labels whose robust z-score on the learned scale is above `OUTLIER_SCORE`."""
    if declared.is_class or len(known) < _FEWEST_TO_COMPARE:
        return ()
    values = learned_scale(declared, np.array(list(known.values())), volumes)
    common, counts = np.unique(values, return_counts=True)
    # Many band gaps and moments are exactly 0: only the other values are compared.
    frequent = common[counts > max(2, _SHARE_OF_ONE_VALUE * len(values))]
    typical = values[~np.isin(values, frequent)]
    if len(typical) < _FEWEST_TO_COMPARE:
        return ()
    distances = abs(values - np.median(typical))
    spread = 1.4826 * np.median(abs(typical - np.median(typical)))
    names = list(known)
    far = [row for row in np.argsort(-distances) if distances[row] > OUTLIER_SCORE * spread > 0]
    return tuple(names[row] for row in far if values[row] in typical)


def _check_splits(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], summaries: Sequence[LabelSummary]
) -> Iterator[Finding]:
    views = (
        sum(default_split(density) == "train" for density in facts if not density.error) * TrainConfig().views_per_epoch
    )
    if 0 < views < TrainConfig().batch_size:
        text = (
            f"too few training records for a batch of {TrainConfig().batch_size}; train with --set train.batch_size=2"
        )
        yield Finding(ERROR, "splits", text)
    labelled = [summary for summary in summaries if summary.known]
    untrained = [summary.name for summary in labelled if not summary.splits["train"]]
    unscored = {split: [summary.name for summary in labelled if not summary.splits[split]] for split in SPLITS[1:]}
    if not untrained and not any(unscored.values()):
        return
    seed = _better_seed(samples, facts, [summary.name for summary in labelled])
    remedy = f"; train with --set data.split_seed={seed}, which gives every part some"
    if seed is None:
        n_systems = len({density.chemical_system for density in facts if not density.error})
        remedy = "; label crystals of more chemical systems"
        if n_systems < _FEW_SYSTEMS:
            remedy = (
                f"; {counted(n_systems, 'chemical system')} cannot give every part some: label more, or train with "
                "--set data.split_by=formula, prototype or id, whose scores are optimistic (relatives of test crystals "
                "train)"
            )
    if untrained:
        rest = ",".join(summary.name for summary in labelled if summary.splits["train"])
        leave_out = f" (or --set data.properties={rest})" if rest else ""
        text = f"no label in the training split: {', '.join(untrained)}; training would stop{remedy}{leave_out}"
        yield Finding(ERROR, "splits", text)
    for split, names in unscored.items():
        if names:
            # Without test labels there are no scores, without validation labels neither intervals nor novelty.
            level = WARNING if len(names) == len(labelled) and seed is None else NOTE
            yield Finding(level, "splits", f"no label in the {split} split: {', '.join(names)}{remedy}")


def _better_seed(samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[str]) -> int | None:
    """First seed of the split that gives every part labels of every property, None if none is found."""
    usable = [density for density in facts if not density.error]
    groups = {density.chemical_system: density for density in usable}
    has = {
        name: {density.chemical_system for density in usable if not math.isnan(samples[density.id].labels[name])}
        for name in properties
    }
    if any(len(labelled) < len(SPLITS) for labelled in has.values()):
        return None
    for seed in range(_SEEDS_TO_TRY):
        parts = {group: default_split(density, seed=seed) for group, density in groups.items()}
        if all(len({parts[group] for group in labelled}) == len(SPLITS) for labelled in has.values()):
            return seed
    return None


def _check_metals(samples: Mapping[str, Sample]) -> Iterator[Finding]:
    pairs = {name: (sample.labels["is_metal"], sample.labels["band_gap"]) for name, sample in samples.items()}
    gapped = tuple(name for name, (metal, gap) in pairs.items() if metal == 1 and gap > GAP_OF_A_METAL)
    gapless = tuple(name for name, (metal, gap) in pairs.items() if metal == 0 and gap <= 0)
    if gapped:
        cases = some_of([f"{name} ({pairs[name][1]:g} eV)" for name in gapped])
        yield Finding(WARNING, "labels against each other", f"is_metal is 1, but there is a band gap: {cases}", gapped)
    if gapless:
        text = f"is_metal is 0, but band_gap is 0: {some_of(gapless)}"
        yield Finding(WARNING, "labels against each other", text, gapless)


def _declaration(name: str, column: str, numbers: Sequence[str], *, is_amount: bool) -> str:
    """Table [properties.NAME] with kind and transform guessed from the cells.

    Args:
        name: of the property.
        column: its name in the table.
        numbers: cells that are plain numbers.
        is_amount: are the other cells numbers with units, rather than yes and no?
    """
    lines = [f"[properties.{name}]"]
    values = np.array([float(cell.replace(",", ".")) for cell in numbers])
    distinct = set(values.tolist())
    whole = bool(len(values) and (values == np.round(values)).all() and (values >= 0).all())
    if not numbers and is_amount:
        lines += ['unit = ""   # fill in', 'kind = "regression"']
    elif not numbers:
        lines.append('kind = "binary"   # write 1 for yes and 0 for no')
    elif distinct <= {0.0, 1.0}:
        lines.append('kind = "binary"')
    elif whole and values.max() < _MOST_CLASSES and len(values) >= 2 * len(distinct):
        lines.append(f'kind = "multiclass"   # or "regression", if these {len(distinct)} numbers are amounts')
        lines.append(f"classes = {int(values.max()) + 1}")
    else:
        unit = re.search(r"[\[(/]\s*([^\])]*)", column)
        lines.append(f'unit = "{unit[1].strip()}"' if unit else 'unit = ""   # fill in')
        lines.append('kind = "regression"')
        if values.min() > 0 and values.max() >= _WIDE_RANGE * values.min():
            lines.append('transform = "log"   # spans orders of magnitude')
    return "\n".join([*lines, ""])
