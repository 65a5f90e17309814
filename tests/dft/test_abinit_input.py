"""ABINIT inputs are identical to those of the bundled data set, and their parts are correct."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.dft.original import GOLDEN_CRYSTALS, GOLDEN_FILE, SCRIPT, run_original
from tests.dft.runners import FakeRunner
from tools.dft.abinit_input import (
    HARD_CUTOFF,
    SOFT_CUTOFF,
    Task,
    choose_grids,
    count_bands,
    cutoff_for,
    fft_size,
    input_text,
)
from tools.dft.candidates import named_candidate
from tools.dft.crystal import compute_crystal, compute_reference
from tools.dft.kmesh import GAMMA
from tools.dft.prototypes import PROTOTYPES
from tools.dft.references import ID_PREFIX, find_reference

MORE_CRYSTALS = (
    "perovskite_Sr_Ti_O",
    "antiperovskite_Sn_N_Ca",
    "heusler_Fe_V_Al",
    "rocksalt_V_O",
    "L1_0_Na_Hf",
    "NiAs_Ti_Se",
    "halfheusler_Nb_Os_P",
    "simplehex_Ba",
    "reference_O",
    "reference_S",
    "reference_C",
    "reference_In",
    "reference_P",
    "reference_Fe",
)


def our_inputs(name, folder):
    """All inputs of a crystal or a reference, in order."""
    runner = FakeRunner()
    if name.startswith(ID_PREFIX):
        compute_reference(find_reference(name.removeprefix(ID_PREFIX)), runner, scratch=folder, seconds=60)
    else:
        compute_crystal(named_candidate(name), runner, scratch=folder, seconds=60)
    return runner.inputs


def without_bands(inputs):
    """Of a reference: the original computes its bands, which nothing needs."""
    return [text for text in inputs if not text.startswith("--- bands")]


@pytest.mark.parametrize("name", GOLDEN_CRYSTALS)
def test_inputs_are_those_of_settings_b(name, tmp_path):
    blocks = re.split(r"^=== (.*)\n", GOLDEN_FILE.read_text(), flags=re.MULTILINE)
    golden = dict(zip(blocks[1::2], blocks[2::2], strict=True))[name]
    expected = ["---" + part for part in golden.split("---")[1:]]
    if name.startswith(ID_PREFIX):
        expected = without_bands(expected)
    assert our_inputs(name, tmp_path) == expected


@pytest.mark.skipif(not SCRIPT.exists(), reason="the original generator is not there")
@pytest.mark.parametrize("name", MORE_CRYSTALS)
def test_inputs_are_those_of_the_original(name, tmp_path):
    _, expected = run_original(name, tmp_path)
    if name.startswith(ID_PREFIX):
        expected = without_bands(expected)
    assert our_inputs(name, tmp_path) == expected


def task_of(name, *, factors=(1.0,), lattice_parameter=4.2, **options):
    one = named_candidate(name)
    structure = PROTOTYPES[one.prototype].build(one.elements, lattice_parameter)
    return Task(structure, factors, GAMMA, cutoff_for(structure.symbols), **options)


def test_light_elements_get_the_higher_cutoff():
    assert cutoff_for(("Na", "Cl")) == SOFT_CUTOFF
    assert cutoff_for(("Na", "F")) == HARD_CUTOFF


def test_fft_sizes_have_small_factors():
    assert [fft_size(least) for least in (1, 7, 11, 31, 49, 61)] == [1, 8, 12, 32, 50, 64]


def test_grids_carry_the_largest_volume():
    small, large = choose_grids(task_of("rocksalt_Mg_O")), choose_grids(task_of("rocksalt_Mg_O", factors=(1.0, 1.3)))
    assert all(one <= other for one, other in zip(small.density, large.density, strict=True))
    lattice = task_of("rocksalt_Mg_O").structure.lattice
    spacing = np.linalg.norm(lattice, axis=1) / small.density
    assert (spacing <= 0.1 + 1e-9).all()
    assert all(wave <= fine for wave, fine in zip(small.waves, small.density, strict=True))


def test_moments_bring_spin_and_more_bands():
    plain, magnetic = task_of("rocksalt_Mn_O"), task_of("rocksalt_Mn_O", moments=(4.5, 0.0))
    assert "spinat 0 0 4.5 0 0 0" in input_text(magnetic, Path("PAW"))
    assert "nsppol" not in input_text(plain, Path("PAW"))
    assert count_bands(magnetic) > count_bands(plain) > 6.5


def test_bands_without_self_consistency_have_no_stress():
    text = input_text(task_of("rocksalt_Mg_O", bands_of=Path("x/ro_DS1_DEN")), Path("PAW"))
    assert 'iscf -2 tolwfr 3e-6 nbdbuf 2 nstep 30 nline 4 getden_filepath "x/ro_DS1_DEN"' in text
    assert "optstress 0" in text
    assert "toldfe" not in text
