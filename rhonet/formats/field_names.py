"""What a file's free text (titles, comments, names of fields) says about the field: which one, in which unit."""

from __future__ import annotations

import re

_GAP = r"[\s_-]+"
_MAY_GAP = r"[\s_-]*"
_DENSITY_WORDS = rf"(?:(?:charge|electron){_GAP})?densit(?:y|ies)"
# Kinds of density that are not ρ: no mention of an electron density beside them changes that.
_OTHER_DENSITY = re.compile(
    rf"(?<![A-Za-z])(?:spin(?:{_GAP}polari[sz]ation)?{_GAP}density(?!{_GAP}functional)"
    rf"|magneti[sz]ation{_GAP}density|(?:deformation|difference|transition|partial|induced|response){_GAP}{_DENSITY_WORDS}"
    rf"|(?<!valence and )(?<!hard-)(?<!hard )core{_GAP}{_DENSITY_WORDS}|kinetic{_GAP}energy{_GAP}density"
    rf"|(?:charge{_GAP}|electron{_GAP})?density{_GAP}difference|local{_GAP}density{_GAP}of{_GAP}states|LDOS"
    rf"|(?:reduced{_GAP})density{_GAP}gradient|RDG|Fukui|laplacian"
    rf"|(?:HOMO|LUMO|SOMO)(?!{_MAY_GAP}(?:LUMO{_GAP})?gap)|(?-i:MO)[\s_=#]+\d+)(?![A-Za-z])",
    re.IGNORECASE,
)
_UP = rf"spin{_MAY_GAP}(?:up|1)|up{_GAP}spin|majority|(?<![\w-])alpha"
_DOWN = rf"spin{_MAY_GAP}(?:down|2)|down{_GAP}spin|minority|(?<![\w-])beta"
# The phase of a crystal has such names, too: "density of alpha-quartz", "Ti-beta, charge density".
_ONE_SPIN = re.compile(
    rf"(?<![A-Za-z])(?:{_UP}|{_DOWN}){_GAP}(?:spin{_GAP})?{_DENSITY_WORDS}(?![A-Za-z])"
    rf"|{_DENSITY_WORDS}[\s,:;(_-]+(?:(?:of|for|in){_GAP})?(?:the{_GAP})?(?:{_UP}|{_DOWN})"
    rf"(?=\s*(?:$|[,;:.)\]]|(?:spin|electrons?|channel|component|part)(?![A-Za-z])))",
    re.IGNORECASE,
)
_SUM_OF_SPINS = re.compile(
    rf"(?:{_UP})(?:\s*(?:\+|&|,|/|and|plus|electrons?|density|densities)\s*)+(?:{_DOWN})"
    rf"|(?:{_DOWN})(?:\s*(?:\+|&|,|/|and|plus|electrons?|density|densities)\s*)+(?:{_UP})",
    re.IGNORECASE,
)
_DIFFERENCE = re.compile(r"minus|differ", re.IGNORECASE)
# Words that titles of densities hold, too.
_OTHER_FIELD = re.compile(
    rf"(?<![A-Za-z])(?:potential(?!{_GAP}energy)|v{_MAY_GAP}hartree|electrostatic(?:{_GAP}potential)?|orbitals?|MO{_GAP}coefficients?"
    rf"|wave{_MAY_GAP}functions?|ELF|electron{_GAP}locali[sz]ation(?:{_GAP}function)?|spin{_GAP}polari[sz]ation"
    rf"|magneti[sz]ation(?:{_GAP}density)?)(?![A-Za-z])",
    re.IGNORECASE,
)
# At the start, behind punctuation or with words that change nothing: "potential from electron density" is none.
_PLAIN_DENSITY = re.compile(
    rf"(?:^|[,;:.()\[\]|])[\s_#]*(?:(?:the|total|all-electron|valence|ground-state|self-consistent|SCF|DFT){_GAP})*"
    rf"(?:electron(?:ic)?|charge){_GAP}(?:charge{_GAP})?density(?!{_GAP}(?:difference|gradient|laplacian))",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:(?<=\s)|^)(?:~|\.{1,2}|[A-Za-z]:)?[/\\]\S*|\S*[/\\]\S*[/\\]\S*")


def other_field(text: str) -> str | None:
    """Field other than an electron density that the text names ("potential", "elf", ...), or None.

    Paths name none, and in a text that names the electron density as well, words like "potential" do not count.
    """
    text = _PATH.sub(" ", text)
    found = _OTHER_DENSITY.search(text)
    if found is None and _PLAIN_DENSITY.search(text) is None:
        found = _OTHER_FIELD.search(text)
    return re.sub(_GAP, " ", found[0].lower()) if found else None


def one_spin_density(text: str) -> str | None:
    """What a text calls the density of the electrons of one spin direction ("spin up density"), or None."""
    text = _PATH.sub(" ", text)
    is_sum = _SUM_OF_SPINS.search(text) and not _DIFFERENCE.search(text)
    found = None if is_sum else _ONE_SPIN.search(text)
    return re.sub(rf"{_GAP}|[,:;(]+", " ", found[0].lower()) if found else None


def with_article(noun: str) -> str:
    """ "a potential", "an orbital", "orbitals"."""
    if noun.endswith("orbitals"):
        return noun
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
