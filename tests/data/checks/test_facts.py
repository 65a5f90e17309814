"""What is kept of a density to compare it with others."""

import numpy as np
import pytest

from rhonet.data.checks.facts import gather_facts, read_facts
from rhonet.data.folder import Sample
from tests.synthetic import chgcar_text, cube_text, random_density


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
