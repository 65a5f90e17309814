"""Real files of many codes, from the shared folder, against what independent readers found in them."""

import csv
import gzip

import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import atoms_of
from tools.compare_manifest import compare


@pytest.fixture(scope="module")
def rows(shared_densities):
    with (shared_densities / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_inspection_agrees_with_the_manifest(shared_densities):
    comparisons = compare(shared_densities / "manifest.csv")
    assert [(item.file, item.found, item.differences) for item in comparisons if item.differences] == []
    verdicts = [item.verdict for item in comparisons]
    assert verdicts.count("agrees") >= 55
    assert verdicts.count("refused rightly") >= 25


def test_potentials_and_localisation_functions_are_known_without_their_names(shared_densities, rows, tmp_path):
    for row in rows:
        # The odd one out is made of arbitrary numbers, mostly positive.
        if row["format"] not in ("VASP LOCPOT", "VASP ELFCAR") or "LOCPOT.oxygen" in row["file"]:
            continue
        renamed = tmp_path / "CHGCAR"
        renamed.write_bytes((shared_densities / row["file"]).read_bytes())
        with pytest.raises(FormatError, match=r"no electron density|ELFCAR"):
            read_density(renamed)


def test_bundled_set_is_read(shared_densities):
    path = shared_densities.parent / "dft" / "densities-000.h5"
    density = read_density(path, entry="AlB2_Nb_B")
    assert density.shape == (32, 32, 36)
    assert density.n_electrons == pytest.approx(19, abs=1e-3)
    assert str(atoms_of(density).symbols) == "NbB2"


def test_gzip_suffix_that_lies_is_no_obstacle(shared_densities, rows, tmp_path):
    row = next(row for row in rows if row["file"].endswith("CHGCAR.nospin.gz"))
    plain = tmp_path / "CHGCAR.gz"
    plain.write_bytes(gzip.decompress((shared_densities / row["file"]).read_bytes()))
    assert read_density(plain).n_electrons == pytest.approx(1, abs=1e-4)
