#!/usr/bin/env python3
"""How often crystals are flagged as novel: ordinary crystals, new elements, other codes and damaged densities.

    python tools/novelty_power.py --densities ../shared/densities/manifest.csv --out novelty.md

Novelty depends only on the training crystals, so no network is trained. The bundled crystals are divided into five
parts by chemical system. Each part is scored as an ensemble of five networks would score it that was trained on the
other four parts. New elements are held out of the training set as `data.split_by = "element"` does it. The damages are
applied to half of the chemical systems; the other half, and other kinds of damage, were used to choose the novelty
score. Densities of other codes come from a manifest (columns file, group, format, odd_features) and are scored against
all bundled crystals. Takes two minutes.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import logging
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rhonet.core.config import Config, ViewConfig, load_config
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.core.provenance import git_commit
from rhonet.core.startup import start_tensorflow
from rhonet.core.text import markdown_table
from rhonet.data.splits import assign_by_element, assign_fold, position
from rhonet.evaluation.bootstrap import Metric, share_of
from rhonet.evaluation.scores import auc
from rhonet.formats import read_density
from rhonet.uncertainty.calibration import NOVEL_SHARE, conformal_quantile
from rhonet.uncertainty.training_peaks import TrainingPeaks
from tools.field_damage import DAMAGES, HARMLESS, Damage

log = logging.getLogger("rhonet.novelty_power")

PARTS = 5
# Splits by element; seeds 0 to 5 were used to choose the score.
ELEMENT_SEEDS = range(10, 16)
ELEMENT_FRACTIONS = (0.8, 0.0, 0.2)
# Chemical systems whose position under this name is in the lower half were used to choose the score.
CHOICE = "novdev"
MANIFEST_COLUMNS = ("file", "group", "format", "odd_features")
# Files of a manifest that hold no electron density of a crystal, by their odd_features.
NONSENSE = r"synthetic|meaningless|integral_not_valence_count|same_field_as|cube_precise|zero_padded"


@dataclass(frozen=True)
class Crystal:
    """One bundled crystal.

    Attributes:
        system: chemical system, such as "Cl-Na".
        density: without magnetization.
    """

    system: str
    density: ChargeDensity


@dataclass(frozen=True, eq=False)
class Flag:
    """Novelty score of an ensemble; crystals above 1 are flagged.

    Attributes:
        members: training peaks of its networks.
        scale: distance that has the novelty 1.
    """

    members: tuple[TrainingPeaks, ...]
    scale: float

    @classmethod
    def fit(cls, peaks: Sequence[np.ndarray], systems: Sequence[str]) -> Flag:
        """Score calibrated as for a trained ensemble: with the member that left the crystal's fold out.

        Args:
            peaks: of the training crystals, (peaks, widths) each.
            systems: their chemical systems.
        """
        from rhonet.uncertainty.novelty import distances_of

        folds = np.array([assign_fold(system, folds=PARTS) for system in systems])
        members, distances = [], []
        for fold in range(PARTS):
            member = TrainingPeaks.fit(_chosen(peaks, folds != fold))
            members.append(member)
            distances.append(distances_of(member, _chosen(peaks, folds == fold)))
        return cls(tuple(members), conformal_quantile(np.concatenate(distances), 1 - NOVEL_SHARE))

    def novelty(self, peaks: Sequence[np.ndarray]) -> np.ndarray:
        """Novelties (n,) of n densities."""
        from rhonet.uncertainty.novelty import distances_of

        return np.mean([distances_of(member, peaks) for member in self.members], axis=0) / self.scale


@dataclass(frozen=True, eq=False)
class Power:
    """Novelties of one kind of densities.

    Attributes:
        name: in the table.
        novelty: (n,).
    """

    name: str
    novelty: np.ndarray

    def row(self, ordinary: np.ndarray) -> list[str]:
        """Row of the table; `ordinary` are the novelties of ordinary crystals outside the training set."""
        everything = np.concatenate([ordinary, self.novelty])
        is_odd = np.arange(len(everything)) >= len(ordinary)
        (area,) = auc(is_odd, everything, np.ones((1, len(everything))))
        flagged = share_of(self.novelty > 1, "no densities")
        median = f"{np.median(self.novelty):.2f}"
        return [self.name, str(len(self.novelty)), _percent(flagged), f"{area:.2f}", median]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="base", help="configuration whose view is used (default: %(default)s)")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data set is or will be built (default: as config)")
    parser.add_argument("--densities", type=Path, metavar="CSV", help="manifest of densities of other codes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="markdown file to write (default: standard output)")
    options = parser.parse_args()
    if options.densities is not None:
        _check_manifest(options.densities, parser)
    if options.out is not None and not options.out.parent.is_dir():
        parser.error(f"--out {options.out}: there is no folder {options.out.parent}; make it first")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("absl").setLevel(logging.ERROR)
    start_tensorflow()
    overrides = [] if options.data_dir is None else [f"data.data_dir={options.data_dir}"]
    text = report(load_config(options.config, overrides), manifest=options.densities)
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
    return 0


def _check_manifest(manifest: Path, parser: argparse.ArgumentParser) -> None:
    """Ends the program before anything is computed if the manifest cannot be used."""
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            header = csv.DictReader(file).fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        parser.error(f"--densities {manifest}: cannot be read: {error}")
    missing = [column for column in MANIFEST_COLUMNS if column not in header]
    if missing:
        parser.error(f"--densities {manifest}: has no column {', '.join(missing)}; it has {', '.join(header)}")


def report(config: Config, *, manifest: Path | None) -> str:
    """Tables as Markdown, with the command and the commit that wrote them."""
    crystals = read_crystals(config)
    peaks = find_all_peaks([crystal.density for crystal in crystals], config.view)
    parts = np.array([assign_fold(crystal.system, folds=PARTS, seed=1) for crystal in crystals])
    flags = [_fit(crystals, peaks, parts != part) for part in range(PARTS)]
    ordinary = np.empty(len(crystals))
    for part, flag in enumerate(flags):
        ordinary[parts == part] = flag.novelty(_chosen(peaks, parts == part))
    all_elements = [_elements_besides(crystals, parts == part) for part in range(PARTS)]
    is_known = np.array(
        [set(crystal.system.split("-")) <= all_elements[part] for crystal, part in zip(crystals, parts, strict=True)]
    )
    rows = [
        Power("**ordinary crystals, unseen**", ordinary),
        Power("of these, all elements seen in training", ordinary[is_known]),
        Power("of these, some element not seen", ordinary[~is_known]),
        Power("**crystals with elements held out**", new_elements(crystals, peaks)),
    ]
    damaged = [row for row, crystal in enumerate(crystals) if position(f"{CHOICE} {crystal.system}") >= 0.5]
    for heading, kinds in (("harmless: ", HARMLESS), ("", DAMAGES)):
        for kind in kinds:
            log.info("%s", kind.name)
            novelty = damage_power(kind, [crystals[row] for row in damaged], parts[damaged], flags, config.view)
            rows.append(Power(heading + kind.name, novelty))
    file_table = ""
    if manifest is not None:
        files = score_files(manifest, _fit(crystals, peaks, np.ones(len(crystals), bool)), config.view)
        rows += group_files(files)
        file_table = "\n" + _file_table(files)
    command = shlex.join(["python", "tools/novelty_power.py", *sys.argv[1:]])
    head = f"`{command}`, commit {git_commit() or 'unknown'}, {len(crystals)} crystals\n\n"
    table = markdown_table(["densities", "n", "flagged", "AUC", "median novelty"], [row.row(ordinary) for row in rows])
    return head + table + file_table


def read_crystals(config: Config) -> list[Crystal]:
    """The bundled crystals as stored, without magnetization, which the peaks do not use."""
    from rhonet.data.builds import open_or_build
    from rhonet.data.index import as_records
    from rhonet.data.records import decode_record

    records: Any = as_records(open_or_build(config.data)).as_numpy_iterator()
    return [
        Crystal(
            record["groups"]["chemical_system"].decode(),
            dataclasses.replace(decode_record(record), magnetization=None),
        )
        for record in records
    ]


def find_all_peaks(densities: Sequence[ChargeDensity], view: ViewConfig) -> list[np.ndarray]:
    """Density peaks (peaks, widths) of each density, with the plane waves of the model's view."""
    import tensorflow as tf

    find = _finder(view)
    return [
        find(tf.constant(density.values, tf.float32), tf.constant(density.lattice, tf.float64)).numpy()
        for density in densities
    ]


