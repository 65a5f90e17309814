"""Labels of a folder: ranges, splits, what stands out, and guessed declarations."""

import dataclasses
import math
import tomllib

import numpy as np
import pytest

from rhonet.core.properties import PROPERTIES, Property
from rhonet.data.checks.facts import DensityFacts
from rhonet.data.checks.labels import check_labels, default_split, suggest_declarations, summarise_labels
from rhonet.data.checks.summary import summarize_density
from rhonet.data.dataset_toml import declared_properties
from rhonet.data.folder import Sample
from tests.synthetic import random_density

SUMMARY = summarize_density("x", random_density())


def rows(tmp_path, columns):
    """Samples and facts of rows with these labels, each a chemical system of its own."""
    count = len(next(iter(columns.values())))
    names = [f"r{row}" for row in range(count)]
    samples = {
        name: Sample(
            name, name, tmp_path / name, None, row, labels={key: values[row] for key, values in columns.items()}
        )
        for row, name in enumerate(names)
    }
    return samples, [DensityFacts(name, name, summary=SUMMARY, chemical_system=f"group {name}") for name in names]


def findings(tmp_path, columns, properties=None):
    samples, facts = rows(tmp_path, columns)
    declared = properties or [PROPERTIES[name] for name in columns]
    return list(check_labels(samples, facts, summarise_labels(samples, facts, declared)))


def of_check(found, check):
    return [finding for finding in found if finding.check == check]


def test_summary_counts_labels_of_usable_densities_per_split(tmp_path):
    gaps = [*np.linspace(1, 3, 40), math.nan, 9.0]
    samples, facts = rows(tmp_path, {"band_gap": gaps})
    facts[-1] = dataclasses.replace(facts[-1], error="is cut", summary=None)
    (summary,) = summarise_labels(samples, facts, [PROPERTIES["band_gap"]])
    assert (summary.known, summary.missing) == (40, 1)
    assert (summary.least, summary.median, summary.most) == pytest.approx((1, 2, 3))
    wanted = [default_split(density) for density in facts[:40]]
    assert summary.splits == {split: wanted.count(split) for split in ("train", "validation", "test")}


@pytest.mark.parametrize(
    ("name", "values", "outlier"),
    [
        ("fermi_energy", [*np.linspace(-3, 3, 30), 400.0], 400.0),
        ("bulk_modulus", [*np.geomspace(1, 400, 30), 300e9], 300e9),
        ("bulk_modulus", [*np.geomspace(1, 400, 30), 700.0], None),
        ("band_gap", [*[0.0] * 30, *np.linspace(1, 6, 9)], None),
        ("band_gap", [*[0.0] * 30, *np.linspace(1, 6, 9), 80.0], 80.0),
        ("band_gap", [0.0, 0.62, 0.0, 0.81, 1.54, 0.15, 0.0, 0.0, 0.0, 2.14], None),
        ("is_metal", [*[0.0] * 30, 1.0], None),
        ("fermi_energy", [1.0, 2.0, 500.0], None),
    ],
)
def test_outliers_are_far_on_the_learned_scale(tmp_path, name, values, outlier):
    found = of_check(findings(tmp_path, {name: values}), "outliers")
    assert [finding.ids for finding in found] == ([(f"r{values.index(outlier)}",)] if outlier else [])
    assert all(finding.level == "note" for finding in found)


def test_constant_and_few_labels_are_named(tmp_path):
    found = findings(tmp_path, {"fermi_energy": [2.0] * 12, "band_gap": [*range(12)]})
    (constant,) = of_check(found, "constant labels")
    assert constant.text.startswith("fermi_energy is 2 everywhere")
    (few,) = of_check(found, "few labels")
    assert "fermi_energy (12), band_gap (12)" in few.text


def test_metals_with_gaps_and_insulators_without_contradict(tmp_path):
    found = of_check(
        findings(tmp_path, {"is_metal": [1, 1, 0, 0, math.nan], "band_gap": [0.0, 1.5, 0.0, 2.0, 0.0]}),
        "labels against each other",
    )
    assert [finding.ids for finding in found] == [("r1",), ("r2",)]
    assert "r1 (1.5 eV)" in found[0].text


