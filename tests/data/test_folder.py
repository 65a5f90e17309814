"""A user's table: what is accepted, and one clear line for every mistake."""

import math
import re
import shutil

import pytest

from rhonet.core.errors import FolderError
from rhonet.core.properties import parse_declaration
from rhonet.data.checks.labels import suggest_declarations
from rhonet.data.dataset_toml import canonical_unit
from rhonet.data.folder import check_folder, read_folder
from tests.conftest import REPOSITORY
from tests.synthetic import random_density, write_archive

TABLE = "id,file,band_gap,is_metal\na,one.cube,1.5,0\nb,two.cube,,1\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with two (empty) density files and a proper table; densities are not opened by these tests."""
    for name in ("one.cube", "two.cube", "many.h5"):
        (tmp_path / name).touch()
    (tmp_path / "properties.csv").write_text(TABLE)
    return tmp_path


def write(folder, table=None, settings=None):
    if table is not None:
        (folder / "properties.csv").write_text(table)
    if settings is not None:
        (folder / "dataset.toml").write_text(settings)
    return folder


def error_of(folder):
    with pytest.raises(FolderError) as caught:
        read_folder(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_table_becomes_typed_samples(folder):
    table = read_folder(folder)
    assert [known.name for known in table.properties] == ["band_gap", "is_metal"]
    first, second = table.samples
    assert (first.id, first.path, first.entry, first.line) == ("a", folder / "one.cube", None, 2)
    assert first.labels == {"band_gap": 1.5, "is_metal": 0.0}
    assert math.isnan(second.labels["band_gap"])
    assert table.name == folder.name


def test_settings_describe_the_set_and_its_properties(folder):
    settings = """
        name = "oxides"
        functional = "PBEsol"
        bookkeeping = ["batch"]
        [properties.shear_modulus]
        unit = "GPa"
        transform = "log"
        loss_weight = 2
        [properties.phase]
        kind = "multiclass"
        classes = 3
        [properties.volume_per_atom]
        unit = "angstrom^3"
        note = "at 0 K"
    """
    rows = "id,file,batch,shear_modulus,phase,volume_per_atom\na,one.cube,7,12.5,2,10\n"
    table = read_folder(write(folder, rows, settings))
    shear, phase, volume = table.properties
    assert (shear.unit, shear.transform, shear.loss_weight) == ("GPa", "log", 2.0)
    assert (phase.kind, phase.classes) == ("multiclass", 3)
    assert (volume.unit, volume.transform, volume.note) == ("Å³", "log", "at 0 K")
    assert table.about["functional"] == "PBEsol"
    assert table.samples[0].bookkeeping == {"batch": "7"}


def test_declared_property_needs_no_settings(folder):
    write(folder, "id,file,hardness\na,one.cube,3\n")
    (hardness,) = read_folder(folder, declared=[parse_declaration("hardness:GPa:regression")]).properties
    assert hardness.unit == "GPa"


def test_archive_entry_is_the_id_unless_named(folder):
    write_archive(folder / "many.h5", {name: random_density() for name in "ab"})
    write(folder, "id,file,band_gap\na,many.h5,1\nb,many.h5::other,2\nc,one.cube,3\n")
    assert [sample.entry for sample in read_folder(folder).samples] == ["a", "other", None]


def test_file_whose_name_holds_the_mark_of_entries_is_itself(folder):
    shutil.copy(folder / "one.cube", folder / "with::colons.cube")
    write_archive(folder / "with::colons.h5", {"b": random_density()})
    write(folder, "id,file,band_gap\na,with::colons.cube,1\nb,with::colons.h5::b,2\n")
    samples = read_folder(folder).samples
    assert [(sample.path.name, sample.entry) for sample in samples] == [
        ("with::colons.cube", None),
        ("with::colons.h5", "b"),
    ]


def test_hdf5_file_of_one_density_has_no_entry(folder):
    write(folder, "id,file,band_gap\na,many.h5,1\n")
    assert read_folder(folder).samples[0].entry is None


def test_structure_of_a_row_is_found_and_noticed(folder):
    cif = folder / "a.cif"
    cif.write_text("data_a")
    table = read_folder(write(folder, "id,file,structure,band_gap\na,one.cube,a.cif,1\nb,two.cube,,2\n"))
    assert [sample.structure for sample in table.samples] == [cif, None]
    before = table.fingerprint()
    cif.write_text("data_b")
    assert read_folder(folder).fingerprint() != before


def test_columns_without_any_label_are_left_out(folder):
    write(folder, "id,file,band_gap,is_metal,hardness\na,one.cube,,1,\n", "[properties.hardness]")
    table = read_folder(folder)
    assert table.unlabelled == ("band_gap", "hardness")
    assert table.n_labels == {"is_metal": 1}


def test_check_goes_on_behind_every_mistake(folder):
    rows = """
        ID;file;band_gap;Hardness (GPa);phase;formula;
        a;one.cube;1,5;12;x;NaCl;
        ;two.cube;1;13;y;;
        b;gone.cube;1;14;y;;
        c;two.cube;0.5;;z;Xq;
        d;one.cube;1;1;1;;
        e;one.cube;1;1;1;Na
    """
    checked = check_folder(write(folder, "\n".join(line.strip() for line in rows.strip().splitlines())))
    wanted = (
        r":1: .* semicolons",
        r":1: the column 'ID'",
        r":1: .*'Hardness \(GPa\)' .* rename it to hardness",
        r":1: unknown property 'phase'",
        r":2: band_gap is '1,5'",
        r":3: the id is empty",
        r":4: there is no file",
        r":5: formula 'Xq'",
        r":6: one.cube is the density of line 2 too",
        r":7: one.cube is the density of line 2 too",
    )
    assert checked.n_mistakes == len(wanted)
    for mistake, pattern in zip(checked.mistakes, wanted, strict=True):
        assert re.search(pattern, mistake)
    assert [sample.id for sample in checked.folder.samples] == ["a", "c"]
    assert checked.undeclared["phase"] == ("x", "y", "y", "z", "1", "1")
    with pytest.raises(FolderError, match=r"semicolons.* \(9 more: python -m rhonet.prepare .* lists them\)$"):
        read_folder(folder)


def test_known_property_in_another_spelling_is_read_behind_the_mistake(folder):
    write(folder, "id,file,Bulk_Modulus,Band gap (eV),band_gap\na,one.cube,20,1,2\nb,two.cube,0,,x\n")
    checked = check_folder(folder)
    assert checked.folder.samples[0].labels == {"bulk_modulus": 20.0, "band_gap": 2.0}
    assert len(checked.mistakes) == 4
    assert (
        "'Bulk_Modulus' is not spelled as rhonet does; rename it to bulk_modulus and give it in GPa"
        in (checked.mistakes[0])
    )
    assert "'Band gap (eV)' is not spelled" in checked.mistakes[1]
    assert "properties.csv:3: bulk_modulus is 0, but" in checked.mistakes[2]
    write(folder, "id,file,Bulk_Modulus\na,one.cube,20\n", '[properties.Bulk_Modulus]\nunit = "Mbar"\n')
    assert check_folder(folder).mistakes == ()


@pytest.mark.parametrize("odd", ["N/A", "-", "nan", "None", "70 GPa", '"1,234.5"'])
def test_odd_cell_of_an_undeclared_column_of_numbers_is_named(folder, odd):
    write(folder, f"id,file,hardness,batch\na,one.cube,20.5,x\nb,two.cube,{odd},-\n")
    checked = check_folder(folder)
    assert any(
        f"properties.csv:3: hardness is {odd}" in text.replace("'", "").replace("1,234.5,", '"1,234.5",')
        for text in checked.mistakes
    )
    assert not any("batch is" in text for text in checked.mistakes)
    assert "[properties.hardness]" in suggest_declarations(checked.undeclared)
    assert 'bookkeeping = ["batch"]' in suggest_declarations(checked.undeclared)


def test_mistakes_are_counted_but_not_all_kept(folder):
    rows = "".join(f"{at},gone.cube,1\n" for at in range(500))
    checked = check_folder(write(folder, "id,file,band_gap\n" + rows))
    assert (checked.n_mistakes, len(checked.mistakes)) == (500, 100)


def test_sum_of_two_files_is_one_density(folder):
    write(folder, "id,file,band_gap\na,one.cube+two.cube,1\n")
    table = read_folder(folder)
    assert table.n_bytes == 0
    before = table.fingerprint()
    (folder / "two.cube").write_text("other")
    assert read_folder(folder).n_bytes == len("other")
    assert read_folder(folder).fingerprint() != before


def test_sum_needs_all_its_files(folder):
    write(folder, "id,file,band_gap\na,one.cube+three.cube,1\n")
    assert "there is no file" in error_of(folder)


def test_file_may_lie_outside_the_folder(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere") / "CHGCAR"
    outside.touch()
    write(folder, f"id,file,band_gap\na,{outside},1\n")
    assert read_folder(folder).samples[0].path == outside


def test_spreadsheet_habits_are_harmless(folder):
    (folder / "properties.csv").write_bytes(b"\xef\xbb\xbfid, file, band_gap\r\n a , one.cube , 1.5 \r\n\r\n,,\r\n")
    (sample,) = read_folder(folder).samples
    assert (sample.id, sample.labels) == ("a", {"band_gap": 1.5})


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("angstrom^3", "Å³"),
        ("A^3", "Å³"),
        ("Å**3", "Å³"),
        ("\u212b^3", "Å³"),
        ("muB", "µB"),
        ("\u03bcB", "µB"),
        ("g / cm^3", "g/cm³"),
        ("GPa", "GPa"),
        ("", ""),
    ],
)
def test_unit_spellings_agree(written, wanted):
    assert canonical_unit(written) == wanted


