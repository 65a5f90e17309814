"""Densities against each other and against their labels, on crystals made in code."""

import dataclasses
import math

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr

from rhonet.core.properties import PROPERTIES, Property
from rhonet.data.checks.densities import (
    check_duplicates,
    check_electrons,
    check_labels_by_density,
    check_reading,
    same_densities,
    valence_electrons,
)
from rhonet.data.checks.facts import DensityFacts, gather_facts
from rhonet.data.checks.summary import summarize_density
from rhonet.data.descriptors import radial_spectrum
from rhonet.data.folder import Sample, read_folder
from rhonet.data.groups import chemical_system, reduced_formula
from tests.conftest import REPOSITORY
from tests.crystals import smooth_density
from tests.synthetic import atoms_of, chgcar_text, cube_text, random_density, write_archive

VALENCES = {"Na": 1, "Cl": 7, "K": 9, "O": 6, "Mg": 2}


def facts_of(name, symbols, *, electrons=None, seed=0, blocks=1):
    """Facts of a random crystal with the usual valences, or with that many electrons in the cell."""
    density = random_density(seed=seed, symbols=symbols, blocks=blocks)
    atoms = atoms_of(density).get_chemical_symbols()
    count = sum(VALENCES[symbol] for symbol in atoms) if electrons is None else electrons
    density = random_density(seed=seed, symbols=symbols, blocks=blocks, n_electrons=count)
    summary = summarize_density(f"{name}.cube", density)
    return DensityFacts(
        name,
        f"{name}.cube",
        summary=summary,
        formula=reduced_formula(atoms),
        chemical_system=chemical_system(atoms),
        elements={symbol: atoms.count(symbol) for symbol in atoms},
        spectrum=tuple(radial_spectrum(density).tolist()),
    )


def summary_of(facts):
    assert facts.summary is not None
    return facts.summary


def samples_of(tmp_path, **labels):
    """Rows with these labels: id = {property: label}."""
    names = {name for row in labels.values() for name in row}
    full = {key: dict.fromkeys(names, math.nan) | row for key, row in labels.items()}
    return {key: Sample(key, f"{key}.cube", tmp_path / f"{key}.cube", None, 2, labels=row) for key, row in full.items()}


def texts(findings):
    return [finding.text for finding in findings]


def test_odd_electron_count_within_a_formula_is_found():
    facts = [facts_of("a", "NaCl"), facts_of("b", "Na2Cl2"), facts_of("c", "NaCl", electrons=9.97)]
    (found,) = check_electrons(facts)
    assert (found.level, found.ids) == ("warning", ("c",))
    assert found.text.startswith("ClNa: electrons per formula unit differ: 8.00 in a, b; 9.97 in c: other pseudo")


def test_formula_that_fits_no_common_valence_is_found():
    symbols = ("NaCl", "KCl", "KMgCl3", "MgO", "Na2O", "K2O", "MgCl2")
    facts = [facts_of(name, name, electrons=14 + 2 if name == "K2O" else None) for name in symbols]
    (found,) = check_electrons(facts)
    assert found.ids == ("K2O",)
    assert "16.00 electrons per formula unit, but 24.00 by the valence electrons" in found.text
    assert list(check_electrons([facts_of(name, name) for name in symbols])) == []


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (lambda volume: Bohr**-3, "values in e/Å³ where e/bohr³ is expected"),
        (lambda volume: Bohr**3, "values in e/bohr³ where e/Å³ is expected"),
        (
            lambda volume: 1 / volume,
            "values already divided by the cell volume, in e/Å³, which would make it 8.00, 16.",
        ),
        (lambda volume: Bohr**3 / volume, "values already divided by the cell volume, in e/bohr³"),
        (lambda volume: 0.777, "damaged files or another unit?"),
    ],
)
def test_impossible_counts_across_a_folder_are_a_warning_with_the_unit(factor, says):
    counts = {"NaCl": 8, "KCl": 16, "MgO": 8}
    facts = [facts_of(name, name, electrons=count * factor(VOLUME)) for name, count in counts.items()]
    (found,) = check_electrons(facts)
    assert (found.level, found.ids) == ("warning", tuple(counts))
    assert says in found.text
    lone, *_ = check_electrons([facts[0], facts_of("a", "NaCl"), facts_of("b", "NaCl")])
    assert lone.text.startswith("ClNa: electrons per formula unit differ")


