"""Densities of a folder against each other and against their labels."""

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
"""Relative difference of two spectra up to which two densities are the same one.

Rounding to float16 makes 1e-4 of it; of 219 bundled crystals the closest, sodium in bcc with lattices 0.2 % apart,
differ by 7e-3.
"""
SAME_LABEL = 0.01
SAME_VALENCE = 0.1
"""Electrons per formula unit."""
LABEL_TOLERANCE = 0.03
MOMENT_TOLERANCE = 0.1
_FORMULAS_TO_FIT = 3000

# In what readers warn of: counts that cannot be right, unlike those that are merely odd.
_CONTRADICTIONS = ("electrons, but ", "is larger than the number of electrons")
_GRAMS_PER_CM3 = 1.66053907  # of 1 u/Å³
_OTHER_UNITS = {
    "volume_per_atom": {Bohr**-3: "bohr³ instead of Å³", 1e-3: "nm³ instead of Å³"},
    "cell_volume": {Bohr**-3: "bohr³ instead of Å³", 1e-3: "nm³ instead of Å³"},
    "mass_density": {1e3: "kg/m³ instead of g/cm³", 1 / _GRAMS_PER_CM3: "u/Å³ instead of g/cm³"},
}
# By what powers of bohr (in Å) and of the volume the electrons change where values are not what their format says.
_OTHER_FIELDS = (
    ("values in e/Å³ where e/bohr³ is expected (6.748 times as many)", 3, 0),
    ("values in e/bohr³ where e/Å³ is expected (6.748 times too few)", -3, 0),
    ("values already divided by the cell volume, in e/Å³", 0, 1),
    ("values already divided by the cell volume, in e/bohr³", -3, 1),
)


