"""What is kept of a density to compare it with others."""

import dataclasses

import numpy as np
import pytest

from rhonet.core.regrid import fourier_regrid
from rhonet.data.checks.facts import gather_facts, radial_spectrum, read_facts
from rhonet.data.folder import Sample
from tests.crystals import smooth_density
from tests.synthetic import chgcar_text, cube_text, density_of, random_density


def repeated(density, times):
    """The same crystal in a larger cell."""
    spin = density.magnetization
    return dataclasses.replace(
        density,
        values=np.tile(density.values, times),
        lattice=density.lattice * np.array(times)[:, None],
        magnetization=None if spin is None else np.tile(spin, times),
    )


def turned(density):
    """The crystal rotated in space, its axes renamed."""
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return density_of(density.values.transpose(2, 0, 1), lattice=density.lattice[[2, 0, 1]] @ turn)


def shifted(density):
    return dataclasses.replace(density, values=np.roll(density.values, (1, 2, 3), axis=(0, 1, 2)))


@pytest.mark.parametrize(
    "other",
    [turned, shifted, lambda one: repeated(one, (2, 1, 3)), lambda one: fourier_regrid(one, (15, 12, 17))],
    ids=["turned", "shifted", "supercell", "finer grid"],
)
def test_spectrum_belongs_to_the_crystal_not_to_its_description(other):
    density = smooth_density(3)
    np.testing.assert_allclose(radial_spectrum(other(density)), radial_spectrum(density), atol=1e-9)


def test_spectrum_of_spin_does_not_depend_on_the_cell():
    density = smooth_density(4, spin=True)
    wanted = radial_spectrum(density)
    assert wanted[25:].max() > 0.01
    np.testing.assert_allclose(radial_spectrum(repeated(density, (1, 2, 1))), wanted, atol=1e-9)
    assert not radial_spectrum(dataclasses.replace(density, magnetization=None))[25:].any()


def test_spectrum_notices_a_slightly_larger_cell():
    density = smooth_density(5)
    wanted = radial_spectrum(density)
    larger = dataclasses.replace(density, lattice=density.lattice * 1.003, values=density.values / 1.003**3)
    assert np.linalg.norm(radial_spectrum(larger) - wanted) > 2e-3 * np.linalg.norm(wanted)


def sample_of(path, **settings):
    return Sample(path.name, path.name, path, None, 2, labels={}, **settings)


def test_facts_agree_with_the_density(tmp_path):
    density = random_density((6, 5, 7), symbols="Na2Cl2", blocks=2)
    (tmp_path / "CHGCAR").write_text(chgcar_text(density))
    facts = read_facts(sample_of(tmp_path / "CHGCAR"))
    assert (facts.error, facts.formula, facts.chemical_system) == ("", "ClNa", "Cl-Na")
    assert (facts.n_atoms, facts.n_formula_units, facts.elements) == (4, 2, {"Na": 2, "Cl": 2})
    assert facts.n_electrons == pytest.approx(8)
    assert facts.volume == pytest.approx(density.volume)
    assert facts.moment == pytest.approx(density.total_moment)
    assert facts.summary is not None
    assert facts.summary.grid == (6, 5, 7)


def test_what_a_build_would_refuse_is_an_error(tmp_path):
    (tmp_path / "CHGCAR").write_text(chgcar_text(random_density()))
    (tmp_path / "cut.cube").write_text(cube_text(random_density())[:-100])
    wrong = read_facts(sample_of(tmp_path / "CHGCAR", formula="KCl"))
    assert wrong.error == f"{tmp_path / 'CHGCAR'}: the file holds ClNa, but properties.csv says KCl"
    cut = read_facts(sample_of(tmp_path / "cut.cube"))
    assert cut.error.startswith(f"{tmp_path / 'cut.cube'}:")
    assert np.isnan([cut.n_electrons, cut.volume, cut.moment]).all()


def test_processes_give_the_same_facts_in_order(tmp_path):
    for seed in range(3):
        (tmp_path / f"{seed}.cube").write_text(cube_text(random_density(seed=seed)))
    samples = [sample_of(path) for path in (*sorted(tmp_path.glob("*.cube")), tmp_path / "gone.cube")]
    assert list(gather_facts(samples, workers=2)) == list(gather_facts(samples))
