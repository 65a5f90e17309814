"""Real files of many codes, beside the checkout, against what independent readers found in them."""

import csv
import gzip

import pytest

from rhonet.formats import FormatError, read_density
from tests.synthetic import atoms_of

BINARY = ("pymatgen VolumetricData hdf5", "ABINIT netCDF DEN", "SIESTA grid netCDF", "QE charge-density.hdf5")
READABLE = (
    *BINARY,
    "VASP CHGCAR",
    "VASP CHG",
    "cube",
    "xsf",
    "pymatgen Chgcar JSON (maggma wrapper)",
    "CASTEP den_fmt",
    "SIESTA RHO binary",
)
# Formats whose files hold, as the manifest's extremes do, ρ times the volume; the others hold e/bohr³.
RHO_TIMES_VOLUME = ("vasp", "chgcar_json", "pymatgen_hdf5", "castep")
# Traps among the files with a readable name: what must be said about them.
REFUSED = {
    "empty_file": "is empty",
    "negative_values; synthetic_values": "no electron density",
    "nciplot_signed_density": "no electron density",
    "truncated": "truncated",
    "extra_values": "more values",
    "cube_atom_lines_missing": "atom 1 of 3",
}
REFUSED_FORMATS = {
    "broken JSON named .json.gz": "no valid JSON",
    "CASTEP check": "CASTEP's Fortran checkpoint by its content",
    "CASTEP castep_bin": "CASTEP's Fortran checkpoint by its content",
    "QE filplot": "pp.x by its content",
    "QE <6 charge-density.dat (iotk binary)": "Quantum ESPRESSO by its content",
}


@pytest.fixture(scope="module")
def rows(shared_densities):
    with (shared_densities / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def why_refused(row):
    """Part of the expected message, or None for a file that must be read."""
    if row["format"] not in READABLE:
        return REFUSED_FORMATS.get(row["format"], "")
    features = row["odd_features"]
    return next((message for feature, message in REFUSED.items() if feature in features), None)


def test_every_readable_file_agrees_with_the_manifest(shared_densities, rows):
    checked = 0
    for row in rows:
        if why_refused(row) is not None:
            continue
        density = read_density(shared_densities / row["file"])
        if not row["integral_block1"]:
            continue
        repeated = int("xsf_general_grid_periodic_endpoint" in row["odd_features"])
        if not row["grid_shape"].startswith("G-space"):
            assert "x".join(str(n + repeated) for n in density.shape) == row["grid_shape"], row["file"]
        assert density.n_electrons == pytest.approx(float(row["integral_block1"]), rel=1e-5), row["file"]
        if row["n_atoms"]:
            assert len(atoms_of(density)) == int(row["n_atoms"]), row["file"]
        expected_blocks = int(row["n_blocks"])
        magnetization = density.magnetization
        assert expected_blocks == (1 if magnetization is None else 2 if magnetization.ndim == 3 else 4), row["file"]
        if expected_blocks == 2 and row["integral_block2_or_moment"]:
            moment = float(row["integral_block2_or_moment"])
            assert density.total_moment == pytest.approx(moment, rel=1e-5, abs=1e-8), row["file"]
        # Of these the manifest has the extremes of one spin.
        if row["min"] and (magnetization is None or density.format not in ("abinit", "siesta")):
            unit = density.volume if density.format in RHO_TIMES_VOLUME else 0.529177210903**3
            assert density.values.min() * unit == pytest.approx(float(row["min"]), rel=1e-4), row["file"]
            assert density.values.max() * unit == pytest.approx(float(row["max"]), rel=1e-4), row["file"]
        checked += 1
    assert checked >= 35


def test_every_other_file_is_refused_with_its_reason(shared_densities, rows):
    for row in rows:
        message = why_refused(row)
        if message is not None:
            with pytest.raises(FormatError) as caught:
                read_density(shared_densities / row["file"])
            assert row["file"] in str(caught.value)
            assert message in str(caught.value)


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
