"""Report on a user's folder: all findings, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import rhonet
from rhonet.core.errors import FolderError
from rhonet.core.files import plain_values
from rhonet.core.text import counted, printable
from rhonet.data.checks.densities import (
    check_duplicates,
    check_electrons,
    check_labels_by_density,
    check_reading,
    valence_electrons,
)
from rhonet.data.checks.facts import DensityFacts
from rhonet.data.checks.finding import ERROR, NOTE, SEVERITIES, WARNING, Finding, some_of
from rhonet.data.checks.labels import LabelSummary, check_labels, default_split, suggest_declarations, summarise_labels
from rhonet.data.checks.search import Search, other_parts
from rhonet.data.dataset_toml import SETTINGS_NAME, read_settings
from rhonet.data.folder import CheckedFolder, Folder, Sample
from rhonet.data.properties_csv import TABLE_NAME
from rhonet.data.splits import SPLITS

MADE_BY = "python -m rhonet.prepare"
_HEADINGS = {
    ERROR: "errors: training stops, or leaves the row out",
    WARNING: "warnings: this looks wrong",
    NOTE: "notes",
}
_FINDINGS_TO_SHOW = 20


@dataclass(frozen=True)
class FolderReport:
    """Content of a folder, and what is wrong with it.

    Attributes:
        path: the folder.
        has_table: is there a properties.csv?
        facts: one per density, in the order of the table, or of the file names where there is no table.
        labels: one per property column with labels.
        findings: errors first, then warnings, then notes.
        declarations: suggested lines for dataset.toml, "" where no declaration is missing.
    """

    path: Path
    has_table: bool
    facts: tuple[DensityFacts, ...]
    labels: tuple[LabelSummary, ...]
    findings: tuple[Finding, ...]
    declarations: str

    @property
    def has_problems(self) -> bool:
        """Is there an error or a warning?"""
        return any(finding.level != NOTE for finding in self.findings)

    def to_text(self) -> str:
        """Table of labels and splits, then the first findings of each level."""
        parts = [self._overview()]
        if self.labels:
            parts.append(_label_table(self.labels))
        for level in SEVERITIES:
            findings = [finding for finding in self.findings if finding.level == level]
            lines = [f"  {printable(finding.text)}" for finding in findings[:_FINDINGS_TO_SHOW]]
            if len(findings) > len(lines):
                lines.append(f"  ... and {len(findings) - len(lines)} more in the report")
            if lines:
                parts.append("\n".join([_HEADINGS[level], *lines, ""]))
        if self.declarations:
            parts.append(f"suggested for {printable(str(self.path / SETTINGS_NAME))}:\n\n{self.declarations}")
        if not self.has_problems:
            parts.append("No problem found.\n")
        return "\n".join(parts)

    def to_json(self) -> str:
        """The whole report; the summary of a density has the keys of `python -m rhonet.inspect --json`."""
        tree = {
            "made_by": MADE_BY,
            "rhonet_version": rhonet.__version__,
            "folder": str(self.path),
            "has_table": self.has_table,
            "has_problems": self.has_problems,
            "findings": [asdict(finding) for finding in self.findings],
            "properties": [asdict(summary) for summary in self.labels],
            "splits": self._split_sizes(),
            "valence_electrons": valence_electrons(self.facts),
            "suggested_declarations": self.declarations,
            "files": [_file_tree(density) for density in self.facts],
        }
        return json.dumps(plain_values(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _overview(self) -> str:
        usable = [density for density in self.facts if density.summary]
        formats = Counter(density.summary.format for density in usable if density.summary)
        spins = sum(density.summary.blocks > 1 for density in usable if density.summary)
        kinds = [f"{count} {name}" for name, count in formats.most_common()]
        kinds += [f"{spins} with magnetization"] if spins else []
        number = f"{len(usable)} of {counted(len(self.facts), 'density', 'densities')}"
        lines = [f"{printable(str(self.path))}: {number} can be used ({', '.join(kinds) or '-'})"]
        if usable:
            sizes, n_groups = self._split_sizes(), len({density.chemical_system for density in usable})
            parts = ", ".join(f"{sizes[split]} {split}" for split in SPLITS)
            lines.append(f"default split, by chemical system ({n_groups} of them): {parts}")
        if valences := valence_electrons(self.facts):
            counts = ", ".join(f"{symbol} {_trimmed(count)}" for symbol, count in valences.items())
            lines.append(f"electrons per atom in these files: {counts}")
        return "\n".join(lines) + "\n"

    def _split_sizes(self) -> dict[str, int]:
        sizes = Counter(default_split(density) for density in self.facts if density.summary)
        return {split: sizes[split] for split in SPLITS}


def report_on_table(checked: CheckedFolder, facts: Sequence[DensityFacts], search: Search) -> FolderReport:
    """Report on a folder with a table.

    Args:
        checked: the table and its mistakes.
        facts: one per row of `checked.folder.samples`.
        search: densities of the folder that are not in the table.
    """
    folder = checked.folder
    samples = {sample.id: sample for sample in folder.samples}
    labels = summarise_labels(samples, facts, folder.properties)
    findings = [Finding(ERROR, "table", mistake) for mistake in checked.mistakes]
    if checked.n_mistakes > len(findings):
        findings.append(
            Finding(ERROR, "table", f"{counted(checked.n_mistakes - len(findings), 'more mistake')} in {TABLE_NAME}")
        )
    findings += check_reading(facts)
    findings += check_duplicates(samples, facts, folder.properties)
    findings += check_electrons(facts)
    findings += check_labels_by_density(samples, facts, folder.properties)
    findings += check_labels(samples, facts, labels)
    findings += _check_coverage(folder, search.samples)
    findings += [*search.findings, *_other_choices(samples, facts)]
    bookkeeping = read_settings(folder.path / SETTINGS_NAME).bookkeeping
    return FolderReport(
        folder.path,
        True,
        tuple(facts),
        labels,
        _sorted(findings),
        suggest_declarations(checked.undeclared, bookkeeping),
    )


def report_on_files(
    path: Path, search: Search, facts: Sequence[DensityFacts], *, begun: Path | None = None
) -> FolderReport:
    """Report on a folder without a table: its densities, and what they say about each other.

    Args:
        path: the folder.
        search: the densities of the folder.
        facts: one per sample of `search`.
        begun: table that was just written for them, None if there is none.
    """
    by_id = {sample.id: sample for sample in search.samples}
    # No row names these files: an unusable density stays out of the table, so it is only a warning.
    findings = [
        replace(finding, level=WARNING) if finding.level == ERROR else finding for finding in check_reading(facts)
    ]
    findings += [*check_duplicates(by_id, facts, ()), *check_electrons(facts)]
    findings += [*search.findings, *_other_choices(by_id, facts)]
    if begun is not None:
        text = f"{begun}: written; fill in the labels you have, leave the other cells empty, and check again"
        findings.append(Finding(NOTE, "table", text))
    elif facts:
        remedy = f"{MADE_BY} {path} --write-table begins one"
        findings.append(Finding(ERROR, "table", f"{path}: there is no {TABLE_NAME}, which names the labels; {remedy}"))
    else:
        findings.append(
            Finding(ERROR, "table", f"{path}: holds neither a {TABLE_NAME} nor a density in a known format")
        )
    return FolderReport(path, False, tuple(facts), (), _sorted(findings), "")


def check_report_path(path: Path) -> None:
    """Refuses to write a report over a file that is not a report.

    Raises:
        FolderError: the path is such a file, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise FolderError(f"{path}: there is no folder {path.parent}; create it, or give another --report")
    if not path.exists():
        return
    try:
        is_ours = json.loads(path.read_text(encoding="utf-8"))["made_by"] == MADE_BY
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise FolderError(f"{path}: exists and is no report of {MADE_BY}; move it away, or give another --report")


