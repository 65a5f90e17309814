"""pymatgen's Chgcar as JSON: as pymatgen writes it, as the Materials Project delivers it, and what else JSON holds."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monty.json import MontyEncoder
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.outputs import Chgcar, Elfcar, Locpot

import rhonet.formats.parsing.json_numbers as json_numbers
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import LEFT_HANDED, atoms_of, chgcar_json, chgcar_text, density_of, random_density, spin_of


@pytest.fixture
def written(tmp_path):
    """Writes an object as JSON, or text as it is, and gives the path."""

    def write(content: Any, *, name: str = "rho.json", indent: int | None = None) -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content, indent=indent)
        path.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("shape", [(5, 4, 6), (3, 7, 1), (1, 1, 1)])
def test_values_are_divided_by_the_volume(written, shape, blocks, indent):
    density = random_density(shape, blocks=blocks, lattice=LEFT_HANDED)
    read = read_density(written(chgcar_json(density), indent=indent))
    np.testing.assert_allclose(read.values, density.values, rtol=1e-14)
    np.testing.assert_allclose(read.lattice, density.lattice, rtol=1e-14)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-12)
    assert str(atoms_of(read).symbols) == "NaCl"
    assert (read.format, read.warnings) == ("chgcar_json", ())
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), rtol=1e-14)


@pytest.mark.parametrize("name", ["rho.json", "rho.json.gz", "rho"])
def test_envelope_of_the_materials_project(written, name):
    density = random_density(blocks=2)
    envelope = {"fs_id": "62b6", "compression": "zlib", "data": chgcar_json(density), "task_id": "mp-1"}
    np.testing.assert_allclose(read_density(written(envelope, name=name)).values, density.values, rtol=1e-14)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_what_pymatgen_makes_of_a_chgcar_gives_the_same_density(tmp_path, written, blocks):
    chgcar = tmp_path / "CHGCAR"
    chgcar.write_text(chgcar_text(random_density(blocks=blocks), augmentation=True))
    as_json = json.dumps(Chgcar.from_file(str(chgcar)).as_dict(), cls=MontyEncoder)
    ours, theirs = read_density(chgcar), read_density(written(as_json))
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-14)
    np.testing.assert_allclose(atoms_of(ours).positions, atoms_of(theirs).positions, atol=1e-12)
    if blocks > 1:
        np.testing.assert_allclose(spin_of(ours), spin_of(theirs), rtol=1e-14)


@pytest.mark.parametrize(("kind", "message"), [(Locpot, "a potential"), (Elfcar, "localisation function")])
def test_other_classes_of_pymatgen_are_refused(written, kind, message):
    structure = Structure(Lattice.cubic(3), ["Na"], [[0, 0, 0]])
    other = kind(structure, {"total": np.ones((2, 2, 2)), "diff": np.ones((2, 2, 2))})
    with pytest.raises(FormatError, match=message):
        read_density(written(json.dumps(other.as_dict(), cls=MontyEncoder)))


def test_named_classes_are_not_loaded(written, tmp_path):
    evil = chgcar_json(random_density()) | {"@class": "Popen", "@module": "subprocess", "args": ["touch", "evil"]}
    with pytest.raises(FormatError, match="holds a 'Popen', expected pymatgen's Chgcar"):
        read_density(written(evil))


def test_mixed_sites_leave_the_atoms_out(written):
    content = chgcar_json(random_density())
    content["poscar"]["structure"]["sites"][1]["species"] = [{"element": "Cl", "occu": 0.5}]
    read = read_density(written(content))
    assert read.atoms is None
    assert "Site 2" in read.warnings[0]


def changed(path: str, value: Any) -> dict[str, Any]:
    """A Chgcar with one member replaced, or taken out where the value is None."""
    content = chgcar_json(random_density(blocks=2))
    *parents, last = path.split(".")
    place = content
    for name in parents:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("poscar", None, "lacks 'poscar'"),
        ("poscar.structure", None, "lacks 'structure'"),
        ("poscar.structure.lattice", [[1]], "lacks 'lattice'"),
        ("poscar.structure.lattice.matrix", [[1.0, 0, 0]], "the lattice of shape"),
        ("poscar.structure.sites", {}, "lacks 'sites'"),
        ("poscar.structure.sites", [1, "x"], "site 1 of its structure"),
        ("data", [1.0], "lacks 'data'"),
        ("data.total", None, "the values of 'total' should be a list"),
        ("data.total.data", [[1.0, 2.0]], "nested 3 deep, found shape"),
        ("data.total.data", [[[1.0, 2.0], [3.0]]], "found unequal rows"),
        ("data.total.data", [[[1.0, None]]], "should be a list of numbers"),
        ("data.total.data", [[[]]], "'total'"),
        ("data.total.dtype", "complex128", "complex numbers"),
        ("data.diff.data", [[[1.0]]], "grids of 'diff' and 'total' differ"),
        ("data.diff_x", [[[1.0]]], "only diff_x"),
        ("@class", None, "holds no Chgcar"),
    ],
)
def test_missing_and_misshapen_parts_are_named(written, path, value, message):
    with pytest.raises(FormatError, match=message):
        read_density(written(changed(path, value)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'GGA': ['mp-1']}", r"rho\.json:1: is no valid JSON"),
        ('{"a": [1, 2],\n "b": }', r"rho\.json:2: is no valid JSON"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"data": [1, 2]}', "holds no Chgcar"),
        ('{"structure": {}}', "holds no Chgcar"),
        ('{"a": ' + "[" * 100_000, "no valid JSON|nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": "\\ud800' + "\xff", "no valid JSON"),
    ],
)
def test_what_is_no_chgcar(written, text, message):
    with pytest.raises(FormatError, match=message):
        read_density(written(text))


def test_number_that_is_none_is_found_with_its_line(written):
    text = json.dumps(chgcar_json(random_density()), indent=1).splitlines()
    line = text.index('   "data": [') + 5
    text[line] = " 1-2,"
    with pytest.raises(FormatError, match=rf"rho\.json:{line + 1}: '1-2' is not a number"):
        read_density(written("\n".join(text)))


def test_other_content_is_bounded(written, monkeypatch):
    monkeypatch.setattr(json_numbers, "MAX_OTHER_BYTES", 1 << 20)
    for bulk in ("[{}," * 500_000, '{"a":[{' + "[" * 2_000_000, '"' + "x" * 2_000_000):
        with pytest.raises(FormatError, match="MiB of JSON besides arrays"):
            read_density(written('{"@class": ' + bulk))


def test_negative_field_is_refused(written):
    with pytest.raises(FormatError, match="no electron density"):
        read_density(written(chgcar_json(density_of(-random_density().values, symbols="NaCl"))))
