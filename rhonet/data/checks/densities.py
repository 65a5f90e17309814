"""Comparison of the densities of a folder with each other and with their labels."""

from __future__ import annotations

import filecmp
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.sparse.csgraph
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr

from rhonet.core.properties import Property
from rhonet.core.text import counted
from rhonet.data.checks.facts import DensityFacts
from rhonet.data.checks.finding import ERROR, NOTE, WARNING, Finding, some_of
from rhonet.data.folder import Sample
from rhonet.formats.check import WHOLE_ELECTRONS_TOLERANCE

SAME_DENSITY = 1e-3
"""Relative difference of two spectra up to which two densities are taken for the same.

Rounding to float16 causes 1e-4; bcc sodium with lattice constants 0.2 % apart differs by 7e-3.
"""
SAME_LABEL = 0.01
"""Relative difference up to which two labels are taken for the same, one of them rounded."""
SAME_VALENCE = 0.1
"""Difference in electrons per formula unit up to which two counts agree."""
LABEL_TOLERANCE = 0.03
"""Relative difference up to which a label agrees with the density's own cell, atoms or moment."""
MOMENT_TOLERANCE = 0.1
"""Difference in µB up to which two magnetic moments agree, whatever their size."""
_FORMULAS_TO_FIT = 3000

# Phrases in the warnings of readers about electron counts that cannot be right; other warnings are notes.
_CONTRADICTIONS = ("electrons, but ", "is larger than the number of electrons")
_GRAMS_PER_CM3 = 1.66053907  # of 1 u/Å³
_OTHER_UNITS = {
    "volume_per_atom": {Bohr**-3: "bohr³ instead of Å³", 1e-3: "nm³ instead of Å³"},
    "cell_volume": {Bohr**-3: "bohr³ instead of Å³", 1e-3: "nm³ instead of Å³"},
    "mass_density": {1e3: "kg/m³ instead of g/cm³", 1 / _GRAMS_PER_CM3: "u/Å³ instead of g/cm³"},
}
# Possible mistakes of a file's unit, each with the powers of bohr (in Å) and of the volume that correct the electrons.
_OTHER_FIELDS = (
    ("values in e/Å³ where e/bohr³ is expected (6.748 times as many)", 3, 0),
    ("values in e/bohr³ where e/Å³ is expected (6.748 times too few)", -3, 0),
    ("values already divided by the cell volume, in e/Å³", 0, 1),
    ("values already divided by the cell volume, in e/bohr³", -3, 1),
)