def check_reading(facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    """Files that cannot be used, electron counts that others contradict, and what readers warned of."""
    for one in facts:
        if one.error:
            yield Finding(ERROR, "reading", f"{one.id}: {one.error}", (one.id,))
    warned = defaultdict(list)
    for one in facts:
        for warning in one.summary.warnings if one.summary else ():
            level = WARNING if any(phrase in warning for phrase in _CONTRADICTIONS) else NOTE
            warned[level, re.sub(r"[-+]?\d[\d.e+-]*", "#", warning)].append((one.id, warning))
    for (level, _), pairs in warned.items():
        names = tuple(name for name, _ in pairs)
        yield Finding(level, "reader", f"{some_of(names)}: {'e.g. ' if len(pairs) > 1 else ''}{pairs[0][1]}", names)
    nameless = tuple(one.id for one in facts if not one.error and not one.formula)
    if nameless:
        text = (
            f"{some_of(nameless)}: the file names no elements; add a column formula, so that splits keep kin together"
        )
        yield Finding(NOTE, "species", text, nameless)


def check_duplicates(
    samples: Mapping[str, Sample], facts: Sequence[DensityFacts], properties: Sequence[Property]
) -> Iterator[Finding]:
    """Densities that are there twice, and their labels where these differ."""
    by_id = {one.id: one for one in facts}
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
                said = some_of([f"{label:.6g} ({name})" for name, label in known.items()])
                text = f"{declared.name} of one and the same density is {said}; correct one or remove it"
                yield Finding(WARNING, "conflicting labels", text, tuple(known))


def _differ(declared: Property, labels: Mapping[str, float], volumes: Mapping[str, float]) -> bool:
    """Are these other labels, not the same one rounded? What grows with the cell counts per volume."""
    if len(labels) < 2:
        return False
    scaled = [label if declared.intensive else label / volumes[name] for name, label in labels.items()]
    tolerance = 0 if declared.is_class else SAME_LABEL * max(map(abs, scaled))
    return max(scaled) - min(scaled) > tolerance


def _equal_files(samples: Sequence[Sample]) -> list[tuple[str, ...]]:
    """Ids whose files are copies of each other; entries of one archive are none."""
    groups: list[list[Sample]] = []
    for one in (sample for sample in samples if sample.path.is_file()):
        same = (group for group in groups if filecmp.cmp(group[0].path, one.path, shallow=False))
        group = next(same, [])
        if not group:
            groups.append(group)
        if one.path not in {other.path for other in group}:
            group.append(one)
    return [tuple(one.id for one in group) for group in groups if len(group) > 1]


def same_densities(facts: Sequence[DensityFacts]) -> list[tuple[str, ...]]:
    """Groups of ids whose densities are the same up to shift, rotation, choice of cell, grid and rounding.

    What is the same as one of a group belongs to it.
    """
    usable = sorted((one for one in facts if not one.error), key=lambda one: one.spectrum[0])
    if len(usable) < 2:
        return []
    spectra = np.array([one.spectrum for one in usable])
    means, (waves, spins) = spectra[:, 0], np.split(spectra[:, 1:], 2, axis=1)
    scales = np.linalg.norm(waves, axis=1) + SAME_DENSITY * means
    pairs: list[tuple[int, int]] = []
    for at in range(len(usable)):
        end = int(np.searchsorted(means, means[at] * (1 + SAME_DENSITY), side="right"))
        far = np.maximum(*(np.linalg.norm(one[at + 1 : end] - one[at], axis=1) for one in (waves, spins)))
        pairs += [(at, int(other)) for other in at + 1 + np.flatnonzero(far <= SAME_DENSITY * scales[at])]
    if not pairs:
        return []
    links = scipy.sparse.coo_array((np.ones(len(pairs)), np.transpose(pairs)), shape=(len(usable), len(usable)))
    _, group = scipy.sparse.csgraph.connected_components(links, directed=False)
    members = defaultdict(list)
    for number, one in zip(group.tolist(), usable, strict=True):
        members[number].append(one.id)
    order = {one.id: at for at, one in enumerate(facts)}
    found = [tuple(sorted(names, key=order.__getitem__)) for names in members.values() if len(names) > 1]
    return sorted(found, key=lambda names: order[names[0]])


def check_electrons(facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    """Formulas whose files hold different numbers of electrons or fit no common valences, and impossible numbers."""
    formulas = _by_formula(facts)
    for formula, files in formulas.items():
        usual, *odd = _clusters(files)
        if odd:
            said = "; ".join(f"{np.median(list(one.values())):.2f} in {some_of(list(one))}" for one in (usual, *odd))
            text = f"{formula}: electrons per formula unit differ: {said}: other pseudopotentials or a damaged file?"
            yield Finding(WARNING, "electrons", text, tuple(name for one in odd for name in one))
    fitted = _fit_valences(facts)
    for formula, files in formulas.items():
        count = _usual_count(files)
        wanted = fitted.electrons.get(formula, count)
        if abs(count - wanted) > SAME_VALENCE:
            text = (
                f"{formula} ({some_of(list(files))}): {count:.2f} electrons per formula unit, but {wanted:.2f} by the "
                "valence electrons that the other formulas give its elements: other pseudopotentials or a damaged file?"
            )
            yield Finding(WARNING, "electrons", text, tuple(files))
    impossible = _impossible_counts(facts)
    if impossible is not None:
        yield impossible
        return
    odd = {symbol: count for symbol, count in fitted.valences.items() if count < 0.9 or not _is_whole(count, 0.05)}
    if odd:
        said = some_of([f"{symbol} {count:.2f}" for symbol, count in odd.items()])
        text = (
            f"electrons per atom should be whole numbers of at least 1, but are {said}: damaged files or another unit?"
        )
        yield Finding(WARNING, "electrons", text)


def _impossible_counts(facts: Sequence[DensityFacts]) -> Finding | None:
    """Are most files' electrons no whole number, fewer than atoms or more than protons? Would a unit explain it?"""
    known = [one for one in facts if one.n_atoms]
    odd = [one for one in known if not _is_possible(one, one.n_electrons)]
    if len(odd) < 2 or 2 * len(odd) < len(known):
        return None
    reason = "damaged files or another unit?"
    for what, bohr_power, volume_power in _OTHER_FIELDS:
        counts = [one.n_electrons * Bohr**bohr_power * one.volume**volume_power for one in odd]
        if all(map(_is_possible, odd, counts)):
            reason = f"{what}, which would make it {some_of([f'{count:.2f}' for count in counts])}?"
            break
    cases = some_of([f"{one.n_electrons:.4g} in {one.id} of {counted(one.n_atoms, 'atom')}" for one in odd])
    text = f"electrons should be whole numbers, from one per atom to its protons, but are {cases}: {reason}"
    return Finding(WARNING, "electrons", text, tuple(one.id for one in odd))


def _is_possible(one: DensityFacts, count: float) -> bool:
    """Could the cell hold that many electrons?"""
    protons = sum(atomic_numbers[symbol] * atoms for symbol, atoms in one.elements.items())
    return _is_whole(count) and one.n_atoms - 0.5 < count < protons + 1.5


def _is_whole(count: float, tolerance: float = 0.0) -> bool:
    return abs(count - round(count)) <= max(tolerance or WHOLE_ELECTRONS_TOLERANCE, 5e-4 * count)


def valence_electrons(facts: Sequence[DensityFacts]) -> dict[str, float]:
    """Electrons per atom of each element, where the folder's densities determine it."""
    return _fit_valences(facts).valences


@dataclass(frozen=True)
class _Fit:
    """Common valence electrons.

    valences: per element, only those that are determined.
    electrons: per formula unit, what the valences of all elements add up to.
    """

    valences: dict[str, float]
    electrons: dict[str, float]


def _fit_valences(facts: Sequence[DensityFacts]) -> _Fit:
    """Valences by which the fewest formulas are wrong: least absolute deviations per atom, from 0 to Z electrons.

    A few thousand formulas tell as much as all.
    """
    formulas = _by_formula(facts)
    if not formulas:
        return _Fit({}, {})
    elements = sorted({symbol for one in facts for symbol in one.elements})
    cells = {one.formula: one for one in facts if one.n_formula_units}
    atoms = np.array(
        [[cells[name].elements.get(one, 0) / cells[name].n_formula_units for one in elements] for name in formulas]
    )
    counts = np.array([_usual_count(files) for files in formulas.values()])
    sizes = atoms.sum(axis=1)
    # More electrons than protons, which the reader warns of, say nothing of a valence.
    possible = np.flatnonzero(counts <= atoms @ [atomic_numbers[one] for one in elements] + SAME_VALENCE)
    if not len(possible):
        return _Fit({}, {})
    chosen = possible[:: math.ceil(len(possible) / _FORMULAS_TO_FIT)]
    shares, targets = atoms[chosen] / sizes[chosen, None], counts[chosen] / sizes[chosen]
    # Unknowns: a valence per element, and per formula how far it is above and below the fit.
    slack = scipy.sparse.eye_array(len(chosen))
    fit = scipy.optimize.linprog(
        np.repeat([0.0, 1.0], [len(elements), 2 * len(chosen)]),
        A_eq=scipy.sparse.hstack([scipy.sparse.csr_array(shares), slack, -slack]),
        b_eq=targets,
        bounds=[*((0, atomic_numbers[one]) for one in elements), *[(0, None)] * (2 * len(chosen))],
    )
    valences = fit.x[: len(elements)]
    fitting = shares[abs(shares @ valences - targets) * sizes[chosen] <= SAME_VALENCE]
    values, vectors = np.linalg.eigh(fitting.T @ fitting)
    undetermined = np.abs(vectors[:, values <= 1e-9]).max(axis=1, initial=0.0) > 1e-6
    known = {symbol: float(valences[at]) for at, symbol in enumerate(elements) if not undetermined[at]}
    names = list(formulas)
    return _Fit(known, {names[at]: float(atoms[at] @ valences) for at in possible})


def _by_formula(facts: Sequence[DensityFacts]) -> dict[str, dict[str, float]]:
    """Electrons per formula unit by id, for each reduced formula whose atoms are known."""
    formulas: dict[str, dict[str, float]] = defaultdict(dict)
    for one in facts:
        if one.n_formula_units:
            formulas[one.formula][one.id] = one.n_electrons / one.n_formula_units
    return dict(formulas)


def _clusters(files: Mapping[str, float]) -> list[dict[str, float]]:
    """Ids whose counts agree, the largest group first."""
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
    """Labels that the density's own cell, atoms and magnetization contradict."""
    names = {declared.name for declared in properties}
    usable = [one for one in facts if not one.error]
    by_cell = {
        "volume_per_atom": {one.id: one.volume / one.n_atoms for one in usable if one.n_atoms},
        "cell_volume": {one.id: one.volume for one in usable},
        "mass_density": {one.id: _mass(one) / one.volume for one in usable if one.n_atoms},
    }
    for name in names & set(by_cell):
        own = by_cell[name]
        labels = {key: samples[key].labels[name] for key in own if not math.isnan(samples[key].labels[name])}
        ratios = {key: label / own[key] for key, label in labels.items()}
        wrong = {key: ratio for key, ratio in ratios.items() if not _is_near(ratio, 1)}
        if wrong:
            yield _disagreement(name, wrong, labels, own, n_atoms={one.id: one.n_atoms for one in usable})
    if "magnetic_moment" in names:
        yield from _check_moments(samples, usable)


def _check_moments(samples: Mapping[str, Sample], facts: Sequence[DensityFacts]) -> Iterator[Finding]:
    labels = {one.id: samples[one.id].labels["magnetic_moment"] for one in facts}
    for one in facts:
        label = labels[one.id]
        if abs(abs(one.moment) - label) > max(MOMENT_TOLERANCE, LABEL_TOLERANCE * label):
            text = f"{one.id}: magnetic_moment is {label:.4g}, but the magnetization integrates to {one.moment:.4g} µB"
            yield Finding(WARNING, "labels against density", text, (one.id,))
    spinless = tuple(one.id for one in facts if math.isnan(one.moment) and labels[one.id] > MOMENT_TOLERANCE)
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
    """Finding on labels that are `wrong` times what the cell says."""
    factor = float(np.median(list(wrong.values())))
    reason = "from another structure than the density?"
    if factor > 0 and all(_is_near(ratio, factor) for ratio in wrong.values()):
        unit = next((what for one, what in _OTHER_UNITS[name].items() if _is_near(factor, one)), "")
        reason = f"in {unit}?" if unit else reason
    if name == "volume_per_atom" and all(_is_near(ratio, n_atoms[key]) for key, ratio in wrong.items()):
        reason = "the volume of the whole cell?"
    cases = some_of([f"{labels[key]:.5g} instead of {own[key]:.5g} ({key})" for key in wrong])
    text = f"{name} of {len(wrong)} of {len(labels)} rows is not that of the density's cell: {cases}; {reason}"
    return Finding(WARNING, "labels against density", text, tuple(wrong))


def _is_near(ratio: float, factor: float) -> bool:
    return abs(ratio / factor - 1) <= LABEL_TOLERANCE


def _mass(one: DensityFacts) -> float:
    """Mass of the cell, in g/cm³ times Å³."""
    masses = (atomic_masses[atomic_numbers[symbol]] * count for symbol, count in one.elements.items())
    return float(sum(masses)) * _GRAMS_PER_CM3
