"""Packing of the bundled archive: reproducible bytes, unchanged parts, rising versions."""

import time

import numpy as np
import pytest

from rhonet.core.regrid import storage_grid
from rhonet.data.folder import read_folder
from rhonet.formats import read_density
from tests.conftest import REPOSITORY
from tests.synthetic import random_density, write_archive
from tools import pack_crystals
from tools.pack_crystals import pack

HEADER = "id,file,formula,chemical_system,settings,band_gap\n"


def folder_of(path, crystals, gap="1.5"):
    """A folder as shared/dft is: one archive of {id: (settings, seed)} and its table."""
    path.mkdir()
    densities = {name: random_density((30, 28, 36), seed=seed, blocks=2) for name, (_, seed) in crystals.items()}
    write_archive(path / "densities-000.h5", densities)
    rows = [f"{name},densities-000.h5,NaCl,Cl-Na,{settings},{gap}\n" for name, (settings, _) in crystals.items()]
    (path / "properties.csv").write_text(HEADER + "".join(rows))
    (path / "dataset.toml").write_text('functional = "PBE"\n\n[properties.band_gap]\nunit = "eV"\n')
    return path


def files_of(dest):
    return {path.name: path.read_bytes() for path in dest.iterdir()}


@pytest.fixture
def source(tmp_path):
    return folder_of(tmp_path / "source", {"one": ("B", 1), "two": ("A", 2)})


def test_archive_holds_the_storage_grid_in_float16(source, tmp_path):
    packed = pack(source, tmp_path / "dest")
    assert (packed.added, packed.replaced, packed.version) == (2, 0, "1.0.0")
    archive = read_folder(tmp_path / "dest")
    assert archive.version == "1.0.0"
    assert "shorter plane waves were dropped" in archive.note
    for old, new in zip(read_folder(source).samples, archive.samples, strict=True):
        assert old.labels == new.labels
        expected = storage_grid(read_density(old.path, entry=old.entry), 0.25)
        stored = read_density(new.path, entry=new.entry)
        assert stored.magnetization is not None
        assert expected.magnetization is not None
        assert stored.atoms is not None
        assert expected.atoms is not None
        # Two roundings to 11 bits lie between them: the source's own and the archive's.
        np.testing.assert_allclose(stored.values, expected.values, rtol=2.0**-10)
        np.testing.assert_allclose(stored.magnetization, expected.magnetization, rtol=2.0**-10, atol=1e-9)
        np.testing.assert_array_equal(stored.lattice, expected.lattice)
        np.testing.assert_allclose(stored.atoms.get_scaled_positions(), expected.atoms.get_scaled_positions())
        assert stored.atoms.get_chemical_symbols() == expected.atoms.get_chemical_symbols()


def test_same_crystals_give_the_same_bytes(source, tmp_path):
    pack(source, tmp_path / "first")
    time.sleep(1.1)  # HDF5 stores times in whole seconds
    pack(source, tmp_path / "second")
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_packing_again_changes_nothing(source, tmp_path):
    dest = tmp_path / "dest"
    pack(source, dest)
    before = files_of(dest)
    assert pack(source, dest).parts == ()
    assert pack(dest, dest).parts == ()
    assert files_of(dest) == before


def test_new_crystals_go_to_a_further_part(source, tmp_path):
    dest = tmp_path / "dest"
    pack(source, dest)
    before = files_of(dest)
    packed = pack(folder_of(tmp_path / "more", {"three": ("B", 3)}), dest)
    assert (packed.added, packed.replaced, packed.version) == (1, 0, "1.1.0")
    assert files_of(dest)["densities-000.h5"] == before["densities-000.h5"]
    assert [(sample.id, sample.file) for sample in read_folder(dest).samples] == [
        ("one", "densities-000.h5"),
        ("two", "densities-000.h5"),
        ("three", "densities-001.h5"),
    ]


def test_crystal_computed_anew_replaces_its_row_and_keeps_the_old_part(source, tmp_path):
    dest = tmp_path / "dest"
    pack(source, dest)
    before = files_of(dest)
    anew = folder_of(tmp_path / "anew", {"one": ("B", 1), "two": ("B", 7)})
    packed = pack(anew, dest)
    assert (packed.added, packed.replaced, packed.version) == (0, 1, "2.0.0")
    assert files_of(dest)["densities-000.h5"] == before["densities-000.h5"]
    one, two = read_folder(dest).samples
    assert (one.file, two.file, two.bookkeeping["settings"]) == ("densities-000.h5", "densities-001.h5", "B")
    expected = storage_grid(read_density(anew / "densities-000.h5", entry="two"), 0.25)
    np.testing.assert_allclose(read_density(two.path, entry="two").values, expected.values, rtol=2.0**-10)
    after = files_of(dest)
    assert pack(source, dest).parts == ()
    assert files_of(dest) == after, "an older calculation must not replace a newer one"


