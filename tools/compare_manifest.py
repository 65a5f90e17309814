#!/usr/bin/env python3
"""Compare what `python -m rhonet.inspect` finds in real density files with what an independent reader found.

    python tools/compare_manifest.py ../shared/densities/manifest.csv

Inspects every file of a manifest in one call and compares format, grid, blocks, integral, moment and atoms; also the
extremes if the manifest's unit is clear. Files that hold no density, by the manifest's own columns, must be refused
for the right reason. Prints a table and a summary; exit code 1 if anything disagrees.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.formula import Formula
from ase.units import Bohr

from rhonet.core.text import markdown_table

INTEGRAL_TOLERANCE = 1e-5  # the manifest gives six digits
EXTREME_TOLERANCE = 1e-4
MOMENT_TOLERANCE = 1e-8  # µB, for moments that are noise

# Names of formats in rhonet, by patterns of the manifest's names.
FORMATS = {
    r"VASP CHG(CAR)?": "vasp",
    r"cube": "cube",
    r"xsf": "xsf",
    r"pymatgen Chgcar JSON.*": "chgcar_json",
    r"pymatgen VolumetricData hdf5": "pymatgen_hdf5",
    r"QE charge-density.hdf5": "quantum_espresso",
    r"ABINIT netCDF DEN": "abinit",
    r"SIESTA grid netCDF": "siesta",
    r"SIESTA RHO.*": "siesta_rho",
    r"CASTEP den_fmt": "castep",
}
# Formats whose extremes the manifest multiplies by the cell volume, and formats whose extremes it gives per bohr³. For
# SIESTA it gives the extremes of spin up and down, which are not those of the density.
TIMES_VOLUME = {"vasp", "chgcar_json", "pymatgen_hdf5", "castep"}
PER_CUBIC_BOHR = {"cube", "xsf", "abinit"}


@dataclass(frozen=True)
class Trap:
    """A kind of files that must be refused.

    Attributes:
        what: name of the kind, in the plural.
        column: of the manifest.
        pattern: of the column, in the rows of such files.
        reason: pattern that the error message must contain.
    """

    what: str
    column: str
    pattern: str
    reason: str


TRAPS = (
    Trap("potentials", "format", r"LOCPOT|\bPOT\b", "potential"),
    Trap("localisation functions", "format", r"ELFCAR", "localisation function"),
    Trap("placeholders", "format", r"placeholder", "truncated"),
    Trap("broken JSON files", "format", r"broken JSON", "no valid JSON"),
    Trap(
        "files that only their own code reads",
        "format",
        r"castep_bin|CASTEP check|iotk|filplot",
        r"cannot be read; (have|build) \S+ .*(write|get)",
    ),
    Trap("empty files", "odd_features", r"empty_file", "is empty"),
    Trap("calculations without their density", "odd_features", r"no_charge_density_in_file", "no charge density"),
    Trap("densities without a cell", "odd_features", r"no_cell_no_atoms_in_file", "holds no cell"),
    Trap("truncated files", "odd_features", r"truncated", "truncated"),
    Trap("cubes of several fields that do not say so", "odd_features", r"extra_values", "more values"),
    Trap("cubes that lack their atoms", "odd_features", r"cube_atom_lines_missing", "expected atom"),
    Trap("fields that integrate to less than nothing", "integral_block1", r"^-", "no electron density"),
)


@dataclass(frozen=True)
class Comparison:
    """Comparison of one file with the manifest.

    Attributes:
        file: as the manifest names it.
        found: what rhonet found, or the error.
        trap: why it must be refused, None for a density.
        differences: from the manifest; empty if there are none.
    """

    file: str
    found: str
    trap: Trap | None
    differences: tuple[str, ...]

    @property
    def verdict(self) -> str:
        if self.differences:
            return "DISAGREES"
        return "agrees" if self.trap is None else "refused rightly"


def compare(manifest: Path) -> list[Comparison]:
    """Comparisons in the order of the manifest; the files lie beside it."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    summaries = inspect([manifest.parent / row["file"] for row in rows])
    return [compare_row(row, summary) for row, summary in zip(rows, summaries, strict=True)]