def check_reading(facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    """Finds files that cannot be used, warnings of the readers, and files that name no elements."""
    for density in facts:
        if density.error:
            yield Finding(ERROR, "reading", f"{density.id}: {density.error}", (density.id,))
    warned = defaultdict(list)
    for density in facts:
        for warning in density.summary.warnings if density.summary else ():
            level = WARNING if any(phrase in warning for phrase in _CONTRADICTIONS) else NOTE
            warned[level, re.sub(r"[-+]?\d[\d.e+-]*", "#", warning)].append((density.id, warning))
    for (level, _), pairs in warned.items():
        names = tuple(name for name, _ in pairs)
        yield Finding(level, "reader", f"{some_of(names)}: {'e.g. ' if len(pairs) > 1 else ''}{pairs[0][1]}", names)
    nameless = tuple(density.id for density in facts if not density.error and not density.formula)
    if nameless:
        text = (
            f"{some_of(nameless)}: the file names no elements; add a column formula, so that splits keep related "
            "crystals together"
        )
        yield Finding(NOTE, "species", text, nameless)


def check_duplicates(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[Property]
) -> Iterator[Finding]:
    """Finds densities that occur more than once, and different labels of the same density.

    Args:
        samples: rows of the table, by id.
        facts: one per row.
        properties: whose labels are compared.
    """
    by_id = {density.id: density for density in facts}
    for names in same_densities(facts):
        copies = _equal_files([samples[name] for name in names])
        how = "the same field, perhaps in another format, cell or origin"
        files = some_of([f"{name} ({by_id[name].file})" for name in names])
        if [names] == copies:
            how = "byte for byte"
        elif copies:
            files += f" (byte for byte: {', '.join(' = '.join(equal) for equal in copies)})"
        yield Finding(WARNING, "duplicates", f"the same density more than once, {how}: {files}; keep one", names)
        for declared in properties:
            labels = {name: samples[name].labels[declared.name] for name in names}
            known = {name: label for name, label in labels.items() if not math.isnan(label)}
            if _differ(declared, known, {name: by_id[name].volume for name in known}):
                cases = some_of([f"{label:.6g} ({name})" for name, label in known.items()])
                text = f"{declared.name} of one and the same density is {cases}; correct one or remove it"
                yield Finding(WARNING, "conflicting labels", text, tuple(known))


def _differ(declared: Property, labels: Mapping[str, float], volumes: Mapping[str, float]) -> bool:
    """Do the labels differ by more than rounding? Those of extensive properties are compared per volume."""
    if len(labels) < 2:
        return False
    scaled = [label if declared.intensive else label / volumes[name] for name, label in labels.items()]
    tolerance = 0 if declared.is_class else SAME_LABEL * max(map(abs, scaled))
    return max(scaled) - min(scaled) > tolerance


def _equal_files(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Groups of ids whose files are copies of each other; entries of one archive are not."""
    groups: list[list[Sample]] = []
    for sample in (sample for sample in samples if sample.path.is_file()):
        same = (group for group in groups if filecmp.cmp(group[0].path, sample.path, shallow=False))
        group = next(same, [])
        if not group:
            groups.append(group)
        if sample.path not in {copy.path for copy in group}:
            group.append(sample)
    return [tuple(copy.id for copy in group) for group in groups if len(group) > 1]


def same_densities(facts: Sequence[DensityFacts]) -> list[tuple[str, ...]]:
    """Groups of ids whose densities are the same up to shift, rotation, choice of cell, grid and rounding.

    A density belongs to a group if it is the same as any density of the group.
    """
    usable = sorted((density for density in facts if not density.error), key=lambda density: density.spectrum[0])
    if len(usable) < 2:
        return []
    spectra = np.array([density.spectrum for density in usable])
    means, (waves, spins) = spectra[:, 0], np.split(spectra[:, 1:], 2, axis=1)
    scales = np.linalg.norm(waves, axis=1) + SAME_DENSITY * means
    pairs: list[tuple[int, int]] = []
    for row in range(len(usable)):
        end = int(np.searchsorted(means, means[row] * (1 + SAME_DENSITY), side="right"))
        distances = np.maximum(*(np.linalg.norm(part[row + 1 : end] - part[row], axis=1) for part in (waves, spins)))
        pairs += [(row, int(equal)) for equal in row + 1 + np.flatnonzero(distances <= SAME_DENSITY * scales[row])]
    if not pairs:
        return []
    links = scipy.sparse.coo_array((np.ones(len(pairs)), np.transpose(pairs)), shape=(len(usable), len(usable)))
    _, components = scipy.sparse.csgraph.connected_components(links, directed=False)
    ids_of = defaultdict(list)
    for component, density in zip(components.tolist(), usable, strict=True):
        ids_of[component].append(density.id)
    order = {density.id: row for row, density in enumerate(facts)}
    groups = [tuple(sorted(names, key=order.__getitem__)) for names in ids_of.values() if len(names) > 1]
    return sorted(groups, key=lambda names: order[names[0]])


def check_electrons(facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    """Finds formulas whose files differ in their electrons or contradict the other formulas, and impossible counts."""
    formulas = _by_formula(facts)
    for formula, files in formulas.items():
        usual, *odd = _clusters(files)
        if odd:
            cases = "; ".join(
                f"{np.median(list(cluster.values())):.2f} in {some_of(list(cluster))}" for cluster in (usual, *odd)
            )
            text = f"{formula}: electrons per formula unit differ: {cases}: other pseudopotentials or a damaged file?"
            yield Finding(WARNING, "electrons", text, tuple(name for cluster in odd for name in cluster))
    fitted = _fit_valences(facts)
    for formula, files in formulas.items():
        count = _usual_count(files)
        expected = fitted.electrons.get(formula, count)
        if abs(count - expected) > SAME_VALENCE:
            text = (
                f"{formula} ({some_of(list(files))}): {count:.2f} electrons per formula unit, but {expected:.2f} by "
                "the valence electrons that the other formulas give its elements: other pseudopotentials or a damaged "
                "file?"
            )
            yield Finding(WARNING, "electrons", text, tuple(files))
    impossible = _impossible_counts(facts)
    if impossible is not None:
        yield impossible
        return
    odd = {symbol: count for symbol, count in fitted.valences.items() if count < 0.9 or not _is_whole(count, 0.05)}
    if odd:
        cases = some_of([f"{symbol} {count:.2f}" for symbol, count in odd.items()])
        text = (
            f"electrons per atom should be whole numbers of at least 1, but are {cases}: damaged files or another unit?"
        )
        yield Finding(WARNING, "electrons", text)


def _impossible_counts(facts: Sequence[DensityFacts]) -> Finding | None:
    """Finding if most files hold an impossible number of electrons, with a wrong unit that would explain it."""
    known = [density for density in facts if density.n_atoms]
    odd = [density for density in known if not _is_possible(density, density.n_electrons)]
    if len(odd) < 2 or 2 * len(odd) < len(known):
        return None
    reason = "damaged files or another unit?"
    for what, bohr_power, volume_power in _OTHER_FIELDS:
        counts = [density.n_electrons * Bohr**bohr_power * density.volume**volume_power for density in odd]
        if all(map(_is_possible, odd, counts)):
            reason = f"{what}, which would make it {some_of([f'{count:.2f}' for count in counts])}?"
            break
    cases = some_of(
        [f"{density.n_electrons:.4g} in {density.id} of {counted(density.n_atoms, 'atom')}" for density in odd]
    )
    text = f"electrons should be whole numbers, from one per atom to its protons, but are {cases}: {reason}"
    return Finding(WARNING, "electrons", text, tuple(density.id for density in odd))


def _is_possible(density: DensityFacts, count: float) -> bool:
    """Is the count a whole number, from one per atom to all protons?"""
    protons = sum(atomic_numbers[symbol] * atoms for symbol, atoms in density.elements.items())
    return _is_whole(count) and density.n_atoms - 0.5 < count < protons + 1.5


def _is_whole(count: float, tolerance: float = 0.0) -> bool:
    return abs(count - round(count)) <= max(tolerance or WHOLE_ELECTRONS_TOLERANCE, 5e-4 * count)


def valence_electrons(facts: Sequence[DensityFacts]) -> dict[str, float]:
    """Electrons per atom of each element, where the folder's densities determine it."""
    return _fit_valences(facts).valences


@dataclass(frozen=True)
class _Fit:
    """Valence electrons that fit the densities of a folder.

    Attributes:
        valences: electrons per atom, by element; only of elements for which the densities determine them.
        electrons: electrons per formula unit as the sum of the valences, by formula.
    """

    valences: dict[str, float]
    electrons: dict[str, float]


def _fit_valences(facts: Sequence[DensityFacts]) -> _Fit:
    """Valences from 0 to Z with the least sum of absolute deviations per atom over the formulas.

    At most a few thousand formulas are used, which suffice.
    """
    formulas = _by_formula(facts)
    if not formulas:
        return _Fit({}, {})
    elements = sorted({symbol for density in facts for symbol in density.elements})
    cells = {density.formula: density for density in facts if density.n_formula_units}
    atoms = np.array(
        [
            [cells[name].elements.get(symbol, 0) / cells[name].n_formula_units for symbol in elements]
            for name in formulas
        ]
    )
    counts = np.array([_usual_count(files) for files in formulas.values()])
    sizes = atoms.sum(axis=1)
    # A count above the number of protons, of which the reader warns, does not determine a valence.
    possible = np.flatnonzero(counts <= atoms @ [atomic_numbers[symbol] for symbol in elements] + SAME_VALENCE)
    if not len(possible):
        return _Fit({}, {})
    chosen = possible[:: math.ceil(len(possible) / _FORMULAS_TO_FIT)]
    shares, targets = atoms[chosen] / sizes[chosen, None], counts[chosen] / sizes[chosen]
    # Unknowns: the valence of each element, and the deviations of each formula above and below the fit.
    slack = scipy.sparse.eye_array(len(chosen))
    fit = scipy.optimize.linprog(
        np.repeat([0.0, 1.0], [len(elements), 2 * len(chosen)]),
        A_eq=scipy.sparse.hstack([scipy.sparse.csr_array(shares), slack, -slack]),
        b_eq=targets,
        bounds=[*((0, atomic_numbers[symbol]) for symbol in elements), *[(0, None)] * (2 * len(chosen))],
    )
    valences = fit.x[: len(elements)]
    fitting = shares[abs(shares @ valences - targets) * sizes[chosen] <= SAME_VALENCE]
    values, vectors = np.linalg.eigh(fitting.T @ fitting)
    undetermined = np.abs(vectors[:, values <= 1e-9]).max(axis=1, initial=0.0) > 1e-6
    known = {symbol: float(valences[column]) for column, symbol in enumerate(elements) if not undetermined[column]}
    names = list(formulas)
    return _Fit(known, {names[row]: float(atoms[row] @ valences) for row in possible})


def _by_formula(facts: Sequence[DensityFacts]) -> dict[str, dict[str, float]]:
    """Electrons per formula unit by id, for each reduced formula whose atoms are known."""
    formulas: dict[str, dict[str, float]] = defaultdict(dict)
    for density in facts:
        if density.n_formula_units:
            formulas[density.formula][density.id] = density.n_electrons / density.n_formula_units
    return dict(formulas)


def _clusters(files: Mapping[str, float]) -> list[dict[str, float]]:
    """Groups of ids whose counts agree, the largest group first."""
    clusters: list[dict[str, float]] = []
    last = -math.inf
    for name, count in sorted(files.items(), key=lambda pair: pair[1]):
        if count - last > SAME_VALENCE:
            clusters.append({})
        clusters[-1][name] = last = count
    return sorted(clusters, key=len, reverse=True)


def _usual_count(files: Mapping[str, float]) -> float:
    return float(np.median(list(_clusters(files)[0].values())))


def check_labels_by_density(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[Property]
) -> Iterator[Finding]:
    """Finds labels that contradict the density's own cell, atoms or magnetization.

    Args:
        samples: rows of the table, by id.
        facts: one per row.
        properties: of the table.
    """
    names = {declared.name for declared in properties}
    usable = [density for density in facts if not density.error]
    by_cell = {
        "volume_per_atom": {density.id: density.volume / density.n_atoms for density in usable if density.n_atoms},
        "cell_volume": {density.id: density.volume for density in usable},
        "mass_density": {density.id: _mass(density) / density.volume for density in usable if density.n_atoms},
    }
    for name in names & set(by_cell):
        own = by_cell[name]
        labels = {key: samples[key].labels[name] for key in own if not math.isnan(samples[key].labels[name])}
        ratios = {key: label / own[key] for key, label in labels.items()}
        wrong = {key: ratio for key, ratio in ratios.items() if not _is_near(ratio, 1)}
        if wrong:
            yield _disagreement(name, wrong, labels, own, n_atoms={density.id: density.n_atoms for density in usable})
    if "magnetic_moment" in names:
        yield from _check_moments(samples, usable)


def _check_moments(samples: Mapping[str, Sample], facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    labels = {density.id: samples[density.id].labels["magnetic_moment"] for density in facts}
    for density in facts:
        label = labels[density.id]
        if abs(abs(density.moment) - label) > max(MOMENT_TOLERANCE, LABEL_TOLERANCE * label):
            integral = f"the magnetization integrates to {density.moment:.4g} µB"
            text = f"{density.id}: magnetic_moment is {label:.4g}, but {integral}"
            yield Finding(WARNING, "labels against density", text, (density.id,))
    spinless = tuple(
        density.id for density in facts if math.isnan(density.moment) and labels[density.id] > MOMENT_TOLERANCE
    )
    if spinless:
        text = f"{some_of(spinless)}: a magnetic_moment is given, but the file holds no magnetization to learn it from"
        yield Finding(NOTE, "labels against density", text, spinless)


def _disagreement(
    name: str,
    wrong: Mapping[str, float],
    labels: Mapping[str, float],
    own: Mapping[str, float],
    *,
    n_atoms: Mapping[str, int],
) -> Finding:
    """Finding on labels that differ from the cell's own values.

    Args:
        name: of the property.
        wrong: label divided by the cell's value, by id, where these differ.
        labels: by id.
        own: the cell's values, by id.
        n_atoms: atoms in the cell, by id.
    """
    factor = float(np.median(list(wrong.values())))
    reason = "from another structure than the density?"
    if factor > 0 and all(_is_near(ratio, factor) for ratio in wrong.values()):
        unit = next((text for known, text in _OTHER_UNITS[name].items() if _is_near(factor, known)), "")
        reason = f"in {unit}?" if unit else reason
    if name == "volume_per_atom" and all(_is_near(ratio, n_atoms[key]) for key, ratio in wrong.items()):
        reason = "the volume of the whole cell?"
    cases = some_of([f"{labels[key]:.5g} instead of {own[key]:.5g} ({key})" for key in wrong])
    text = f"{name} of {len(wrong)} of {len(labels)} rows is not that of the density's cell: {cases}; {reason}"
    return Finding(WARNING, "labels against density", text, tuple(wrong))


def _is_near(ratio: float, factor: float) -> bool:
    return abs(ratio / factor - 1) <= LABEL_TOLERANCE


def _mass(density: DensityFacts) -> float:
    """Mass of the cell, in g/cm³ times Å³."""
    masses = (atomic_masses[atomic_numbers[symbol]] * count for symbol, count in density.elements.items())
    return float(sum(masses)) * _GRAMS_PER_CM3