ROW = "id,file,band_gap,is_metal\n"
MISTAKES = {
    "empty table": ("", r"properties.csv: is empty; write the columns id,file,<property>"),
    "no rows": (ROW, r"has a header but no rows"),
    "no id column": ("name,file,band_gap\n", r"properties.csv:1: there is no column 'id'"),
    "semicolons": ("id;file;band_gap\na;one.cube;1,5\n", r":1: .* separated by semicolons, commas are needed.*1 more"),
    "tabs": ("id\tfile\tband_gap\na\tone.cube\t1.5\n", r":1: .* separated by tabs, commas are needed"),
    "capital letters": ("ID,file,band_gap\na,one.cube,1\n", r":1: the column 'ID' must be called 'id'; rename it"),
    "other spelling": ("id,file,Band gap (eV)\na,one.cube,1\n", r"'Band gap \(eV\)' .*rename it to band_gap .* in eV"),
    "no identifier": ("id,file,E-cut\na,one.cube,1\n", r"'E-cut' is no plain name; rename it to e_cut, and declare"),
    "nameless column": ("id,file,,band_gap\na,one.cube,x,1\n", r":1: column 3 has no name; name or remove it"),
    "no labels": ("id,file,band_gap,is_metal\na,one.cube,,\n", r"none of the columns band_gap, is_metal holds a label"),
    "decimal comma": (ROW + 'a,one.cube,"1,5",0\n', r":2: band_gap is '1,5', not a number; write 1.5"),
    "missing word": (ROW + "a,one.cube,N/A,0\n", r":2: band_gap is 'N/A', not a number; leave the cell empty"),
    "thousands": (ROW + 'a,one.cube,"1,234.5",0\n', r"is '1,234.5', .*remove the comma between thousands: 1234.5"),
    "thousands or not": (ROW + 'a,one.cube,"1,234",0\n', r"; write 1.234, or 1234 if the comma separates thousands"),
    "unit": (
        ROW + "a,one.cube,1.5 eV,0\n",
        r"'1.5 eV', not a number; no units in cells \(it is read in eV\): write 1.5",
    ),
    "backslash": (ROW + "a,sub\\one.cube,1,0\n", r"there is no file .*one.cube; write / instead of \\"),
    "true and false": (ROW + "a,one.cube,1,True\n", r":2: is_metal is 'True', not a number; write 1 for yes and 0"),
    "structure": (
        "id,file,structure,band_gap\na,one.cube,a.cif,1\n",
        r":2: there is no structure file .*a.cif; correct",
    ),
    "column twice": ("id,file,band_gap,band_gap\n", r"the column 'band_gap' occurs twice"),
    "unknown column": ("id,file,bandgap\n", r":1: unknown property 'bandgap'; did you mean 'band_gap'.*\[properties"),
    "no property": ("id,file,formula\n", r":1: there is no property among the columns"),
    "too many cells": (ROW + "a,one.cube,1,0,5\n", r":2: 5 cells under 4 columns"),
    "empty id": (ROW + ",one.cube,1,0\n", r":2: the id is empty"),
    "duplicate id": (ROW + "a,one.cube,1,0\n\na,two.cube,1,0\n", r":4: the id 'a' is that of line 2 too"),
    "same density twice": (ROW + "a,one.cube,1,0\nb,one.cube,1,0\n", r":3: one.cube is the density of line 2 too"),
    "no file name": (ROW + "a,,1,0\n", r":2: the file of 'a' is empty"),
    "missing file": (ROW + "a,gone.cube,1,0\n", r":2: there is no file .*gone.cube; correct the name or remove"),
    "text for a number": (ROW + "a,one.cube,wide,0\n", r":2: band_gap is 'wide', not a number; leave the cell empty"),
    "grouped digits": (ROW + "a,one.cube,1_000,0\n", r":2: band_gap is '1_000', not a number"),
    "written nan": (ROW + "a,one.cube,nan,0\n", r":2: band_gap is nan, not a finite number"),
    "infinite": (ROW + "a,one.cube,1e999,0\n", r":2: band_gap is 1e999, not a finite number"),
    "half a class": (ROW + "a,one.cube,1,0.5\n", r":2: is_metal is 0.5, but a binary label is 0 or 1"),
    "logarithm of zero": ("id,file,bulk_modulus\na,one.cube,0\n", r":2: bulk_modulus is 0, but .* above 0"),
    "negative gap": (ROW + "a,one.cube,-0.1,0\n", r":2: band_gap is -0.1, but is never below 0; .*nonnegative = false"),
    "wrong formula": ("id,file,band_gap,formula\na,one.cube,1,Xq2\n", r":2: formula 'Xq2' is no chemical formula"),
    "wrong system": ("id,file,band_gap,chemical_system\na,one.cube,1,NaCl\n", r":2: chemical_system 'NaCl' is not"),
    "open quote": (ROW + 'a,"one.cube,1,0\n', r"is not a comma-separated UTF-8 table"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_the_table_is_one_clear_line(folder, mistake):
    table, message = MISTAKES[mistake]
    write(folder, table)
    with pytest.raises(FolderError, match=message):
        read_folder(folder)
    error_of(folder)


SETTINGS_MISTAKES = {
    "no TOML": ("name = ", r"dataset.toml: not valid TOML"),
    "unknown key": ('fuctional = "PBE"', r"unknown setting 'fuctional'; there are: name"),
    "number for text": ("version = 1.0", r"version must be text in quotes"),
    "wrong unit": ('[properties.band_gap]\nunit = "Ha"', r"has unit 'Ha', but band_gap has unit 'eV'; convert"),
    "wrong kind": ('[properties.is_metal]\nkind = "regression"', r"has kind 'regression', but is_metal has"),
    "unknown kind": ('[properties.band_gap]\n[properties.mine]\nkind = "yes"', r"\[properties.mine\]: .*kind 'yes'"),
    "unknown property key": ('[properties.band_gap]\nunits = "eV"', r"unknown key 'units'; there are: symbol, unit"),
    "text for a flag": ('[properties.band_gap]\nintensive = "no"', r"intensive must be bool, found 'no'"),
    "no such column": (
        '[properties.hardness]\nunit = "GPa"',
        r"declares the property 'hardness', but .* no such column",
    ),
    "class names that are numbers": (
        '[properties.is_metal]\n[properties.phase]\nkind = "multiclass"\nclasses = ["1", "2.5", "x"]',
        r"the class name '1' is a number, but a number in a cell is the index of a class; .* or classes = 3",
    ),
    "property and bookkeeping": (
        'bookkeeping = ["band_gap"]\n[properties.band_gap]\nnote = "GW"',
        r"'band_gap' is listed under bookkeeping and declared as a property; remove one",
    ),
    "no weight": ("[properties.band_gap]\nloss_weight = 0", r"\[properties.band_gap\]: .*loss_weight must be above 0"),
    "bookkeeping": ('bookkeeping = "batch"', r"bookkeeping must be a list of column names"),
}


@pytest.mark.parametrize("mistake", SETTINGS_MISTAKES)
def test_mistake_in_the_settings_is_one_clear_line(folder, mistake):
    settings, message = SETTINGS_MISTAKES[mistake]
    write(folder, settings=settings)
    with pytest.raises(FolderError, match=message):
        read_folder(folder)
    error_of(folder)


def test_folder_or_table_that_is_missing_is_named(tmp_path):
    assert "there is no properties.csv; write one" in error_of(tmp_path)
    assert "no such folder" in error_of(tmp_path / "gone")


def test_fingerprint_follows_content_not_place(folder, tmp_path_factory):
    fingerprint = read_folder(folder).fingerprint()
    moved = shutil.copytree(folder, tmp_path_factory.mktemp("moved") / "other_name")
    write(moved, ROW + "b,two.cube,,1\na,one.cube,1.5,0\n")
    assert read_folder(moved).fingerprint() == fingerprint
    for change in (
        lambda: write(moved, TABLE.replace("1.5", "1.6")),
        lambda: write(moved, TABLE, '[properties.band_gap]\ntransform = "identity"\nnote = "GW"'),
        lambda: (moved / "one.cube").write_text("x"),
        lambda: (moved / "one.cube").write_text("y"),
    ):
        change()
        changed = read_folder(moved).fingerprint()
        assert changed != fingerprint
        fingerprint = changed


def test_fingerprint_samples_start_middle_and_end_of_long_files(folder):
    values = bytearray(10 * 2**16)
    seen = set()
    for place in (0, 5 * 2**16, len(values) - 1):
        values[place] += 1
        (folder / "one.cube").write_bytes(values)
        seen.add(read_folder(folder).fingerprint())
    assert len(seen) == 3


def test_negative_moment_is_refused(folder):
    write(folder, "id,file,magnetic_moment\na,one.cube,-2.0\n")
    with pytest.raises(FolderError, match=r"properties.csv:2: magnetic_moment is -2.0; .* give the magnitude"):
        read_folder(folder)


def test_bundled_table_is_proper():
    table = read_folder(REPOSITORY / "tfds_builders/dft_crystals/archive")
    assert len(table.samples) >= 161
    assert {known.unit for known in table.properties} >= {"GPa", "Å³", "g/cm³", "eV", "µB"}
    assert all(sample.chemical_system and sample.formula for sample in table.samples)


def test_prototypes_count_in_the_fingerprint(folder):
    """Splits may be made on them."""
    plain, empty, first, second = (
        read_folder(write(folder, f"id,file,band_gap{text}")).fingerprint()
        for text in (
            "\na,one.cube,1\n",
            ",prototype\na,one.cube,1,\n",
            *(f",prototype\na,one.cube,1,{x}\n" for x in "xy"),
        )
    )
    assert plain == empty
    assert len({plain, first, second}) == 3


def test_usual_bookkeeping_column_may_be_declared_a_property(folder):
    table = "id,file,band_gap,spacegroup\na,one.cube,1,2\nb,two.cube,2,0\n"
    assert [item.name for item in read_folder(write(folder, table)).properties] == ["band_gap"]
    settings = '[properties.spacegroup]\nkind = "multiclass"\nclasses = 3\n'
    read = read_folder(write(folder, settings=settings))
    assert [item.name for item in read.properties] == ["band_gap", "spacegroup"]
    assert [sample.labels["spacegroup"] for sample in read.samples] == [2, 0]


def test_fingerprint_counts_what_came_later_only_where_it_says_something(folder):
    def fingerprint(settings: str) -> str:
        return read_folder(write(folder, "id,file,hardness\na,one.cube,1\n", settings)).fingerprint()

    plain = fingerprint('[properties.hardness]\nunit = "GPa"\n')
    assert fingerprint('[properties.hardness]\nunit = "GPa"\nnonnegative = false\n') == plain
    assert fingerprint('[properties.hardness]\nunit = "GPa"\nnonnegative = true\n') != plain
