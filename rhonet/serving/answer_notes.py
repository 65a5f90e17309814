"""Warnings and notes about one prediction: what the user should know before relying on it."""

from __future__ import annotations

import re

from rhonet.core.density import ChargeDensity
from rhonet.core.predictions import NOVEL
from rhonet.data.checks.summary import doubts_of
from rhonet.serving.answer import Answer
from rhonet.serving.model_card import Card

# DFT codes by file format, for formats that only one code writes.
_CODES = {
    "abinit": "ABINIT",
    "castep": "CASTEP",
    "chgcar_json": "VASP",
    "gpaw": "GPAW",
    "pymatgen_hdf5": "VASP",
    "quantum_espresso": "Quantum ESPRESSO",
    "siesta": "SIESTA",
    "siesta_rho": "SIESTA",
    "vasp": "VASP",
    "vasp_hdf5": "VASP",
}
NO_SPIN = "No spin density in the file: it is taken as zero, and magnetic_moment is that of a crystal without spin."


def warnings_of(density: ChargeDensity, answer: Answer, card: Card) -> tuple[str, ...]:
    """Warnings about this density and its answer, one sentence each.

    Args:
        density: as read.
        answer: the model's prediction for it.
        card: of the model.
    """
    doubts = doubts_of(density, card.view) if card.view is not None else ()
    return (*density.warnings, *doubts, *_novelty_note(answer))


def common_notes(density: ChargeDensity, card: Card) -> tuple[str, ...]:
    """Notes that are usually the same for many files, one sentence each."""
    return (*_spin_note(density, card), *_code_note(density, card))


def _spin_note(density: ChargeDensity, card: Card) -> tuple[str, ...]:
    """Note if a magnetic moment is predicted for a density without magnetization."""
    predicts_moment = any(item.name == "magnetic_moment" for item in card.properties)
    return (NO_SPIN,) if predicts_moment and density.magnetization is None else ()


def _code_note(density: ChargeDensity, card: Card) -> tuple[str, ...]:
    """Note if the density comes from another code than the training data, as far as file format and card tell."""
    trained = card.content.get("data", {}).get("about", {}).get("code", "")
    code, stated = _CODES.get(density.format, ""), re.split("[,(]", trained)[0].lower()
    known = {name for name in _CODES.values() if name.lower() in stated}
    if not code or not known or code in known:
        return ()
    return (
        f"From {code}; the model was trained on densities of {trained}. Other pseudopotentials make other densities, "
        "and energies count from the zeros of the training data: do not compare them with your own.",
    )


def _novelty_note(answer: Answer) -> tuple[str, ...]:
    """Note if the density is unlike those trained on."""
    if not answer.novelty > NOVEL:
        return ()
    doubt = " and its intervals do not hold" if answer.lower else ""
    return (
        f"Unlike the training crystals: its novelty is {answer.novelty:.2g}, 95 % of unseen ones stay below 1{doubt}.",
    )