def test_new_label_needs_no_new_part(source, tmp_path):
    dest = tmp_path / "dest"
    pack(source, dest)
    packed = pack(folder_of(tmp_path / "same", {"one": ("B", 1)}, gap="1.6"), dest)
    assert (packed.parts, packed.replaced, packed.version) == ((), 1, "2.0.0")
    assert [sample.labels["band_gap"] for sample in read_folder(dest).samples] == [1.6, 1.5]


def test_many_crystals_make_several_parts(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pack_crystals, "CRYSTALS_PER_PART", 1)
    packed = pack(source, tmp_path / "dest")
    assert [path.name for path, _ in packed.parts] == ["densities-000.h5", "densities-001.h5"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (HEADER + "one,densities-000.h5,MgO,Mg-O,B,1\n", "chemical system Mg-O is reserved"),
        (HEADER + "one,densities-000.h5,NaCl,,B,1\n", "has no chemical_system"),
        ("id,file,chemical_system,band_gap\none,densities-000.h5,Cl-Na,1\n", "has the columns id,file,chemical_system"),
    ],
)
def test_refused_crystals_leave_the_archive_alone(source, tmp_path, capsys, monkeypatch, table, message):
    dest = tmp_path / "dest"
    pack(source, dest)
    before = files_of(dest)
    monkeypatch.setattr(pack_crystals, "is_reserved", lambda system: system == "Mg-O")
    (source / "properties.csv").write_text(table)
    assert pack_crystals.main([str(source), str(dest)]) == 1
    assert message in capsys.readouterr().err
    assert files_of(dest) == before


def test_no_bundled_crystal_is_reserved():
    archive = read_folder(REPOSITORY / "tfds_builders/dft_crystals/archive")
    assert not [sample.id for sample in archive.samples if pack_crystals.is_reserved(sample.chemical_system)]


def test_bundled_crystals_are_small():
    archive = REPOSITORY / "tfds_builders/dft_crystals/archive"
    n_bytes = sum(path.stat().st_size for path in archive.iterdir())
    assert n_bytes / len(read_folder(archive).samples) < 15_000


def test_crystal_with_an_impossible_energy_is_left_out_and_named(source, tmp_path, capsys):
    table = (source / "properties.csv").read_text().splitlines()
    energies = ("formation_energy_per_atom", "-52.17", "")
    (source / "properties.csv").write_text(
        "".join(f"{row},{cell}\n" for row, cell in zip(table, energies, strict=True))
    )
    assert pack_crystals.main([str(source), str(tmp_path / "dest")]) == 0
    assert capsys.readouterr().err == "left out one: no crystal has such a formation energy\n"
    assert [sample.id for sample in read_folder(tmp_path / "dest").samples] == ["two"]


def test_formation_energies_refer_to_the_lowest_elements_of_the_whole_archive(tmp_path):
    """A sodium below the bundled reference, packed after its chloride, lowers what the chloride is counted from."""
    header = "id,file,formula,chemical_system,settings,total_energy_per_atom,formation_energy_per_atom\n"
    crystals = {"salt": ("ClNa", "Cl-Na", "-590.0", ""), "fcc_Na": ("Na", "Na", "-767.482233", "0.5")}
    for name, (formula, system, energy, label) in crystals.items():
        (tmp_path / name).mkdir()
        write_archive(tmp_path / name / "densities-000.h5", {name: random_density((5, 4, 6), seed=0)})
        (tmp_path / name / "properties.csv").write_text(
            f"{header}{name},densities-000.h5,{formula},{system},B,{energy},{label}\n"
        )
    dest = tmp_path / "dest"
    pack(tmp_path / "salt", dest)
    (salt,) = read_folder(dest).samples
    usual = (-767.382233 - 411.531777) / 2  # tools/dft/reference_energies.csv
    assert salt.labels["formation_energy_per_atom"] == pytest.approx(-590 - usual)
    packed = pack(tmp_path / "fcc_Na", dest)
    assert (packed.added, packed.replaced, packed.version) == (1, 1, "2.0.0")
    salt, sodium = read_folder(dest).samples
    assert salt.labels["formation_energy_per_atom"] == pytest.approx(-590 - usual + 0.05)
    assert sodium.labels["formation_energy_per_atom"] == 0
    assert pack(tmp_path / "salt", dest).version == "2.0.0", "packing again changes nothing"