@pytest.mark.parametrize("electrons", [0.5, 1.5])
def test_valence_that_is_no_whole_number_is_a_warning(electrons):
    (found,) = check_electrons([facts_of("a", "Na2", electrons=2 * electrons), facts_of("b", "Mg")])
    assert "electrons per atom should be whole numbers of at least 1, but are Na" in found.text


def test_valences_are_given_where_they_are_determined():
    assert valence_electrons([facts_of("a", "NaCl"), facts_of("b", "Mg")]) == pytest.approx({"Mg": 2})
    full = valence_electrons([facts_of(name, name) for name in ("NaCl", "Na2O", "MgO", "MgCl2", "KCl", "Na")])
    assert full == pytest.approx(VALENCES, abs=1e-6)
    assert valence_electrons([facts_of("a", "Mg", electrons=500)]) == {}
    assert valence_electrons([]) == {}


@pytest.fixture
def twins(tmp_path):
    """One crystal as CHGCAR, cube and entry of an archive, a copy of the cube, and another crystal."""
    density = smooth_density(1, spin=False)
    (tmp_path / "CHGCAR").write_text(chgcar_text(density))
    for name in ("one.cube", "copy.cube"):
        (tmp_path / name).write_text(cube_text(density, origin=(0.3, 0.1, 0.2)))
    (tmp_path / "other.cube").write_text(cube_text(smooth_density(2)))
    write_archive(tmp_path / "many.h5", {"stored": density})
    rows = "id,file,band_gap,is_metal,magnetic_moment\na,CHGCAR,1,0,2\nb,one.cube,1.005,1,2\n"
    rows += "stored,many.h5,,0,2\nc,other.cube,3,0,5\n"
    (tmp_path / "properties.csv").write_text(rows)
    return tmp_path


def test_one_crystal_in_several_formats_is_found_with_its_conflicting_labels(twins):
    folder = read_folder(twins)
    facts = list(gather_facts(folder.samples))
    assert same_densities(facts) == [("a", "b", "stored")]
    samples = {sample.id: sample for sample in folder.samples}
    same, conflict = check_duplicates(samples, facts, folder.properties)
    assert "perhaps in another format, cell or origin: a (CHGCAR), b (one.cube), stored (many.h5)" in same.text
    assert (conflict.check, conflict.ids) == ("conflicting labels", ("a", "b", "stored"))
    assert conflict.text.startswith("is_metal of one and the same density is 0 (a), 1 (b), 0 (stored); correct one")


def test_copied_file_is_called_a_copy(twins):
    (twins / "properties.csv").write_text("id,file,band_gap\na,one.cube,1\nb,copy.cube,2\n")
    folder = read_folder(twins)
    same, conflict = check_duplicates(
        {sample.id: sample for sample in folder.samples}, list(gather_facts(folder.samples)), folder.properties
    )
    assert "byte for byte: a (one.cube), b (copy.cube); keep one" in same.text
    assert "band_gap of one and the same density is 1 (a), 2 (b)" in conflict.text


def test_copies_among_other_forms_are_named(twins):
    table = "id,file,band_gap\na,CHGCAR,1\nb,one.cube,1\nstored,many.h5,1\nd,copy.cube,1\n"
    (twins / "properties.csv").write_text(table)
    folder = read_folder(twins)
    samples = {sample.id: sample for sample in folder.samples}
    (same,) = check_duplicates(samples, list(gather_facts(folder.samples)), folder.properties)
    assert "perhaps in another format, cell or origin: a (CHGCAR), b (one.cube)" in same.text
    assert same.text.endswith("(byte for byte: b = d); keep one")