def _check_coverage(folder: Folder, unlisted: Sequence[Sample]) -> list[Finding]:
    """Findings on columns and rows without labels, and on densities without a row."""
    findings = []
    if folder.unlabelled:
        text = f"no label in {', '.join(folder.unlabelled)}: left out of training"
        level = NOTE if folder.properties else ERROR
        findings.append(
            Finding(level, "coverage", text if folder.properties else f"{text}; fill in at least one column")
        )
    bare = tuple(sample.id for sample in folder.samples if all(math.isnan(label) for label in sample.labels.values()))
    if bare and folder.properties:
        findings.append(Finding(NOTE, "coverage", f"rows without any label: {some_of(bare)}", bare))
    if unlisted:
        files = some_of([sample.file for sample in unlisted])
        number = counted(len(unlisted), "density file")
        text = f"{number} in the folder {'is' if len(unlisted) == 1 else 'are'} not in {TABLE_NAME}: {files}"
        findings.append(Finding(NOTE, "coverage", text))
    return findings


def _other_choices(samples: Mapping[str, Sample], facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    """Findings on unusable densities of VASP calculations which have another density beside them."""
    for density in facts:
        if density.error and (choices := other_parts(samples[density.id].path)):
            unusable = f"{density.id}: {density.file} cannot be used"
            text = f"{unusable}, but {', '.join(choices)} lies beside it; take that instead"
            yield Finding(NOTE, "reading", text, (density.id,))


def _label_table(labels: Sequence[LabelSummary]) -> str:
    heads = ["property", "unit", "labels", "missing", "min", "median", "max", *SPLITS]
    body = [
        [
            summary.name,
            summary.unit,
            str(summary.known),
            str(summary.missing),
            *(
                # The numbers of classes are names, not sizes.
                f"{value:.4g}" if summary.kind == "regression" else ""
                for value in (summary.least, summary.median, summary.most)
            ),
            *(str(summary.splits[split]) for split in SPLITS),
        ]
        for summary in labels
    ]
    widths = [max(map(len, cells)) for cells in zip(heads, *body, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column < 2 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *body)
    ]
    return "\n".join(lines) + "\n"


def _file_tree(density: DensityFacts) -> dict[str, Any]:
    tree = {"id": density.id, "file": density.file, "error": density.error or None}
    if density.summary is None:
        return tree
    return {
        **tree,
        "group": density.chemical_system,
        "split": default_split(density),
        "summary": asdict(density.summary),
    }


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.level)))


def _trimmed(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