@functools.cache
def _finder(view: ViewConfig) -> Any:
    """TensorFlow function from a grid and its lattice to density peaks."""
    import tensorflow as tf

    from rhonet.uncertainty.density_peaks import find_peaks
    from rhonet.views import render

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None), tf.float32), tf.TensorSpec((3, 3), tf.float64)],
    )
    def find(values: tf.Tensor, lattice: tf.Tensor) -> tf.Tensor:
        return find_peaks(render.spectrum(values, tf.zeros((0, 0, 0)), lattice, view))

    return find


def new_elements(crystals: Sequence[Crystal], peaks: Sequence[np.ndarray]) -> np.ndarray:
    """Novelties of crystals with held-out elements, over several choices of these elements."""
    novelties = []
    for seed in ELEMENT_SEEDS:
        splits = [
            assign_by_element(crystal.system.split("-"), fractions=ELEMENT_FRACTIONS, seed=seed) for crystal in crystals
        ]
        is_new = np.array(splits) == "test"
        novelties.append(_fit(crystals, peaks, ~is_new).novelty(_chosen(peaks, is_new)))
    return np.concatenate(novelties)


def damage_power(
    kind: Damage, crystals: Sequence[Crystal], parts: np.ndarray, flags: Sequence[Flag], view: ViewConfig
) -> np.ndarray:
    """Novelties of damaged crystals, (n,).

    Args:
        kind: of damage.
        crystals: to damage, n of them.
        parts: of these crystals, (n,).
        flags: novelty score of each part; it was fitted without the crystals of the part.
        view: of the model.
    """
    rng = np.random.default_rng(0)
    peaks = find_all_peaks([kind.apply(crystal.density, rng) for crystal in crystals], view)
    novelty = np.empty(len(crystals))
    for part, flag in enumerate(flags):
        novelty[parts == part] = flag.novelty(_chosen(peaks, parts == part))
    return novelty