def test_property_without_training_label_is_an_error_with_a_seed_that_helps(tmp_path):
    _, facts = rows(tmp_path, {"band_gap": [*range(12)]})
    tested = next(row for row, density in enumerate(facts) if default_split(density) != "train")
    hardness = [1.0 if row == tested else math.nan for row in range(12)]
    found = of_check(
        findings(
            tmp_path, {"band_gap": [*range(12)], "hardness": hardness}, [PROPERTIES["band_gap"], Property("hardness")]
        ),
        "splits",
    )
    assert found[0].level == "error"
    assert "no label in the training split: hardness; training would stop" in found[0].text
    assert "--set data.properties=band_gap" in found[0].text


def test_one_training_record_is_no_batch(tmp_path):
    samples, facts = rows(tmp_path, {"band_gap": [*range(30)]})
    (trained, also), (tested, *_) = (
        [density for density in facts if (default_split(density) == "train") == wanted][:2] for wanted in (True, False)
    )
    for some, expected in (([trained, tested], 1), ([trained, also, tested], 0)):
        found = check_labels(samples, some, summarise_labels(samples, some, [PROPERTIES["band_gap"]]))
        assert sum("too few training records for a batch of 16" in finding.text for finding in found) == expected


def test_suggested_seed_gives_every_part_labels(tmp_path):
    for count in (3, 5, 8, 12):
        _, facts = rows(tmp_path, {"band_gap": [*range(count)]})
        found = of_check(findings(tmp_path, {"band_gap": [*range(count)]}), "splits")
        for finding in (finding for finding in found if "split_seed" in finding.text):
            seed = int(finding.text.partition("data.split_seed=")[2].partition(",")[0])
            assert {default_split(fact, seed=seed) for fact in facts} == {"train", "validation", "test"}
    assert "split_seed" not in findings(tmp_path, {"band_gap": [1.0, 2.0]})[-1].text


def test_one_chemical_system_is_split_by_something_else(tmp_path):
    samples, facts = rows(tmp_path, {"band_gap": [*range(30)]})
    facts = [dataclasses.replace(density, chemical_system="O-Si") for density in facts]
    summaries = summarise_labels(samples, facts, [PROPERTIES["band_gap"]])
    found = of_check(check_labels(samples, facts, summaries), "splits")
    assert {finding.level for finding in found} <= {"warning", "error"}
    assert (
        "1 chemical system cannot give every part some: label more, or train with --set data.split_by=" in found[0].text
    )


SUGGESTIONS = {
    "bit": (["0", "1", "", "1"], {"kind": "binary"}),
    "word": (["True", "false", "yes"], {"kind": "binary"}),
    "phase": (["0", "2", "1", "2", "0", "1"], {"kind": "multiclass", "classes": 3}),
    "hardness": (["1.5", "20", "7e2"], {"unit": "", "kind": "regression", "transform": "log"}),
    "energy": (["-1.5", "20", "700"], {"unit": "", "kind": "regression"}),
    "count": (["3", "40", "17"], {"unit": "", "kind": "regression"}),
    "Shear (GPa)": (["10", "40,5", "17"], {"unit": "GPa", "kind": "regression"}),
    "slip": (["1.0"] * 5 + ["2.5"] * 5 + ["oops"], {"unit": "", "kind": "regression"}),
}


@pytest.mark.parametrize("column", SUGGESTIONS)
def test_declaration_is_guessed_from_the_cells(column, tmp_path):
    cells, wanted = SUGGESTIONS[column]
    tables = tomllib.loads(suggest_declarations({column: cells}))["properties"]
    (table,) = tables.values()
    assert table == wanted
    assert len(declared_properties(tmp_path, tables, ())) == 1


def test_columns_of_text_become_bookkeeping(tmp_path):
    text = suggest_declarations(
        {"batch": ["x", "y"], "Band gap (eV)": ["1", "2"], "bare": ["", ""], "mine": ["1.5", "2"]}, ["old"]
    )
    tree = tomllib.loads(text)
    assert tree["bookkeeping"] == ["old", "batch"]
    assert list(tree["properties"]) == ["mine"]
    assert suggest_declarations({}, ["old"]) == ""