def inspect(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Output of the command for each file: a summary, or an error.

    Raises:
        RuntimeError: the command itself failed.
    """
    command = [sys.executable, "-m", "rhonet.inspect", "--json", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(f"rhonet.inspect ended with code {done.returncode}:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare_row(row: Mapping[str, str], summary: Mapping[str, Any]) -> Comparison:
    """Comparison of one row of the manifest with the summary of its file."""
    trap = next((trap for trap in TRAPS if re.search(trap.pattern, row[trap.column])), None)
    error = summary.get("error", "")
    if error:
        found = error.removeprefix(summary["file"]).lstrip(":0123456789 ")
        right = trap is not None and re.search(trap.reason, error)
        expected = "it is a density" if trap is None else f"for {trap.what} the reason should be {trap.reason!r}"
        return Comparison(row["file"], found, trap, () if right else (f"refused, but {expected}",))
    found = (
        f"{summary['format']}, {_times(summary['grid'])}, {summary['blocks']} block(s), {summary['n_electrons']:.6g} e"
    )
    if trap is not None:
        return Comparison(row["file"], found, trap, (f"read, but {trap.what} should be refused",))
    return Comparison(row["file"], found, None, tuple(_differences(row, summary)))


def _differences(row: Mapping[str, str], summary: Mapping[str, Any]) -> Iterator[str]:
    """Differences between the columns and the summary; empty columns are not compared."""
    name = next((name for pattern, name in FORMATS.items() if re.fullmatch(pattern, row["format"])), None)
    if summary["format"] != name:
        yield f"format {summary['format']}, expected {name} for {row['format']}"
    if row["grid_shape"] and not _is_grid(summary["grid"], row):
        yield f"grid {_times(summary['grid'])}, expected {row['grid_shape']}"
    if row["n_blocks"] and summary["blocks"] != int(row["n_blocks"]):
        yield f"{summary['blocks']} blocks, expected {row['n_blocks']}"
    if row["n_atoms"] and summary["n_atoms"] != int(row["n_atoms"]):
        yield f"{summary['n_atoms']} atoms, expected {row['n_atoms']}"
    if row["formula"] and Formula(row["formula"]).count() != Formula(summary["formula"] or "").count():
        yield f"formula {summary['formula']}, expected {row['formula']}"
    for column, value, tolerance in _numbers(row, summary):
        if row[column] and not math.isclose(value, float(row[column]), **tolerance):
            yield f"{column} {value:.6g}, expected {row[column]}"


def _numbers(row: Mapping[str, str], summary: Mapping[str, Any]) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Columns, the summary's value in the unit of each, and the tolerance of the comparison."""
    yield "integral_block1", summary["n_electrons"], {"rel_tol": INTEGRAL_TOLERANCE}
    if summary["blocks"] > 1:
        # The second block of a non-collinear density is mx.
        moment = summary["total_moment"] if summary["blocks"] == 2 else summary["moment_vector"][0]
        tolerance = {"rel_tol": INTEGRAL_TOLERANCE, "abs_tol": MOMENT_TOLERANCE}
        yield "integral_block2_or_moment", moment, tolerance
    times_volume, per_bohr = summary["format"] in TIMES_VOLUME, summary["format"] in PER_CUBIC_BOHR
    # With spin, ABINIT stores the total and spin up, and the manifest's extremes are those of both.
    if times_volume or (per_bohr and summary["blocks"] == 1):
        unit = summary["volume"] if times_volume else Bohr**3
        yield "min", summary["minimum"] * unit, {"rel_tol": EXTREME_TOLERANCE}
        yield "max", summary["maximum"] * unit, {"rel_tol": EXTREME_TOLERANCE}


def _is_grid(grid: Sequence[int], row: Mapping[str, str]) -> bool:
    """Is it the manifest's grid, without repeated end points, or a grid that holds the manifest's plane waves?"""
    numbers = list(map(int, re.findall(r"\d+", row["grid_shape"])))
    if "Miller" in row["grid_shape"]:
        return all(points > 2 * index for points, index in zip(grid, numbers, strict=True))
    if "periodic_endpoint" in row["odd_features"]:
        numbers = [number - 1 for number in numbers]
    return list(grid) == numbers


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="CSV with a row per file, beside the files")
    comparisons = compare(parser.parse_args().manifest)
    rows = [[item.file, item.verdict, "; ".join([item.found, *item.differences])] for item in comparisons]
    print(markdown_table(["file", "verdict", "found"], rows))
    verdicts = Counter(item.verdict for item in comparisons)
    agreeing, refused, disagreeing = (verdicts[name] for name in ("agrees", "refused rightly", "DISAGREES"))
    print(f"{len(comparisons)} files: {agreeing} agree, {refused} refused rightly, {disagreeing} disagree")
    reasons = Counter(item.trap.what for item in comparisons if item.verdict == "refused rightly" and item.trap)
    for reason, count in reasons.most_common():
        print(f"  refused, as they should be: {count} {reason}")
    return 1 if disagreeing else 0


if __name__ == "__main__":
    sys.exit(main())