@pytest.mark.parametrize(
    ("name", "formula", "energy", "message"),
    [
        (
            "fcc_Na",
            "Na",
            "-775.0",
            "properties.csv: fcc_Na: lies 7.62 eV per atom below reference_Na, the usual structure",
        ),
        ("salt", "", "-590.0", "properties.csv: salt: has no formula, which its formation energy needs"),
        ("salt", "ClNa", "-540.0", "left out salt: no crystal has such a formation energy"),
    ],
)
def test_energies_of_failed_calculations_do_not_enter(tmp_path, capsys, name, formula, energy, message):
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.mkdir()
    write_archive(source / "densities-000.h5", {name: random_density((5, 4, 6), seed=0)})
    header = "id,file,formula,chemical_system,settings,total_energy_per_atom,formation_energy_per_atom\n"
    row = f"{name},densities-000.h5,{formula},{'Na' if name == 'fcc_Na' else 'Cl-Na'},B,{energy},\n"
    (source / "properties.csv").write_text(header + row)
    pack_crystals.main([str(source), str(dest)])
    assert message in capsys.readouterr().err
    assert not list(dest.glob("*.h5"))


def test_gaps_known_on_the_mesh_only_are_left_empty_and_counted(source, tmp_path, capsys):
    """Of crystals that were not checked on symmetry points, only metals keep what follows from the band edges."""
    cells = {
        "one": "nscf eos_stress_mismatch,0,1.5,4.2",
        "two": "nscf,1,0.0,5.1",
        "three": "eos_stress_mismatch,0,0.5,2.2",
    }
    write_archive(source / "densities-000.h5", {name: random_density((5, 4, 6), seed=0) for name in cells})
    header = "id,file,formula,chemical_system,flags,is_metal,band_gap,fermi_energy\n"
    rows = (f"{name},densities-000.h5,NaCl,Cl-Na,{text}\n" for name, text in cells.items())
    (source / "properties.csv").write_text(header + "".join(rows))
    dest = tmp_path / "dest"
    assert pack_crystals.main([str(source), str(dest)]) == 0
    message = "left band_gap, is_metal, fermi_energy, band_width empty of 1 insulator known on the k mesh only: one\n"
    assert capsys.readouterr().err == message
    table = (dest / "properties.csv").read_text().splitlines()
    assert table[1:] == [
        "one,densities-000.h5,NaCl,Cl-Na,nscf eos_stress_mismatch,,,",
        "two,densities-000.h5,NaCl,Cl-Na,nscf,1,0.0,5.1",
        "three,densities-000.h5,NaCl,Cl-Na,eos_stress_mismatch,0,0.5,2.2",
    ]
    assert pack(source, dest).version == "1.0.0", "what is empty already is no change"
    # An archive from before is mended by packing it onto itself.
    (dest / "properties.csv").write_text(header + table[1].replace(",,,", ",0,1.5,4.2") + "\n")
    mended = pack(dest, dest)
    assert (mended.parts, mended.replaced, mended.version) == ((), 1, "2.0.0")
    assert (dest / "properties.csv").read_text().splitlines()[1] == table[1]


def test_energies_of_the_bundled_crystals_are_possible():
    samples = read_folder(REPOSITORY / "tfds_builders" / "dft_crystals" / "archive").samples
    energies = np.array([sample.labels["formation_energy_per_atom"] for sample in samples])
    assert np.nanmax(np.abs(energies)) < 5


def test_bands_that_touch_are_a_metal(tmp_path):
    source = folder_of(tmp_path / "source", {"one": ("B", 1)}, gap="5e-05")
    table = source / "properties.csv"
    table.write_text(table.read_text().replace("band_gap\n", "band_gap,is_metal\n").replace("5e-05\n", "5e-05,0\n"))
    pack(source, tmp_path / "dest")
    (sample,) = read_folder(tmp_path / "dest").samples
    assert sample.labels["band_gap"] == 0
    assert sample.labels["is_metal"] == 1
