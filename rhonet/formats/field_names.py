"""Which field a file's free text (a title, a comment, the name of a grid) says that it holds.

The rules are lists of words. A field that is no electron density is refused, as reading it would give wrong numbers
without a sign of it. Where a title is misread, the way out is to change the title.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_GAP = r"[\s_-]+"
_DENSITIES = tuple(f"{kind}{noun}" for kind in ("charge ", "electron ", "") for noun in ("density", "densities"))

# Never the electron density, even where the text names that as well: "Laplacian of the electron density".
_NO_DENSITIES = (
    # densities of something else, and differences of densities
    "spin density",
    "spin polarization density",
    "spin polarisation density",
    "magnetization density",
    "magnetisation density",
    "kinetic energy density",
    "local density of states",
    "LDOS",
    *(f"{density} difference" for density in _DENSITIES),
    # a part of the density
    *(
        f"{part} {density}"
        for part in ("core", "deformation", "difference", "transition", "partial", "induced", "response")
        for density in _DENSITIES
    ),
    # derived from the density
    "density gradient",
    "RDG",
    "Fukui",
    "Laplacian",
    # orbitals
    "HOMO",
    "LUMO",
    "SOMO",
)
# Another field, unless the text names the electron density, too: "NaCl interatomic potential, electron density".
_OTHER_FIELDS = (
    "potential",
    "V Hartree",
    "VHartree",
    "electrostatic",
    "electrostatic potential",
    "orbital",
    "orbitals",
    "MO coefficient",
    "MO coefficients",
    "wavefunction",
    "wavefunctions",
    "wave function",
    "wave functions",
    "ELF",
    "electron localization",
    "electron localisation",
    "electron localization function",
    "electron localisation function",
    "spin polarization",
    "spin polarisation",
    "magnetization",
    "magnetisation",
)
# These hold a word of the lists above and name no field.
_HARMLESS = (
    "potential energy",
    "spin density functional",
    "HOMO LUMO gap",
    "HOMO gap",
    "LUMO gap",
    "SOMO gap",
    # all of the density, or an atomic model
    *(f"{kind} core {density}" for kind in ("valence and", "hard") for density in _DENSITIES),
)
# The electron density by its plain names, and words before it that change nothing.
_PLAIN_DENSITIES = ("electron density", "electronic density", "charge density", "electron charge density")
_PLAIN_DENSITIES += ("electronic charge density",)
_NEUTRAL = ("the", "total", "all-electron", "valence", "ground-state", "self-consistent", "SCF", "DFT")

_UP = ("spin up", "spinup", "spin 1", "spin1", "up spin", "majority", "alpha")
_DOWN = ("spin down", "spindown", "spin 2", "spin2", "down spin", "minority", "beta")
# Between the two spin directions: "spin up + spin down" is the whole density.
_JOINTS = ("+", "&", ",", "/", "and", "plus", "electron", "electrons", "density", "densities")
# Behind a spin direction: "density of alpha electrons", whereas "density of alpha iron" names a crystal's phase.
_HOLDERS = ("spin", "electron", "electrons", "channel", "component", "part")


def _any_of(phrases: Iterable[str]) -> str:
    """Pattern of any of the phrases, the longest first; a blank in one stands for blanks, hyphens and underscores."""
    patterns = [_GAP.join(map(re.escape, phrase.split())) for phrase in sorted(phrases, key=len, reverse=True)]
    return f"(?:{'|'.join(patterns)})"


def _words(phrases: Iterable[str]) -> re.Pattern[str]:
    """Finds any of the phrases as whole words, in capitals or not."""
    return re.compile(rf"(?<![A-Za-z]){_any_of(phrases)}(?![A-Za-z])", re.IGNORECASE)


_PATH = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\].*|.*[/\\].*[/\\].*")
_HARMLESS_WORDS = _words(_HARMLESS)
_NO_DENSITY = _words(_NO_DENSITIES)
# "MO 5" is an orbital; "Mo 5" is molybdenum.
_NUMBERED_ORBITAL = re.compile(r"(?<![A-Za-z])MO[\s_=#]+\d+(?![A-Za-z])")
_OTHER_FIELD = _words(_OTHER_FIELDS)
# At the start or behind punctuation, as "potential from electron density" is a potential.
_PLAIN_DENSITY = re.compile(
    rf"(?:^|[,;:.()\[\]|])[\s_#]*(?:{_any_of(_NEUTRAL)}{_GAP})*{_any_of(_PLAIN_DENSITIES)}", re.IGNORECASE
)

# A crystal's phase: "Ti-beta charge density".
_PHASE = re.compile(r"[\w-](?:alpha|beta)", re.IGNORECASE)
_SPIN_DENSITY = rf"(?<![A-Za-z]){_any_of(_UP + _DOWN)}{_GAP}(?:spin{_GAP})?{_any_of(_DENSITIES)}(?![A-Za-z])"
_DENSITY_OF_SPIN = (
    rf"{_any_of(_DENSITIES)}[\s,:;(_-]+(?:(?:of|for|in){_GAP})?(?:the{_GAP})?{_any_of(_UP + _DOWN)}"
    rf"(?=\s*(?:$|[,;:.)\]]|{_any_of(_HOLDERS)}(?![A-Za-z])))"
)
_ONE_SPIN = re.compile(f"{_SPIN_DENSITY}|{_DENSITY_OF_SPIN}", re.IGNORECASE)
_AND = rf"(?:\s*{_any_of(_JOINTS)}\s*)+"
_BOTH_SPINS = re.compile(rf"{_any_of(_UP)}{_AND}{_any_of(_DOWN)}|{_any_of(_DOWN)}{_AND}{_any_of(_UP)}", re.IGNORECASE)
_DIFFERENCE = re.compile("minus|differ", re.IGNORECASE)


def other_field(text: str) -> str | None:
    """Field other than an electron density that the text names ("potential", "elf", ...), or None.

    Paths name none, and in a text that names the electron density as well, words like "potential" do not count.
    """
    text = _HARMLESS_WORDS.sub(" x ", _without_paths(text))
    match = _NO_DENSITY.search(text) or _NUMBERED_ORBITAL.search(text)
    if match is None and _PLAIN_DENSITY.search(text) is None:
        match = _OTHER_FIELD.search(text)
    return re.sub(_GAP, " ", match[0].lower()) if match else None


def one_spin_density(text: str) -> str | None:
    """What a text calls the density of the electrons of one spin direction ("spin up density"), or None."""
    text = _PHASE.sub(" ", _without_paths(text))
    if _BOTH_SPINS.search(text) and not _DIFFERENCE.search(text):
        return None
    match = _ONE_SPIN.search(text)
    return re.sub(rf"{_GAP}|[,:;(]+", " ", match[0].lower()) if match else None


def with_article(noun: str) -> str:
    """ "a potential", "an orbital", "orbitals"."""
    if noun.endswith("orbitals"):
        return noun
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _without_paths(text: str) -> str:
    """The text without its paths, whose folders may be called anything."""
    return " ".join(word for word in text.split() if not _PATH.fullmatch(word))
