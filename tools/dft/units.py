"""Atomic units in Å, eV and GPa, with the digits that were used for the bundled data set."""

BOHR = 0.529177210903  # Å
HARTREE = 27.211386245988  # eV
EV_PER_CUBIC_ANGSTROM = 160.21766208  # GPa
GRAMS_PER_CM3 = 1.66053907  # of one atomic mass unit per Å³
