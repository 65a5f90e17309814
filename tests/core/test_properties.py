from __future__ import annotations

import pytest

from rhonet.core.config import DEFAULT_PROPERTIES
from rhonet.core.properties import PROPERTIES, Property, find_property, parse_declaration


def test_every_default_property_is_known_with_its_unit():
    units = {name: PROPERTIES[name].unit for name in DEFAULT_PROPERTIES}
    assert units == {
        "bulk_modulus": "GPa",
        "volume_per_atom": "Å³",
        "mass_density": "g/cm³",
        "total_energy_per_atom": "eV",
        "formation_energy_per_atom": "eV",
        "fermi_energy": "eV",
        "band_gap": "eV",
        "band_width": "eV",
        "magnetic_moment": "µB",
        "is_metal": "",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("band_gap", PROPERTIES["band_gap"]),
        ("hardness:GPa:regression:log", Property("hardness", unit="GPa", transform="log")),
        ("charge:e:regression:extensive", Property("charge", unit="e", intensive=False)),
        ("polarization:C/m²:regression:nonnegative", Property("polarization", unit="C/m²", nonnegative=True)),
        ("is_topological::binary", Property("is_topological", kind="binary")),
        (" system : : multiclass7 ", Property("system", kind="multiclass", classes=7)),
    ],
)
def test_declaration_says_name_unit_and_kind(text, expected):
    assert parse_declaration(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hardness", r"cannot understand .*'hardness'; the form is name:unit:kind"),
        ("hardness:GPa", "the form is name:unit:kind"),
        ("hardness:GPa:number", "kind 'number' is none of regression, binary, multiclass"),
        ("hardness:GPa:regression:logarithm", "unknown flag"),
        ("phase::multiclass", "say how many classes, e.g. phase::multiclass7"),
        ("phase::multiclass1", "multiclass needs classes >= 2"),
        ("my-gap:eV:regression", "'my-gap' is not a plain identifier"),
        ("metal::binary:log", "a binary property has no transform, volume scaling or lower bound"),
        ("metal::binary:nonnegative", "a binary property has no transform, volume scaling or lower bound"),
    ],
)
def test_what_cannot_be_declared_is_explained(text, message):
    with pytest.raises(ValueError, match=message):
        parse_declaration(text)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="property hardness: loss_weight must be above 0"):
        Property("hardness", loss_weight=weight)


def test_declared_properties_go_before_known_ones():
    own = Property("band_gap", unit="meV")
    assert find_property("band_gap", (own,)) is own
    assert find_property("band_gap") is PROPERTIES["band_gap"]


def test_unknown_column_is_told_how_to_be_declared():
    with pytest.raises(
        ValueError, match=r"unknown property 'bandgap'; did you mean 'band_gap'\?.*\[properties.bandgap\]"
    ):
        find_property("bandgap")


def test_axis_labels_carry_the_unit():
    assert PROPERTIES["band_gap"].label == "E_g (eV)"
    assert Property("phase", kind="multiclass", classes=3).label == "phase"
    assert [Property("phase", kind="multiclass", classes=3).size, PROPERTIES["is_metal"].size] == [3, 1]
