"""Fields and units that titles and comments name, and words that only look like such names."""

import pytest

from rhonet.formats.field_names import other_field, with_article
from rhonet.formats.units import stated_unit


@pytest.mark.parametrize(
    "text",
    [
        "SPIN_DENSITY",
        "spin-density",
        "electron spin density",
        "Magnetization density",
        "spin polarization",
        "deformation density",
        "difference density",
        "charge density difference",
        "V_HARTREE",
        "Hartree potential",
        "electrostatic",
        "Electrostatic potential from Total SCF Density",
        "potential from electron density",
        "Laplacian of the electron density",
        "electron density gradient",
        "HOMO",
        "LUMO+1",
        "MO 5",
        "wavefunction 5",
        "wavefunction 5 spin 1 i.e. HOMO - 0",
        "LDOS",
        "local density of states",
        "partial charge density",
        "Fukui f+",
        "transition density",
        "kinetic energy density",
        "core density",
        "RDG",
    ],
)
def test_other_fields_are_known_by_name(text):
    assert other_field(text)


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/elf/run1",
        "made from runs/elf/CHGCAR",
        "../elf/rho.cube",
        r"C:\elf\rho",
        "NaCl interatomic potential relaxed, electron density",
        "Electron density from Total SCF Density",
        "ELECTRON DENSITY",
        "Electron density, spin polarization on",
        "spin-density functional theory",
        "valence and core density",
        "HOMO-LUMO gap 1.2 eV",
        "energy -76.4 Hartree",
        "Mo 5 S 10",
        "potential energy minimum",
        "DELFT",
    ],
)
def test_titles_of_densities_name_no_other_field(text):
    assert other_field(text) is None


def test_articles():
    assert [with_article(noun) for noun in ("elf", "spin density")] == ["an elf", "a spin density"]


ANGSTROM = ["e/A^3", "1/Å3", "e A^-3", "e*Å^-3", "e.Å-3", "e·Å⁻³", "e-/A^3", "|e|/A^3", "elec/A^3", "e/ang**3"]
ANGSTROM += ["rho [e/Å³]", "electrons per cubic angstrom", "electrons per Angstrom**3", "values (A^-3)"]
BOHR = ["e/bohr^3", "e/bohr3", "e/a0^3", "e/a.u.^3", "e/(bohr)^3", "e bohr^-3", "electrons per cubic bohr"]


@pytest.mark.parametrize(("text", "unit"), [*((t, "e/Å³") for t in ANGSTROM), *((t, "e/bohr³") for t in BOHR)])
def test_units_are_understood_however_they_are_spelled_and_encoded(text, unit):
    assert stated_unit(text) == stated_unit(text.encode().decode("latin-1")) == unit


@pytest.mark.parametrize("text", ["1/a3", "e/nm^3", "e nm^-3", "electrons per cubic foot", "e/A^3 (not e/bohr^3)"])
def test_units_that_are_not_understood_are_not_guessed(text):
    with pytest.raises(ValueError, match=r"\w"):
        stated_unit(text)


@pytest.mark.parametrize(
    "text", ["density", "spin 1/2 cubic box", "made on 2020-01-03", "conv 1e-3", "conf-3", "mp-3", "total density a.u."]
)
def test_other_text_states_no_unit(text):
    assert stated_unit(text) is None