@dataclass(frozen=True)
class ScoredFile:
    """One density of the manifest: the first readable file of its group.

    Attributes:
        group: name of the density.
        formula: as the manifest gives it.
        code: format of the file.
        is_nonsense: whether it is no electron density of a crystal.
        novelty: of the density.
    """

    group: str
    formula: str
    code: str
    is_nonsense: bool
    novelty: float


def score_files(manifest: Path, flag: Flag, view: ViewConfig) -> list[ScoredFile]:
    """Novelties of the manifest's densities; unreadable files are left out, copies of a density count once.

    Args:
        manifest: CSV file; the density files lie beside it.
        flag: novelty score.
        view: of the model.
    """
    scored: dict[str, ScoredFile] = {}
    for row, density in _readable(manifest):
        if row["group"] in scored:
            continue
        (novelty,) = flag.novelty(find_all_peaks([density], view))
        is_nonsense = re.search(NONSENSE, row["odd_features"]) is not None
        scored[row["group"]] = ScoredFile(row["group"], row["formula"], density.format, is_nonsense, float(novelty))
    return list(scored.values())


def _readable(manifest: Path) -> Iterator[tuple[dict[str, str], ChargeDensity]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                yield row, read_density(manifest.parent / row["file"])
            except FormatError as error:
                log.debug("left out: %s", error)


def group_files(files: Sequence[ScoredFile]) -> list[Power]:
    """Novelties by file format, then those of files that hold no electron density."""
    kinds: dict[str, list[float]] = {}
    for file in sorted(files, key=lambda file: (file.is_nonsense, file.code)):
        kinds.setdefault("no valence density" if file.is_nonsense else f"format {file.code}", []).append(file.novelty)
    return [Power(name, np.array(novelties)) for name, novelties in kinds.items()]


def _file_table(files: Sequence[ScoredFile]) -> str:
    ranked = sorted(files, key=lambda file: -file.novelty)
    rows = [
        [
            file.group,
            file.formula,
            f"{file.code} (no valence density)" if file.is_nonsense else file.code,
            f"{file.novelty:.2f}",
        ]
        for file in ranked
    ]
    return markdown_table(["density", "formula", "format", "novelty"], rows)


def _fit(crystals: Sequence[Crystal], peaks: Sequence[np.ndarray], chosen: np.ndarray) -> Flag:
    return Flag.fit(_chosen(peaks, chosen), [crystals[row].system for row in np.flatnonzero(chosen).tolist()])


def _chosen(peaks: Sequence[np.ndarray], chosen: np.ndarray) -> list[np.ndarray]:
    return [peaks[row] for row in np.flatnonzero(chosen).tolist()]


def _elements_besides(crystals: Sequence[Crystal], left_out: np.ndarray) -> set[str]:
    """Elements of the crystals that are not left out."""
    return {
        symbol
        for crystal, is_out in zip(crystals, left_out, strict=True)
        if not is_out
        for symbol in crystal.system.split("-")
    }


def _percent(share: Metric) -> str:
    return f"{share.value:.0%} [{share.lower:.0%}, {share.upper:.0%}]".replace("%", " %")


if __name__ == "__main__":
    sys.exit(main())
