"""Labels of a folder: coverage, ranges, splits, what stands out, and declarations for columns of one's own."""

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
# With fewer, something else may have to be held out.
_FEW_SYSTEMS = 10
_SEEDS_TO_TRY = 1000
_MOST_CLASSES = 20
_WIDE_RANGE = 100.0
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_WORDS_FOR_BITS = {"true", "false", "yes", "no", "t", "f", "y", "n"}


@dataclass(frozen=True)
class LabelSummary:
    """Labels of one property over the rows whose density can be used.

    name, unit, kind, transform: of the property.
    known, missing: rows with and without a label.
    least, median, most: of the labels; NaN without any.
    splits: how many labels the default split puts into each part.
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
    """One summary per property; unusable densities and their labels are left out, as in training."""
    usable = [one for one in facts if not one.error]
    splits = {one.id: default_split(one) for one in usable}
    summaries = []
    for declared in properties:
        labels = {one.id: samples[one.id].labels[declared.name] for one in usable}
        known = {name: label for name, label in labels.items() if not math.isnan(label)}
        values = np.array(list(known.values()) or [math.nan])
        volumes = np.array([one.volume for one in usable if one.id in known])
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


def default_split(one: DensityFacts, *, seed: int | None = None) -> str:
    """Part that a density falls into with the default settings, or with another seed."""
    defaults = DataConfig()
    assert defaults.split_by == "chemical_system"
    seed = defaults.split_seed if seed is None else seed
    return assign_split(one.chemical_system, fractions=defaults.fractions, seed=seed)


def check_labels(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], summaries: Sequence[LabelSummary]
) -> Iterator[Finding]:
    """Properties that cannot be learned or scored, and labels that stand out or contradict each other."""
    for one in summaries:
        name = one.name
        if one.known and one.least == one.most:
            yield Finding(WARNING, "constant labels", f"{name} is {one.least:g} everywhere: nothing can be learned")
        if one.outliers:
            cases = some_of([f"{samples[key].labels[name]:.5g} ({key})" for key in one.outliers])
            text = f"{name} is far from the other labels (median {one.median:.4g}): {cases}; a slip or another unit?"
            yield Finding(NOTE, "outliers", text, one.outliers)
    few = [f"{one.name} ({one.known})" for one in summaries if 0 < one.known < FEW_LABELS]
    if few:
        text = f"fewer than {FEW_LABELS} labels, so expect large errors and wide intervals: {', '.join(few)}"
        yield Finding(NOTE, "few labels", text)
    yield from _check_splits(samples, facts, summaries)
    if {"is_metal", "band_gap"} <= {one.name for one in summaries}:
        yield from _check_metals(samples)


def suggest_declarations(undeclared: Mapping[str, Sequence[str]], bookkeeping: Sequence[str] = ()) -> str:
    """Lines for dataset.toml that declare the columns rhonet does not know, guessed from their cells; "" for none.

    Args:
        undeclared: cells of each column, by its name.
        bookkeeping: what dataset.toml lists as bookkeeping already.
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
    """Ids of labels whose robust z-score, on the scale that is learned, is above `OUTLIER_SCORE`."""
    if declared.is_class or len(known) < _FEWEST_TO_COMPARE:
        return ()
    values = learned_scale(declared, np.array(list(known.values())), volumes)
    common, counts = np.unique(values, return_counts=True)
    # Many band gaps and moments are exactly 0: the others are compared among themselves.
    often = common[counts > max(2, _SHARE_OF_ONE_VALUE * len(values))]
    typical = values[~np.isin(values, often)]
    if len(typical) < _FEWEST_TO_COMPARE:
        return ()
    distances = abs(values - np.median(typical))
    spread = 1.4826 * np.median(abs(typical - np.median(typical)))
    names = list(known)
    far = [at for at in np.argsort(-distances) if distances[at] > OUTLIER_SCORE * spread > 0]
    return tuple(names[at] for at in far if values[at] in typical)


def _check_splits(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], summaries: Sequence[LabelSummary]
) -> Iterator[Finding]:
    views = sum(default_split(one) == "train" for one in facts if not one.error) * TrainConfig().views_per_epoch
    if 0 < views < TrainConfig().batch_size:
        text = (
            f"too few training records for a batch of {TrainConfig().batch_size}; train with --set train.batch_size=2"
        )
        yield Finding(ERROR, "splits", text)
    labelled = [one for one in summaries if one.known]
    untrained = [one.name for one in labelled if not one.splits["train"]]
    unscored = {split: [one.name for one in labelled if not one.splits[split]] for split in SPLITS[1:]}
    if not untrained and not any(unscored.values()):
        return
    seed = _better_seed(samples, facts, [one.name for one in labelled])
    remedy = f"; train with --set data.split_seed={seed}, which gives every part some"
    if seed is None:
        n_systems = len({one.chemical_system for one in facts if not one.error})
        remedy = "; label crystals of more chemical systems"
        if n_systems < _FEW_SYSTEMS:
            remedy = (
                f"; {counted(n_systems, 'chemical system')} cannot give every part some: label more, or train with "
                "--set data.split_by=formula, prototype or id, whose scores flatter: relatives of test crystals train"
            )
    if untrained:
        rest = ",".join(one.name for one in labelled if one.splits["train"])
        leave_out = f" (or --set data.properties={rest})" if rest else ""
        text = f"no label in the training split: {', '.join(untrained)}; training would stop{remedy}{leave_out}"
        yield Finding(ERROR, "splits", text)
    for split, names in unscored.items():
        if names:
            # Without any there are no scores, or neither intervals nor novelty, and no other seed helps.
            level = WARNING if len(names) == len(labelled) and seed is None else NOTE
            yield Finding(level, "splits", f"no label in the {split} split: {', '.join(names)}{remedy}")


def _better_seed(samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[str]) -> int | None:
    """First seed of the split with labels of every property in every part, if there is one."""
    usable = [one for one in facts if not one.error]
    groups = {one.chemical_system: one for one in usable}
    has = {
        name: {one.chemical_system for one in usable if not math.isnan(samples[one.id].labels[name])}
        for name in properties
    }
    if any(len(labelled) < len(SPLITS) for labelled in has.values()):
        return None
    for seed in range(_SEEDS_TO_TRY):
        parts = {group: default_split(one, seed=seed) for group, one in groups.items()}
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
    """Table [properties.NAME] with kind and transform guessed from the numbers, if there are any.

    Args:
        name, column: of the property, and as the table spells it.
        numbers: cells that are plain numbers.
        is_amount: are the others numbers too, with units, rather than yes and no?
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
