"""Prototypes: crystal structures with ideal cell shapes and positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
BCC = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
CUBIC = np.eye(3)
_T = 1 / 3.0


def hexagonal(c_over_a: float) -> np.ndarray:
    """Cell with a = b = 1 at 120 degrees."""
    return np.array([[1, 0, 0], [-0.5, 3**0.5 / 2, 0], [0, 0, c_over_a]])


@dataclass(frozen=True, eq=False)
class Structure:
    """A crystal.

    Attributes:
        lattice: rows a, b, c, (3, 3), Å.
        symbols: of the n atoms.
        positions: fractions of a, b, c in [0, 1), (n, 3).
    """

    lattice: np.ndarray
    symbols: tuple[str, ...]
    positions: np.ndarray

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    def scaled(self, factor: float) -> np.ndarray:
        """Lattice (3, 3), Å, at `factor` times the volume."""
        return self.lattice * factor ** (1 / 3.0)

    def distances(self) -> np.ndarray:
        """Distances of the atoms to those of the cell and its neighbours, (n, n, 27), Å; 99 of an atom to itself."""
        steps = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
        fractions = (self.positions[:, None] - self.positions[None])[..., None, :] + steps
        lengths = np.linalg.norm(fractions @ self.lattice, axis=-1)
        lengths[lengths < 1e-6] = 99
        return lengths


@dataclass(frozen=True, eq=False)
class Prototype:
    """A structure type.

    Attributes:
        cell: rows a, b, c in units of the lattice parameter, (3, 3).
        sites: number of the candidate's element (0, 1, 2) and position in fractions of the cell, for each atom.
    """

    cell: np.ndarray
    sites: tuple[tuple[int, tuple[float, float, float]], ...]

    @property
    def n_elements(self) -> int:
        return 1 + max(slot for slot, _ in self.sites)

    def symbols(self, elements: Sequence[str]) -> tuple[str, ...]:
        """Element of each site."""
        return tuple(elements[slot] for slot, _ in self.sites)

    def build(self, elements: Sequence[str], lattice_parameter: float) -> Structure:
        """Structure with these elements and this lattice parameter, Å."""
        positions = np.array([position for _, position in self.sites], float) % 1
        return Structure(self.cell * lattice_parameter, self.symbols(elements), positions)


PROTOTYPES = {
    # one element
    "fcc": Prototype(FCC, ((0, (0, 0, 0)),)),
    "bcc": Prototype(BCC, ((0, (0, 0, 0)),)),
    "sc": Prototype(CUBIC, ((0, (0, 0, 0)),)),
    "diamond": Prototype(FCC, ((0, (0, 0, 0)), (0, (0.25, 0.25, 0.25)))),
    "hcp": Prototype(hexagonal(1.62), ((0, (_T, 2 * _T, 0.25)), (0, (2 * _T, _T, 0.75)))),
    "simplehex": Prototype(hexagonal(1.0), ((0, (0, 0, 0)),)),
    # A B
    "rocksalt": Prototype(FCC, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "zincblende": Prototype(FCC, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)))),
    "CsCl": Prototype(CUBIC, ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "wurtzite": Prototype(
        hexagonal(1.633),
        ((0, (_T, 2 * _T, 0)), (0, (2 * _T, _T, 0.5)), (1, (_T, 2 * _T, 0.375)), (1, (2 * _T, _T, 0.875))),
    ),
    "NiAs": Prototype(
        hexagonal(1.5), ((0, (0, 0, 0)), (0, (0, 0, 0.5)), (1, (_T, 2 * _T, 0.25)), (1, (2 * _T, _T, 0.75)))
    ),
    "WC": Prototype(hexagonal(0.98), ((0, (0, 0, 0)), (1, (_T, 2 * _T, 0.5)))),
    "L1_0": Prototype(np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 0.95]]), ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)))),
    "BN": Prototype(hexagonal(1.2), ((0, (_T, 2 * _T, 0)), (1, (2 * _T, _T, 0)))),
    # A B2; with the roles swapped fluorite is antifluorite
    "fluorite": Prototype(FCC, ((0, (0, 0, 0)), (1, (0.25, 0.25, 0.25)), (1, (0.75, 0.75, 0.75)))),
    "AlB2": Prototype(hexagonal(1.06), ((0, (0, 0, 0)), (1, (_T, 2 * _T, 0.5)), (1, (2 * _T, _T, 0.5)))),
    # Named after the Laves phase, but with B at (1/2, 0, 0) of the primitive cell instead of (1/2, 1/2, 0): kept as
    # the bundled data set has it.
    "C15": Prototype(
        FCC,
        (
            (0, (0.125, 0.125, 0.125)),
            (0, (0.875, 0.875, 0.875)),
            (1, (0.5, 0.5, 0.5)),
            (1, (0.5, 0, 0)),
            (1, (0, 0.5, 0)),
            (1, (0, 0, 0.5)),
        ),
    ),
    # A B3
    "ReO3": Prototype(CUBIC, ((0, (0, 0, 0)), (1, (0.5, 0, 0)), (1, (0, 0.5, 0)), (1, (0, 0, 0.5)))),
    # A2 B
    "cuprite": Prototype(
        CUBIC,
        (
            (1, (0, 0, 0)),
            (1, (0.5, 0.5, 0.5)),
            (0, (0.25, 0.25, 0.25)),
            (0, (0.75, 0.75, 0.25)),
            (0, (0.75, 0.25, 0.75)),
            (0, (0.25, 0.75, 0.75)),
        ),
    ),
    # A3 B
    "L1_2": Prototype(CUBIC, ((1, (0, 0, 0)), (0, (0.5, 0.5, 0)), (0, (0.5, 0, 0.5)), (0, (0, 0.5, 0.5)))),
    "D0_3": Prototype(FCC, ((1, (0, 0, 0)), (0, (0.25, 0.25, 0.25)), (0, (0.75, 0.75, 0.75)), (0, (0.5, 0.5, 0.5)))),
    # A B C3
    "perovskite": Prototype(
        CUBIC,
        ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0.5, 0.5, 0)), (2, (0.5, 0, 0.5)), (2, (0, 0.5, 0.5))),
    ),
    # A at the corners, B the anion inside the octahedron, C the metal
    "antiperovskite": Prototype(
        CUBIC,
        ((0, (0, 0, 0)), (1, (0.5, 0.5, 0.5)), (2, (0.5, 0.5, 0)), (2, (0.5, 0, 0.5)), (2, (0, 0.5, 0.5))),
    ),
    # A and C as in rocksalt, B on one half of the tetrahedral sites
    "halfheusler": Prototype(FCC, ((0, (0.5, 0.5, 0.5)), (1, (0.25, 0.25, 0.25)), (2, (0, 0, 0)))),
    # A2 B C
    "heusler": Prototype(FCC, ((0, (0.25, 0.25, 0.25)), (0, (0.75, 0.75, 0.75)), (1, (0.5, 0.5, 0.5)), (2, (0, 0, 0)))),
    "invheusler": Prototype(
        FCC, ((0, (0, 0, 0)), (0, (0.25, 0.25, 0.25)), (1, (0.75, 0.75, 0.75)), (2, (0.5, 0.5, 0.5)))
    ),
}
TETRAHEDRAL = ("zincblende", "wurtzite", "diamond", "halfheusler", "BN")
