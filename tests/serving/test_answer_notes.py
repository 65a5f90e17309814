from __future__ import annotations

import dataclasses

from rhonet.core.properties import PROPERTIES
from rhonet.serving.answer import Answer
from rhonet.serving.answer_notes import NO_SPIN, common_notes, warnings_of
from rhonet.serving.model_card import Card
from tests.crystals import smooth_density

NO_PROPERTIES = Card((), {})


def test_missing_spin_matters_only_for_a_moment():
    moment, gap = (Card((PROPERTIES[name],), {}) for name in ("magnetic_moment", "band_gap"))
    assert common_notes(smooth_density(71), moment) == (NO_SPIN,)
    assert common_notes(smooth_density(71, spin=True), moment) == ()
    assert common_notes(smooth_density(71), gap) == ()


def test_density_of_another_code_than_those_trained_on_is_noted():
    density = dataclasses.replace(smooth_density(71), format="vasp")
    trained = Card((), {"data": {"about": {"code": "ABINIT, PAW (GPAW data sets)"}}})
    (note,) = common_notes(density, trained)
    assert note.startswith("From VASP; the model was trained on densities of ABINIT, PAW (GPAW data sets). Other")
    assert common_notes(dataclasses.replace(density, format="gpaw"), trained)
    for file_format in ("abinit", "cube", "archive"):
        assert common_notes(dataclasses.replace(density, format=file_format), trained) == ()
    for about in ({}, {"code": ""}, {"code": "vasp 6.4"}):
        assert common_notes(density, Card((), {"data": {"about": about}})) == ()


def test_what_is_novel_is_said_after_the_warnings_of_the_reader():
    density = dataclasses.replace(smooth_density(71), warnings=("odd",))
    answer = Answer({}, {"band_gap": 0.0}, {"band_gap": 1.0}, novelty=1.234)
    first, note = warnings_of(density, answer, NO_PROPERTIES)
    assert first == "odd"
    assert note.startswith("Unlike the training crystals: its novelty is 1.2, 95 % of unseen ones stay below 1")
    assert note.endswith(" and its intervals do not hold.")
    assert warnings_of(density, Answer({}, {}, {}, novelty=1.234), NO_PROPERTIES) == (
        "odd",
        note.replace(" and its intervals do not hold", ""),
    )
    for novelty in (0.9, float("nan")):
        assert warnings_of(density, Answer({}, {}, {}, novelty=novelty), NO_PROPERTIES) == ("odd",)
