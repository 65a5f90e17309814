"""The list of crystals: fixed, affordable, with held-out chemical systems."""

import hashlib

import pytest

from tests.dft.original import SCRIPT, load_original
from tools.dft.candidates import LARGEST_COST, LARGEST_COST_OF_OTHERS, candidates, named_candidate
from tools.dft.errors import GenerateError
from tools.dft.families import SHARES, families

# Of the ids in order; another list would be another data set.
LIST_DIGEST = "b050a605b802cd03"


def test_list_is_that_of_the_bundled_data_set():
    names = "\n".join(one.id for one in candidates())
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == LIST_DIGEST


@pytest.mark.skipif(not SCRIPT.exists(), reason="the original generator is not there")
def test_list_is_that_of_the_original_generator():
    expected = [(one["id"], one["cls"], one["proto"], tuple(one["els"])) for one in load_original().make_list()]
    assert [(one.id, one.family, one.prototype, one.elements) for one in candidates()] == expected


def test_ids_are_unique_and_families_keep_their_shares():
    listed = candidates()
    assert len({one.id for one in listed}) == len(listed) == 3433
    for family, share in SHARES.items():
        assert sum(one.family == family for one in listed) <= share
    assert set(families()) == set(SHARES)


def test_any_first_part_is_a_sample_of_the_whole():
    listed = candidates()
    first = [one.family for one in listed[:500]]
    for family in ("elemental", "rocksalt", "B2", "halfheusler"):
        share = sum(one.family == family for one in listed) / len(listed)
        assert first.count(family) / len(first) == pytest.approx(share, abs=0.04)


def test_costly_crystals_are_left_out():
    for one in candidates():
        assert one.cost <= LARGEST_COST.get(one.prototype, LARGEST_COST_OF_OTHERS)
        assert 4.5 < one.seconds < 200


def test_one_chemical_system_in_ten_is_held_out():
    systems = {one.chemical_system: one.held_out for one in candidates()}
    assert sum(systems.values()) / len(systems) == pytest.approx(0.1, abs=0.02)


def test_hold_out_does_not_depend_on_order_or_structure():
    assert {named_candidate(name).held_out for name in ("rocksalt_Ag_F", "CsCl_F_Ag", "fluorite_Ag_F")} in (
        {True},
        {False},
    )


@pytest.mark.parametrize(
    ("name", "prototype", "elements"),
    [
        ("rocksalt_Na_Cl", "rocksalt", ("Na", "Cl")),
        ("L1_2_Al_Ga", "L1_2", ("Al", "Ga")),
        ("sc_Bi", "sc", ("Bi",)),
        ("perovskite_Sr_Ti_O", "perovskite", ("Sr", "Ti", "O")),
    ],
)
def test_any_crystal_can_be_named(name, prototype, elements):
    one = named_candidate(name)
    assert (one.id, one.prototype, one.elements) == (name, prototype, elements)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("salt_Na_Cl", "starts with no prototype"),
        ("rocksalt_Na", "names 1 elements; rocksalt has places for 2"),
        ("rocksalt_Na_Uuo", "no data for the element 'Uuo'"),
        ("rocksalt_Na_", "no data for the element ''"),
    ],
)
def test_names_that_make_no_crystal_are_refused(name, message):
    with pytest.raises(GenerateError, match=message):
        named_candidate(name)
