"""Summary of a density and of what rhonet would do with it, as JSON for programs and as text for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from rhonet.core.config import DEFAULT_SPACING, ViewConfig
from rhonet.core.density import LEAST_MOMENT, ChargeDensity, ElectronCount, is_turned_by_convention
from rhonet.core.regrid import storage_shape
from rhonet.core.text import counted, printable
from rhonet.formats.table import FORMATS

_LABEL, _WIDTH = 12, 110
# Relative tolerance of a grid spacing: lattices in files are rounded.
_ROUNDING = 1e-6
# A cell is noted if the density is below the first number (e/Å³) in more than the second one's share of its points.
_EMPTY_DENSITY, _EMPTY_SHARE = 1e-3, 0.3


@dataclass(frozen=True)
class DensitySummary:
    """Content of one file. The fields are the keys of the JSON.

    Attributes:
        file: as it was named.
        format: name of the format, as in `FORMATS`.
        formula: None where the species are not known.
        n_atoms: atoms in the cell, None where the species are not known.
        lattice: rows a, b, c, Å.
        lengths: |a|, |b|, |c|, Å.
        angles: α, β, γ, degrees.
        left_handed: is the determinant of the lattice negative?
        volume: of the cell, Å³.
        grid: points along a, b, c.
        spacing: distance of neighbouring points along a, b, c, Å.
        n_electrons: ∫ρ.
        expected_electrons: according to the file or the files beside it, None if they do not say.
        blocks: fields in the density: 1 (ρ), 2 (ρ, m) or 4 (ρ, mx, my, mz).
        total_moment: ∫m, µB: signed if collinear, a length otherwise; None without spin.
        moment_vector: components of ∫m, µB; None unless non-collinear.
        absolute_moment: ∫|m|, µB; None without spin.
        minimum: of ρ, e/Å³.
        maximum: of ρ, e/Å³.
        negative_share: share of grid points with ρ < 0.
        negative_electrons: ∫ρ over these points.
        warnings: what the reader found odd, one sentence each.
        outlook: what rhonet would do with the density, one sentence each.
    """

    file: str
    format: str
    formula: str | None
    n_atoms: int | None
    lattice: tuple[tuple[float, ...], ...]
    lengths: tuple[float, ...]
    angles: tuple[float, ...]
    left_handed: bool
    volume: float
    grid: tuple[int, int, int]
    spacing: tuple[float, ...]
    n_electrons: float
    expected_electrons: ElectronCount | None
    blocks: int
    total_moment: float | None
    moment_vector: tuple[float, ...] | None
    absolute_moment: float | None
    minimum: float
    maximum: float
    negative_share: float
    negative_electrons: float
    warnings: tuple[str, ...]
    outlook: tuple[str, ...]

    def to_json(self) -> str:
        """One line of JSON in ASCII, which suits every terminal and file name, with the names of the fields as keys."""
        return json.dumps(asdict(self), allow_nan=False)

    def to_text(self) -> str:
        """Lines of limited width, the name of the file first."""
        lines = [printable(self.file)]
        for label, text in self._rows():
            indent = " " * (_LABEL + 2)
            filled = textwrap.wrap(printable(text), _WIDTH, initial_indent=indent, subsequent_indent=indent)
            lines += [f"  {label:<{_LABEL}}" + filled[0].lstrip(), *filled[1:]]
        return "\n".join(lines) + "\n"

    def _rows(self) -> Iterator[tuple[str, str]]:
        """Label ("" for the same as before) and text of each row."""
        title = next((row.title for row in FORMATS if row.name == self.format), "")
        yield "format", f"{self.format} ({title})" if title else self.format or "none (made in memory)"
        yield "formula", f"{self.formula}, {counted(self.n_atoms, 'atom')}" if self.n_atoms else "unknown"
        edges = "  ".join(f"{name} {length:.4f}" for name, length in zip("abc", self.lengths, strict=True))
        angles = "  ".join(f"{name} {angle:.2f}" for name, angle in zip("αβγ", self.angles, strict=True))
        yield "cell", f"{edges} Å   {angles}°" + ("   (left-handed)" if self.left_handed else "")
        per_atom = f" ({self.volume / self.n_atoms:.3f} Å³ per atom)" if self.n_atoms else ""
        yield "volume", f"{self.volume:.3f} Å³{per_atom}"
        yield "grid", f"{_times(self.grid)} points, {_times(f'{step:.4f}' for step in self.spacing)} Å apart"
        expected = self.expected_electrons
        compared = f" ({expected.count:.6g} according to {expected.source})" if expected else " (not stated elsewhere)"
        yield "electrons", f"{self.n_electrons:.4f}{compared}"
        yield "spin", self._spin()
        yield "density", f"{self.minimum:.4g} to {self.maximum:.4g} e/Å³; {self._negative()}"
        for label, sentences in (("warnings", self.warnings), ("in rhonet", self.outlook)):
            for number, sentence in enumerate(sentences):
                yield "" if number else label, sentence

    def _spin(self) -> str:
        if self.total_moment is None:
            return "none (1 block)"
        total = f"moment {_signed(self.total_moment)} µB"
        if self.moment_vector is None:
            return f"collinear (2 blocks), {total}, ∫|m| {self.absolute_moment:.4f} µB"
        vector = ", ".join(_signed(component) for component in self.moment_vector)
        return f"non-collinear (4 blocks), {total} = |({vector})|, ∫|m| {self.absolute_moment:.4f} µB"

    def _negative(self) -> str:
        if self.negative_share == 0:
            return "no point is negative"
        share = f"{self.negative_share:.2%}" if self.negative_share >= 1e-4 else "under 0.01%"
        return f"{share} of the points are negative ({self.negative_electrons:.2g} e)"


def summarize_density(
    file: str,
    density: ChargeDensity,
    *,
    spacing: float = DEFAULT_SPACING,
    view: ViewConfig | None = None,
) -> DensitySummary:
    """Summary of a density.

    Args:
        file: name for the summary.
        density: as read.
        spacing: largest spacing of the storage grid, Å.
        view: input settings of the released model; None where it is not installed.
    """
    spin, atoms, lattice = density.magnetization, density.atoms, density.lattice
    cell_per_point = density.volume / density.values.size
    lengths = np.linalg.norm(lattice, axis=1)
    a, b, c = lattice / lengths[:, None]
    vector = None
    if spin is not None and spin.ndim == 4:
        vector = tuple((spin.mean(axis=(1, 2, 3), dtype=np.float64) * density.volume).tolist())
    negative = np.sum(density.values, where=density.values < 0, dtype=np.float64) * cell_per_point
    return DensitySummary(
        file=file,
        format=density.format,
        formula=None if atoms is None else atoms.get_chemical_formula(mode="metal"),
        n_atoms=None if atoms is None else len(atoms),
        lattice=tuple(tuple(row) for row in np.asarray(lattice, float).tolist()),
        lengths=tuple(lengths.tolist()),
        angles=tuple(np.degrees(np.arccos(np.clip([b @ c, a @ c, a @ b], -1, 1))).tolist()),
        left_handed=bool(np.linalg.det(lattice) < 0),
        volume=density.volume,
        grid=density.shape,
        spacing=tuple(density.spacing.tolist()),
        n_electrons=density.n_electrons,
        expected_electrons=density.expected_electrons,
        blocks=1 if spin is None else 2 if spin.ndim == 3 else 4,
        total_moment=density.total_moment,
        moment_vector=vector,
        absolute_moment=None if spin is None else _absolute_moment(spin) * cell_per_point,
        minimum=float(density.values.min()),
        maximum=float(density.values.max()),
        negative_share=density.negative_share,
        negative_electrons=float(negative),
        warnings=density.warnings,
        outlook=tuple(_outlook(density, spacing=spacing, view=view)),
    )


def _absolute_moment(spin: np.ndarray) -> float:
    """Sum of |m| over the grid points, µB/Å³."""
    size = np.abs(spin) if spin.ndim == 3 else np.sqrt(np.einsum("i...,i...->...", spin, spin, dtype=np.float64))
    return float(size.sum(dtype=np.float64))


def _outlook(density: ChargeDensity, *, spacing: float, view: ViewConfig | None) -> Iterator[str]:
    yield _storage_outlook(density, spacing)
    yield _spin_outlook(density)
    if view is None:
        return
    if not _coarse_axes(density, view.finest):
        yield f"The released model takes it: the grid is as fine as it needs ({view.finest:g} Å)."
    yield from doubts_of(density, view)


def doubts_of(density: ChargeDensity, view: ViewConfig) -> Iterator[str]:
    """Reasons why a model with these input settings may predict less reliably for this density, one sentence each."""
    if coarse := _coarse_axes(density, view.finest):
        yield (
            f"The model was trained on grids of at most {view.finest:g} Å: along {coarse} this one is coarser, so "
            "detail that the model uses is missing."
        )
    if view.kind == "cartesian" and density.volume > view.views * view.edge**3:
        yield (
            f"The model sees only a part of so large a cell: it averages over {view.views} cubes of {view.edge:g} Å."
        )
    if not density.has_main_axis:
        yield (
            "Its spins cancel and have no main axis: the model sees their projection on an arbitrary axis, and on "
            "another axis the prediction may differ."
        )
    empty = np.count_nonzero(density.values < _EMPTY_DENSITY) / density.values.size
    if empty > _EMPTY_SHARE:
        yield (
            f"{empty:.0%} of the cell is empty (below {_EMPTY_DENSITY:g} e/Å³): a molecule or surface? A model "
            "of bulk crystals, such as the released one, was not trained on them."
        )


def _storage_outlook(density: ChargeDensity, spacing: float) -> str:
    nx, ny, nz = (min(pair) for pair in zip(storage_shape(density.lattice, spacing), density.shape, strict=True))
    coarse = _coarse_axes(density, spacing)
    exception = f", except along {coarse}, where its own are farther apart" if coarse else ""
    if (nx, ny, nz) == density.shape:
        return "Training stores it on its own grid" + (
            f", coarser than {spacing:g} Å along {coarse}." if coarse else "."
        )
    return (
        f"Training stores it on {nx} x {ny} x {nz} points, at most {spacing:g} Å apart{exception}; "
        "resampling keeps the electrons."
    )


def _coarse_axes(density: ChargeDensity, spacing: float) -> str:
    """Axes along which the grid is coarser than `spacing`, as "a and c"; "" if there are none."""
    names = [name for name, step in zip("abc", density.spacing, strict=True) if step > spacing * (1 + _ROUNDING)]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _spin_outlook(density: ChargeDensity) -> str:
    spin, moment = density.magnetization, density.total_moment
    if spin is None or moment is None:
        return "It holds no magnetization, so the network sees a non-magnetic crystal."
    if spin.ndim == 4:
        axis = "its total moment" if moment > LEAST_MOMENT else "its main axis, as its total moment vanishes"
        if not density.has_main_axis:
            axis = "an arbitrary axis: its total moment vanishes, and it has no main axis"
        return f"The network sees the magnetization projected on {axis}."
    if is_turned_by_convention(moment, spin):
        total = "is negative" if moment < -LEAST_MOMENT else "vanishes"
        return (
            f"The network sees the magnetization with reversed sign (up and down are a convention), as its sum {total}."
        )
    return "The network sees the magnetization as it is."


def _times(numbers: Iterable[object]) -> str:
    return " x ".join(map(str, numbers))


def _signed(value: float) -> str:
    """Value with four decimals; zero has no sign."""
    return f"{round(value, 4) + 0.0:.4f}"
