"""The table of results: formation energies, flags, and a folder that rhonet and the packing tool can read."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from rhonet.data.folder import read_folder
from rhonet.formats import read_density
from tests.conftest import REPOSITORY
from tests.synthetic import density_of, spin_of
from tools.dft.candidates import named_candidate
from tools.dft.errors import GenerateError
from tools.dft.formation import formation_energies, formation_energy, lowest_energies
from tools.dft.records import CrystalRecord, ReferenceRecord, crystal_record, record_text, reference_record
from tools.dft.references import ReferenceEnergy, bundled_energies
from tools.dft.store import Store
from tools.dft.table import formula, table_text
from tools.pack_crystals import pack

ARCHIVE = REPOSITORY / "tfds_builders" / "dft_crystals" / "archive"


def record_of(name, **changes):
    one = named_candidate(name)
    known = {
        "id": name,
        "family": "",
        "prototype": one.prototype,
        "elements": one.elements,
        "cutoff": 16.0,
        "n_electrons": 8.0,
        "volume": 40.0,
        "energy": -10.0,
        "mass_density": 3.0,
        "bulk_modulus": 50.0,
        "bulk_modulus_from_stress": 52.0,
        "fermi_energy": 1.0,
        "band_gap": 0.0,
        "band_width": 4.0,
        "moment": 0.0,
        "moments": (0.0, 0.0, 0.0),
        "sphere_overlap": 0.9,
        "log_volume_ratio": 0.0,
        "band_path_error": "",
        "density_volume": 40.1,
        "pressure": -0.1,
        "seconds": 3.0,
    }
    return CrystalRecord(**{**known, **changes})


def energies_of(**values):
    """Of names like Na_16: an element and a cut-off."""
    split = {key: key.partition("_") for key in values}
    return {(split[key][0], split[key][2]): ReferenceEnergy(value, key) for key, value in values.items()}


def density_for(record, *, spin=False):
    rng = np.random.default_rng(0)
    symbols = "".join(record.symbols)
    magnetization = rng.random((6, 5, 4)) if spin else None
    return density_of(
        1 + rng.random((6, 5, 4)), symbols=symbols, n_electrons=record.n_electrons, magnetization=magnetization
    )


def test_records_survive_their_text():
    record = record_of("rocksalt_Na_Cl", moments=(1.0, 1.1, 0.9))
    assert crystal_record(record_text(record)) == record
    reference = ReferenceRecord("reference_Na", "Na", {"16": -1.0}, 2.0)
    assert reference_record(record_text(reference)) == reference
    with pytest.raises(ValueError, match="not a CrystalRecord"):
        crystal_record(record_text(reference))


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"bulk_modulus": 4.0, "bulk_modulus_from_stress": 4.0}, "soft"),
        ({"bulk_modulus_from_stress": 66.0}, "eos_stress_mismatch"),
        ({"moment": 2.0, "moments": (2.0, 0.5, 2.1)}, "moment_jump"),
        ({"sphere_overlap": 1.4}, "paw_overlap"),
        ({"band_path_error": "why"}, "nscf"),
    ],
)
def test_doubts_are_flagged(changes, flag):
    assert record_of("rocksalt_Na_Cl").flags == []
    assert record_of("rocksalt_Na_Cl", **changes).flags == [flag]


def test_formation_energy_is_counted_per_atom_at_the_crystals_cutoff():
    energies = energies_of(Na_16=-4.0, Cl_16=-2.0, Na_20=-40.0, Cl_20=-20.0)
    assert formation_energy(record_of("rocksalt_Na_Cl", energy=-5.0), energies) == pytest.approx(-2.0)
    assert formation_energy(record_of("fluorite_Na_Cl", energy=-5.0), energies) == pytest.approx(-5 + 8 / 3)
    assert formation_energy(record_of("rocksalt_Na_Cl", energy=-35.0, cutoff=20.0), energies) == pytest.approx(-5.0)


def test_formation_energy_is_empty_without_a_reference():
    assert formation_energy(record_of("rocksalt_Na_Cl"), energies_of(Na_16=-4.0)) is None
    assert formation_energy(record_of("rocksalt_Na_Cl", cutoff=20.0), energies_of(Na_16=-4.0, Cl_16=-2.0)) is None


def test_lower_polymorph_becomes_the_reference_at_both_cutoffs():
    base = energies_of(Ca_16=-10.0, Ca_20=-10.5)
    lowest = lowest_energies(base, [], [record_of("fcc_Ca", energy=-10.1), record_of("bcc_Ca", energy=-9.0)])
    assert lowest["Ca", "16"] == ReferenceEnergy(-10.1, "fcc_Ca")
    assert lowest["Ca", "20"].energy == pytest.approx(-10.6)


def test_polymorph_without_a_listed_reference_counts_for_nothing():
    assert lowest_energies({}, [], [record_of("fcc_Ca")]) == {}
    own = lowest_energies({}, [ReferenceRecord("reference_Ca", "Ca", {"16": -9.0}, 1.0)], [record_of("fcc_Ca")])
    assert own["Ca", "16"].energy == -10.0


def test_formation_energies_of_the_bundled_set_come_out():
    with (ARCHIVE / "properties.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    energies = formation_energies(rows.values())
    assert energies == {name: row["formation_energy_per_atom"] for name, row in rows.items() if name in energies}
    # Nobody computed the elements of the others.
    assert {row["chemical_system"] for name, row in rows.items() if name not in energies} == {"He", "Pr"}
    assert float(energies["bcc_Na"]) == 0.0
    assert float(energies["fcc_Cl"]) > 0.8, "chlorine is a molecule"


def test_formation_energies_of_other_tables_are_left_alone():
    row = {"id": "one", "formula": "ClNa", "total_energy_per_atom": "-5.0"}
    assert formation_energies([row, {**row, "settings": "PBE"}, {**row, "settings": "B", "formula": "HePr"}]) == {}
    assert formation_energies([{"id": "one", "settings": "B", "formula": "ClNa", "total_energy_per_atom": ""}]) == {}


def test_formula_is_alphabetical():
    assert formula(("Zn", "Be", "Be", "Be")) == "Be3Zn"


def test_table_has_the_columns_of_the_bundled_set():
    header = table_text([record_of("rocksalt_Na_Cl")], {}).splitlines()[0]
    assert header == (ARCHIVE / "properties.csv").read_text().splitlines()[0]


def test_row_says_what_the_record_says():
    record = record_of("fluorite_Ca_F", band_gap=7.0, moments=(0.0, 0.0, 0.0), bulk_modulus_from_stress=90.0)
    (row,) = csv.DictReader(io.StringIO(table_text([record], {})))
    assert (row["formula"], row["chemical_system"], row["n_atoms"]) == ("CaF2", "Ca-F", "3")
    assert (row["is_metal"], row["flags"], row["settings"]) == ("0", "eos_stress_mismatch", "B")
    assert float(row["volume_per_atom"]) == pytest.approx(40 / 3, abs=1e-6)
    assert row["formation_energy_per_atom"] == ""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "out", bundled_energies())


def test_folder_is_one_that_rhonet_reads(store):
    for name, spin in (("rocksalt_Na_Cl", False), ("CsCl_Li_Co", True)):
        record = record_of(name)
        store.add_crystal(record, density_for(record, spin=spin))
    folder = read_folder(store.path)
    assert [sample.id for sample in folder.samples] == ["CsCl_Li_Co", "rocksalt_Na_Cl"]
    assert folder.functional == "PBE"
    magnetic, plain = (read_density(sample.path, entry=sample.entry) for sample in folder.samples)
    expected = density_for(record_of("CsCl_Li_Co"), spin=True)
    np.testing.assert_allclose(magnetic.values, expected.values, rtol=1e-6)
    np.testing.assert_allclose(spin_of(magnetic), spin_of(expected), rtol=1e-6)
    assert plain.magnetization is None
    assert plain.n_electrons == pytest.approx(8.0, rel=1e-6)


def test_folder_packs_into_the_bundled_archive(store, tmp_path):
    # Less stable than its elements by 1 eV per atom: nothing that packing takes for a failed calculation.
    energies = bundled_energies()
    record = record_of("rocksalt_K_I", energy=(energies["K", "16"].energy + energies["I", "16"].energy) / 2 + 1)
    store.add_crystal(record, density_for(record))
    dest = tmp_path / "archive"
    assert pack(store.path, dest).added == 1
    other = Store(tmp_path / "other", {})
    record = record_of("rocksalt_K_Br", energy=(energies["K", "16"].energy + energies["Br", "16"].energy) / 2 + 1)
    other.add_crystal(record, density_for(record))
    assert pack(other.path, dest).added == 1
    # Units, kinds and columns are those of the bundled archive.
    theirs = read_folder(ARCHIVE).properties
    assert [(one.name, one.unit, one.kind) for one in read_folder(dest).properties] == [
        (one.name, one.unit, one.kind) for one in theirs
    ]


def test_results_are_found_again(store):
    record = record_of("rocksalt_Na_Cl")
    store.add_crystal(record, density_for(record))
    store.add_reference(ReferenceRecord("reference_Na", "Na", {"16": -1.0}, 2.0))
    store.add_failure("rocksalt_K_Br", "why")
    again = Store(store.path, {})
    assert again.crystals == {"rocksalt_Na_Cl": record}
    assert again.known_elements() == {"Na"}
    assert again.failed == {"rocksalt_K_Br"}
    again.add_crystal(record_of("rocksalt_K_Br"), density_for(record_of("rocksalt_K_Br")))
    assert Store(store.path, {}).failed == set()


def test_crystal_without_its_record_is_not_finished(store):
    record = record_of("rocksalt_Na_Cl")
    store.add_crystal(record, density_for(record))
    (store.path / "records" / "rocksalt_Na_Cl.json").unlink()
    assert Store(store.path, {}).crystals == {}


def test_damaged_record_is_named(store):
    path = store.path / "records" / "rocksalt_Na_Cl.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": "rocksalt_Na_Cl"}))
    with pytest.raises(GenerateError, match=r"rocksalt_Na_Cl\.json: .*remove the file"):
        Store(store.path, {})


def test_two_commands_do_not_share_a_folder(store):
    scratch = store.scratch("left_over")
    scratch.mkdir(parents=True)
    with store.locked():
        assert not scratch.exists()
        with pytest.raises(GenerateError, match="another generate_dft works here"), Store(store.path, {}).locked():
            pass
    with Store(store.path, {}).locked():
        pass


@pytest.mark.parametrize("name", ["with blank", "with,comma", "x" * 160])
def test_paths_that_abinit_cannot_take_are_refused(name, tmp_path):
    with pytest.raises(GenerateError, match="ABINIT cannot take this path"):
        Store(Path(tmp_path) / name, {})