def test_what_is_near_one_of_a_group_belongs_to_it():
    """A is like C and B is like C, but A is not like B; also where the order by mean puts C between or outside."""
    first = facts_of("a", "NaCl")
    mean, *waves = first.spectrum
    length = np.linalg.norm(waves[: len(waves) // 2])
    facts = []
    for name, mean_step, wave_step in (("a", 0, -0.7e-3), ("b", 1e-5, 0.7e-3), ("c", 2e-5, 0.0)):
        spectrum = (mean * (1 + mean_step), waves[0] + wave_step * length, *waves[1:])
        facts.append(dataclasses.replace(first, id=name, spectrum=spectrum))
    assert same_densities(facts[:2]) == []
    assert same_densities(facts) == [("a", "b", "c")]


def test_spin_tells_ferromagnet_from_antiferromagnet():
    up = facts_of("a", "NaCl", blocks=2)
    none = facts_of("b", "NaCl", blocks=1)
    assert same_densities([up, none]) == []
    assert same_densities([up, facts_of("c", "NaCl", blocks=2)]) == [("a", "c")]


def test_labels_that_grow_with_the_cell_conflict_per_volume(tmp_path):
    facts = [facts_of("a", "NaCl"), facts_of("b", "NaCl")]
    facts[1] = dataclasses.replace(
        facts[1], summary=dataclasses.replace(summary_of(facts[1]), volume=2 * facts[0].volume)
    )
    samples = samples_of(tmp_path, a={"magnetic_moment": 2.0}, b={"magnetic_moment": 4.0})
    assert len(list(check_duplicates(samples, facts, [PROPERTIES["magnetic_moment"]]))) == 1
    intensive = Property("magnetic_moment")
    assert len(list(check_duplicates(samples, facts, [intensive]))) == 2


VOLUME = facts_of("a", "NaCl").volume
MASS = sum(atomic_masses[atomic_numbers[symbol]] for symbol in ("Na", "Cl"))


@pytest.mark.parametrize(
    ("name", "label", "says"),
    [
        ("volume_per_atom", VOLUME / 2, ""),
        ("volume_per_atom", VOLUME / 2 / 0.529177**3, "in bohr³ instead of Å³?"),
        ("volume_per_atom", VOLUME, "the volume of the whole cell?"),
        ("volume_per_atom", VOLUME / 2 * 1.2, "from another structure than the density?"),
        ("cell_volume", VOLUME * 0.99, ""),
        ("cell_volume", VOLUME / 2, "from another structure"),
        ("cell_volume", 0.0, "from another structure"),
        ("mass_density", MASS * 1.66054 / VOLUME, ""),
        ("mass_density", MASS * 1660.54 / VOLUME, "in kg/m³ instead of g/cm³?"),
    ],
)
def test_label_is_compared_with_the_cell(tmp_path, name, label, says):
    found = texts(
        check_labels_by_density(
            samples_of(tmp_path, a={name: label}), [facts_of("a", "NaCl")], [PROPERTIES[name], PROPERTIES["band_gap"]]
        )
    )
    assert len(found) == bool(says)
    assert all(says in text and f"{name} of 1 of 1 rows is not that" in text for text in found)


def test_moment_is_compared_with_the_magnetization(tmp_path):
    facts = [facts_of("a", "NaCl", blocks=2), facts_of("b", "NaCl", blocks=2), facts_of("c", "NaCl")]
    moment = abs(facts[0].moment)
    samples = samples_of(
        tmp_path,
        a={"magnetic_moment": moment},
        b={"magnetic_moment": moment + 1},
        c={"magnetic_moment": 1.0},
    )
    wrong, spinless = check_labels_by_density(samples, facts, [PROPERTIES["magnetic_moment"]])
    assert (wrong.level, wrong.ids) == ("warning", ("b",))
    assert (spinless.level, spinless.ids) == ("note", ("c",))


def test_what_readers_say_is_gathered_and_contradictions_are_warnings(tmp_path):
    for seed, electrons in enumerate((8.5, 9.5, 100)):
        (tmp_path / f"{seed}.cube").write_text(cube_text(random_density(seed=seed, n_electrons=electrons)))
    (tmp_path / "cut.cube").write_text("x\n")
    paths = sorted(tmp_path.glob("*.cube"))
    facts = list(gather_facts([Sample(path.stem, path.name, path, None, 2, labels={}) for path in paths]))
    failed, odd, wrong = check_reading(facts)
    assert (failed.level, failed.ids) == ("error", ("cut",))
    assert (odd.level, odd.ids) == ("note", ("0", "1"))
    assert "e.g. Integrates to 8.5 electrons, which is no whole number" in odd.text
    assert (wrong.level, wrong.ids) == ("warning", ("2",))
    assert "nuclei hold only 28 protons" in wrong.text


@pytest.mark.slow
def test_bundled_crystals_show_no_problem_and_whole_valences():
    folder = read_folder(REPOSITORY / "tfds_builders/dft_crystals/archive")
    facts = list(gather_facts(folder.samples[::2]))
    samples = {sample.id: sample for sample in folder.samples}
    assert {finding.level for finding in check_reading(facts)} <= {"note"}
    assert list(check_duplicates(samples, facts, folder.properties)) == []
    assert list(check_electrons(facts)) == []
    assert list(check_labels_by_density(samples, facts, folder.properties)) == []
    valences = np.array(list(valence_electrons(facts).values()))
    assert len(valences) > 30
    # float16 costs 1e-4 of the electrons.
    np.testing.assert_allclose(valences, np.round(valences), atol=5e-3)
